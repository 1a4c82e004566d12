"""Broken and hostile files: what must be refused with an error that names the file.

`REFUSED` maps a kind to the function that makes it in a folder and returns the path to ask for. `EITHER` has kinds
where the right frames are as good as an error.
"""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.zoo.data.corpus import TABLES, boxes, numbered, patch, plain, remux
from tests.zoo.data.corpus_forms import sine, with_sound
from zoo.data.encode import write_video

Maker = Callable[[Path], Path | str]
REFUSED: dict[str, Maker] = {}
EITHER: dict[str, Maker] = {}


def refused(maker: Maker) -> Maker:
    """Enter a maker under its name."""
    REFUSED[maker.__name__] = maker
    return maker


def either(maker: Maker) -> Maker:
    """Likewise, where exact frames would do as well."""
    EITHER[maker.__name__] = maker
    return maker


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Not video at all


@refused
def empty(folder: Path) -> Path:
    return _written(folder / "a.mp4", b"")


@refused
def text(folder: Path) -> Path:
    return _written(folder / "a.mp4", b"no video\n" * 99)


@refused
def html(folder: Path) -> Path:
    return _written(folder / "a.mp4", b"<!DOCTYPE html><html><body>404</body></html>")


@refused
def git_lfs_pointer(folder: Path) -> Path:
    return _written(folder / "a.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")


@refused
def noise(folder: Path) -> Path:
    return _written(folder / "a.mp4", np.random.default_rng(0).bytes(20_000))


@refused
def zeros(folder: Path) -> Path:
    return _written(folder / "a.mp4", bytes(20_000))


@refused
def one_byte(folder: Path) -> Path:
    return _written(folder / "a.mp4", b"\0")


@refused
def jpeg_named_mp4(folder: Path) -> Path:
    Image.fromarray(numbered(1)[0]).save(folder / "a.jpg")
    return (folder / "a.jpg").rename(folder / "a.mp4")


@refused
def png_named_mp4(folder: Path) -> Path:
    Image.fromarray(numbered(1)[0]).save(folder / "a.png")
    return (folder / "a.png").rename(folder / "a.mp4")


@refused
def gif_named_mp4(folder: Path) -> Path:
    Image.fromarray(numbered(1)[0]).save(folder / "a.gif")
    return (folder / "a.gif").rename(folder / "a.mp4")


@refused
def hls_playlist(folder: Path) -> Path:
    plain(folder / "other.ts")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:1.6,", "other.ts", "#EXT-X-ENDLIST", ""]
    return _written(folder / "a.mp4", "\n".join(lines).encode())


@refused
def ffconcat_script(folder: Path) -> Path:
    plain(folder / "other.mp4")
    return _written(folder / "a.mp4", b"ffconcat version 1.0\nfile other.mp4\nfile other.mp4\n")


@refused
def dash_manifest(folder: Path) -> Path:
    manifest = b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>'
    return _written(folder / "a.mp4", manifest)


@refused
def session_description(folder: Path) -> Path:
    return _written(folder / "a.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n")


@refused
def audio_only(folder: Path) -> Path:
    return sine(folder / "a.mp4")


# Not regular files


@refused
def missing(folder: Path) -> Path:
    return folder / "nothing.mp4"


@refused
def a_folder(folder: Path) -> Path:
    return folder


@refused
def dangling_link(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to(folder / "nothing")
    return folder / "a.mp4"


@refused
def loop_of_links(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to(folder / "b.mp4")
    (folder / "b.mp4").symlink_to(folder / "a.mp4")
    return folder / "a.mp4"


@refused
def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


@refused
def unix_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "a.mp4"))
    return folder / "a.mp4"


@refused
def dev_zero(folder: Path) -> str:
    return "/dev/zero"


@refused
def dev_null(folder: Path) -> str:
    return "/dev/null"


@refused
def link_to_dev_zero(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to("/dev/zero")
    return folder / "a.mp4"


@refused
def null_character_in_the_name(folder: Path) -> str:
    return f"{folder}/a\0.mp4"


@refused
def empty_name(folder: Path) -> str:
    return ""


@refused
def name_of_5000_characters(folder: Path) -> str:
    return f"{folder}/" + "a" * 5000


# Names that are no files


@refused
def concat_protocol(folder: Path) -> str:
    path = plain(folder / "a.ts")
    return f"concat:{path}|{path}"


@refused
def subfile_protocol(folder: Path) -> str:
    return f"subfile,,start,0,end,0,,:{plain(folder / 'a.mp4')}"


@refused
def file_protocol(folder: Path) -> str:
    return f"file:{plain(folder / 'a.mp4')}"


@refused
def file_address(folder: Path) -> str:
    return f"file://{plain(folder / 'a.mp4')}"


@refused
def standard_input(folder: Path) -> str:
    return "pipe:0"


@refused
def numbered_pictures(folder: Path) -> str:
    for number, picture in enumerate(numbered(3)):
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
    return str(folder / "%03d.png")


@refused
def synthetic_device(folder: Path) -> str:
    return "testsrc=duration=1"


@refused
def data_address(folder: Path) -> str:
    return "data:video/mp4;base64,AAAA"


# Cut short


@refused
def no_moov(folder: Path) -> Path:
    data = plain(folder / "a.mp4").read_bytes()
    return _written(folder / "a.mp4", data[: data.rindex(b"moov") - 4])


def _moov_first(folder: Path, **options: str) -> Path:
    return remux(plain(folder / "source.mp4", **options), folder / "a.mp4", list, movflags="faststart")


@refused
def cut_in_the_middle(folder: Path) -> Path:
    data = _moov_first(folder).read_bytes()
    return _written(folder / "a.mp4", data[: len(data) * 6 // 10])


@refused
def cut_between_two_packets(folder: Path) -> Path:
    """The movie header tells of 48 frames, 20 are whole and nothing is left of the others."""
    path = _moov_first(folder)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    end = packets[19].pos + packets[19].size
    data = bytearray(path.read_bytes()[:end])
    for start, _ in boxes(bytes(data), "mdat"):
        struct.pack_into(">I", data, start - 8, end - start + 8)  # and the box around them has been mended
    return _written(path, bytes(data))


@refused
def last_25_bytes_missing(folder: Path) -> Path:
    return _written(folder / "a.mp4", _moov_first(folder).read_bytes()[:-25])


@refused
def mkv_cut_in_the_middle(folder: Path) -> Path:
    data = plain(folder / "a.mkv").read_bytes()
    return _written(folder / "a.mkv", data[: len(data) * 6 // 10])


@refused
def mkv_cut_between_two_packets(folder: Path) -> Path:
    path = plain(folder / "a.mkv")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    return _written(path, path.read_bytes()[: packets[30].pos])


@refused
def webm_cut_in_the_middle(folder: Path) -> Path:
    data = plain(folder / "a.webm", codec="libvpx-vp9", deadline="realtime", **{"cpu-used": "8"}).read_bytes()
    return _written(folder / "a.webm", data[: len(data) * 6 // 10])


@refused
def avi_cut_in_the_middle(folder: Path) -> Path:
    data = plain(folder / "a.avi", codec="mpeg4").read_bytes()
    return _written(folder / "a.avi", data[: len(data) * 6 // 10])


@refused
def fragments_cut_in_the_middle(folder: Path) -> Path:
    options = {"movflags": "frag_keyframe+empty_moov"}
    data = remux(plain(folder / "source.mp4"), folder / "a.mp4", list, **options).read_bytes()
    return _written(folder / "a.mp4", data[: len(data) * 6 // 10])


@either
def ts_cut_in_the_middle(folder: Path) -> Path:
    data = plain(folder / "a.ts").read_bytes()
    return _written(folder / "a.ts", data[: len(data) * 6 // 10])


@either
def flv_cut_in_the_middle(folder: Path) -> Path:
    data = plain(folder / "a.flv").read_bytes()
    return _written(folder / "a.flv", data[: len(data) * 6 // 10])


@either
def raw_cut_in_the_middle(folder: Path) -> Path:
    data = plain(folder / "a.h264").read_bytes()
    return _written(folder / "a.h264", data[: len(data) * 6 // 10])


@refused
def ts_pasted_together(folder: Path) -> Path:
    data = plain(folder / "1.ts", count=24).read_bytes() + plain(folder / "2.ts", count=24, first=24).read_bytes()
    return _written(folder / "a.ts", data)


@refused
def mp4_with_a_hole(folder: Path) -> Path:
    data = bytearray(_moov_first(folder).read_bytes())
    start, end = next(boxes(bytes(data), "mdat"))
    middle = (start + end) // 2
    data[middle : middle + 3000] = bytes(3000)
    return _written(folder / "a.mp4", bytes(data))


def _holed(path: Path, start: int, length: int) -> Path:
    data = bytearray(path.read_bytes())
    data[start : start + length] = bytes(length)
    return _written(path, bytes(data))


@refused
def webm_with_a_hole(folder: Path) -> Path:
    options = {"deadline": "realtime", "cpu-used": "8"}
    return _holed(plain(folder / "a.webm", codec="libvpx-vp9", **options), 9000, 1024)


@refused
def av1_with_a_hole(folder: Path) -> Path:
    return _holed(plain(folder / "a.mp4", codec="libsvtav1", crf="20", preset="10"), 5000, 1024)


@refused
def ts_with_a_hole(folder: Path) -> Path:
    return _holed(plain(folder / "a.ts"), 9000, 1024)


@refused
def mkv_with_one_flipped_bit(folder: Path) -> Path:
    """FFmpeg writes checksums into mkv files and does not look at them again."""
    return flipped(plain(folder / "b.mkv"), folder / "a.mkv", flips=1, seed=3)


@refused
def forty_flipped_bits(folder: Path) -> Path:
    return flipped(_moov_first(folder), folder / "a.mp4", flips=40, seed=0)


def flipped(source: Path, target: Path, *, flips: int, seed: int) -> Path:
    """Flip bits of the compressed pictures of an ISO file, or anywhere in another."""
    data, generator = bytearray(source.read_bytes()), np.random.default_rng(seed)
    start, end = next(boxes(bytes(data), "mdat"), (0, len(data)))
    for bit in generator.integers(8 * start, 8 * end, flips):
        data[bit // 8] ^= 1 << bit % 8
    return _written(target, bytes(data))


# Whole, but not what it says


def _without(folder: Path, name: str, dropped: int, **options: str) -> Path:
    def drop(packets: list[av.Packet]) -> list[av.Packet]:
        return packets[:dropped] + packets[dropped + 1 :]

    return remux(plain(folder / "source.mp4", **options), folder / name, drop)


@refused
def first_key_frame_missing_mp4(folder: Path) -> Path:
    return _without(folder, "a.mp4", 0)


@refused
def first_key_frame_missing_mkv(folder: Path) -> Path:
    return _without(folder, "a.mkv", 0)


@refused
def first_key_frame_missing_hevc(folder: Path) -> Path:
    source = plain(folder / "source.mp4", codec="libx265")
    return remux(source, folder / "a.mp4", lambda packets: packets[1:])


@refused
def lost_packet_mp4(folder: Path) -> Path:
    """A reference picture was lost before the file was written: decoders fill in something and say nothing."""
    return _without(folder, "a.mp4", 13)


@refused
def lost_packet_mkv(folder: Path) -> Path:
    return _without(folder, "a.mkv", 1)


@refused
def lost_packet_hevc(folder: Path) -> Path:
    source = plain(folder / "source.mp4", codec="libx265")
    return remux(source, folder / "a.mp4", lambda packets: packets[:13] + packets[14:])


@refused
def lost_key_frame_ts(folder: Path) -> Path:
    return _without(folder, "a.ts", 24)


@refused
def times_in_disorder(folder: Path) -> Path:
    """Times of two far frames exchanged, in a file whose edit list hides frames by their times."""
    path = patch(plain(folder / "a.mp4"), "moov/trak/edts/elst", 8, ">I", 1400)
    return patch(path, f"{TABLES}/ctts", 8 + 8 * 10 + 4, ">I", 40 * 512)


@refused
def track_without_frames(folder: Path) -> Path:
    path = plain(folder / "a.mp4", bf="0")
    patch(path, f"{TABLES}/stsz", 4, ">II", 0, 0)
    for box in ("stts", "stsc", "stco", "stss"):
        patch(path, f"{TABLES}/{box}", 4, ">I", 0)
    return path


@refused
def header_without_tracks(folder: Path) -> Path:
    with av.open(str(plain(folder / "source.mp4"))) as reader, av.open(str(folder / "a.mp4"), "w") as writer:
        writer.add_stream_from_template(reader.streams.video[0])
        writer.start_encoding()
    return folder / "a.mp4"


def _grown(folder: Path, name: str) -> Path:
    """Raw stream whose second half is larger, and whose parameters are in the stream."""
    write_video(folder / "1.h264", numbered(24), fps=30, options={"g": "12", "bf": "0"})
    write_video(folder / "2.h264", numbered(24, height=96, width=96), fps=30, options={"g": "12", "bf": "0"})
    return _written(folder / name, (folder / "1.h264").read_bytes() + (folder / "2.h264").read_bytes())


@refused
def size_change_raw(folder: Path) -> Path:
    return _grown(folder, "a.h264")


@refused
def size_change_mp4(folder: Path) -> Path:
    return _counted(_grown(folder, "source.h264"), folder / "a.mp4")


@refused
def size_change_mkv(folder: Path) -> Path:
    return _counted(_grown(folder, "source.h264"), folder / "a.mkv")


def _counted(source: Path, target: Path) -> Path:
    def count(packets: list[av.Packet]) -> list[av.Packet]:
        for number, packet in enumerate(packets):
            packet.pts = packet.dts = round(number / 30 / float(packet.time_base))
        return packets

    return remux(source, target, count)


@refused
def size_change_webm(folder: Path) -> Path:
    paths = [folder / "1.webm", folder / "2.webm"]
    for path, size in zip(paths, (64, 96), strict=True):
        frames = numbered(24, height=size, width=size)
        write_video(path, frames, fps=30, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
    with av.open(str(paths[1])) as reader:
        later = [packet for packet in reader.demux(video=0) if packet.size]
        for packet in later:
            packet.pts, packet.dts = packet.pts + 800, packet.dts + 800
        return remux(paths[0], folder / "a.webm", lambda packets: packets + later)


@either
def time_table_claims_2_31_frames(folder: Path) -> Path:
    return patch(plain(folder / "a.mp4", bf="0"), f"{TABLES}/stts", 8, ">I", (1 << 31) - 1)


@refused
def four_billion_samples_of_one_byte(folder: Path) -> Path:
    return patch(_table_bomb(folder), f"{TABLES}/stsz", 4, ">II", 1, 4_000_000_000)


@refused
def sixty_million_samples_of_one_byte(folder: Path) -> Path:
    return patch(_table_bomb(folder), f"{TABLES}/stsz", 4, ">II", 1, 60_000_000)


def _table_bomb(folder: Path) -> Path:
    path = plain(folder / "a.mp4", bf="0")
    patch(path, f"{TABLES}/stts", 8, ">I", 60_000_000)
    return patch(path, f"{TABLES}/stsc", 8, ">III", 1, 60_000_000, 1)


@refused
def fragment_of_80_million_samples(folder: Path) -> Path:
    path = remux(plain(folder / "source.mp4"), folder / "a.mp4", list, movflags="frag_keyframe+empty_moov")
    return patch(path, "moof/traf/trun", 0, ">II", 0, 80_000_000)


@refused
def edits_that_repeat_everything(folder: Path) -> Path:
    """100,000 edits, each of which shows the whole track."""
    path = plain(folder / "a.mp4", bf="0")
    data = path.read_bytes()
    start, end = next(boxes(data, "moov/trak/edts/elst"))
    entry = data[start + 8 : start + 20]
    more = entry * 99_999
    data = bytearray(data[:end] + more + data[end:])
    for box in ("moov", "moov/trak", "moov/trak/edts", "moov/trak/edts/elst"):
        place = next(boxes(bytes(data), box))[0] - 8
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(more))
    struct.pack_into(">I", data, start + 4, 100_000)
    return _written(path, bytes(data))


@refused
def compressed_header_bomb(folder: Path) -> Path:
    inner = struct.pack(">I4sI", 12, b"dcom", 0x7A6C6962) + struct.pack(">I4sI", 12, b"cmvd", 1 << 30)
    cmov = struct.pack(">I4s", 8 + len(inner), b"cmov") + inner
    head = struct.pack(">I4s4sI", 16, b"ftyp", b"qt  ", 0)
    return _written(folder / "a.mov", head + struct.pack(">I4s", 8 + len(cmov), b"moov") + cmov)


@refused
def boxes_in_boxes_in_boxes(folder: Path) -> Path:
    data = b""
    for _ in range(20_000):
        data = struct.pack(">I4s", 8 + len(data), b"moov") + data
    return _written(folder / "a.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + data)


@refused
def millions_of_empty_boxes(folder: Path) -> Path:
    head = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)
    return _written(folder / "a.mp4", head + struct.pack(">I4s", 8, b"free") * 1_200_000)


@refused
def pictures_beyond_the_end(folder: Path) -> Path:
    return patch(plain(folder / "a.mp4"), f"{TABLES}/stco", 8, ">I", 0x7FFFFFFF)


@refused
def last_chunk_beyond_the_end(folder: Path) -> Path:
    path = with_sound(folder)
    data = bytearray(path.read_bytes())
    start, end = next(boxes(bytes(data), f"{TABLES}/stco"))  # the last track's, which has the pictures
    assert end - start > 12  # several chunks, as the sound is between them
    struct.pack_into(">I", data, end - 4, 0x7FFFFFFF)
    return _written(path, bytes(data))


@refused
def clock_of_zero(folder: Path) -> Path:
    return patch(plain(folder / "a.mp4"), "moov/trak/mdia/mdhd", 12, ">I", 0)


@either
def frames_of_four_years(folder: Path) -> Path:
    return patch(plain(folder / "a.mp4", bf="0"), f"{TABLES}/stts", 12, ">I", (1 << 31) - 1)


@refused
def codec_unknown(folder: Path) -> Path:
    return patch(plain(folder / "a.mp4"), f"{TABLES}/stsd", 12, ">I", int.from_bytes(b"xyz1", "big"))


@refused
def codec_exchanged(folder: Path) -> Path:
    """H.264 data that its container calls VP9."""
    return patch(plain(folder / "a.mp4"), f"{TABLES}/stsd", 12, ">I", int.from_bytes(b"vp09", "big"))


@refused
def display_turned_by_45_degrees(folder: Path) -> Path:
    turn = 46341
    return patch(plain(folder / "a.mp4"), "moov/trak/tkhd", 40, ">5i", turn, turn, 0, -turn, turn)
