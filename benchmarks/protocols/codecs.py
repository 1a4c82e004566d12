"""Clips through x264 and x265 in memory, at the rate that comes closest to a wanted one."""

from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from jaxtyping import UInt8

from zoo.data.encode import STEADY

Frames = UInt8[np.ndarray, "frames height width 3"]
ENCODERS = {"x264": ("libx264", "h264"), "x265": ("libx265", "hevc")}
MESSAGES = {"h264": (6,), "hevc": (39, 40)}  # kinds of units that are supplemental information
CRF = (0.0, 51.0)  # of both encoders at 8 bits
TRIALS = 8  # of the bisection; the last changes the rate factor by 0.2


class Coded(NamedTuple):
    """Clips after a codec.

    Attributes:
        frames: what its decoder gives.
        bits: of pictures and headers, without a container and without the encoders' messages about themselves, which
            no decoder needs and which are as large as a small clip.
        crf: rate factor that gave them; larger is coarser.
    """

    frames: Frames
    bits: int
    crf: float


def available(codec: str) -> str:
    """Empty if a codec can be used, otherwise why not.

    Raises:
        ValueError: for an unknown codec.
    """
    if codec not in ENCODERS:
        raise ValueError(f"unknown codec {codec!r}; choose from {', '.join(ENCODERS)}")
    lacking = [name for name in ENCODERS[codec] if name not in av.codecs_available]
    return f"{codec}: this PyAV {av.__version__} was built without {lacking[0]}" if lacking else ""


def at_rate(frames: Frames, codec: str, bits: float, *, fps: Fraction = Fraction(25)) -> Coded:
    """The coding whose size is closest to a wanted one, by bisection over the rate factor.

    Pictures are stored as 4:2:0, as these codecs are used, or 4:4:4 where a side is odd. Presets are the encoders' own
    ("medium"), so x264's size varies a little from run to run for tiny clips, see `zoo.data.encode.STEADY_X264`.

    Args:
        frames: one clip, RGB.
        codec: "x264" or "x265".
        bits: wanted.
        fps: frames per second, which the encoders' rate control looks at.

    Raises:
        ValueError: for a codec that is not there.
    """
    if why := available(codec):
        raise ValueError(why)
    low, high = CRF
    tried = [coded(frames, codec, crf, fps=fps) for crf in CRF]
    for _ in range(TRIALS):
        middle = (low + high) / 2
        tried.append(coded(frames, codec, middle, fps=fps))
        low, high = (middle, high) if tried[-1].bits > bits else (low, middle)
    return min(tried, key=lambda it: abs(it.bits - bits))


def coded(frames: Frames, codec: str, crf: float, *, fps: Fraction = Fraction(25)) -> Coded:
    """One clip through encoder and decoder."""
    encoder, decoder = ENCODERS[codec]
    packets = _packets(frames, encoder, crf, fps)
    reader: Any = av.CodecContext.create(decoder, "r")
    pictures = [picture for packet in packets for picture in reader.decode(av.Packet(packet))] + reader.decode(None)
    if len(pictures) != len(frames):
        raise RuntimeError(f"{codec} gave back {len(pictures)} of {len(frames)} frames")
    made = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    return Coded(made, 8 * sum(_size(packet, decoder) for packet in packets), crf)


def _packets(frames: Frames, encoder: str, crf: float, fps: Fraction) -> list[bytes]:
    context: Any = av.CodecContext.create(encoder, "w")
    context.height, context.width = frames.shape[1:3]
    odd = context.height % 2 or context.width % 2
    context.pix_fmt = "yuv444p" if odd else "yuv420p"
    context.framerate, context.time_base = fps, 1 / fps
    context.thread_count = 1
    steady = STEADY[encoder] if encoder == "libx265" else {}
    context.options = {"crf": f"{crf:.3f}", **steady}
    context.flags |= av.codec.context.Flags.bitexact
    found = []
    for number, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = number
        found += [bytes(packet) for packet in context.encode(frame)]
    return found + [bytes(packet) for packet in context.encode(None)]


def _size(packet: bytes, decoder: str) -> int:
    """Bytes of a packet's units, messages left out; units begin after 0, 0, 1 (H.264 and H.265, Annex B)."""
    units = [it.removesuffix(b"\0") for it in packet.split(b"\0\0\1")[1:]]
    kinds = [unit[0] & 31 if decoder == "h264" else unit[0] >> 1 & 63 for unit in units]
    return sum(3 + len(unit) for unit, kind in zip(units, kinds, strict=True) if kind not in MESSAGES[decoder])
