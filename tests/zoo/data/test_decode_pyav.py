"""PyAV returns exactly the asked frames of every sound kind of file, from memory and from the file read again."""

import dataclasses
import faulthandler
import os
import signal

import av
import numpy as np
import pytest

from tests.zoo.data import corpus_forms  # noqa: F401 (enters its kinds)
from tests.zoo.data.corpus import COUNT, SOUND, numbered, numbers, patch, plain, remux, shade_numbers, sound_file
from zoo.data import decode_pyav
from zoo.data.decode import DecodeError, Limits, probe, read_frames
from zoo.data.encode import write_video
from zoo.data.orientation import BY_SIGNS, Orientation
from zoo.data.video_file import Source

ASKED = [40, 3, 17, 17, 30, 0, 47]
FROM_THE_FILE = Limits(kept_bytes=0)


@pytest.fixture(autouse=True)
def _nothing_hangs():
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def _numbers(kind, frames):
    return (shade_numbers if kind.startswith("tiny") else numbers)(frames)


@pytest.mark.parametrize("kind", SOUND)
def test_all_frames_come_in_order(kind):
    assert _numbers(kind, read_frames(sound_file(kind))) == list(range(COUNT))


@pytest.mark.parametrize("kind", SOUND)
def test_sparse_frames_equal_those_of_the_whole_file(kind):
    path = sound_file(kind)
    frames = read_frames(path, ASKED)
    assert _numbers(kind, frames) == ASKED
    np.testing.assert_array_equal(frames, read_frames(path)[ASKED])


SOUGHT = [
    "h264_mp4",
    "h264_mkv",
    "hevc_mp4",
    "h264_ts",
    "vp9_webm",
    "edit_list_hiding_a_part_of_a_gop",
    "fragmented_mp4",
]


@pytest.mark.parametrize(
    "kind", [kind if kind in SOUGHT else pytest.param(kind, marks=pytest.mark.slow) for kind in SOUND]
)
def test_seeking_in_the_file_gives_the_same_frames(kind):
    path = sound_file(kind)
    index = probe(path)
    for limits, known in ((FROM_THE_FILE, None), (Limits(), index)):
        np.testing.assert_array_equal(read_frames(path, ASKED, limits=limits, index=known), read_frames(path, ASKED))


@pytest.mark.parametrize("kind", SOUND)
def test_probe_counts_frames_and_tells_their_size(kind):
    index = probe(sound_file(kind))
    size = {"odd_size": (65, 67), "tiny_1_x_1": (1, 1), "tiny_2_x_512": (512, 2)}.get(kind, (64, 64))
    assert (index.num_frames, index.height, index.width) == (COUNT, *size)
    assert len(index.times) in (0, COUNT)
    assert (np.diff(index.times) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOUND)
def test_every_single_frame_can_be_asked_for(kind):
    path = sound_file(kind)
    for limits in (Limits(), FROM_THE_FILE):
        assert [_numbers(kind, read_frames(path, [number], limits=limits))[0] for number in range(COUNT)] == list(
            range(COUNT)
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOUND)
def test_random_selections_are_exact(kind):
    path, generator = sound_file(kind), np.random.default_rng(0)
    clean = read_frames(path)
    for _ in range(12):
        asked = generator.integers(0, COUNT, generator.integers(1, 9)).tolist()
        np.testing.assert_array_equal(read_frames(path, asked), clean[asked])


def test_probe_tells_times_keys_and_codec():
    index = probe(sound_file("h264_mp4"))
    np.testing.assert_allclose(index.times, np.arange(COUNT) / 30, atol=1e-4)
    assert index.key_frames == (0, 12, 24, 36)
    assert (index.codec, index.rotation, index.mirrored, index.regular, index.unusual) == ("h264", 0, False, True, ())
    assert index.fps == pytest.approx(30)


def test_late_and_variable_times_are_told_as_they_are():
    assert probe(sound_file("late_start_mp4")).times[0] == pytest.approx(10, abs=0.001)
    index = probe(sound_file("variable_rate_mp4"))
    np.testing.assert_allclose(index.times, (np.arange(48) + np.arange(48) // 7 * 3) / 30, atol=1e-3)
    assert not index.regular


UNTIMED = ["h264_avi_with_b_frames", "h264_avi_without_b_frames", "mpeg4_avi", "wmv_asf", "h264_raw"]


@pytest.mark.parametrize("kind", [*UNTIMED, "negative_times_mkv", "two_frames_at_one_time"])
def test_made_up_or_clashing_times_are_not_told(kind):
    index = probe(sound_file(kind))
    assert len(index.times) == 0
    assert index.key_frames == ()
    assert not index.regular


@pytest.mark.parametrize("kind", ["hevc_mp4", "mpeg4_mp4_with_b_frames", "open_gops", "intra_refresh"])
def test_key_frames_with_leading_pictures_are_noticed(kind):
    assert any("key frames" in reason for reason in probe(sound_file(kind)).unusual)


def test_few_packets_are_decoded_for_few_frames(monkeypatch):
    sent = []
    whole = decode_pyav.Track._sent
    monkeypatch.setattr(decode_pyav.Track, "_sent", lambda self, run: (sent.append(p) or p for p in whole(self, run)))
    read_frames(sound_file("h264_mp4"), [12])
    assert len(sent) == 1  # the key frame itself
    sent.clear()
    read_frames(sound_file("h264_mp4"), [13, 40])
    assert len(sent) < 12
    sent.clear()
    read_frames(sound_file("h264_mp4"))
    assert len(sent) == COUNT


@pytest.mark.parametrize("signs", BY_SIGNS, ids=str)
def test_pictures_are_turned_as_the_display_matrix_says(signs, tmp_path):
    write_video(tmp_path / "a.mp4", numbered(8, height=64, width=96), fps=30, options={"crf": "10"})
    stored = read_frames(tmp_path / "a.mp4")
    a, b, c, d = (sign << 16 for sign in signs)
    patch(tmp_path / "a.mp4", "moov/trak/tkhd", 40, ">5i", a, b, 0, c, d)
    shown = read_frames(tmp_path / "a.mp4")
    index = probe(tmp_path / "a.mp4")
    orientation = BY_SIGNS[signs]
    assert (index.rotation, index.mirrored, index.height, index.width) == (*orientation, *shown.shape[1:3])
    assert shown.shape[1:3] == ((96, 64) if orientation.rotation % 180 else (64, 96))
    # Where the matrix puts the pixel in the stored picture's top left corner (x to the right, y down).
    corner = shown[:, -1 if b + d < 0 else 0, -1 if a + c < 0 else 0]
    np.testing.assert_array_equal(corner, stored[:, 0, 0])
    assert shown.flags["C_CONTIGUOUS"]


def test_colors_are_what_was_written(tmp_path):
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]], np.uint8)
    frames = np.broadcast_to(np.repeat(colors, 32, axis=0)[None, None], (3, 64, 192, 3))
    write_video(tmp_path / "a.mp4", frames, fps=30, options={"qp": "1"}, pixel_format="yuv444p")
    for decoder in ("pyav",):
        assert np.abs(read_frames(tmp_path / "a.mp4", decoder=decoder).astype(int) - frames).max() <= 3


def test_a_file_that_changes_after_its_index_is_refused(tmp_path):
    path = plain(tmp_path / "a.mp4")
    index = probe(path)
    plain(path, first=100)
    with pytest.raises(DecodeError, match="has changed since it was indexed"):
        read_frames(path, [3], index=index)


def test_another_files_packets_are_refused(tmp_path):
    path = plain(tmp_path / "a.mp4")
    foreign = dataclasses.replace(probe(plain(tmp_path / "b.mp4", first=100)), stamp=probe(path).stamp)
    with pytest.raises(DecodeError, match="changed while it was read"):
        read_frames(path, [30], index=foreign)


def test_frames_over_the_pixel_budget_are_refused_before_they_are_decoded():
    with pytest.raises(DecodeError, match="limit of frame_pixels=4095"):
        read_frames(sound_file("h264_mp4"), [0], limits=Limits(frame_pixels=4095))


def test_answers_over_the_output_budget_are_refused():
    limits = Limits(output_pixels=10 * 64 * 64)
    assert len(read_frames(sound_file("h264_mp4"), range(10), limits=limits)) == 10
    with pytest.raises(DecodeError, match=r"11 frames of 64 x 64 .* output_pixels=40960"):
        read_frames(sound_file("h264_mp4"), range(11), limits=limits)


def test_tracks_over_the_packet_budget_are_refused():
    for kind in ("h264_mp4", "h264_mkv"):
        with pytest.raises(DecodeError, match="packets=40"):
            read_frames(sound_file(kind), [0], limits=Limits(packets=40))


def test_the_deadline_is_kept():
    with pytest.raises(DecodeError, match="not done within the limit of 0 s"):
        read_frames(sound_file("h264_mp4"), limits=Limits(seconds=0.0))


def test_the_deadline_ends_reading_a_hole_of_eight_gigabytes(tmp_path):
    path = tmp_path / "a.ts"
    path.write_bytes(sound_file("h264_ts").read_bytes())
    with open(path, "r+b") as file:
        file.truncate(188 * 43_000_000)
    with pytest.raises(DecodeError):
        read_frames(path, [3], limits=Limits(seconds=1.0))


@pytest.mark.usefixtures("usual_interrupts")
@pytest.mark.parametrize("method", ["read", "seek"])
def test_an_interrupt_in_any_callback_of_ffmpeg_ends_the_read(method, monkeypatch):
    path, usual, left = sound_file("h264_mp4"), getattr(Source, method), 1000

    def interrupted(self, *arguments):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return usual(self, *arguments)

    monkeypatch.setattr(Source, method, interrupted)
    assert len(read_frames(path)) == COUNT
    calls = 1000 - left
    assert calls > 1
    for number in range(1, calls + 1):
        left = number
        with pytest.raises(KeyboardInterrupt):
            read_frames(path)


def test_streams_without_declared_reordering_are_right(tmp_path):
    """Encoders in telephones leave out how far they reorder; FFmpeg then guesses, and forgets it when it is flushed."""
    path = _undeclared(plain(tmp_path / "a.mp4", g="24", bf="8", refs="8", **{"x264-params": "b-pyramid=2:b-adapt=2"}))
    assert numbers(read_frames(path)) == list(range(COUNT))
    assert numbers(read_frames(path, ASKED)) == ASKED


def _undeclared(path):
    """Cut the bitstream restrictions, which end x264's parameter sets, out of an mp4 file's configuration record."""
    data = bytearray(path.read_bytes())
    start = data.index(b"avcC") + 4 + 8
    length = int.from_bytes(data[start - 2 : start], "big")
    bits = "".join(f"{byte:08b}" for byte in data[start : start + length]).rstrip("0")

    def golomb(value):
        return bin(value + 1)[2:].rjust(2 * (value + 1).bit_length() - 1, "0")

    vectors = [golomb(value) for value in range(17)]
    tails = {
        "1111" + vector + vector + golomb(reorder) + golomb(buffered) + "1"
        for vector in vectors
        for reorder in range(5)
        for buffered in range(17)
    }
    tail = max((tail for tail in tails if bits.endswith(tail)), key=len)
    changed = (bits[: -len(tail)] + "01").ljust(8 * length, "0")
    data[start : start + length] = int(changed, 2).to_bytes(length, "big")
    path.write_bytes(data)
    return path


def test_damage_outside_the_asked_groups_does_not_hide_damage_inside(tmp_path):
    """A picture hash in the stream (HEVC's MD5) is compared, so one flipped bit in an asked group cannot pass."""
    write_video(
        tmp_path / "a.mp4",
        numbered(24, height=128, width=128),
        fps=30,
        codec="libx265",
        options={"x265-params": "hash=1:keyint=12:min-keyint=12:open-gop=0"},
    )
    clean, data = read_frames(tmp_path / "a.mp4"), (tmp_path / "a.mp4").read_bytes()
    rows = probe(tmp_path / "a.mp4").packets.packets
    outcomes = []
    for row in rows[2:20:3]:
        damaged = bytearray(data)
        damaged[row.position + row.size * 3 // 4] ^= 16
        (tmp_path / "b.mp4").write_bytes(damaged)
        try:
            outcomes.append(bool((read_frames(tmp_path / "b.mp4") == clean).all()))
        except DecodeError:
            outcomes.append(True)
    assert all(outcomes)


def test_packets_written_after_the_index_was_cut_are_not_needed(tmp_path):
    """An index made before serves a file whose packets do not fit into memory, far seeks included."""
    path = remux(plain(tmp_path / "source.mp4", count=240), tmp_path / "a.mkv", list)
    index = probe(path)
    assert numbers(read_frames(path, [230, 5, 120], index=index)) == [230, 5, 120]


def _swapped(pictures):
    pictures[3], pictures[4] = pictures[4], pictures[3]


DECODERS_FAULTS = {
    "a lost picture": (lambda pictures: pictures.pop(5), "1 of 48 frames did not come out"),
    "a picture too many": (lambda pictures: pictures.insert(5, pictures[5]), "that no packet announces"),
    "another order": (_swapped, "the order of the pictures contradicts their times"),
}


@pytest.mark.parametrize("fault", DECODERS_FAULTS)
def test_a_decoder_that_returns_other_pictures_than_announced_is_not_believed(fault, monkeypatch):
    change, message = DECODERS_FAULTS[fault]
    whole = decode_pyav.Track._pictures

    def faulty(self, run):
        pictures = list(whole(self, run))
        change(pictures)
        return iter(pictures)

    monkeypatch.setattr(decode_pyav.Track, "_pictures", faulty)
    with pytest.raises(DecodeError, match=message):
        read_frames(sound_file("h264_mp4"))


def test_a_plan_that_does_not_work_out_gives_way_to_decoding_everything(monkeypatch):
    """Such as when headers lie about which pictures start decoding: here a run begins five packets late."""
    whole = decode_pyav.plan

    def late(table, frames):
        return [run._replace(start=run.send[5], send=run.send[5:]) for run in whole(table, frames)]

    monkeypatch.setattr(decode_pyav, "plan", late)
    for limits in (Limits(), FROM_THE_FILE):
        assert numbers(read_frames(sound_file("h264_mp4"), [22, 23], limits=limits)) == [22, 23]


def test_a_seek_that_lands_too_late_is_noticed():
    index = probe(sound_file("h264_mp4"))
    rows = tuple(row._replace(dts=row.dts + 15 * 512) for row in index.packets.packets)
    late = dataclasses.replace(index, packets=dataclasses.replace(index.packets, packets=rows))
    assert numbers(read_frames(sound_file("h264_mp4"), [13, 30], index=late)) == [13, 30]


def test_a_display_matrix_that_changes_on_the_way_is_refused(monkeypatch):
    turns = iter([Orientation(0, False)] * 20 + [Orientation(180, False)] * 28)
    monkeypatch.setattr(decode_pyav, "orientation_of", lambda frame: next(turns))
    with pytest.raises(DecodeError, match="the display rotation changes at frame 20"):
        read_frames(sound_file("h264_mp4"))


def test_ffmpeg_is_told_to_open_nothing_else_and_to_report_every_error(monkeypatch):
    calls = []
    whole = av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: calls.append(options) or whole(*args, **options))
    read_frames(sound_file("h264_mkv"), [3])
    (options,) = calls
    told = options["container_options"]
    assert told["protocol_whitelist"] == "none"
    assert told["err_detect"] == "explode"
    for word in ("hls", "concat", "image2", "dash", "sdp", "mov"):
        assert word not in told["format_whitelist"].split(",")
    assert "h264" in told["codec_whitelist"].split(",")
    assert options["options"] == {"max_pixels": str(Limits().frame_pixels)}


def test_anything_else_that_a_file_trips_is_one_error(monkeypatch):
    def trip(*args, **options):
        raise ZeroDivisionError("a clock of nothing")

    monkeypatch.setattr(av, "open", trip)
    with pytest.raises(DecodeError, match=r"a\.mp4': ZeroDivisionError: a clock of nothing"):
        read_frames(sound_file("h264_mp4"))


def test_pictures_flagged_as_damaged_are_refused(monkeypatch):
    class Flagged:
        def __init__(self, frame):
            self.pts, self.height, self.width, self.is_corrupt = frame.pts, frame.height, frame.width, True

    whole = decode_pyav.Track._pictures
    monkeypatch.setattr(decode_pyav.Track, "_pictures", lambda self, run: map(Flagged, whole(self, run)))
    with pytest.raises(DecodeError, match=r"damaged data at 0\.000 s"):
        read_frames(sound_file("h264_mp4"))
