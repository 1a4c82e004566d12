"""Videos are written whole, the same each time, and refused with a reason."""

from fractions import Fraction

import av
import numpy as np
import pytest

from tests.zoo.data.corpus import numbered, numbers
from zoo.data.decode import probe, read_frames
from zoo.data.encode import write_video

WRITERS = [
    ("a.mp4", "libx264", {}),
    ("a.mp4", "libx264", {"g": "1", "qp": "18"}),
    ("a.mkv", "libx264", {"x264-params": "open-gop=1"}),
    ("a.mp4", "libx265", {}),
    ("a.mp4", "libx265", {"x265-params": "keyint=12"}),
    ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    ("a.mp4", "libsvtav1", {"preset": "10"}),
    ("a.avi", "mpeg4", {}),
    ("a.ts", "libx264", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), WRITERS, ids=str)
def test_the_same_frames_give_the_same_bytes(name, codec, options, tmp_path):
    frames = numbered(12)
    contents = set()
    for _ in range(3):
        write_video(tmp_path / name, frames, fps=30, codec=codec, options=options)
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1
    assert numbers(read_frames(tmp_path / name)) == list(range(12))


@pytest.mark.slow
def test_x264_is_steady_over_many_runs_and_contents(tmp_path):
    for seed in range(6):
        frames = np.random.default_rng(seed).integers(0, 256, (24, 24, 24, 3)).astype(np.uint8)
        contents = set()
        for _ in range(8):
            write_video(tmp_path / "a.mp4", frames, fps=25)
            contents.add((tmp_path / "a.mp4").read_bytes())
        assert len(contents) == 1


def test_all_intra_at_a_constant_quantiser(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(8), fps=30, options={"g": "1", "qp": "18"})
    assert probe(tmp_path / "a.mp4").key_frames == tuple(range(8))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert {frame.pict_type for frame in container.decode(video=0)} == {av.video.frame.PictureType.I}


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)], ids=str)
def test_the_rate_is_kept(rate, tmp_path):
    write_video(tmp_path / "a.mp4", numbered(8), fps=rate)
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(float(rate))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(4), fps=30)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(ValueError, match="takes no option nonsense"):
        write_video(tmp_path / "a.mp4", numbered(4, first=9), fps=30, options={"nonsense": "1"})
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_name_appears_only_when_the_file_is_whole(tmp_path, monkeypatch):
    import zoo.data.encode as module

    def encode(file, *_, **__):
        file.write(b"half")
        assert not (tmp_path / "a.mp4").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_encode", encode)
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", numbered(4), fps=30)
    assert list(tmp_path.iterdir()) == []


REFUSALS = [
    ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "at least one frame"),
    ({"frames": np.zeros((1, 7, 8, 3), np.uint8)}, "even height and width, got 7 x 8"),
    ({"fps": 0}, "fps must be positive, got 0"),
    ({"codec": "libx246"}, "no encoder 'libx246'; close: .*libx264"),
    ({"options": {"qp": "many"}}, "Invalid argument"),
    ({"path": "a.gif"}, r"ending of '.*a.gif'; known: .mp4"),
    ({"muxer": "webm"}, "libx264 in webm"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_requests_are_refused_with_a_reason(change, message, tmp_path):
    request = {"path": "a.mp4", "frames": numbered(2), "fps": 30, **change}
    path, frames = tmp_path / request.pop("path"), request.pop("frames")
    with pytest.raises(ValueError, match=message):
        write_video(path, frames, **request)
    assert list(tmp_path.iterdir()) == []
