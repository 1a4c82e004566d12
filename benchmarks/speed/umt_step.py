"""One UMT training step of the student against the plain form, which embeds every token and then drops most of them.

    python -m benchmarks.speed.umt_step [--rounds 15] [--out FOLDER]

The plain form is that of the authors' class (OpenGVLab/unmasked_teacher single_modality modeling_pretrain_umt.py): a
convolution over the whole clip, boolean indexing, blocks on the visible tokens, one norm over the stacked layers. Both
start from the same weights and see the same clips, masks and targets. What the teacher costs is the same for both and
is left out: its features are computed once. A step is drawing the mask, forward, backward and AdamW on one thread; its
time is the CPU time of the process, and rounds alternate which goes first.
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.frozen import ClipTeacher
from backbones.teacher import Lesson
from backbones.umt import umt
from benchmarks.provenance import now, provenance
from benchmarks.speed.mae_step import measure, summary, trained
from zoo.objectives.umt import UMT, umt_for, unit_distance

RESULTS = Path(__file__).parents[1] / "results"
MASK_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What both sides compute: a shrunken UMT, whose tokens are as many per frame as those of 112 px."""

    batch: int = 4
    num_frames: int = 8
    img_size: int = 112
    patch_size: int = 16
    embed_dim: int = 192
    depth: int = 6
    num_heads: int = 3
    num_layers: int = 3
    out_dim: int = 128
    mask_ratio: float = 0.8


def build(shape: Shape) -> UMT:
    """Our objective with an untrained CLIP of one small size as its teacher."""
    student = umt(
        img_size=shape.img_size,
        num_frames=shape.num_frames,
        patch_size=shape.patch_size,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
    )
    teacher = ClipTeacher(
        image_size=shape.img_size,
        patch_size=shape.patch_size,
        width=64,
        depth=shape.num_layers,
        num_heads=4,
        out_dim=shape.out_dim,
        num_layers=shape.num_layers,
    )
    return umt_for(student, teacher, shape.img_size, shape.num_frames, mask_ratio=shape.mask_ratio)


def our_loss(objective: UMT, video: Tensor, lesson: Lesson) -> Tensor:
    """The loss as the objective computes it."""
    objective.generator.manual_seed(MASK_SEED)
    keep = objective.draw(video, lesson.saliency)
    return objective.distance(*objective.predict(video, keep, lesson))


def plain_loss(objective: UMT, video: Tensor, lesson: Lesson) -> Tensor:
    """The same loss in the authors' way, on the same weights."""
    objective.generator.manual_seed(MASK_SEED)
    student: Any = objective.student
    head, batch = objective.head, len(video)
    keep = objective.draw(video, lesson.saliency)
    x = student.patch_embed.proj(video).flatten(2).transpose(1, 2) + student.pos_embed
    visible = torch.zeros(x.shape[:2], dtype=torch.bool).scatter_(1, keep, True)
    x = x[visible].reshape(batch, -1, x.shape[2])
    states = []
    for index, block in enumerate(student.blocks):
        x = block(x)
        if index in objective.layers:
            states.append(x)
    stacked = student.norm(torch.stack(states))
    positions = head.pos_embed.expand(batch, -1, -1)[visible].reshape(batch, -1, x.shape[2])
    aligned = torch.stack([align(state + positions) for align, state in zip(head.layers, stacked, strict=True)])
    aligned = aligned / aligned.norm(dim=-1, keepdim=True)
    targets = torch.stack([it.tokens[visible].reshape(batch, -1, it.tokens.shape[2]) for it in lesson.features])
    return unit_distance(aligned, targets)


def steps(shape: Shape) -> dict[str, Callable[[], float]]:
    """One training step of each side, which returns its loss."""
    torch.manual_seed(0)
    ours = build(shape)
    plain = copy.deepcopy(ours)
    video = torch.randn(shape.batch, 3, shape.num_frames, shape.img_size, shape.img_size)
    lesson = ours.teach(video)
    return {
        "zoo": trained(ours, lambda: our_loss(ours, video, lesson)),
        "plain": trained(plain, lambda: plain_loss(plain, video, lesson)),
    }


def main() -> int:
    """Measure, print, and write one result file; 1 when the first losses differ by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = Shape()
    seconds, losses = measure(steps(shape), options.rounds)
    found = summary(seconds, losses, baseline="plain")
    origin = asdict(provenance(threads=1, command=["python", "-m", "benchmarks.speed.umt_step", *sys.argv[1:]]))
    when = now()
    result = {"name": "umt_step", "when": when, **origin, "shape": asdict(shape), "rounds": options.rounds, **found}
    path = options.out / f"speed-umt-step-{when.replace(':', '').replace('+0000', 'Z')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**result, "seconds": seconds}, indent=1) + "\n")
    print(f"UMT step of the student, {options.rounds} interleaved rounds, 1 thread, {origin['device']}")
    for name, median in found["median_s"].items():
        first, last = found["first_loss"][name], found["last_loss"][name]
        print(f"  {name:6}{1000 * median:7.1f} ms CPU   loss {first:.6f} at the first step, {last:.6f} at the last")
    low, high = found["ratio_range"]
    print(f"  plain / zoo: {found['ratio_median']:.2f} (median; {low:.2f} to {high:.2f})\n  {path}")
    return int(found["first_losses_apart"] > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
