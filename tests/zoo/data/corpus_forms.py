"""More forms of sound files: odd times, edits, geometry and framing. Enters its kinds into `corpus.SOUND`."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.zoo.data.corpus import TABLES, boxes, numbered, patch, plain, remux, shades, sound
from zoo.data.encode import write_video


def _shifted(folder: Path, name: str, seconds: float, **options: str) -> Path:
    def shift(packets: list[av.Packet]) -> list[av.Packet]:
        for packet in packets:
            ticks = round(seconds / float(packet.time_base))
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        return packets

    return remux(plain(folder / "source.mp4"), folder / name, shift, **options)


@sound
def late_start_mp4(folder: Path) -> Path:
    return _shifted(folder, "a.mp4", 10)


@sound
def late_start_mkv(folder: Path) -> Path:
    return _shifted(folder, "a.mkv", 10)


@sound
def negative_times_mkv(folder: Path) -> Path:
    return _shifted(folder, "a.mkv", -0.5, avoid_negative_ts="disabled")


@sound
def negative_offsets_mp4(folder: Path) -> Path:
    return remux(plain(folder / "source.mp4"), folder / "a.mp4", list, movflags="negative_cts_offsets")


def _uneven(packets: list[av.Packet]) -> list[av.Packet]:
    """Times of a screen recording: frame n is shown n + (n // 7) * 3 frames after the first."""
    step = sorted(packet.pts for packet in packets)
    tick = step[1] - step[0]
    for packet in packets:
        number = (packet.pts - step[0]) // tick
        packet.pts = step[0] + (number + number // 7 * 3) * tick
        packet.dts = packet.pts
    return packets


@sound
def variable_rate_mp4(folder: Path) -> Path:
    return remux(plain(folder / "source.mp4", bf="0"), folder / "a.mp4", _uneven)


@sound
def variable_rate_mkv(folder: Path) -> Path:
    return remux(plain(folder / "source.mp4", bf="0"), folder / "a.mkv", _uneven)


@sound
def ntsc_rate(folder: Path) -> Path:
    write_video(folder / "a.mp4", numbered(), fps=Fraction(30000, 1001), options={"g": "12"})
    return folder / "a.mp4"


@sound
def two_frames_at_one_time(folder: Path) -> Path:
    def collide(packets: list[av.Packet]) -> list[av.Packet]:
        packets[20].pts = packets[20].dts = packets[19].pts
        return packets

    return remux(plain(folder / "source.mp4", bf="0"), folder / "a.mkv", collide)


@sound
def edit_list_hiding_12_frames(folder: Path) -> Path:
    """Begins with frame 12 and is 36 frames long; the first twelve of the 60 stored ones are never shown."""
    return _edited(folder / "a.mp4", first=-12, hide=12)


@sound
def edit_list_ending_early(folder: Path) -> Path:
    path = plain(folder / "a.mp4", count=60)
    return patch(path, "moov/trak/edts/elst", 8, ">I", 48 * 1000 // 30)


@sound
def edit_list_hiding_a_part_of_a_gop(folder: Path) -> Path:
    return _edited(folder / "a.mp4", first=-5, hide=5)


def _edited(path: Path, *, first: int, hide: int) -> Path:
    write_video(path, numbered(48 + hide, first=256 + first), fps=30, options={"g": "12", "crf": "20"})
    data = path.read_bytes()
    elst = next(boxes(data, "moov/trak/edts/elst"))[0]
    clock = struct.unpack_from(">I", data, next(boxes(data, "moov/trak/mdia/mdhd"))[0] + 12)[0]
    length, begin = struct.unpack_from(">Ii", data, elst + 8)
    return patch(path, "moov/trak/edts/elst", 8, ">Ii", length - hide * 1000 // 30, begin + hide * clock // 30)


@sound
def fragmented_mp4(folder: Path) -> Path:
    source = plain(folder / "source.mp4")
    return remux(source, folder / "a.mp4", list, movflags="frag_keyframe+empty_moov+default_base_moof")


@sound
def moov_first(folder: Path) -> Path:
    return remux(plain(folder / "source.mp4"), folder / "a.mp4", list, movflags="faststart")


@sound
def live_webm_without_cues_or_sizes(folder: Path) -> Path:
    return remux(plain(folder / "source.webm", codec="libvpx-vp9"), folder / "a.webm", list, live="1")


@sound
def junk_after_the_end(folder: Path) -> Path:
    path = plain(folder / "a.mp4")
    path.write_bytes(path.read_bytes() + bytes(300) + b"junk" * 100)
    return path


@sound
def one_gop(folder: Path) -> Path:
    return plain(folder / "a.mp4", g="250")


@sound
def all_intra(folder: Path) -> Path:
    return plain(folder / "a.mp4", g="1", qp="18")


@sound
def open_gops(folder: Path) -> Path:
    return plain(folder / "a.mp4", **{"x264-params": "open-gop=1:bframes=3:b-pyramid=2"})


@sound
def deep_pyramid(folder: Path) -> Path:
    return plain(folder / "a.mp4", g="40", bf="8", refs="8", **{"x264-params": "b-pyramid=2:b-adapt=2"})


@sound
def intra_refresh(folder: Path) -> Path:
    return plain(folder / "a.mp4", **{"intra-refresh": "1"})


@sound
def many_slices(folder: Path) -> Path:
    return plain(folder / "a.mp4", slices="4")


@sound
def interlaced_coding(folder: Path) -> Path:
    return plain(folder / "a.mp4", flags="+ildct+ilme", **{"x264-params": "tff=1"})


@sound
def baseline_without_cabac(folder: Path) -> Path:
    return plain(folder / "a.mp4", profile="baseline")


@sound
def full_range_pixels(folder: Path) -> Path:
    write_video(folder / "a.mp4", numbered(), fps=30, options={"g": "12"}, pixel_format="yuvj420p")
    return folder / "a.mp4"


@sound
def gray_pixels(folder: Path) -> Path:
    write_video(folder / "a.mp4", numbered(), fps=30, options={"g": "12"}, pixel_format="gray")
    return folder / "a.mp4"


@sound
def odd_size(folder: Path) -> Path:
    frames = numbered(height=65, width=67)
    write_video(folder / "a.mp4", frames, fps=30, options={"g": "12"}, pixel_format="yuv444p")
    return folder / "a.mp4"


def _tiny(path: Path, height: int, width: int) -> Path:
    frames = shades(height=height, width=width)
    write_video(path, frames, fps=30, options={"qp": "1"}, pixel_format="yuv444p")
    return path


@sound
def tiny_1_x_1(folder: Path) -> Path:
    return _tiny(folder / "a.mp4", 1, 1)


@sound
def tiny_2_x_512(folder: Path) -> Path:
    return _tiny(folder / "a.mp4", 512, 2)


@sound
def container_claims_65535_x_65535(folder: Path) -> Path:
    path = plain(folder / "a.mp4")
    patch(path, "moov/trak/tkhd", 76, ">II", 65535 << 16, 65535 << 16)
    return patch(path, f"{TABLES}/stsd", 8 + 8 + 24, ">HH", 65535, 65535)


@sound
def two_video_tracks(folder: Path) -> Path:
    """The first track has the numbers 0..47, the second 100..147."""
    first, second = plain(folder / "1.mp4"), plain(folder / "2.mp4", first=100)
    return _together(folder / "a.mp4", first, second)


def _together(path: Path, *sources: Path) -> Path:
    with av.open(str(path), "w") as writer:
        readers = [av.open(str(source)) for source in sources]
        streams = [writer.add_stream_from_template(reader.streams[0]) for reader in readers]
        pairs = zip(readers, streams, strict=True)
        packets = [(stream, packet) for reader, stream in pairs for packet in reader.demux(0) if packet.size]
        for stream, packet in sorted(packets, key=lambda item: item[1].dts * item[1].time_base):
            packet.stream = stream
            writer.mux(packet)
        for reader in readers:
            reader.close()
    return path


def sine(path: Path) -> Path:
    """A second and a half of sound without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 24000, 1000):
            wave = np.sin(np.arange(start, start + 1000) / 9).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@sound
def with_sound(folder: Path) -> Path:
    return _together(folder / "a.mp4", sine(folder / "1.m4a"), plain(folder / "2.mp4"))


@sound
def with_a_cover_picture_first(folder: Path) -> Path:
    """The cover is described before the video in the movie header, so that it is the first track."""
    write_video(folder / "cover.avi", numbered(1, first=200), fps=30, codec="mjpeg", pixel_format="yuvj420p")
    _together(folder / "b.mp4", folder / "cover.avi", plain(folder / "2.mp4"))
    path = folder / "a.mp4"
    with av.open(str(folder / "b.mp4")) as reader, av.open(str(path), "w") as writer:
        streams = [writer.add_stream_from_template(stream) for stream in reader.streams]
        streams[0].disposition = av.stream.Disposition.attached_pic
        for packet in reader.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)
    data = path.read_bytes()
    (track, end), (cover, last) = next(boxes(data, "moov/trak")), next(boxes(data, "moov/udta"))
    path.write_bytes(data[: track - 8] + data[cover - 8 : last] + data[track - 8 : end] + data[last:])
    return path


def _false_keys(path: Path) -> Path:
    """Call the sixth packet after each key frame a key frame instead of that one."""
    data = path.read_bytes()
    start, _ = next(boxes(data, f"{TABLES}/stss"))
    (count,) = struct.unpack_from(">I", data, start + 4)
    keys = struct.unpack_from(f">{count}I", data, start + 8)
    return patch(path, f"{TABLES}/stss", 12, f">{count - 1}I", *(key + 6 for key in keys[1:]))


@sound
def false_key_flags_vp9(folder: Path) -> Path:
    options = {"deadline": "realtime", "cpu-used": "8"}
    return _false_keys(plain(folder / "a.mp4", codec="libvpx-vp9", **options))


@sound
def false_key_flags_mpeg4(folder: Path) -> Path:
    return _false_keys(plain(folder / "a.mp4", codec="mpeg4", b="600k"))


@sound
def false_key_flags_av1(folder: Path) -> Path:
    return _false_keys(plain(folder / "a.mp4", codec="libsvtav1", crf="20", preset="10"))


@sound
def false_key_flags_h264(folder: Path) -> Path:
    return _false_keys(plain(folder / "a.mp4"))


@sound
def false_key_flags_mkv(folder: Path) -> Path:
    def flag(packets: list[av.Packet]) -> list[av.Packet]:
        for packet in packets[1:]:
            packet.is_keyframe = packet.pos % 3 == 0
        return packets

    return remux(plain(folder / "source.mp4"), folder / "a.mkv", flag)


@sound
def names_that_are_not_utf_8(folder: Path) -> Path:
    """Metadata in some other encoding."""
    path = folder / "a.mp4"
    with av.open(str(plain(folder / "source.mp4"))) as reader, av.open(str(path), "w") as writer:
        writer.metadata["title"] = "Zoo" * 9
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"Zoo" * 9, b"\xff\xfe\xc3" * 9))
    return path
