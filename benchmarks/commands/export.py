"""`zoo export`: a network as a program for torch or ONNX, compared with the network before it is kept."""

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.models import named_model
from benchmarks.commands.numbers import positive

if TYPE_CHECKING:
    from zoo.export import Exported

WORDS = "write a network as a program that runs without the zoo, and check it"
EXAMPLES = """\
examples:
  zoo export videomamba_tiny.k400_f8_res224 --to torch
  zoo export local-dir:exported --to onnx --out model.onnx         ONNX: pip install 'video-backbone-zoo[export]'
  zoo export umt_base.k710 --to onnx --features --frames 16        the tokens of the backbone, for longer clips
  zoo export vit_pico --to torch --random                          random weights, to try things out

The program is loaded again and compared with the network on random clips; one that differs is not kept. Frames, size,
mean, std and class names are in the file: see zoo.export."""
ENDINGS = {"torch": ".pt2", "onnx": ".onnx"}  # those of zoo.export, which is too slow to import for --help


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("name", metavar="NAME", help="released weights, or an architecture with --checkpoint")
    parser.add_argument("--to", required=True, type=_target, metavar="{torch,onnx}", help="torch.export, or ONNX")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(NAME.pt2 or NAME.onnx, here)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of an architecture")
    weights.add_argument("--random", action="store_true", help="random weights of seed 0, to try things out")
    parser.add_argument("--features", action="store_true", help="tokens of the backbone instead of class scores")
    parser.add_argument("--frames", type=positive, metavar="N", help="per clip (the network's)")
    parser.add_argument("--resolution", type=positive, metavar="PX", help="side of the clip (the network's)")
    parser.add_argument("--batch", type=positive, metavar="N", help="exactly so many clips at a time (any number)")
    parser.add_argument("--scan", metavar="NAME", help="implementation of the selective scan (torch's own operators)")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Export, and tell what was written and how far it is from the network."""
    from rich.console import Console

    from backbones.ops.selective_scan.table import EXPORTED
    from zoo.export import check, export

    path = arguments.out or Path(_file_name(arguments.name, features=arguments.features) + ENDINGS[arguments.to])
    scan = arguments.scan or EXPORTED
    check(path, arguments.to, scan=scan, force=arguments.force)  # before weights are fetched
    sizes = {"num_frames": arguments.frames, "img_size": arguments.resolution}
    with Console(stderr=True).status(f"loading {arguments.name}") as status:
        model = named_model(
            arguments.name,
            checkpoint=arguments.checkpoint,
            random=arguments.random,
            options={name: value for name, value in sizes.items() if value is not None},
        )
        status.update(f"tracing, writing and checking {path} (seconds to minutes)")
        report = export(
            model,
            path,
            to=arguments.to,
            batch=arguments.batch,
            features=arguments.features,
            scan=scan,
            force=arguments.force,
        )
    if arguments.json:
        print(json.dumps({**asdict(report), "path": str(report.path)}))  # noqa: T201
    else:
        print("\n".join(lines(report)))  # noqa: T201
    return 0


def lines(report: "Exported") -> list[str]:
    """The report for a person."""
    from zoo.export import TOLERANCE

    size = ", ".join(f"{name} {count / 1e6:,.1f} MB" for name, count in report.files.items())
    told = [f"{report.path}: {size}" + (f", opset {report.opset}" if report.opset else "")]
    shapes = {"video": report.video, **report.outputs}
    told += [f"  {name:8} {' x '.join(str(side or 'any') for side in shape)}" for name, shape in shapes.items()]
    if report.scan:
        told.append(f"  scan     {report.scan}")
    runner = (
        "onnxruntime" if report.to == "onnx" else f"torch, after: {report.needs}" if report.needs else "torch alone"
    )
    told.append(f"  runs in  {runner}")
    batches = ", ".join(map(str, report.checked))
    told.append(
        f"  checked  on {batches} random clips: differs by {report.absolute:.1e}, {report.relative:.1e} of the largest "
        f"value (at most {TOLERANCE:g})"
    )
    return told


def _target(text: str) -> str:
    if text not in ENDINGS:
        raise argparse.ArgumentTypeError(f"unknown target {text!r}; there are {', '.join(ENDINGS)}")
    return text


def _file_name(name: str, *, features: bool) -> str:
    """A name for the file: what is special to a file system becomes a line."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") + ("_features" if features else "")
