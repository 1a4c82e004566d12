"""What comes back of clips that went through a tokenizer, and how many bits that took, beside video codecs.

MAGVIT-v2 (arXiv 2310.05737) compares tokenizers with HEVC and VVC at equal rate. A token costs log2 of the codebook's
size here, as there: no entropy coder is assumed, although `entropy_bits` tells what one could save at most.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from backbones.tokenizer import Tokenizer
from benchmarks.figures import drawing, looks_of
from benchmarks.protocols import codecs
from zoo.objectives.perceptual import find_perceptual, frames_of

SSIM_SIDE = 11  # of the window of Wang et al.; smaller pictures take the largest odd window that fits
PEAK_PSNR = 100.0  # dB, for clips that come back exactly
Clips = Float[Tensor, "batch 3 frames height width"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A system at a rate.

    Attributes:
        system: its name.
        bits_per_pixel: achieved; a pixel has three colours.
        psnr: in dB, of the mean squared error of all pixels in 0-1 together.
        ssim: structural similarity, mean over frames.
        wanted: rate that was asked for, where one was.
    """

    system: str
    bits_per_pixel: float
    psnr: float
    ssim: float
    wanted: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """A tokenizer on some clips, and codecs beside it.

    Attributes:
        point: the tokenizer.
        clips: how many.
        blank_psnr: of the clips' mean frame in place of every frame: what no code at all would give.
        lpips: distance (VGG), None where its weights are not here.
        rfvd: Frechet distance of the features of clips, None where no network was given.
        codebook_usage: share of the codebook's entries that occur.
        entropy_bits: of the codes' frequencies, in bits per code.
        bits_per_code: log2 of the codebook's size.
        others: codecs at about the same rate.
        notes: what is missing, and why.
    """

    point: Point
    clips: int
    blank_psnr: float
    lpips: float | None
    rfvd: float | None
    codebook_usage: float
    entropy_bits: float
    bits_per_code: float
    others: tuple[Point, ...]
    notes: tuple[str, ...]

    def numbers(self) -> dict[str, float]:
        """What was measured of the tokenizer, by name; what is missing is left out."""
        found = {
            "psnr": self.point.psnr,
            "ssim": self.point.ssim,
            "bits_per_pixel": self.point.bits_per_pixel,
            "blank_psnr": self.blank_psnr,
            "codebook_usage": self.codebook_usage,
            "entropy_bits": self.entropy_bits,
            "bits_per_code": self.bits_per_code,
            "lpips": self.lpips,
            "rfvd": self.rfvd,
        }
        return {name: value for name, value in found.items() if value is not None}

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return asdict(self)


class CodeCounts:
    """How often each code occurred.

    Args:
        size: of the codebook.
    """

    def __init__(self, size: int) -> None:
        self.size, self.total = size, 0
        self.seen: dict[int, int] = {}

    def add(self, indices: Int64[Tensor, "*any"]) -> None:
        """Count some more."""
        values, counts = indices.unique(return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.seen[value] = self.seen.get(value, 0) + count
        self.total += indices.numel()

    @property
    def usage(self) -> float:
        """Share of the codebook that occurred."""
        return len(self.seen) / self.size

    @property
    def entropy(self) -> float:
        """Entropy of the frequencies, in bits."""
        return -sum(it / self.total * math.log2(it / self.total) for it in self.seen.values()) + 0.0

    @property
    def bits(self) -> float:
        """Of all codes, each of the same length."""
        return self.total * math.log2(self.size)


def psnr(squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of pixels in 0-1."""
    return min(PEAK_PSNR, -10 * math.log10(squared_error)) if squared_error > 0 else PEAK_PSNR


def ssim(made: Clips, video: Clips) -> float:
    """Structural similarity, mean over frames."""
    side = min(SSIM_SIDE, (min(video.shape[-2:]) + 1) // 2 * 2 - 1)
    found = structural_similarity_index_measure(
        frames_of(made), frames_of(video), data_range=1.0, gaussian_kernel=False, kernel_size=side
    )
    return float(found)  # type: ignore[arg-type]  # a tuple only where the full image is asked for


def frechet(one: Float[np.ndarray, "n dim"], other: Float[np.ndarray, "m dim"]) -> float:
    """Frechet distance of two normal distributions fitted to features (FID, FVD).

    Raises:
        ValueError: for fewer than two samples.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError(f"a covariance needs two samples, not {min(len(one), len(other))}")
    first, second = (np.cov(it, rowvar=False).reshape(it.shape[1], -1) for it in (one, other))
    root = sqrtm(first @ second)
    distance = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(first + second - 2 * np.real(root))
    return float(distance)


def reconstruct(
    tokenizer: Tokenizer,
    videos: Sequence[Tensor],
    *,
    name: str = "tokenizer",
    against: Sequence[str] = tuple(codecs.ENCODERS),
    features: Callable[[Clips], Tensor] | None = None,
    fps: Fraction = Fraction(25),
) -> Report:
    """Send clips through a tokenizer and through codecs at the same rate.

    Args:
        tokenizer: left in the mode in which it was.
        videos: batches of clips `[B, 3, T, H, W]` with pixels in 0-1, on the tokenizer's device.
        name: what the tokenizer is called.
        against: codecs; those that are not there become a note.
        features: from clips to vectors, for the Frechet distance: rFVD where it is I3D on Kinetics-400.
        fps: frames per second of the clips.

    Raises:
        ValueError: for no clips, and for clips that cannot be cut into tubelets.
    """
    if not videos:
        raise ValueError("no clips to reconstruct")
    perceptual, notes = _lpips()
    made, counts = _through(tokenizer, videos)
    pixels = sum(it.numel() // 3 for it in videos)
    point = _point(name, counts.bits / pixels, made, videos)
    distances = [float(perceptual(*pair)) for pair in zip(made, videos, strict=True)] if perceptual else []
    rfvd = None
    if features is None:
        notes.append("no rFVD: it needs I3D of Kinetics-400, which is not here; give a network as features=")
    else:
        rfvd = frechet(*(torch.cat([features(it) for it in kind]).double().cpu().numpy() for kind in (made, videos)))
    others = []
    for codec in against:
        if why := codecs.available(codec):
            notes.append(why)
            continue
        others.append(beside(codec, videos, point.bits_per_pixel, fps=fps))
        if not 0.9 < others[-1].bits_per_pixel / point.bits_per_pixel < 1.1:
            notes.append(
                f"{codec} comes no closer than {others[-1].bits_per_pixel:.4f} bits per pixel to "
                f"{point.bits_per_pixel:.4f}: do not compare it at equal rate"
            )
    return Report(
        point=point,
        clips=sum(len(it) for it in videos),
        blank_psnr=_blank(videos),
        lpips=float(np.average(distances, weights=[len(it) for it in videos])) if distances else None,
        rfvd=rfvd,
        codebook_usage=counts.usage,
        entropy_bits=counts.entropy,
        bits_per_code=math.log2(counts.size),
        others=tuple(others),
        notes=tuple(notes),
    )


def _blank(videos: Sequence[Tensor]) -> float:
    """PSNR of the mean of all frames."""
    frames = sum(len(it) * it.shape[2] for it in videos)
    mean = torch.stack([it.sum((0, 2)) for it in videos]).sum(0) / frames
    errors = [float((it - mean[:, None]).square().mean()) for it in videos]
    return psnr(float(np.average(errors, weights=[it.numel() for it in videos])))


def _lpips() -> tuple[nn.Module | None, list[str]]:
    try:
        return find_perceptual("lpips")[0], []
    except ValueError as error:
        return None, [f"no LPIPS: {error}"]


@torch.no_grad()
def _through(tokenizer: Tokenizer, videos: Sequence[Tensor]) -> tuple[list[Tensor], CodeCounts]:
    """Reconstructions with pixels in 0-1, and the codes in between."""
    counts, made, training = CodeCounts(tokenizer.codebook_size), [], tokenizer.training
    tokenizer.eval()
    try:
        for video in videos:
            found = tokenizer(video)
            counts.add(found.codes.indices)
            made.append(found.video.clamp(0, 1))
    finally:
        tokenizer.train(training)
    return made, counts


def _point(system: str, rate: float, made: Sequence[Tensor], videos: Sequence[Tensor]) -> Point:
    sizes = [it.numel() for it in videos]
    errors = [float((one.float() - other.float()).square().mean()) for one, other in zip(made, videos, strict=True)]
    alike = [ssim(one, other) for one, other in zip(made, videos, strict=True)]
    return Point(
        system=system,
        bits_per_pixel=rate,
        psnr=psnr(float(np.average(errors, weights=sizes))),
        ssim=float(np.average(alike, weights=sizes)),
    )


def beside(codec: str, videos: Sequence[Tensor], rate: float, *, fps: Fraction = Fraction(25)) -> Point:
    """A codec at about a rate, in bits per pixel; every clip is coded by itself."""
    bits, made = 0, []
    for video in videos:
        coded = [codecs.at_rate(it, codec, rate * it.size / 3, fps=fps) for it in to_bytes(video)]
        bits += sum(it.bits for it in coded)
        made.append(torch.stack([torch.from_numpy(it.frames) for it in coded]).movedim(-1, 1).to(video) / 255)
    pixels = sum(it.numel() // 3 for it in videos)
    return replace(_point(codec, bits / pixels, made, videos), wanted=rate)


def to_bytes(video: Clips) -> UInt8[np.ndarray, "batch frames height width 3"]:
    """Clips with pixels in 0-1 as pictures."""
    found: np.ndarray = (video.clamp(0, 1) * 255).round().byte().movedim(1, -1).cpu().numpy()
    return found


def compression(reports: Sequence[Report]) -> str:
    """Rate against PSNR and SSIM of tokenizers (filled) and of codecs at their rates (hollow), as SVG for a page."""
    return drawing("compression", 9.2, 3.8, rate_curves(reports), label="PSNR and SSIM against bits per pixel")


def rate_curves(reports: Sequence[Report]) -> Callable[[Figure], None]:
    """What paints rate against PSNR and SSIM."""
    points = [(point, point is report.point) for report in reports for point in (report.point, *report.others)]
    look = looks_of(list(dict.fromkeys(point.system for point, _ in points)))
    measures: dict[str, Callable[[Point], float]] = {"PSNR in dB": lambda it: it.psnr, "SSIM": lambda it: it.ssim}

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(measures))
        for axes, (words, measure) in zip(panels, measures.items(), strict=True):
            for system, style in look.items():
                own = sorted((it.bits_per_pixel, measure(it), filled) for it, filled in points if it.system == system)
                rates, values, filled = zip(*own, strict=True)
                face = style.color if filled[0] else "none"
                axes.plot(rates, values, color=style.color, marker=style.marker, markerfacecolor=face, label=system)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xlabel("bits per pixel")
            axes.set_ylabel(words)
            axes.margins(x=0.15, y=0.15)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=min(4, len(look)))

    return paint
