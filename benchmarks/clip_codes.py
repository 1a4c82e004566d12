"""Video files to codes of a tokenizer and back, window by window; behind `zoo tokenize`."""

import math
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from backbones.tokenizer import Tokenizer
from benchmarks.protocols.reconstruction import CodeCounts, psnr
from zoo.data.decode import VideoIndex, probe, read_frames
from zoo.data.encode import write_stream
from zoo.training.pretrain import fingerprint

UNKNOWN_RATE = Fraction(25)  # frames per second of a video that does not tell its own
QUALITY = {"crf": "12"}  # of the videos that are written to look at
Frames = UInt8[np.ndarray, "frames height width 3"]
OnWindow = Callable[[int, int], None]  # windows done, of how many


class TokenizeError(Exception):
    """What a person asked for cannot be done; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class ClipCodes:
    """A video as codes.

    Attributes:
        tokenizer: name of the architecture or of released weights.
        weights: fingerprint of the tokenizer that made them.
        indices: of all windows, one after the other in time.
        slots: codes in time of each window.
        frames: frames of the video in each window, without those it was filled up with.
        size: height and width of the video in pixels, without the borders it was filled up with.
        fps: frames per second.
    """

    tokenizer: str
    weights: str
    indices: Int64[np.ndarray, "t h w"]
    slots: tuple[int, ...]
    frames: tuple[int, ...]
    size: tuple[int, int]
    fps: Fraction

    def write(self, path: Path) -> None:
        """Write an npz file that appears when it is complete."""
        partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.partial")
        try:
            with open(partial, "wb") as file:
                np.savez_compressed(
                    file,
                    tokenizer=np.array(self.tokenizer),
                    weights=np.array(self.weights),
                    indices=self.indices.astype(np.min_scalar_type(int(self.indices.max(initial=0)))),
                    slots=np.array(self.slots),
                    frames=np.array(self.frames),
                    size=np.array(self.size),
                    fps=np.array([self.fps.numerator, self.fps.denominator]),
                )
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def read_codes(path: Path) -> ClipCodes:
    """Codes that `ClipCodes.write` wrote.

    Raises:
        TokenizeError: for any other file, and a damaged one.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = ClipCodes(
                tokenizer=str(file["tokenizer"]),
                weights=str(file["weights"]),
                indices=file["indices"].astype(np.int64),
                slots=tuple(file["slots"].tolist()),
                frames=tuple(file["frames"].tolist()),
                size=(int(file["size"][0]), int(file["size"][1])),
                fps=Fraction(int(file["fps"][0]), int(file["fps"][1])),
            )
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError, ArithmeticError, zipfile.BadZipFile) as error:
        raise TokenizeError(f"{path} holds no codes of zoo tokenize, or is damaged ({error})") from None
    whole = found.indices.ndim == 3 and len(found.slots) == len(found.frames) and min((0, *found.slots)) == 0
    if not whole or not found.frames or sum(found.slots) != len(found.indices) or found.fps <= 0:
        raise TokenizeError(f"{path} is damaged: {sum(found.slots)} slots for indices {found.indices.shape}")
    return found


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of a video.

    Attributes:
        codes: file of the codes.
        video: file with the original on the left and the reconstruction on the right.
        bits_per_pixel: log2 of the codebook's size for each code, over the pixels of the video.
        psnr: in dB, over all pixels.
        codebook_usage: share of the codebook's entries that occur.
        entropy_bits: of the codes' frequencies, in bits per code.
        notes: what was filled up to fit the tubelets.
    """

    codes: Path
    video: Path
    bits_per_pixel: float
    psnr: float
    codebook_usage: float
    entropy_bits: float
    notes: tuple[str, ...]


def fitting(frames: int, tokenizer: Tokenizer) -> int:
    """The smallest number of frames, not below another one, that can be cut into tubelets."""
    time, first = tokenizer.tubelet[0], int(tokenizer.causal and tokenizer.tubelet[0] > 1)
    return first + math.ceil(max(0, frames - first) / time) * time if frames > first else max(first, time - first or 1)


class _Coding:
    """One video on its way through a tokenizer; gives the frames to look at and keeps what is counted."""

    def __init__(self, tokenizer: Tokenizer, path: Path, window: int, on_window: OnWindow | None) -> None:
        self.tokenizer, self.path, self.window, self.on_window = tokenizer, path, window, on_window
        self.index: VideoIndex = probe(path)
        self.counts = CodeCounts(tokenizer.codebook_size)
        self.error, self.indices, self.frames = 0.0, list[np.ndarray](), list[int]()

    def notes(self) -> tuple[str, ...]:
        """What is filled up, in words."""
        size = (self.index.height, self.index.width)
        wide = tuple(math.ceil(side / unit) * unit for side, unit in zip(size, self.tokenizer.tubelet[1:], strict=True))
        found = []
        if wide != size:
            found.append(
                f"frames of {size[1]} x {size[0]} px are filled up to {wide[1]} x {wide[0]} px with their border"
            )
        last = self.index.num_frames % self.window or self.window
        if fitting(last, self.tokenizer) != last:
            words = f"the last {last} frames are" if last > 1 else "the last frame is"
            found.append(f"{words} filled up to {fitting(last, self.tokenizer)} with the last one")
        return tuple(found)

    def pictures(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Original and reconstruction side by side, frame by frame."""
        starts = range(0, self.index.num_frames, self.window)
        for number, start in enumerate(starts, 1):
            wanted = range(start, min(start + self.window, self.index.num_frames))
            frames = read_frames(self.path, wanted, index=self.index)
            made = self._through(frames)
            yield from np.concatenate([frames, made], 2)
            if self.on_window:
                self.on_window(number, len(starts))

    @torch.inference_mode()
    def _through(self, frames: Frames) -> Frames:
        device = next(self.tokenizer.parameters()).device
        video = torch.from_numpy(frames).to(device).movedim(-1, 0)[None].float() / 255
        count, height, width = video.shape[2:]
        sides = [-side % unit for side, unit in zip((height, width), self.tokenizer.tubelet[1:], strict=True)]
        more = fitting(count, self.tokenizer) - count
        found = self.tokenizer(F.pad(video, (0, sides[1], 0, sides[0], 0, more), mode="replicate"))
        made = found.video[:, :, :count, :height, :width].clamp(0, 1)
        self.error += float((made.double() - video).square().sum())
        self.counts.add(found.codes.indices)
        self.indices.append(found.codes.indices[0].cpu().numpy())
        self.frames.append(count)
        return _bytes(made)


def _bytes(video: Tensor) -> Frames:
    found: np.ndarray = (video[0] * 255).round().byte().movedim(0, -1).cpu().numpy()
    return found


def _rate(index: VideoIndex) -> Fraction:
    rate = Fraction(index.fps).limit_denominator(1001) if index.fps > 0 else index.declared_rate
    return rate if rate > 0 else UNKNOWN_RATE


def _show(path: Path, pictures: Iterator[np.ndarray], size: tuple[int, int], fps: Fraction) -> None:
    halved = size[0] % 2 == 0 and size[1] % 2 == 0
    write_stream(path, pictures, fps=fps, options=QUALITY, pixel_format="yuv420p" if halved else "yuv444p")


def tokenize(
    tokenizer: Tokenizer, path: Path, out: Path, *, name: str, window: int, on_window: OnWindow | None = None
) -> Told:
    """Write the codes of a video, and a video to compare it with what comes back of them.

    One window is in memory at a time. Both files appear when they are complete.

    Args:
        tokenizer: in eval mode.
        path: video file.
        out: existing folder.
        name: of the tokenizer, for the file of codes.
        window: frames that go through the tokenizer together.
        on_window: called after each window.

    Raises:
        TokenizeError: for a window that cannot be cut into tubelets.
        DecodeError: when the video cannot be read.
    """
    if window < 1 or fitting(window, tokenizer) != window:
        raise TokenizeError(
            f"a window of {window} frames cannot be cut into tubelets of {tokenizer.tubelet[0]}; take "
            f"{fitting(max(1, window), tokenizer)}"
        )
    coding = _Coding(tokenizer, path, window, on_window)
    index, size = coding.index, (coding.index.height, coding.index.width)
    video, codes = out / f"{path.stem}.side_by_side.mp4", out / f"{path.stem}.codes.npz"
    _show(video, coding.pictures(), (size[0], 2 * size[1]), _rate(index))
    ClipCodes(
        tokenizer=name,
        weights=fingerprint(tokenizer),
        indices=np.concatenate(coding.indices),
        slots=tuple(len(it) for it in coding.indices),
        frames=tuple(coding.frames),
        size=size,
        fps=_rate(index),
    ).write(codes)
    pixels = index.num_frames * math.prod(size)
    return Told(
        codes=codes,
        video=video,
        bits_per_pixel=coding.counts.bits / pixels,
        psnr=psnr(coding.error / (3 * pixels)),
        codebook_usage=coding.counts.usage,
        entropy_bits=coding.counts.entropy,
        notes=coding.notes(),
    )


def decode(tokenizer: Tokenizer, codes: ClipCodes, path: Path, *, on_window: OnWindow | None = None) -> None:
    """Write the video that codes stand for.

    Args:
        tokenizer: in eval mode.
        codes: of that tokenizer.
        path: video file to write.
        on_window: called after each window.

    Raises:
        TokenizeError: for codes of other weights, or that are not in the codebook or too few for their frames.
    """
    if fingerprint(tokenizer) != codes.weights:
        raise TokenizeError(f"the codes were made by other weights of {codes.tokenizer}; give theirs with --checkpoint")
    low, high = int(codes.indices.min(initial=0)), int(codes.indices.max(initial=0))
    if low < 0 or high >= tokenizer.codebook_size:
        raise TokenizeError(f"code {low if low < 0 else high} is not in a codebook of {tokenizer.codebook_size}")

    def pictures() -> Iterator[np.ndarray]:
        device, start = next(tokenizer.parameters()).device, 0
        for number, (slots, frames) in enumerate(zip(codes.slots, codes.frames, strict=True), 1):
            part = torch.from_numpy(codes.indices[None, start : start + slots]).to(device)
            with torch.inference_mode():
                made = tokenizer.decode(part)[:, :, :frames, : codes.size[0], : codes.size[1]]
            if made.shape[2:] != (frames, *codes.size):
                raise TokenizeError(f"window {number} has too few codes for {frames} frames of {codes.size}")
            yield from _bytes(made)
            start += slots
            if on_window:
                on_window(number, len(codes.slots))

    _show(path, pictures(), codes.size, codes.fps)
