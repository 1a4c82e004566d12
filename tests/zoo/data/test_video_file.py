"""Opening regular files only, and reading them under a deadline. Kinds of paths are in test_decode_hostile."""

import os

import pytest

from zoo.data.video_file import DecodeError, Source, Window, check_output, checked_indices, open_regular
from zoo.data.video_file import Limits as Budget


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 40)
    return tmp_path / "a"


def test_reading_and_seeking_never_raise(file):
    with Source(file, 20.0) as source:
        assert source.read(3) == b"\0\1\2"
        assert source.seek(-5) == -1
        assert source.seek(1 << 70) == -1
        assert source.seek(-1, os.SEEK_END) == 10239
        assert source.read() == b"\xff"
        assert source.read(9) == b""
        assert source.read_at(255, 2) == b"\xff\0"
        assert source.tell() == 257
        assert source.stamp[0] == 10240


def test_past_the_deadline_the_file_ends_and_the_caller_is_told(file):
    with Source(file, 0.0) as source:
        assert source.read(3) == b""
        with pytest.raises(DecodeError, match="not done within the limit of 0 s"):
            source.check_time()


def test_a_failing_disk_is_told_as_such(file, monkeypatch):
    with Source(file, 20.0) as source:
        source._file.close()
        assert source.read(3) == b""
        assert source.seek(0) == -1
        with pytest.raises(DecodeError, match="closed file"):
            source.check_time()


def test_a_file_exchanged_for_a_fifo_before_it_is_opened_is_refused(file, monkeypatch):
    look = os.stat

    def swap(path, *args, **options):
        status = look(path, *args, **options)
        if os.fspath(path) == str(file):
            os.unlink(file)
            os.mkfifo(file)
        return status

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(DecodeError, match="a FIFO, not a regular file"):
        open_regular(str(file))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_one_may_not_read_is_refused(file):
    file.chmod(0)
    with pytest.raises(DecodeError, match="Permission denied"):
        open_regular(str(file))


def test_windows_give_zeros_beyond_the_end(file):
    with Source(file, 20.0) as source:
        window = Window(source)
        assert window.read(254, 4) == b"\xfe\xff\0\1"
        assert window.read(10238, 4) == b"\xfe\xff\0\0"
        assert window.read(0, 2) == b"\0\1"
        assert window.read(20_000, 2) == b"\0\0"


def test_indices_and_answers_are_checked():
    assert checked_indices("a", None, 3) == [0, 1, 2]
    assert checked_indices("a", [2, 2, 0], 3) == [2, 2, 0]
    for wrong in ([-1], [3], [0, 7]):
        with pytest.raises(DecodeError, match=r"outside 0\.\.2"):
            checked_indices("a", wrong, 3)
    with pytest.raises(DecodeError, match="no frames"):
        checked_indices("a", None, 0)
    check_output("a", 2, 3, 4, Budget(output_pixels=24))
    with pytest.raises(DecodeError, match="2 frames of 4 x 3"):
        check_output("a", 2, 3, 4, Budget(output_pixels=23))
