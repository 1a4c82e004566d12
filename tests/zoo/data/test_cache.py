import logging
import pickle

import numpy as np
import pytest

from tests.zoo.data.clips import break_file, level_of, write_set
from zoo.data import cache as cache_module
from zoo.data.cache import FrameCache, cached
from zoo.data.decode import DecodeError, read_frames


@pytest.fixture
def records(tmp_path):
    return write_set(tmp_path, num_frames=(8, 3, 5))


def build(records, folder):
    return cached([record.path for record in records], folder / "decoded", progress=False)


def count_decoding(monkeypatch):
    """Paths that the cache decodes from now on."""
    decoded = []

    def counting(path, **options):
        decoded.append(path)
        return read_frames(path, **options)

    monkeypatch.setattr(cache_module, "read_frames", counting)
    return decoded


def test_a_cache_holds_exactly_what_the_decoder_gives(records, tmp_path):
    cache = build(records, tmp_path)
    for record, length in zip(records, (8, 3, 5), strict=True):
        assert record.path in cache
        assert cache.num_frames(record.path) == length
        assert np.array_equal(cache.read(record.path), read_frames(record.path))
        assert np.array_equal(cache.read(record.path, [2, 0, 0]), read_frames(record.path, [2, 0, 0]))
    assert level_of(cache.read(records[2].path, [3]))[0] == pytest.approx(52, abs=2)


def test_the_second_call_decodes_nothing(records, tmp_path, monkeypatch):
    decoded = count_decoding(monkeypatch)
    build(records, tmp_path)
    assert len(decoded) == 3
    build(records, tmp_path)
    assert len(decoded) == 3


def test_a_video_that_changed_is_decoded_again(records, tmp_path, monkeypatch):
    before = build(records, tmp_path).read(records[0].path)
    records[0].path.write_bytes(records[1].path.read_bytes())
    decoded = count_decoding(monkeypatch)
    after = build(records, tmp_path)
    assert len(decoded) == 3
    assert len(after.read(records[0].path)) == 3
    assert len(before) == 8


@pytest.mark.parametrize("damage", ["frames cut", "frames changed", "frames gone", "index cut", "index foreign"])
def test_a_damaged_cache_is_rebuilt_with_a_word_about_it(records, tmp_path, monkeypatch, caplog, damage):
    cache = build(records, tmp_path)
    expected = cache.read(records[0].path)
    index = cache.file.with_suffix(".json")
    content = cache.file.read_bytes()
    if damage == "frames cut":
        cache.file.write_bytes(content[:-100])
    elif damage == "frames changed":
        cache.file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "frames gone":
        cache.file.unlink()
    elif damage == "index cut":
        index.write_text(index.read_text()[:-20])
    else:
        index.write_text("[1, 2]")
    decoded = count_decoding(monkeypatch)
    with caplog.at_level(logging.WARNING):
        again = build(records, tmp_path)
    assert "rebuilding the cache" in caplog.text
    assert len(decoded) == 3
    assert np.array_equal(again.read(records[0].path), expected)


def test_an_interrupted_build_leaves_nothing_that_would_be_used(records, tmp_path, monkeypatch):
    def interrupted(path, **options):
        if path == records[2].path:
            raise KeyboardInterrupt
        return read_frames(path, **options)

    monkeypatch.setattr(cache_module, "read_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(records, tmp_path)
    assert list((tmp_path / "decoded").iterdir()) == []


def test_unreadable_videos_are_kept_as_failures_and_do_not_stop_the_others(records, tmp_path):
    break_file(records[1])
    cache = build(records, tmp_path)
    assert list(cache.failures) == [str(records[1].path)]
    assert len(cache.read(records[2].path)) == 5
    with pytest.raises(DecodeError, match=r"1\.mp4"):
        cache.read(records[1].path, [0])
    with pytest.raises(DecodeError, match=r"1\.mp4"):
        cache.num_frames(records[1].path)


def test_a_set_without_any_readable_video_is_a_cache_too(records, tmp_path):
    break_file(records[0])
    cache = build(records[:1], tmp_path)
    assert len(cache.failures) == 1


def test_a_video_that_is_not_cached_is_named(records, tmp_path):
    cache = build(records[:2], tmp_path)
    assert records[2].path not in cache
    with pytest.raises(KeyError, match=r"2\.mp4 is not in the cache"):
        cache.read(records[2].path)


def test_a_cache_travels_to_another_process_without_its_frames(records, tmp_path):
    cache = build(records, tmp_path)
    cache.read(records[0].path)
    packed = pickle.dumps(cache)
    assert len(packed) < 2000
    again = pickle.loads(packed)  # noqa: S301
    assert isinstance(again, FrameCache)
    assert np.array_equal(again.read(records[1].path), cache.read(records[1].path))


def test_what_is_read_may_be_changed_without_harm(records, tmp_path):
    cache = build(records, tmp_path)
    first = cache.read(records[0].path)
    first[:] = 0
    assert cache.read(records[0].path).any()
