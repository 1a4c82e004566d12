"""One MAE pretraining step against transformers' VideoMAE of the same shape, on one thread, at equal loss.

    python -m benchmarks.speed.mae_step [--rounds 15] [--out FOLDER]

Both start from the same weights and see the same clips and masks. A step is drawing the mask (ours draws its own,
transformers is handed the result), forward, backward and AdamW; its time is the CPU time of the process, so that other
work on the machine counts little. Rounds alternate which of the two goes first. Goal: at least 1.15 times faster.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from backbones.vit import vit_pico
from benchmarks.provenance import installed, now, provenance
from zoo import masks
from zoo.batch import Batch
from zoo.cards.vit import HF_PRETRAIN_V5
from zoo.objectives.mae import MAE, mae_for

RESULTS = Path(__file__).parents[1] / "results"
MASK_SEED = 0
Times = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What both sides compute; the defaults are those of the measurement in performance.md, section D."""

    batch: int = 4
    num_frames: int = 16
    img_size: int = 112
    patch_size: int = 16
    tubelet_size: int = 2
    embed_dim: int = 192
    depth: int = 6
    num_heads: int = 3
    decoder_dim: int = 96
    decoder_depth: int = 2
    decoder_heads: int = 3
    mask_ratio: float = 0.9


def transformers_model(shape: Shape) -> VideoMAEForPreTraining:
    """Transformers' model with the original epsilon of 1e-6 in every layer norm, so that losses can be equal."""
    model = VideoMAEForPreTraining(
        VideoMAEConfig(
            image_size=shape.img_size,
            patch_size=shape.patch_size,
            num_frames=shape.num_frames,
            tubelet_size=shape.tubelet_size,
            hidden_size=shape.embed_dim,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.num_heads,
            intermediate_size=4 * shape.embed_dim,
            decoder_hidden_size=shape.decoder_dim,
            decoder_num_hidden_layers=shape.decoder_depth,
            decoder_num_attention_heads=shape.decoder_heads,
            decoder_intermediate_size=4 * shape.decoder_dim,
            layer_norm_eps=1e-6,
            use_mean_pooling=False,
        )
    )
    model.decoder.norm.eps = 1e-6
    return model


def zoo_model(shape: Shape, theirs: VideoMAEForPreTraining) -> MAE:
    """Ours with the same weights, through the converter."""
    student = vit_pico(
        img_size=shape.img_size,
        num_frames=shape.num_frames,
        patch_size=shape.patch_size,
        tubelet_size=shape.tubelet_size,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
    )
    mae = mae_for(
        student,
        shape.img_size,
        shape.num_frames,
        mask_ratio=shape.mask_ratio,
        decoder_dim=shape.decoder_dim,
        decoder_depth=shape.decoder_depth,
        decoder_heads=shape.decoder_heads,
    )
    state = HF_PRETRAIN_V5.to_zoo(theirs.state_dict()).state
    mae.load_state_dict({name.replace("backbone.", "student.", 1): tensor for name, tensor in state.items()})
    return mae


def steps(shape: Shape) -> dict[str, Callable[[], float]]:
    """One training step of each side, which returns its loss."""
    torch.manual_seed(0)
    theirs = transformers_model(shape)
    ours = zoo_model(shape, theirs)
    video = torch.randn(shape.batch, 3, shape.num_frames, shape.img_size, shape.img_size)
    labels = torch.full((shape.batch,), -1)
    batch, pixel_values = Batch(video, labels, labels), video.transpose(1, 2).contiguous()
    grid = ours.student.grid(video)
    keep = masks.tube(grid, shape.mask_ratio, shape.batch, torch.Generator().manual_seed(MASK_SEED))
    dropped = torch.ones(shape.batch, grid.num_tokens, dtype=torch.bool).scatter_(1, keep, False)

    def our_loss() -> torch.Tensor:
        ours.generator.manual_seed(MASK_SEED)
        return ours(batch).total

    def their_loss() -> torch.Tensor:
        return theirs(pixel_values=pixel_values, bool_masked_pos=dropped).loss

    return {"zoo": trained(ours, our_loss), "transformers": trained(theirs, their_loss)}


def trained(model: torch.nn.Module, loss_of: Callable[[], torch.Tensor]) -> Callable[[], float]:
    """A step that trains `model` on its loss with AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> float:
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(candidates: dict[str, Callable[[], float]], rounds: int) -> tuple[Times, Times]:
    """CPU seconds and losses of every round; each candidate takes two steps first, whose losses count but not times."""
    seconds: Times = {name: [] for name in candidates}
    losses: Times = {name: [step(), step()] for name, step in candidates.items()}
    for index in range(rounds):
        for name in list(candidates)[:: 1 if index % 2 else -1]:
            start = time.process_time()
            losses[name].append(candidates[name]())
            seconds[name].append(time.process_time() - start)
    return seconds, losses


def summary(seconds: Times, losses: Times, baseline: str = "transformers") -> dict[str, Any]:
    """Medians, the range of the ratio of `baseline` to ours over rounds, and how far the losses are apart."""
    ratios = [theirs / ours for ours, theirs in zip(seconds["zoo"], seconds[baseline], strict=True)]
    apart = [abs(ours - theirs) for ours, theirs in zip(losses["zoo"], losses[baseline], strict=True)]
    return {
        "median_s": {name: statistics.median(values) for name, values in seconds.items()},
        "ratio_median": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "first_loss": {name: values[0] for name, values in losses.items()},
        "last_loss": {name: values[-1] for name, values in losses.items()},
        "first_losses_apart": apart[0],
        "largest_losses_apart": max(apart),
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
    found = summary(seconds, losses)
    origin = asdict(provenance(threads=1, command=["python", "-m", "benchmarks.speed.mae_step", *sys.argv[1:]]))
    origin["versions"] |= installed(("transformers",))
    when = now()
    result = {"name": "mae_step", "when": when, **origin, "shape": asdict(shape), "rounds": options.rounds, **found}
    path = options.out / f"speed-mae-step-{when.replace(':', '').replace('+0000', 'Z')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**result, "seconds": seconds}, indent=1) + "\n")
    print(f"MAE step, {options.rounds} interleaved rounds, 1 thread, {origin['device']}")
    for name, median in found["median_s"].items():
        first, last = found["first_loss"][name], found["last_loss"][name]
        print(f"  {name:13}{1000 * median:7.1f} ms CPU   loss {first:.6f} at the first step, {last:.6f} at the last")
    low, high = found["ratio_range"]
    print(f"  transformers / zoo: {found['ratio_median']:.2f} (median; {low:.2f} to {high:.2f})")
    print(f"  losses differ by {found['first_losses_apart']:.1e} at the first step, at most by", end=" ")
    print(f"{found['largest_losses_apart']:.1e}\n  {path}")
    return int(found["first_losses_apart"] > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
