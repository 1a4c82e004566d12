"""Broken and hostile files give an error that names them: no wrong frame, no hang, no crash, by either decoder."""

import contextlib
import faulthandler
import pickle
import re
import resource

import numpy as np
import pytest

from tests.zoo.data.corpus import COUNT, SOUND, boxes, numbers, sound_file
from tests.zoo.data.corpus_hostile import EITHER, REFUSED
from zoo.data.decode import DecodeError, probe, read_frames

# One call needs at most this much more memory, whatever the file claims: MiB.
MEMORY = 200


@pytest.fixture(autouse=True)
def _nothing_hangs_or_grows():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEMORY


def _outcome(path, indices, decoder, read=numbers):
    """Numbers of the frames, or the error after a look at it."""
    try:
        return read(read_frames(path, indices, decoder=decoder))
    except DecodeError as caught:
        error = caught
    assert error.path == str(path)
    assert repr(str(path)) in str(error)
    assert pickle.loads(pickle.dumps(error)).reason == error.reason  # noqa: S301
    return error


@pytest.mark.parametrize("decoder", ["pyav", pytest.param("decord", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_broken_file_is_refused_as_a_whole_and_never_gives_a_wrong_frame(kind, decoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = REFUSED[kind](tmp_path)
    assert isinstance(_outcome(path, None, decoder), DecodeError)
    sparse = _outcome(path, [11, 0, 5], decoder)
    assert isinstance(sparse, DecodeError) or sparse == [11, 0, 5]


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("kind", EITHER)
def test_a_questionable_file_gives_right_frames_or_an_error(kind, decoder, tmp_path):
    path = EITHER[kind](tmp_path)
    for indices in (None, [11, 0, 5], [30, 40]):
        outcome = _outcome(path, indices, decoder)
        assert isinstance(outcome, DecodeError) or outcome == (indices or list(range(len(outcome))))


@pytest.mark.parametrize(
    "kind", ["text", "no_moov", "sixty_million_samples_of_one_byte", "audio_only", "lost_packet_mp4"]
)
def test_probe_refuses_as_well(kind, tmp_path):
    with pytest.raises(DecodeError, match=re.escape(str(tmp_path))):
        probe(REFUSED[kind](tmp_path))


@pytest.mark.parametrize("kind", ["size_change_mp4", "size_change_mkv", "size_change_webm"])
def test_probe_warns_of_sizes_that_change(kind, tmp_path):
    assert any("picture size" in reason for reason in probe(REFUSED[kind](tmp_path)).unusual)


SAYS = {
    "empty": "the file is empty",
    "text": "not a video container",
    "fifo": "a FIFO, not a regular file",
    "a_folder": "a folder, not a regular file",
    "dev_zero": "a character device, not a regular file",
    "missing": "No such file",
    "loop_of_links": "symbolic links",
    "file_address": "files, not from addresses",
    "no_moov": "no movie header",
    "cut_in_the_middle": "cut short: the mdat box should end at byte",
    "mkv_cut_between_two_packets": "cut short: the segment should end at byte",
    "mkv_with_one_flipped_bit": "the checksum is wrong",
    "mp4_with_a_hole": "damaged data at 0.8",
    "lost_packet_mp4": "pictures are missing before 0.4",
    "first_key_frame_missing_mp4": "does not begin with a key frame",
    "size_change_mp4": "the size changes from 64 x 64 to 96 x 96",
    "track_without_frames": "no frames",
    "audio_only": r"no video track \(its tracks: audio\)",
    "sixty_million_samples_of_one_byte": "60000000 samples of 1 bytes: not in this file",
    "edits_that_repeat_everything": "packets=1000000",
    "clock_of_zero": "timescale 0",
    "display_turned_by_45_degrees": "not made of quarter turns",
}


@pytest.mark.parametrize("kind", SAYS)
def test_the_error_says_what_is_wrong(kind, tmp_path):
    with pytest.raises(DecodeError, match=SAYS[kind]):
        read_frames(REFUSED[kind](tmp_path))


CONTAINERS = ["h264_mp4", "fragmented_mp4", "h264_mkv", "vp9_webm", "live_webm_without_cues_or_sizes", "mpeg4_avi"]


@pytest.mark.parametrize(
    "kind", [*CONTAINERS[:3], *(pytest.param(kind, marks=pytest.mark.slow) for kind in CONTAINERS[3:])]
)
def test_a_file_cut_anywhere_is_refused(kind, tmp_path):
    """Containers that say how long they are; the live one does not, and is checked for right frames only."""
    data, generator = sound_file(kind).read_bytes(), np.random.default_rng(1)
    path = tmp_path / "a"
    for end in [1, 4, 8, len(data) - 1, *generator.integers(9, len(data), 40).tolist()]:
        path.write_bytes(data[:end])
        outcome = _outcome(path, None, "pyav")
        if kind.startswith("live"):
            assert isinstance(outcome, DecodeError) or outcome == list(range(len(outcome)))
        elif end < len(data) - 8:
            assert isinstance(outcome, DecodeError), end


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOUND)
def test_no_random_damage_crashes_or_hangs(kind, tmp_path):
    """Bytes changed, cut out or zeroed anywhere: an answer or the error. Pixels are not compared here."""
    data, generator = sound_file(kind).read_bytes(), np.random.default_rng(2)
    path = tmp_path / sound_file(kind).name
    for way in range(60):
        damaged = bytearray(data)
        place, length = int(generator.integers(len(data))), int(generator.integers(1, 600))
        if way % 3 == 0:
            for byte in generator.integers(0, len(data), 3).tolist():
                damaged[byte] = int(generator.integers(256))
        elif way % 3 == 1:
            del damaged[place : place + length]
        else:
            damaged[place : place + length] = bytes(len(damaged[place : place + length]))
        path.write_bytes(damaged)
        for indices in (None, [40, 3]):
            outcome = _outcome(path, indices, "pyav", read=list)  # some are too small to hold a number
            assert isinstance(outcome, DecodeError) or len(outcome) <= COUNT + 12


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h264_mp4", "hevc_mp4", "h264_mkv", "fragmented_mp4"])
def test_a_hole_is_never_taken_for_a_picture(kind, tmp_path):
    """Runs of 300 to 4,000 zero bytes, as interrupted downloads and failing disks leave them, at 200 places."""
    data, generator = sound_file(kind).read_bytes(), np.random.default_rng(3)
    clean = read_frames(sound_file(kind))
    path = tmp_path / sound_file(kind).name
    for _ in range(200):
        damaged, place = bytearray(data), int(generator.integers(len(data)))
        length = min(int(generator.integers(300, 4000)), len(data) - place)
        damaged[place : place + length] = bytes(length)
        path.write_bytes(damaged)
        with contextlib.suppress(DecodeError):
            np.testing.assert_array_equal(read_frames(path), clean)  # such as a hole in what is skipped


@pytest.mark.slow
def test_every_flipped_bit_of_an_mkv_is_noticed(tmp_path):
    data, generator = sound_file("h264_mkv").read_bytes(), np.random.default_rng(4)
    clean, path = read_frames(sound_file("h264_mkv")), tmp_path / "a.mkv"
    for bit in generator.integers(0, 8 * len(data), 300).tolist():
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with contextlib.suppress(DecodeError):
            np.testing.assert_array_equal(read_frames(path), clean)  # such as in a filler


def test_the_corpus_patches_what_it_means_to_patch():
    data = sound_file("container_claims_65535_x_65535").read_bytes()
    start, _ = next(boxes(data, "moov/trak/mdia/minf/stbl/stsd"))
    assert data[start + 40 : start + 44] == b"\xff\xff\xff\xff"
