"""Copies have the frames of their source at its times, in another size."""

import hashlib
import itertools
import os
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.zoo.data import corpus, corpus_forms  # noqa: F401 - enters more kinds
from tests.zoo.data.corpus import COUNT, numbered, numbers, patch, plain, remux, sound_file
from tests.zoo.data.corpus_hostile import REFUSED
from zoo.data import transcode as module
from zoo.data.decode import DecodeError, probe, read_frames
from zoo.data.encode import write_video
from zoo.data.orientation import BY_SIGNS
from zoo.data.transcode import Encoding, TranscodeError, transcode

FAST = Encoding(short_side=32, gop=12, preset="veryfast")
FEW = ["h264_mp4", "mpeg4_avi", "vp9_webm", "variable_rate_mkv", "late_start_mp4", "ntsc_rate", "late_start_mkv"]


def same(source, copy, encoding=FAST):
    before, after = probe(source), probe(copy)
    assert after.num_frames == before.num_frames
    if len(before.times):
        np.testing.assert_allclose(after.times - after.times[0], before.times - before.times[0], atol=1e-6)
        assert after.times[0] == pytest.approx(max(0.0, before.times[0]), abs=1e-6)
    assert after.key_frames == tuple(range(0, after.num_frames, encoding.gop))
    assert numbers(read_frames(copy)) == numbers(read_frames(source))


@pytest.mark.parametrize("kind", FEW)
def test_a_copy_has_the_same_frames_at_the_same_times(kind, tmp_path):
    index = transcode(sound_file(kind), tmp_path / "copy.mp4", encoding=FAST)
    assert (min(index.height, index.width), index.codec) == (32, "h264")
    assert index.container.startswith("mov")
    same(sound_file(kind), tmp_path / "copy.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(corpus.SOUND) - set(FEW)))
def test_every_kind_of_sound_file_can_be_copied(kind, tmp_path):
    source = sound_file(kind)
    transcode(source, tmp_path / "copy.mp4", encoding=FAST)
    if probe(source).height >= 32 <= probe(source).width:
        same(source, tmp_path / "copy.mp4")


def test_times_before_0_are_moved_to_0(tmp_path):
    def early(packets):
        for packet in packets:
            ticks = round(0.5 / float(packet.time_base))
            packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        return packets

    source = remux(plain(tmp_path / "s.mp4", bf="0"), tmp_path / "a.ts", early, avoid_negative_ts="disabled")
    assert probe(source).times[0] == -0.5
    transcode(source, tmp_path / "copy.mp4", encoding=FAST)
    assert probe(tmp_path / "copy.mp4").times[0] == 0
    same(source, tmp_path / "copy.mp4")


def test_a_start_between_two_milliseconds_is_kept(tmp_path):
    def late(packets):
        for packet in packets:
            packet.pts, packet.dts = packet.pts + 123457, packet.dts + 123457
        return packets

    source = remux(plain(tmp_path / "s.ts", bf="0"), tmp_path / "a.ts", late)
    transcode(source, tmp_path / "copy.mp4", encoding=FAST)
    assert abs(probe(source).times[0] * 1000 % 1) > 1e-3
    same(source, tmp_path / "copy.mp4")


def test_the_original_is_not_touched(tmp_path):
    source = plain(tmp_path / "a.mp4")
    before = hashlib.sha256(source.read_bytes()).hexdigest(), os.stat(source).st_mtime_ns
    transcode(source, tmp_path / "copy.mp4", encoding=FAST)
    assert (hashlib.sha256(source.read_bytes()).hexdigest(), os.stat(source).st_mtime_ns) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "copy.mp4"]


@pytest.mark.parametrize(
    ("short_side", "size", "expected"),
    [
        (32, (64, 96), (32, 48)),
        (32, (96, 64), (48, 32)),
        (320, (64, 96), (64, 96)),
        (320, (65, 97), (64, 96)),
        (320, (240, 426), (240, 426)),
        (320, (1080, 1920), (320, 568)),
        (320, (1, 7), (2, 8)),
    ],
)
def test_the_short_side_shrinks_and_never_grows(short_side, size, expected):
    assert Encoding(short_side=short_side).size(*size) == expected


@pytest.mark.parametrize("signs", BY_SIGNS, ids=str)
def test_turned_videos_are_stored_upright(signs, tmp_path):
    frames = np.zeros((4, 48, 64, 3), np.uint8)
    frames[:, :24, :32, 0], frames[:, :24, 32:, 1], frames[:, 24:, :32, 2] = 250, 200, 250
    write_video(tmp_path / "a.mp4", frames, fps=8, options={"crf": "5"})
    a, b, c, d = (65536 * sign for sign in signs)
    source = patch(tmp_path / "a.mp4", "moov/trak/tkhd", 40, ">5i", a, b, 0, c, d)
    index = transcode(source, tmp_path / "copy.mp4", encoding=Encoding(short_side=24, crf=5))
    assert (index.rotation, index.mirrored) == (0, False)
    assert (index.height, index.width) == ((24, 32) if a else (32, 24))
    before, after = (read_frames(path, [1])[0].astype(int) for path in (source, tmp_path / "copy.mp4"))
    for y, x in itertools.product((0.25, 0.75), repeat=2):
        corners = [it[int(y * it.shape[0]), int(x * it.shape[1])] for it in (before, after)]
        assert np.abs(corners[0] - corners[1]).max() < 12


def test_full_range_and_tagged_colours_stay_the_same(tmp_path):
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    frames[:, :, :20], frames[:, :, 20:40, 0], frames[:, :, 40:, 2] = 255, 200, 120
    tagged = {"colorprim": "bt709", "transfer": "bt709", "colormatrix": "bt709"}
    params = ":".join(f"{key}={value}" for key, value in tagged.items())
    write_video(tmp_path / "full.avi", frames, fps=8, codec="mjpeg", pixel_format="yuvj420p")
    write_video(tmp_path / "tagged.mp4", frames, fps=8, options={"x264-params": params})
    options = {"color_range": "pc", "deadline": "realtime", "cpu-used": "8"}
    write_video(tmp_path / "full.webm", frames, fps=8, codec="libvpx-vp9", options=options)
    for name in ("full.avi", "full.webm", "tagged.mp4"):
        transcode(tmp_path / name, tmp_path / "copy.mp4", encoding=Encoding(crf=4))
        before, after = (read_frames(path, [1])[0].astype(int) for path in (tmp_path / name, tmp_path / "copy.mp4"))
        assert np.abs(before - after).mean((0, 1)).max() < 3, name
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == 1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_times_of_short_still_videos_can_be_trusted(count, tmp_path):
    write_video(
        tmp_path / "a.avi", np.full((count, 32, 32, 3), 90, np.uint8), fps=8, codec="mjpeg", pixel_format="yuvj420p"
    )
    assert transcode(tmp_path / "a.avi", tmp_path / "b.mp4").times.tolist() == [n / 8 for n in range(count)]


def test_sound_is_left_out(tmp_path):
    transcode(sound_file("with_sound"), tmp_path / "copy.mp4", encoding=FAST)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("kind", ["text", "lost_packet_mp4", "missing"])
def test_a_broken_source_leaves_nothing_behind(kind, tmp_path):
    (tmp_path / "in").mkdir()
    source = REFUSED[kind](tmp_path / "in")
    (tmp_path / "out").mkdir()
    with pytest.raises(DecodeError):
        transcode(source, tmp_path / "out" / "copy.mp4", encoding=FAST)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("frames", "47 frames, the source 48"), ("times", "frame 20 of the copy"), ("keys", r"key frames at \[0, 13")],
)
def test_a_copy_that_differs_never_gets_its_name(wrong, message, tmp_path, monkeypatch):
    writer, take = module._Writer, module._Writer.take

    def spoilt(self, index, frame):
        if wrong == "frames" and self._number == 20:
            self._number = 21
            return
        if wrong == "times" and self._number == 20:
            frame.pts += 60
        take(self, index, frame)

    if wrong == "keys":
        monkeypatch.setattr(module, "_Writer", lambda path, encoding: writer(path, replace(encoding, gop=13)))
    else:
        monkeypatch.setattr(writer, "take", spoilt)
    with pytest.raises(TranscodeError, match=message):
        transcode(sound_file("h264_mp4"), tmp_path / "copy.mp4", encoding=FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_the_source_or_no_mp4_is_refused(tmp_path):
    source = plain(tmp_path / "a.mp4", count=4)
    (tmp_path / "link.mp4").symlink_to(source)
    for target, hint in [
        ("a.mp4", "is the source itself"),
        ("link.mp4", "is the source itself"),
        ("a.mkv", "mp4 files"),
    ]:
        with pytest.raises(ValueError, match=hint):
            transcode(source, tmp_path / target)
    assert probe(source).num_frames == 4


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"short_side": 33}, "even number of pixels from 16 on, got 33"),
        ({"short_side": 0}, "got 0"),
        ({"gop": 0}, "at least 1 frame, got 0"),
        ({"crf": 52}, "0 to 51, got 52"),
        ({"preset": "fastest"}, "unknown preset 'fastest'; known: ultrafast"),
    ],
)
def test_settings_that_make_no_video_are_refused(settings, hint):
    with pytest.raises(ValueError, match=hint):
        Encoding(**settings)


def test_a_rate_that_is_no_whole_number_is_kept(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(30), fps=Fraction(24000, 1001))
    copy = transcode(tmp_path / "a.mp4", tmp_path / "b.mp4", encoding=FAST)
    assert copy.fps == pytest.approx(24000 / 1001, abs=1e-9)
    assert COUNT != copy.num_frames == 30
