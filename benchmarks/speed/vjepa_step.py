"""One V-JEPA pretraining step against a plain form of the authors' recipe, on one thread, at equal loss.

    python -m benchmarks.speed.vjepa_step [--rounds 15] [--form vjepa|vjepa2] [--out FOLDER]

Both start from the same weights and see the same clips and masks. A step is drawing the masks (both draw, from equal
seeds), forward of target, student and predictor, backward, AdamW and the target's move; its time is the CPU time of the
process, so that other work on the machine counts little. Rounds alternate which of the two goes first.

The plain form is the recipe as one would write it down from the papers and the description of the authors' code
(arXiv 2404.08471 and 2506.09985): a convolution embeds all tokens of the clip for every mask and the visible ones are
gathered then, rotary angles are made in every layer, the target moves in a loop over its parameters. All passes run in
float32 with PyTorch's fused attention. Goal: ours takes at most 1.05 times as long.
"""

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Grid
from backbones.layers import Flavor
from backbones.vit import ViT
from backbones.vjepa import VJEPA as FORM
from backbones.vjepa import VJEPA2 as FORM_2
from benchmarks.provenance import now, provenance
from benchmarks.speed.mae_step import Times, measure
from zoo.batch import Batch
from zoo.objectives.vjepa import VJEPA, PredictorForm, vjepa_for

RESULTS = Path(__file__).parents[1] / "results"
MASK_SEED = 0
FLAVORS = {"vjepa": FORM, "vjepa2": FORM_2}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What both sides compute: the published proportions of widths, depths and masks at a size for one CPU thread."""

    form: str = "vjepa"
    batch: int = 4
    num_frames: int = 16
    img_size: int = 112
    patch_size: int = 16
    tubelet_size: int = 2
    embed_dim: int = 192
    depth: int = 6
    num_heads: int = 3
    predictor_dim: int = 96
    predictor_depth: int = 3
    predictor_heads: int = 4


class PlainAttention(nn.Module):
    """Self-attention; with a grid, queries and keys turn by their positions, whose angles are made here."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, ids: Tensor, grid: Grid | None) -> Tensor:
        """Attend over all tokens."""
        batch, count, dim = x.shape
        query, key, value = self.qkv(x).reshape(batch, count, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        if grid is not None:
            query, key = turned(query, ids, grid), turned(key, ids, grid)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).reshape(batch, count, dim))


def turned(heads: Tensor, ids: Tensor, grid: Grid) -> Tensor:
    """V-JEPA 2's rotary positions, axis by axis."""
    area, width = grid.height * grid.width, heads.shape[-1] // 3 // 2 * 2
    parts = []
    for axis, place in enumerate((ids // area, ids % area // grid.width, ids % grid.width)):
        x = heads[..., axis * width : (axis + 1) * width]
        frequency = 1 / 10000 ** (torch.arange(width // 2, dtype=x.dtype) / (width / 2))
        angle = (place[:, None, :, None] * frequency).repeat(1, 1, 1, 2)
        one, other = x.unflatten(-1, (-1, 2)).unbind(-1)
        parts.append(x * angle.cos() + torch.stack((-other, one), -1).flatten(-2) * angle.sin())
    return torch.cat([*parts, heads[..., 3 * width :]], -1)


class PlainBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = PlainAttention(dim, num_heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x: Tensor, ids: Tensor, grid: Grid | None) -> Tensor:
        """Transform the tokens."""
        x = x + self.attn(self.norm1(x), ids, grid)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class PlainEncoder(nn.Module):
    """Embeds every token of the clip, then drops those that are not kept."""

    pos_embed: Tensor | None

    def __init__(self, shape: Shape, table: Tensor | None) -> None:
        super().__init__()
        size = (shape.tubelet_size, shape.patch_size, shape.patch_size)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, shape.embed_dim, size, size)})
        self.register_buffer("pos_embed", table)
        self.blocks = nn.ModuleList(PlainBlock(shape.embed_dim, shape.num_heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.embed_dim, eps=1e-6)

    def forward(self, video: Tensor, keep: Tensor | None, grid: Grid) -> Tensor:
        """Tokens at `keep`; all when it is None."""
        x = self.patch_embed["proj"](video).flatten(2).transpose(1, 2)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        ids = torch.arange(grid.num_tokens).expand(len(video), -1) if keep is None else keep
        if keep is not None:
            x = gathered(x, keep)
        for block in self.blocks:
            x = block(x, ids, grid if self.pos_embed is None else None)
        return self.norm(x)


class PlainPredictor(nn.Module):
    """Context tokens and mask tokens through a narrow transformer."""

    pos_embed: Tensor | None

    def __init__(self, shape: Shape, table: Tensor | None) -> None:
        super().__init__()
        width = shape.predictor_dim
        self.embed = nn.Linear(shape.embed_dim, width)
        self.mask_tokens = nn.ParameterList(torch.zeros(1, 1, width) for _ in range(2))
        self.register_buffer("pos_embed", table)
        self.blocks = nn.ModuleList(PlainBlock(width, shape.predictor_heads) for _ in range(shape.predictor_depth))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, shape.embed_dim)

    def forward(self, context: Tensor, keep: Tensor, query: Tensor, token: int, grid: Grid) -> Tensor:
        """Predictions at `query`."""
        x, queries = self.embed(context), self.mask_tokens[token].repeat(*query.shape, 1)
        if self.pos_embed is not None:
            table = self.pos_embed.expand(len(query), -1, -1)
            x, queries = x + gathered(table, keep), queries + gathered(table, query)
        x = torch.cat([x, queries], 1)
        for block in self.blocks:
            x = block(x, torch.cat([keep, query], 1), grid if self.pos_embed is None else None)
        return self.head(self.norm(x)[:, -query.shape[1] :])


def gathered(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens at `ids`."""
    return tokens.gather(1, ids[..., None].expand(-1, -1, tokens.shape[-1]))


def zoo_objective(shape: Shape) -> VJEPA:
    """Ours, with mask tokens that are not zero."""
    flavor: Flavor = FLAVORS[shape.form]
    student = ViT(
        img_size=shape.img_size,
        num_frames=shape.num_frames,
        patch_size=shape.patch_size,
        tubelet_size=shape.tubelet_size,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
        flavor=flavor,
    )
    objective = vjepa_for(
        student,
        shape.img_size,
        shape.num_frames,
        steps=100,
        predictor=PredictorForm(
            width=shape.predictor_dim, depth=shape.predictor_depth, num_heads=shape.predictor_heads, flavor=flavor
        ),
    )
    for token in objective.predictor.mask_tokens:
        nn.init.normal_(token, std=0.02)
    return objective


def plain_step(shape: Shape, ours: VJEPA, video: Tensor) -> Callable[[], float]:
    """A training step of the plain form, started from the same weights."""
    of_student, of_predictor = ours.student.state_dict(), ours.predictor.state_dict()
    encoder = PlainEncoder(shape, of_student.get("pos_embed"))
    predictor = PlainPredictor(shape, of_predictor.get("pos_embed"))
    encoder.load_state_dict(copy.deepcopy(of_student))
    predictor.load_state_dict(copy.deepcopy(of_predictor))
    target = copy.deepcopy(encoder).requires_grad_(False)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *predictor.parameters()], lr=1e-4)
    grid, taken = ours.student.grid(video), [0]
    drawing = copy.deepcopy(ours)  # for its masks alone, so that both sides draw them

    def step() -> float:
        drawing.generator.manual_seed(MASK_SEED + taken[0])
        with torch.no_grad():
            features = F.layer_norm(target(video, None, grid), (shape.embed_dim,))
        losses = []
        for number, (keep, query) in enumerate(drawing.draw(video)):
            prediction = predictor(encoder(video, keep, grid), keep, query, number, grid)
            losses.append((prediction - gathered(features, query)).abs().mean())
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken[0] += 1
        drawing.steps.taken = taken[0]
        momentum = ours.momentum(taken[0])
        with torch.no_grad():
            for mine, theirs in zip(target.parameters(), encoder.parameters(), strict=True):
                mine.mul_(momentum).add_((1 - momentum) * theirs)
        return loss.item()

    return step


def zoo_step(ours: VJEPA, batch: Batch) -> Callable[[], float]:
    """A training step of ours."""
    optimizer = torch.optim.AdamW([it for it in ours.parameters() if it.requires_grad], lr=1e-4)
    taken = [0]

    def step() -> float:
        ours.generator.manual_seed(MASK_SEED + taken[0])
        loss = ours(batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken[0] += 1
        ours.after_step(taken[0])
        return loss.item()

    return step


def steps(shape: Shape) -> dict[str, Callable[[], float]]:
    """One training step of each side, which returns its loss."""
    torch.manual_seed(0)
    ours = zoo_objective(shape)
    video = torch.randn(shape.batch, 3, shape.num_frames, shape.img_size, shape.img_size)
    labels = torch.full((shape.batch,), -1)
    plain = plain_step(shape, ours, video)
    return {"zoo": zoo_step(ours, Batch(video, labels, labels)), "plain": plain}


def summary(seconds: Times, losses: Times) -> dict[str, Any]:
    """Medians, the ratio of the times in each round, and how far the losses are apart."""
    ratios = sorted(ours / theirs for ours, theirs in zip(seconds["zoo"], seconds["plain"], strict=True))
    apart = [abs(ours - theirs) for ours, theirs in zip(losses["zoo"], losses["plain"], strict=True)]
    return {
        "median_s": {name: statistics.median(values) for name, values in seconds.items()},
        "ratio_median": statistics.median(ratios),
        "ratio_range": [ratios[0], ratios[-1]],
        "first_losses_apart": apart[0],
        "largest_losses_apart": max(apart),
        "last_loss": losses["zoo"][-1],
    }


def main() -> int:
    """Measure, print, and write one result file when asked; 1 when the first losses differ by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--form", choices=tuple(FLAVORS), default="vjepa")
    parser.add_argument("--out", type=Path, help=f"folder for a result file, such as {RESULTS}; none when left out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = Shape(form=options.form)
    seconds, losses = measure(steps(shape), options.rounds)
    found = summary(seconds, losses)
    low, high = found["ratio_range"]
    print(f"V-JEPA step ({shape.form}), {options.rounds} interleaved rounds, 1 thread")
    for name, median in found["median_s"].items():
        print(f"  {name:6}{1000 * median:7.1f} ms CPU   loss {losses[name][0]:.6f} at first")
    print(f"  zoo / plain: {found['ratio_median']:.3f} (median; {low:.3f} to {high:.3f}), goal at most 1.05")
    print(
        f"  losses differ by {found['first_losses_apart']:.1e} at first, at most by {found['largest_losses_apart']:.1e}"
    )
    if options.out:
        when = now()
        origin = asdict(provenance(threads=1, command=["python", "-m", "benchmarks.speed.vjepa_step", *sys.argv[1:]]))
        result = {
            "name": "vjepa_step",
            "when": when,
            **origin,
            "shape": asdict(shape),
            "rounds": options.rounds,
            **found,
        }
        path = options.out / f"speed-vjepa-step-{shape.form}-{when.replace(':', '').replace('+0000', 'Z')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**result, "seconds": seconds}, indent=1) + "\n")
        print(f"  {path}")
    return int(not found["first_losses_apart"] <= 1e-5)


if __name__ == "__main__":
    sys.exit(main())
