import itertools
import pickle

import pytest

from zoo.data.datamodule import FailurePolicy
from zoo.data.decode import DecodeError
from zoo.data.loading import EachOnce, EndlessBatches, FailureLog, UnreadableVideoError


def test_a_pass_over_the_list_shows_each_video_once_in_an_order_of_its_own():
    stream = itertools.chain.from_iterable(EndlessBatches(length=7, batch_size=3, seed=1))
    passes = [[next(stream) for _ in range(7)] for _ in range(3)]
    for epoch, seen in enumerate(passes):
        assert sorted(position for _, position in seen) == list(range(7))
        assert {number for number, _ in seen} == {epoch}
    orders = [tuple(position for _, position in seen) for seen in passes]
    assert len(set(orders)) == 3


def test_a_batch_larger_than_the_list_is_filled_from_several_passes():
    batch = next(iter(EndlessBatches(length=3, batch_size=8, seed=0)))
    assert [epoch for epoch, _ in batch] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_a_resumed_stream_goes_on_where_it_stopped():
    whole = list(itertools.islice(EndlessBatches(length=7, batch_size=3, seed=1), 9))
    resumed = list(itertools.islice(EndlessBatches(length=7, batch_size=3, seed=1, start=4), 5))
    assert resumed == whole[4:]


def test_processes_share_the_steps_of_one_stream():
    alone = list(itertools.islice(EndlessBatches(length=7, batch_size=6, seed=1), 4))
    ranks = [list(itertools.islice(EndlessBatches(length=7, batch_size=3, seed=1, rank=r, world=2), 4)) for r in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == alone


@pytest.mark.parametrize("length", [1, 4, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_evaluation_shares_videos_without_padding_or_doubling(length, world):
    parts = [list(EachOnce(length=length, rank=rank, world=world)) for rank in range(world)]
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(length))
    assert all(part == sorted(part) for part in parts)
    assert [len(EachOnce(length=length, rank=rank, world=world)) for rank in range(world)] == [len(p) for p in parts]


def test_one_bad_video_in_a_hundred_is_the_limit_by_default(tmp_path):
    log = FailureLog(200, limit=FailurePolicy().limit)
    log.add(DecodeError("a.mp4", "why"))
    log.add(DecodeError("b.mp4", "why"))
    log.add(DecodeError("a.mp4", "why"))
    with pytest.raises(UnreadableVideoError, match="3 of 200"):
        log.add(DecodeError("c.mp4", "why"))


def test_a_resumed_run_knows_the_failures_of_the_first(tmp_path):
    FailureLog(10, limit=0.1, file=tmp_path / "failures.jsonl").add(DecodeError("a.mp4", "why"))
    again = pickle.loads(pickle.dumps(FailureLog(10, limit=0.1, file=tmp_path / "failures.jsonl")))  # noqa: S301
    assert [failure.path for failure in again.failures] == ["a.mp4"]
