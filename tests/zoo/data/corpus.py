"""Small video files whose frames carry their number in their pixels, in every form the decoders must read right.

Most are 48 frames of 64 x 64 pixels with B-frames and a key frame every 12. `SOUND` maps a kind of file to the function
that writes it into a folder and returns its path; `corpus_forms` enters more, `corpus_hostile` has the broken ones.
"""

import functools
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from zoo.data.encode import write_video

os.environ.setdefault("SVT_LOG", "-1")  # the AV1 encoder prints its settings otherwise

COUNT = 48
GOP = {"g": "12", "crf": "20", "preset": "veryfast"}
Builder = Callable[[Path], Path]
SOUND: dict[str, Builder] = {}


def sound(builder: Builder) -> Builder:
    """Enter a builder under its name."""
    SOUND[builder.__name__] = builder
    return builder


@functools.cache
def _library() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="corpus-")


@functools.cache
def sound_file(kind: str) -> Path:
    """A file of a kind, made once per test run; must not be changed."""
    folder = Path(_library().name) / kind
    folder.mkdir()
    return SOUND[kind](folder)


def numbered(count: int = COUNT, *, height: int = 64, width: int = 64, first: int = 0) -> np.ndarray:
    """Frames whose 4 x 4 cells hold the eight bits of their number and the eight opposite bits, over moving texture."""
    generator = np.random.default_rng(7)
    texture = np.kron(generator.integers(-25, 25, (height, width, 1)), np.ones((2, 2, 3), int))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    frames = np.empty((count, height, width, 3), np.uint8)
    for place in range(count):
        number = first + place
        bits = np.array([number >> bit & 1 for bit in range(8)])
        cells = np.concatenate([bits, 1 - bits]).reshape(4, 4)
        flat = np.where(cells[rows][:, columns], 190, 60)[..., None] + np.array([15, 0, -15])
        y, x = place * 2 % height, place % width
        frames[place] = flat + texture[y : y + height, x : x + width]
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    """Numbers read back from the pixels; -1 where the cells contradict each other."""
    _, height, width, _ = frames.shape
    top, left = [i * height // 4 for i in range(5)], [i * width // 4 for i in range(5)]
    found = []
    for frame in frames.astype(int).mean(axis=-1):
        cells = [frame[top[i // 4] : top[i // 4 + 1], left[i % 4] : left[i % 4 + 1]].mean() > 125 for i in range(16)]
        sane = all(cells[bit] != cells[bit + 8] for bit in range(8))
        found.append(sum(int(cells[bit]) << bit for bit in range(8)) if sane else -1)
    return found


def shades(count: int = COUNT, *, height: int, width: int) -> np.ndarray:
    """Frames too small for cells: the number is the brightness."""
    levels = (20 + 4 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def shade_numbers(frames: np.ndarray) -> list[int]:
    """Numbers of `shades`."""
    return [round((frame.mean() - 20) / 4) for frame in frames.astype(float)]


def plain(
    path: Path, *, count: int = COUNT, first: int = 0, codec: str = "libx264", fps: int = 30, **options: str
) -> Path:
    """Numbered frames in any container; `crf` and `g` as in GOP unless given."""
    known = {**GOP, **options} if codec in ("libx264", "libx265") else {"g": "12", **options}
    if codec == "libx265":
        known = {
            "x265-params": ":".join(f"{key}={value}" for key, value in {**options, "crf": "20", "keyint": "12"}.items())
        }
    write_video(path, numbered(count, first=first), fps=fps, codec=codec, options=known)
    return path


def remux(source: Path, target: Path, change: Callable[[list[av.Packet]], list[av.Packet]], **options: str) -> Path:
    """Copy the packets of a file into another container, changed on the way."""
    with av.open(str(source)) as reader, av.open(str(target), "w", container_options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        packets = change([packet for packet in reader.demux(video=0) if packet.size])
        for packet in packets:
            packet.stream = stream
            writer.mux(packet)
    return target


def boxes(data: bytes, path: str) -> Iterator[tuple[int, int]]:
    """Begin and end of the contents of every ISO box at a path such as "moov/trak/mdia"."""
    kind, _, rest = path.partition("/")
    stack = [(0, len(data), kind, rest)]
    while stack:
        position, end, kind, rest = stack.pop()
        while position + 8 <= end:
            size, found = struct.unpack_from(">I4s", data, position)
            if found == kind.encode():
                if not rest:
                    yield position + 8, position + size
                else:
                    stack.append((position + 8, position + size, rest.partition("/")[0], rest.partition("/")[2]))
            position += max(size, 8)


def patch(path: Path, box: str, offset: int, layout: str, *values: int) -> Path:
    """Overwrite numbers in every ISO box at a path, `offset` bytes into its contents."""
    data = bytearray(path.read_bytes())
    for start, _ in list(boxes(bytes(data), box)):
        struct.pack_into(layout, data, start + offset, *values)
    path.write_bytes(data)
    return path


TABLES = "moov/trak/mdia/minf/stbl"


@sound
def h264_mp4(folder: Path) -> Path:
    return plain(folder / "a.mp4")


@sound
def h264_mkv(folder: Path) -> Path:
    return plain(folder / "a.mkv")


@sound
def h264_mov(folder: Path) -> Path:
    return plain(folder / "a.mov")


@sound
def h264_flv(folder: Path) -> Path:
    return plain(folder / "a.flv")


@sound
def h264_avi_without_b_frames(folder: Path) -> Path:
    return plain(folder / "a.avi", bf="0")


@sound
def h264_avi_with_b_frames(folder: Path) -> Path:
    return plain(folder / "a.avi")


@sound
def h264_ts(folder: Path) -> Path:
    return plain(folder / "a.ts")


@sound
def h264_raw(folder: Path) -> Path:
    return plain(folder / "a.h264")


@sound
def hevc_raw(folder: Path) -> Path:
    return plain(folder / "a.hevc", codec="libx265")


@sound
def hevc_mp4(folder: Path) -> Path:
    return plain(folder / "a.mp4", codec="libx265")


@sound
def hevc_closed_gop_mkv(folder: Path) -> Path:
    return plain(folder / "a.mkv", codec="libx265", **{"open-gop": "0"})


@sound
def hevc_ts(folder: Path) -> Path:
    return plain(folder / "a.ts", codec="libx265")


@sound
def hevc_pyramid_of_references(folder: Path) -> Path:
    return plain(folder / "a.mp4", codec="libx265", bframes="8", ref="5", **{"b-adapt": "2"})


def _deep(folder: Path, codec: str) -> Path:
    frames, path = numbered(), folder / "a.mp4"
    write_video(path, frames, fps=30, codec=codec, options={"g": "12"}, pixel_format="yuv420p10le")
    return path


@sound
def hevc_10_bit(folder: Path) -> Path:
    return _deep(folder, "libx265")


@sound
def h264_10_bit(folder: Path) -> Path:
    return _deep(folder, "libx264")


@sound
def vp8_webm(folder: Path) -> Path:
    return plain(folder / "a.webm", codec="libvpx", b="400k", deadline="realtime", **{"cpu-used": "8"})


@sound
def vp8_webm_with_hidden_frames(folder: Path) -> Path:
    """Twelve more frames, which are only referred to: their show_frame bit is off."""
    options = {"g": "12", "b": "400k", "deadline": "realtime", "cpu-used": "8"}
    hidden = range(3, 60, 5)
    frames = np.insert(numbered(), [place - order for order, place in enumerate(hidden)], 0, axis=0)
    write_video(folder / "source.webm", frames, fps=30, codec="libvpx", options=options)

    def hide(packets: list[av.Packet]) -> list[av.Packet]:
        for place in hidden:
            data = bytearray(bytes(packets[place]))
            data[0] &= ~0x10
            packet = av.Packet(bytes(data))
            packet.pts, packet.dts, packet.time_base = packets[place].pts, packets[place].dts, packets[place].time_base
            packet.is_keyframe = packets[place].is_keyframe
            packets[place] = packet
        return packets

    return remux(folder / "source.webm", folder / "a.webm", hide)


@sound
def vp9_webm(folder: Path) -> Path:
    return plain(folder / "a.webm", codec="libvpx-vp9", b="400k", deadline="realtime", **{"cpu-used": "8"})


@sound
def vp9_mp4(folder: Path) -> Path:
    return plain(folder / "a.mp4", codec="libvpx-vp9", b="400k", deadline="realtime", **{"cpu-used": "8"})


@sound
def av1_mp4(folder: Path) -> Path:
    return plain(folder / "a.mp4", codec="libsvtav1", crf="20", preset="10")


@sound
def av1_webm(folder: Path) -> Path:
    return plain(folder / "a.webm", codec="libsvtav1", crf="20", preset="10")


@sound
def mpeg4_avi(folder: Path) -> Path:
    return plain(folder / "a.avi", codec="mpeg4", b="600k")


@sound
def mpeg4_mp4(folder: Path) -> Path:
    return plain(folder / "a.mp4", codec="mpeg4", b="600k")


@sound
def mpeg4_mp4_with_b_frames(folder: Path) -> Path:
    return plain(folder / "a.mp4", codec="mpeg4", b="600k", bf="2")


@sound
def mpeg2_ps(folder: Path) -> Path:
    return plain(folder / "a.mpg", codec="mpeg2video", b="900k", bf="2")


@sound
def mpeg2_ts(folder: Path) -> Path:
    return plain(folder / "a.ts", codec="mpeg2video", b="900k", bf="2")


@sound
def wmv_asf(folder: Path) -> Path:
    return plain(folder / "a.wmv", codec="wmv2", b="600k")


@sound
def mjpeg_avi(folder: Path) -> Path:
    path = folder / "a.avi"
    write_video(path, numbered(), fps=30, codec="mjpeg", pixel_format="yuvj420p")
    return path
