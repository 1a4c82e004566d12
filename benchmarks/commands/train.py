"""`zoo pretrain`, `zoo finetune` and `zoo probe`: train by a published recipe, or a version made small."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.numbers import counting, positive

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.training_plan import Order, Plan
    from benchmarks.training_runs import Told


@dataclass(frozen=True)
class Command:
    """One of the three.

    Attributes:
        kind: of the recipes that it runs.
        WORDS: what it does, for the help.
        EXAMPLES: likewise.
    """

    kind: str
    WORDS: str
    EXAMPLES: str

    def options(self, parser: argparse.ArgumentParser) -> None:
        """What the command understands."""
        parser.add_argument("recipe", metavar="RECIPE", help=f"see zoo recipe list --kind {self.kind}")
        parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the suite's official files")
        parser.add_argument("--suite", default="", metavar="S", help="other videos (the recipe's)")
        parser.add_argument("--task", default="", metavar="T", help="where a suite has several")
        parser.add_argument(
            "--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="such as recipe.base_lr=1e-4"
        )
        parser.add_argument("--start", type=Path, metavar="FILE", help="weights to begin with (the recipe's)")
        if self.kind == "pretrain":
            parser.add_argument("--teacher", type=Path, metavar="PATH", help="weights of teacher or tokenizer")
        parser.add_argument("--shrink", action="store_true", help="everything small: seconds on a processor")
        parser.add_argument("--steps", type=positive, metavar="N", help="of a shrunk run (4)")
        parser.add_argument("--batch-size", type=positive, metavar="N", help="videos per device (the original's)")
        parser.add_argument("--workers", type=counting, default=0, metavar="N", help="loading processes (0)")
        parser.add_argument("--accelerator", default="auto", help="as Lightning takes it (auto)")
        parser.add_argument("--devices", type=positive, default=1, metavar="N", help="per node (1)")
        parser.add_argument("--num-nodes", type=positive, default=1, metavar="N", help="(1)")
        parser.add_argument("--strategy", default="auto", help="as Lightning takes it, such as ddp (auto)")
        parser.add_argument("--seed", type=counting, default=0, metavar="N", help="(0)")
        parser.add_argument("--out", type=Path, default=Path("runs/train"), metavar="DIR", help="(runs/train)")
        parser.add_argument("--resume", action="store_true", help="insist on going on with a run that is there")
        parser.add_argument("--dry-run", action="store_true", help="print everything and leave")

    def run(self, arguments: argparse.Namespace) -> int:
        """Train and print.

        Raises:
            RequestError: for what cannot be done.
        """
        from rich.console import Console

        from benchmarks.session import RequestError
        from benchmarks.training_plan import check, refusal, resolve
        from benchmarks.training_runs import run
        from zoo.training.checkpoint import LAST
        from zoo.training.fit import is_first_process

        first = is_first_process()
        console = Console(width=None if sys.stdout.isatty() else 200, quiet=not first)
        plan = resolve(self.order(arguments))
        no_run = arguments.resume and not (plan.run_dir / LAST).exists()
        missing = f"--resume: {plan.run_dir} holds no run to go on with" if no_run else ""
        if not arguments.dry_run:
            check(plan)
        _announce(console, plan)
        if arguments.dry_run:
            for words in filter(None, (refusal(plan), missing)):
                _warn(console, f"without --dry-run this would be refused: {words}")
            return 0
        if missing:
            raise RequestError(missing)
        try:
            told = run(plan, progress=first and sys.stderr.isatty())
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"the same command goes on from {plan.run_dir}") from None
        _show(console, plan, told)
        return 0

    def order(self, arguments: argparse.Namespace) -> "Order":
        """The order that a command line makes.

        Raises:
            RequestError: for options that do not go together.
        """
        from benchmarks.session import RequestError
        from benchmarks.shrunken_training import STEPS
        from benchmarks.training_plan import Order
        from zoo.training.fit import Hardware

        if arguments.steps and not arguments.shrink:
            raise RequestError("--steps is for --shrink; a whole run takes --set recipe.steps=N, or epochs=N")
        return Order(
            name=arguments.recipe,
            kind=self.kind,
            data=arguments.data,
            suite=arguments.suite,
            task=arguments.task,
            values=tuple(arguments.set),
            start=arguments.start,
            teacher=getattr(arguments, "teacher", None),
            shrink=arguments.shrink,
            steps=arguments.steps or STEPS,
            hardware=Hardware(
                accelerator=arguments.accelerator,
                devices=arguments.devices,
                num_nodes=arguments.num_nodes,
                strategy=arguments.strategy,
            ),
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            seed=arguments.seed,
            out=arguments.out,
        )


def _announce(console: "Console", plan: "Plan") -> None:
    """Everything that decides the run, before its first step."""
    from benchmarks.training_plan import told
    from benchmarks.training_text import layers, table
    from zoo.catalogue_text import two_columns

    console.print(table(plan.training))
    console.print(two_columns(told(plan)))
    if words := layers(plan.training):
        console.print(words, highlight=False, markup=False, soft_wrap=True)
    for line in plan.warnings:
        _warn(console, line)


def _warn(console: "Console", line: str) -> None:
    console.print(f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _show(console: "Console", plan: "Plan", told: "Told") -> None:
    from benchmarks.formats import number_words

    resumed = f", from step {told.resumed_from}" if told.resumed_from else ""
    losses = " to ".join(f"{it:.4g}" for it in told.losses)
    console.print(f"{told.steps:,} steps{resumed}" + (f"; loss {losses}" if losses else ""), highlight=False)
    for name, interval in told.metrics.items():
        console.print(f"  {name:11} {number_words(name, interval)}", highlight=False)
    for it in plan.training.expected:
        console.print(f"  reported: {it.dataset} {it.metric} {it.value:g} ({it.source})", highlight=False, markup=False)
    for path in (told.file, told.result):
        if path is not None:
            console.print(f"{path}", highlight=False, markup=False, soft_wrap=True)


PRETRAIN = Command(
    "pretrain",
    "pretrain a network by a published recipe",
    """\
examples:
  zoo pretrain umt_base.k710_pt_f8_res224 --dry-run
  zoo pretrain umt_base.k710_pt_f8_res224 --shrink                     seconds, on the embedded clips
  zoo pretrain videomae_base.k400_pt_e800 --data /data/k400 --devices 8 --strategy ddp --batch-size 32
  zoo pretrain videomae_base.k400_pt_e800 --data /data/ssv2 --suite ssv2 --set epochs=200

Stop it with Ctrl-C at any time: the same command goes on where it stopped.""",
)
FINETUNE = Command(
    "finetune",
    "fine-tune a classifier by a published recipe, and test it",
    """\
examples:
  zoo finetune videomamba_tiny.k400_f8_res224 --dry-run
  zoo finetune videomamba_tiny.k400_f8_res224 --shrink
  zoo data synth coin --out /tmp/coin && zoo finetune videomamba_tiny.coin_f32_res224 --data /tmp/coin --shrink
  zoo finetune umt_base.k710_pt_ssv2_f8_res224 --data /data/ssv2 --devices 8 --strategy ddp --set recipe.base_lr=1e-4

Stop it with Ctrl-C at any time: the same command goes on where it stopped.""",
)
PROBE = Command(
    "probe",
    "train a head on frozen features by a published recipe, and test it",
    """\
examples:
  zoo probe vjepa_large_16_224.videomix2m_probe_ssv2 --dry-run
  zoo probe vjepa_large_16_224.videomix2m_probe_ssv2 --shrink
  zoo probe vjepa_large_16_224.videomix2m_probe_ssv2 --data /data/ssv2 --workers 8

Features are kept in OUT/features and read again by the next probe.""",
)
