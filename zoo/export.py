"""Networks as programs for other processes: torch.export (`.pt2`) and ONNX (`.onnx`), checked before they are kept.

A program takes normalised clips and runs without this library. VideoMamba's scan is traced with the implementation
that consists of torch's own operators (`backbones.ops.selective_scan.associative`): it holds the states of all tokens
at once, so it takes more memory than the kernels. `scan` puts a kernel in its place, in a `.pt2` alone; such a program
runs only where the kernel is loaded, and the report says how.

What a person needs for feeding it (frames, size, mean, std, class names) is in the file as JSON under `METADATA`:
`torch.export.load(path, extra_files=found)` fills `found = {METADATA: ""}`, and onnxruntime has it in
`session.get_modelmeta().custom_metadata_map`.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import ExportedProgram

from backbones.mamba_mixer import MambaMixer
from backbones.ops.selective_scan.table import EXPORTED, auto_is, choose
from zoo import onnx_program
from zoo.card import ClipSpec
from zoo.model import VideoModel

ENDINGS = {"torch": ".pt2", "onnx": ".onnx"}
METADATA = "zoo.json"
# Largest difference over largest value. In float32 the order of sums alone makes 1e-7 to 1e-5, growing with depth.
TOLERANCE = 1e-3
# torch.export takes sizes 0 and 1 for constants, so any number of clips is traced with this one.
TRACED_BATCH = 2
# Numbers of clips that a program for any number is checked with: fewer and more than it was traced with.
CHECKED = (TRACED_BATCH - 1, TRACED_BATCH + 1)
TORCHS_OWN = ("aten", "prims")
NEEDS = "from backbones.ops.selective_scan.table import choose; choose({scan!r})"


class ExportError(ValueError):
    """A network that cannot be exported as asked for, or whose program computes something else."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how far it is from the network.

    Attributes:
        path: the file.
        to: "torch" or "onnx".
        video: shape of a clip that it takes; the first entry is None where any number of clips will do.
        outputs: shape of each output by name, likewise.
        files: size in bytes of every file, by name; more than one where an ONNX file has its weights beside it.
        opset: version of ONNX's operators; None for torch.
        scan: implementation of the selective scan in it; "" for a network without one.
        needs: Python that a process must run before it can load the program; "" where torch or onnxruntime is enough.
        checked: numbers of clips that were compared.
        absolute: largest difference from the network on random clips.
        relative: the same over the network's largest value, per output.
    """

    path: Path
    to: str
    video: tuple[int | None, ...]
    outputs: Mapping[str, tuple[int | None, ...]]
    files: Mapping[str, int]
    opset: int | None
    scan: str
    needs: str
    checked: tuple[int, ...]
    absolute: float
    relative: float


class _Named(nn.Module):
    """The answers of a model, or the tokens of its backbone, by name.

    Attributes:
        sides: channels, frames, height and width of its clips.
    """

    def __init__(self, model: VideoModel, clip: ClipSpec, *, features: bool) -> None:
        super().__init__()
        self.model, self.features = model, features
        self.sides = (3, clip.num_frames, clip.img_size, clip.img_size)

    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> dict[str, Tensor]:
        if self.features:
            found = self.model.backbone.forward_features(video)
            return {"tokens": found.tokens, **({"prefix": found.prefix} if found.prefix.shape[1] else {})}
        answers = self.model(video)
        if isinstance(answers, Tensor):
            return {"scores" if self.model.num_classes else "pooled": answers}
        return dict(answers)


def export(
    model: VideoModel,
    path: str | os.PathLike[str],
    *,
    to: str,
    batch: int | None = None,
    features: bool = False,
    scan: str = EXPORTED,
    force: bool = False,
) -> Exported:
    """Write a network as a program, load the program again and compare it with the network on random clips.

    Outputs have names: "scores" (or "pooled" without a classifier, or one per question of the head), and with
    `features` "tokens" `[B, N, D]` and, where there are any, "prefix" `[B, P, D]`.

    Args:
        model: with the clip protocol that says which clips it takes; it is left in the mode that it was in.
        path: the file, which ends with .pt2 or .onnx.
        to: "torch" or "onnx".
        batch: take exactly this many clips; None for any number, where the network can be traced so.
        features: the tokens of the backbone instead of the answers of the head.
        scan: implementation that a network's "auto" stands for.
        force: replace the file.

    Raises:
        ExportError: for what does not fit together, an unknown scan, a file that is there, missing packages, and a
            program that differs from the network, of which nothing is left.
    """
    path = Path(path)
    check(path, to, scan=scan, force=force)
    if batch is not None and batch < 1:
        raise ExportError(f"a program takes at least 1 clip, not {batch}")
    if model.spec is None:
        raise ExportError("this model does not say which clips it takes: build it with create_model")
    like, training = next(model.parameters()), model.training
    if like.dtype != torch.float32:
        raise ExportError(f"networks are exported in float32, and this one is in {like.dtype}: call float() before")
    named = _Named(model.cpu().eval(), model.spec.clip, features=features)
    try:
        with torch.no_grad():
            program, batch = _trace(named, batch, scan)
            return _write_checked(named, program, path, to=to, batch=batch, scan=_scan_of(model, scan))
    finally:
        model.to(like.device).train(training)


def check(path: Path, to: str, *, scan: str, force: bool) -> None:
    """Refuse before any work what cannot become a file.

    Raises:
        ExportError: see `export`.
    """
    if to not in ENDINGS:
        raise ExportError(f"unknown target {to!r}; choose {' or '.join(map(repr, ENDINGS))}")
    if path.suffix != ENDINGS[to]:
        raise ExportError(f"a program for {to} is written to a file that ends with {ENDINGS[to]}, not to {str(path)!r}")
    if not path.parent.is_dir():
        raise ExportError(f"there is no folder {str(path.parent)!r}")
    # The weights of a large ONNX file, which must not be overwritten either.
    there = [it for it in (path, onnx_program.weights_beside(path)) if it.exists()]
    if there and not force:
        raise ExportError(
            f"{str(there[0])!r} is there already; nothing was written (--force, or force=True, replaces it)"
        )
    if to == "onnx" and (problem := onnx_program.missing()):
        raise ExportError(problem)
    if scan == "auto":
        raise ExportError(
            f"name the scan that the program is to run, such as {EXPORTED!r}: 'auto' is not the same everywhere"
        )
    try:
        row = choose(scan)
    except ValueError as error:
        raise ExportError(str(error)) from None
    if not row.takes(torch.empty(1)):
        raise ExportError(f"the scan {scan!r} runs on GPUs only, and programs are traced on a CPU: take {EXPORTED!r}")


def _trace(named: _Named, batch: int | None, scan: str) -> tuple[ExportedProgram, int | None]:
    """The program, and the number of clips that it takes; None for any."""
    with auto_is(scan):
        if batch is None:
            clips, any_number = torch.zeros(TRACED_BATCH, *named.sides), {"video": {0: torch.export.Dim.AUTO}}
            program = torch.export.export(named, (clips,), dynamic_shapes=any_number, strict=False)
            entry = next(node for node in program.graph.nodes if node.name == "video")
            if isinstance(entry.meta["val"].shape[0], torch.SymInt):
                return program, None
        clips = torch.zeros(batch or 1, *named.sides)
        return torch.export.export(named, (clips,), strict=False), len(clips)


def _write_checked(
    named: _Named, program: ExportedProgram, path: Path, *, to: str, batch: int | None, scan: str
) -> Exported:
    """Write into a folder of its own, compare, and only then move to where it was asked for."""
    custom = _custom_operators(program)
    if to == "onnx" and custom:
        raise ExportError(f"the scan {scan!r} is the operator {custom[0]} of this library, which ONNX does not have")
    counts, generator = CHECKED if batch is None else (batch,), torch.Generator().manual_seed(0)
    clips = [torch.randn(count, *named.sides, generator=generator) for count in counts]
    expected = [named(it) for it in clips]
    outputs = {name: (batch, *out.shape[1:]) for name, out in expected[0].items()}
    metadata = {METADATA: json.dumps(_metadata(named.model, (batch, *named.sides), outputs, scan))}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        file, opset = Path(folder) / path.name, None
        if to == "onnx":
            opset = onnx_program.write(program, file, outputs=list(outputs), metadata=metadata)
            found = onnx_program.run(file, clips)
        else:
            with warnings.catch_warnings():
                # About weights that share memory; whether they are right is seen below.
                warnings.filterwarnings("ignore", message="No complete tensor found in the group")
                torch.export.save(program, file, extra_files=metadata)
            loaded = torch.export.load(file).module()
            found = [loaded(it) for it in clips]
        absolute, relative = _compared(found, expected)
        return Exported(
            path=path,
            to=to,
            video=(batch, *named.sides),
            outputs=outputs,
            files=_moved(Path(folder), path.parent),
            opset=opset,
            scan=scan,
            needs=NEEDS.format(scan=scan) if custom else "",
            checked=counts,
            absolute=absolute,
            relative=relative,
        )


def _moved(folder: Path, target: Path) -> dict[str, int]:
    """Move all files and return their sizes; the program comes last, as it is of no use without its weights."""
    sizes = {}
    for file in sorted(folder.iterdir(), key=lambda it: it.suffix in ENDINGS.values()):
        sizes[file.name] = file.stat().st_size
        os.replace(file, target / file.name)
    return sizes


def _compared(found: Sequence[Mapping[str, Tensor]], expected: Sequence[Mapping[str, Tensor]]) -> tuple[float, float]:
    """Largest difference, and largest difference over the largest value of the output that it is in.

    Raises:
        ExportError: for outputs of other names or shapes, and for differences that are too large.
    """
    absolute, relative = [], []
    for ours, wanted in zip(found, expected, strict=True):
        for name, values in wanted.items():
            if name not in ours or ours[name].shape != values.shape:
                shapes = {key: tuple(it.shape) for key, it in ours.items()}
                raise ExportError(f"the program lacks {name!r} of shape {tuple(values.shape)}; it returned {shapes}")
            difference = (ours[name].double() - values.double()).abs().max()
            absolute.append(difference)
            relative.append(difference / values.double().abs().max().clamp_min(torch.finfo(torch.float32).tiny))
    # Torch's maximum keeps a NaN, and the comparison is written so that a NaN fails.
    worst, share = torch.stack(absolute).max().item(), torch.stack(relative).max().item()
    if not share <= TOLERANCE:
        raise ExportError(
            f"the program differs from the network by {share:.2g} of its largest value ({worst:.2g}; at most "
            f"{TOLERANCE:g} was expected), on random clips: nothing was written"
        )
    return worst, share


def _custom_operators(program: ExportedProgram) -> list[str]:
    """Operators that torch alone does not have."""
    targets = (node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload))
    return sorted({str(target) for target in targets if target.namespace not in TORCHS_OWN})


def _scan_of(model: VideoModel, scan: str) -> str:
    """Names of the scans that a network runs; "" for a network without any."""
    named = {part.scan for part in model.modules() if isinstance(part, MambaMixer)}
    return ", ".join(sorted(scan if it == "auto" else it for it in named))


def _metadata(
    model: VideoModel, video: tuple[int | None, ...], outputs: Mapping[str, tuple[int | None, ...]], scan: str
) -> dict[str, Any]:
    """What a person needs for feeding the program and reading its answers."""
    spec = model.spec
    if spec is None:
        raise ValueError("a model without a spec")
    return {
        "architecture": spec.architecture.name,
        "tag": spec.tag,
        "video": video,
        "outputs": outputs,
        "clip": spec.clip.to_dict(),
        "label_names": spec.label_names,
        "scan": scan,
        "torch": torch.__version__,
    }
