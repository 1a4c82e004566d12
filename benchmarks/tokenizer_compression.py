"""A small tokenizer beside x264 and x265 on the embedded suite: PSNR and SSIM against bits per pixel.

    python -m benchmarks.tokenizer_compression FILE [FILE ...] [--videos 48] [--tiles 4] [--results benchmarks/results]

FILE is a tokenizer that `zoo compare NAME:lvmae` or `benchmarks.lvmae_ablation` trained (`weights/tokenizer-*`). The
codecs also run at other rates than the tokenizer's, so that their curves can be seen. On single clips of 24 px codecs
spend more than a tokenizer on headers alone; so each clip here is a mosaic of 4 x 4 of them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from benchmarks.figures import png
from benchmarks.gallery import Gallery, in_unit_range
from benchmarks.protocols import codecs
from benchmarks.protocols.reconstruction import Point, Report, beside, rate_curves, reconstruct
from benchmarks.provenance import Provenance, now, provenance
from benchmarks.report import replace_file
from benchmarks.suites.table import get_suite
from zoo.tokenizers import load_tokenizer, saved_tokenizer, tokenizer_of
from zoo.training.log import bar_of
from zoo.weight_cache import digests

RESULTS = Path(__file__).parent / "results"
NAME = "tokenizer-compression"
RATES = (2.0, 4.0, 8.0)  # times the tokenizer's, beside its own
BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A tokenizer on the clips.

    Attributes:
        file: its weights.
        sha256: of the file.
        report: the tokenizer, and codecs at its rate and others.
    """

    file: Path
    sha256: str
    report: Report


def measure(files: Sequence[Path], clips: Sequence[Tensor]) -> list[Coded]:
    """Every tokenizer, and the codecs at its rate and its multiples; shows a bar.

    Args:
        files: tokenizers of one architecture and rate.
        clips: batches of clips with pixels in 0-1.
    """
    found: list[Coded] = []
    usable = [codec for codec in codecs.ENCODERS if not codecs.available(codec)]
    with bar_of() as shown:
        task = shown.add_task("coding", total=len(files) + len(RATES) * len(usable))
        for file in files:
            # Codecs know nothing of the tokenizer: once is enough.
            report = reconstruct(load_tokenizer(file), clips, name=file_words(file), against=() if found else usable)
            found.append(Coded(file=file, sha256=digests(file).sha256, report=report))
            shown.advance(task)
        more: list[Point] = []
        for codec in usable:
            for times in RATES:
                more.append(beside(codec, clips, times * found[0].report.point.bits_per_pixel))
                shown.advance(task)
    first = found[0].report
    return [replace(found[0], report=replace(first, others=(*first.others, *more))), *found[1:]]


def mosaics(
    clips: Float[Tensor, "clips 3 frames height width"], tiles: int
) -> Float[Tensor, "mosaics 3 frames rows columns"]:
    """Clips side by side, `tiles` in each direction; those of one mosaic come from all over the list.

    Clips that fill no mosaic are left out.

    Raises:
        ValueError: when there are too few clips for one.
    """
    whole = len(clips) // tiles**2
    if not whole:
        raise ValueError(f"a mosaic of {tiles} x {tiles} takes {tiles**2} clips, and there are {len(clips)}")
    return rearrange(clips[: whole * tiles**2], "(y x n) c t h w -> n c t (y h) (x w)", y=tiles, x=tiles)


def file_words(file: Path) -> str:
    """A tokenizer's name, and the seed where its file names one."""
    seed = next((word for word in file.stem.split("-") if word.startswith("seed")), "")
    return " ".join(word for word in (saved_tokenizer(file), seed) if word)


def markdown(found: Sequence[Coded], told: Provenance, when: str, what: str) -> str:
    """The points as a table, and how to read them."""
    points = [point for one in found for point in (one.report.point, *one.report.others)]
    first = found[0].report
    lines = [
        "# A small tokenizer beside video codecs",
        "",
        f"![PSNR and SSIM against bits per pixel]({NAME}.png)",
        "",
        "| system | bits per pixel | wanted | PSNR (dB) | SSIM |",
        "|---|--:|--:|--:|--:|",
    ]
    for it in points:
        wanted = "–" if it.wanted is None else f"{it.wanted:.3f}"
        lines.append(f"| {it.system} | {it.bits_per_pixel:.3f} | {wanted} | {it.psnr:.2f} | {it.ssim:.3f} |")
    lines += [
        "",
        f"{what} The mean of all frames in place of each gives {first.blank_psnr:.2f} dB.",
        "",
        f"A code costs {first.bits_per_code:.0f} bits, as in MAGVIT-v2: no entropy coder is assumed. Entropy of codes: "
        + ", ".join(f"{it.report.entropy_bits:.1f}" for it in found)
        + " bits. Codecs: the encoders' own presets, each clip by itself at the rate factor that comes closest; "
        "headers are counted, containers not. 4:2:0 colour costs fidelity, as do the mosaics' seams.",
        "",
        "**Too small to conclude:** clips with fresh noise in every frame, a tokenizer of 8 channels trained on single "
        "clips for a minute without perceptual or adversarial loss. MAGVIT-v2 compares 720p video and lets "
        "people judge.",
        "",
        *[f"- {note}" for note in dict.fromkeys(note for one in found for note in one.report.notes)],
        "",
        f"{when}; {told.device}; "
        + ", ".join(f"{name} {version}" for name, version in told.versions.items())
        + f"; commit {told.commit}. `{told.command}`",
        "",
    ]
    return "\n".join(lines)


def write(found: Sequence[Coded], told: Provenance, folder: Path, what: str) -> list[Path]:
    """Write table, numbers and picture; made anew each time."""
    when, folder = now(), folder
    folder.mkdir(parents=True, exist_ok=True)
    plain: dict[str, Any] = {
        "name": NAME,
        "when": when,
        **asdict(told),
        "clips": what,
        "tokenizers": [{"file": it.file.name, "sha256": it.sha256, **it.report.plain()} for it in found],
    }
    paths = [folder / f"{NAME}.{ending}" for ending in ("md", "json", "png")]
    replace_file(paths[0], markdown(found, told, when, what))
    replace_file(paths[1], json.dumps(plain, indent=1) + "\n")
    paths[2].write_bytes(png(9.2, 3.8, rate_curves([it.report for it in found])))
    return paths


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="tokenizers")
    parser.add_argument("--videos", type=int, default=48, metavar="N", help="test videos of each task (48)")
    parser.add_argument("--tiles", type=int, default=4, metavar="N", help="clips side by side in each direction (4)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table is written")
    options = parser.parse_args()
    console = Console(stderr=True)
    torch.set_num_threads(1)
    suite = get_suite("digits")
    videos = suite.prepare(None, console.is_terminal)
    name = saved_tokenizer(options.files[0])
    clip = suite.tasks[0].clip_spec(tokenizer_of(name).clip)
    gallery = Gallery(suite, videos, videos.cache(progress=console.is_terminal))
    seen, failed = gallery.some(clip, options.videos)
    clips = mosaics(in_unit_range(seen, clip), options.tiles)
    frames, side = clip.num_frames, clips.shape[-1]
    size = f"{frames} frames of {side} x {side} px; {len(failed)} clips unreadable"
    what = f"{len(clips)} mosaics of {options.tiles} x {options.tiles} test clips of `{suite.name}` ({size})."
    told = provenance(threads=1, command=["python", "-m", f"benchmarks.{Path(__file__).stem}", *sys.argv[1:]])
    for path in write(measure(options.files, clips.split(BATCH)), told, options.results, what):
        console.print(path, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
