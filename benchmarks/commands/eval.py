"""`zoo eval`: one network on one suite, by a published protocol, with an account of every video."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands.numbers import counting, positive

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.evaluate import Told
    from benchmarks.evaluation import Evaluation, Request

WORDS = "evaluate a network on a suite, with an account of every video"
EXAMPLES = """\
examples:
  zoo eval vit_pico --suite digits --task motion --checkpoint runs/compare/weights/RUN.safetensors
  zoo eval videomamba_tiny.k400_f8_res224 --pretrained --suite k400 --data /data/k400 --dry-run
  zoo eval videomamba_tiny.k400_f8_res224 --pretrained --suite k400 --data /data/k400 --workers 8
  zoo eval vit_pico --suite digits --task order --protocol linear --budget smoke
  zoo eval NAME --suite ssv2 --data /data/ssv2 --protocol attentive4 --features /scratch/features
  zoo eval NAME --suite k400 --data /data/k400 --protocol low_shot --share 5%
  zoo eval lvmae_tokenizer_tiny --checkpoint tokenizer.safetensors --suite digits --protocol reconstruction
  torchrun --nproc-per-node 8 -m benchmarks.cli eval NAME ... --devices 8     see benchmarks/launch/

Any video that cannot be read means no headline number, a list of them and exit status 1, unless --tolerate says
otherwise. Stop it with Ctrl-C at any time: the same command goes on where it stopped. Features of frozen networks are
kept and read again by the next probe; delete their folder when it is no longer needed."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("name", metavar="NAME", help="architecture, released weights, or local-dir:FOLDER")
    parser.add_argument("--suite", required=True, metavar="S", help="videos and tasks")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the suite's official files")
    parser.add_argument("--task", default="", metavar="T", help="where a suite has several")
    parser.add_argument("--split", default="", metavar="SPLIT", help="(the suite's test list)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of yours")
    weights.add_argument("--pretrained", action="store_true", help="released weights; random ones without either")
    parser.add_argument(
        "--protocol",
        default="as_is",
        metavar="{as_is,linear,knn,attentive,attentive4,low_shot,finetune,reconstruction}",
        help="what is trained (as_is); reconstruction is for tokenizers",
    )
    parser.add_argument("--share", default="", metavar="PERCENT", help="of the training videos, for low_shot (10%%)")
    parser.add_argument("--lrs", default="", metavar="N,N", help="rates that a probe chooses from (the budget's)")
    parser.add_argument("--weight-decays", default="", metavar="N,N", help="likewise, each with every rate")
    parser.add_argument("--features", type=Path, metavar="DIR", help="features of frozen networks (OUT/features)")
    parser.add_argument("--budget", default="quick", metavar="{smoke,quick,full}", help="how long to train (quick)")
    parser.add_argument("--views", default="", metavar="NAME", help="test views of a paper, see below")
    parser.add_argument("--clips", type=positive, metavar="N", help="temporal clips per video")
    parser.add_argument("--crops", type=positive, metavar="N", help="spatial crops per clip")
    parser.add_argument("--merge", default="", metavar="RULE", help="how views become one answer, see below")
    parser.add_argument("--tolerate", default="0", metavar="N|PERCENT", help="videos that may fail (0)")
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N videos only; never a headline")
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="views per device and step (16)")
    parser.add_argument("--workers", type=counting, default=0, metavar="N", help="loading processes per device (0)")
    parser.add_argument("--accelerator", default="auto", help="as Lightning takes it (auto)")
    parser.add_argument("--devices", type=positive, default=1, metavar="N", help="per node (1)")
    parser.add_argument("--num-nodes", type=positive, default=1, metavar="N", help="(1)")
    parser.add_argument("--strategy", default="auto", help="as Lightning takes it, such as ddp (auto)")
    parser.add_argument("--precision", metavar="P", help="32-true, bf16-mixed or 16-mixed (the protocol's)")
    parser.add_argument("--decoder", default="pyav", metavar="{pyav,decord}", help="(pyav)")
    parser.add_argument("--seed", type=counting, default=0, metavar="N", help="of fresh weights and training (0)")
    parser.add_argument("--out", type=Path, default=Path("runs/eval"), metavar="DIR", help="(runs/eval)")
    parser.add_argument("--dry-run", action="store_true", help="print the protocol as a table and leave")


def names() -> str:
    """Views and merge rules by name, for the help."""
    from benchmarks.views import VIEWS
    from zoo.training.predictions import MERGE_RULES

    lines = [f"  {name:24} {it.clips} x {it.crops}, {it.sampling}, {it.rule}" for name, it in VIEWS.items()]
    return "\n".join(["views (clips x crops, frames, merge rule):", *lines, f"merge rules: {', '.join(MERGE_RULES)}"])


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print; 1 when there is no headline number because videos failed."""
    from rich.console import Console

    from benchmarks.evaluate import evaluate
    from benchmarks.evaluation import RECONSTRUCTION, resolve
    from benchmarks.protocol_text import protocol_table
    from zoo.training.fit import is_first_process

    if arguments.decoder not in ("pyav", "decord"):
        from zoo.suggest import unknown

        raise unknown("decoder", arguments.decoder, ("pyav", "decord"))
    request = request_of(arguments)
    request.hardware.check()
    if request.protocol == RECONSTRUCTION:
        return _reconstruction_plan(request) if arguments.dry_run else _reconstruct(request)
    first = is_first_process()
    # What goes into a pipe or a file must keep every entry on one line.
    console = Console(width=None if sys.stdout.isatty() else 250, quiet=not first)
    one = resolve(request, progress=first and sys.stderr.isatty(), writes=not arguments.dry_run)
    if arguments.dry_run:
        console.print(protocol_table(one))
        return 0
    try:
        told = evaluate(one, progress=first and sys.stderr.isatty())
    except KeyboardInterrupt:
        kept = f"what was computed is kept in {request.out}; the same command goes on from there"
        raise KeyboardInterrupt(kept) from None
    _show(console, one, told)
    return int(len(told.result.failed) > one.tolerated)


def _reconstruction_plan(request: "Request") -> int:
    """Say which clips of which videos a tokenizer would get; nothing is rendered or read."""
    from rich.console import Console

    from benchmarks.gallery import SOME
    from benchmarks.tokenizer_eval import checked, clip_of
    from zoo.catalogue_text import print_columns

    suite = checked(request)
    clip = clip_of(request, suite)
    tasks = ", ".join(task.name for task in suite.tasks)
    lines = {
        "tokenizer": request.name,
        "weights": str(request.checkpoint or ("released" if request.pretrained else "random")),
        "videos": f"{suite.name} {suite.test_split}, {request.limit or SOME} of each task ({tasks}), evenly spread",
        "clips": f"{clip.num_frames} frames, {clip.sampling}, {clip.img_size} px, values in 0-1",
        "beside it": "codecs at an equal rate, each clip by itself",
        "results": str(request.out),
    }
    print_columns(Console(), lines)
    return 0


def _reconstruct(request: "Request") -> int:
    """Evaluate a tokenizer; 1 when there is no headline number because videos failed."""
    from rich.console import Console

    from benchmarks.formats import number_words
    from benchmarks.tokenizer_eval import evaluate_tokenizer

    told = evaluate_tokenizer(request, progress=sys.stderr.isatty())
    console = Console(width=None if sys.stdout.isatty() else 250)
    result, where = told.result, f"{request.suite}{f', {request.task}' if request.task else ''}"
    account = f"{result.n_evaluated} coded + {len(result.failed)} failed = {result.n_expected} clips of {where}"
    console.print(f"{request.name}: {account}", highlight=False)
    for line in result.failed:
        console.print(f"  failed: {line}", highlight=False, markup=False)
    if told.reason:
        console.print(f"no headline number: {told.reason}", style="bold red", highlight=False)
    for name, interval in result.metrics.items():
        console.print(f"  {name:14} {number_words(name, interval)}", highlight=False)
    for point in told.report.others:
        words = f"{point.psnr:.2f} dB, SSIM {point.ssim:.3f} at {point.bits_per_pixel:.4f} bits per pixel"
        console.print(f"  {point.system:14} {words}", highlight=False)
    for note in told.report.notes:
        console.print(f"  note: {note}", highlight=False, markup=False)
    console.print(f"{told.path}", highlight=False, markup=False, soft_wrap=True)
    return int(bool(told.reason))


def request_of(arguments: argparse.Namespace) -> "Request":
    """The request that a command line makes."""
    from benchmarks.evaluation import Request
    from zoo.training.fit import Hardware

    hardware = Hardware(
        accelerator=arguments.accelerator,
        devices=arguments.devices,
        num_nodes=arguments.num_nodes,
        strategy=arguments.strategy,
        precision=arguments.precision,
    )
    return Request(
        name=arguments.name,
        suite=arguments.suite,
        data=arguments.data,
        task=arguments.task,
        split=arguments.split,
        checkpoint=arguments.checkpoint,
        pretrained=arguments.pretrained,
        protocol=arguments.protocol,
        views=arguments.views,
        clips=arguments.clips,
        crops=arguments.crops,
        merge=arguments.merge,
        tolerate=arguments.tolerate,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        hardware=hardware,
        seed=arguments.seed,
        budget=arguments.budget,
        share=arguments.share,
        lrs=arguments.lrs,
        weight_decays=arguments.weight_decays,
        features=arguments.features,
        limit=arguments.limit,
        out=arguments.out,
        decoder=arguments.decoder,
    )


def training_lines(details: "dict[str, Any]") -> list[str]:
    """What a result tells of its training, as lines for a person."""
    lines = [
        f"features of the {name} list: {details[f'features_{name}']}"
        for name in ("train", "test")
        if f"features_{name}" in details
    ]
    if details.get("batches_read"):
        lines.append(f"{details['batches_read']} batches of the test list were scored by the run before")
    if details.get("training_failed"):
        lines.append(f"{details['training_failed']} of {details['training_videos']} training videos were left out:")
        lines += [f"  unreadable: {line}" for line in details["training_unread"]]
    if any(name.startswith("held_out_") for name in details):
        decay = f", weight decay {details['weight_decay']:g}" if "weight_decay" in details else ""
        lines.append(f"chosen on held-out training videos: learning rate {details['lr']:g}{decay}")
    if "k" in details:
        lines.append(f"{details['k']} nearest training clips vote")
    if "splits" in details:
        told = details["splits"]
        each = ", ".join(f"{100 * value:.2f}" for value in told["each"])
        lines.append(
            f"{told['metric']} over {len(told['each'])} splits: {100 * told['mean']:.2f} %, deviation "
            f"{100 * told['deviation']:.2f} (each: {each}); the other numbers are those of the median split"
        )
    return lines


def _show(console: "Console", one: "Evaluation", told: "Told") -> None:
    from benchmarks.formats import number_words

    result = told.result
    failed = len(result.failed)
    account = f"{result.n_evaluated} scored + {failed} failed = {result.n_expected} videos of {one.suite.name}"
    console.print(f"{one.request.name} on {one.task.name} ({one.split}): {account}", highlight=False)
    for line in training_lines(result.details):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in result.failed:
        console.print(f"  failed: {line}", highlight=False, markup=False)
    for note in result.details.get("notes", ()):
        console.print(f"  {note}", highlight=False, markup=False)
    if told.reason:
        console.print(f"no headline number: {told.reason}", style="bold red", highlight=False)
    if not told.reason or not failed:
        for name, interval in told.metrics.items():
            console.print(f"  {name:11} {number_words(name, interval)}", highlight=False)
    if failed and not told.reason:
        allowed = f"--tolerate {one.request.tolerate}, {one.tolerated} videos"
        console.print(f"  without the {failed} failed videos ({allowed})", style="yellow", highlight=False)
    if told.alarm:
        console.print(told.alarm, style="bold yellow", highlight=False, markup=False)
    console.print(f"{told.path}", highlight=False, markup=False, soft_wrap=True)
