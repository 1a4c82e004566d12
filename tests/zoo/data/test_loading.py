import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.zoo.data.clips import level_of, write_set
from zoo.card import ClipSpec
from zoo.data.datamodule import FailurePolicy
from zoo.data.decode import DecodeError
from zoo.data.loading import (
    EachOnce,
    EndlessBatches,
    EvalClips,
    FailureLog,
    Reader,
    Sample,
    TrainClips,
    UnreadableVideoError,
    collate,
    window_numbers,
)
from zoo.data.records import Record, Span
from zoo.data.transforms import Augment


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
    second = EndlessBatches(length=7, batch_size=3, seed=1, start=2, rank=1, world=2)
    assert next(iter(second)) == whole[5]


def test_processes_share_the_steps_of_one_stream():
    alone = list(itertools.islice(EndlessBatches(length=7, batch_size=6, seed=1), 4))
    ranks = [list(itertools.islice(EndlessBatches(length=7, batch_size=3, seed=1, rank=r, world=2), 4)) for r in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == alone


def shares(length, batch_size, world):
    return [EachOnce(length=length, batch_size=batch_size, rank=rank, world=world) for rank in range(world)]


@pytest.mark.parametrize("length", [5, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_evaluation_shares_videos_without_padding_or_doubling(length, world, batch_size):
    parts = shares(length, batch_size, world)
    flat = [list(itertools.chain.from_iterable(part)) for part in parts]
    assert sorted(itertools.chain.from_iterable(flat)) == list(range(length))
    assert all(part == sorted(part) and part for part in flat)
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]


@pytest.mark.parametrize("world", [2, 3])
def test_batches_hold_the_same_videos_however_many_processes_share_them(world):
    alone = list(shares(11, 2, 1)[0])
    assert sorted(batch for part in shares(11, 2, world) for batch in part) == alone


def test_more_processes_than_videos_are_refused():
    with pytest.raises(ValueError, match="4 processes cannot share 3 videos; use at most 3"):
        EachOnce(length=3, world=4)


def test_windows_of_a_row_are_numbered_in_the_order_of_the_list():
    rows = [0, 1, 1, 0, 1, 2]
    assert window_numbers([Record(Path("x"), 0, row) for row in rows]) == [0, 0, 1, 1, 2, 0]


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


def test_a_part_of_a_video_is_read_as_if_it_were_the_whole(tmp_path):
    (record,) = write_set(tmp_path, (24,))
    frames = Reader()(record.path, lambda length: torch.arange(length), Span(1, 2))  # 8 frames per second
    assert level_of(frames) == pytest.approx(4.0 * np.arange(8, 17), abs=2)


def test_a_part_that_the_video_does_not_have_is_an_unreadable_video(tmp_path):
    (record,) = write_set(tmp_path, (24,))
    with pytest.raises(DecodeError, match=r"0\.mp4.*no frame lies in the part from 3 to 4 seconds"):
        Reader()(record.path, lambda length: torch.arange(length), Span(3, 4))


def test_targets_of_a_regression_reach_every_clip_of_their_video():
    samples = [Sample(torch.zeros(2, 3, 1, 1, 1), -1, 0, 0.5), Sample(torch.zeros(1, 3, 1, 1, 1), -1, 1, -2.0)]
    assert collate(samples).target.tolist() == [0.5, 0.5, -2.0]
    assert collate([sample._replace(target=None) for sample in samples]).target is None
    with pytest.raises(ValueError, match="some have none"):
        collate([samples[0], samples[1]._replace(target=None)])


@pytest.mark.parametrize("done", [(), (0, 1, 3), (0, 1, 2, 3, 4), (4,)])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_batches_that_were_scored_are_left_out_and_every_process_keeps_one(done, world):
    shares = [EachOnce(length=14, batch_size=3, rank=rank, world=world, done=frozenset(done)) for rank in range(world)]
    numbers = sorted(number for share in shares for number in share.numbers)
    left = set(range(5)) - set(done)
    assert left <= set(numbers)
    assert len(numbers) == len(set(numbers)) == max(world, len(left))
    assert all(share.numbers for share in shares)
    whole = EachOnce(length=14, batch_size=3)
    for share in shares:
        assert list(share) == [whole.batches[number] for number in share.numbers]


class Grey(Reader):
    """Frames of one colour, without a file; "gone" cannot be read."""

    def __call__(self, path, choose, span=None):
        if path.name == "gone":
            raise DecodeError(str(path), "is gone")
        return torch.zeros(len(choose(40)), 8, 12, 3, dtype=torch.uint8) + torch.arange(12, dtype=torch.uint8)[:, None]


SPEC = ClipSpec(num_frames=2, sampling="dense", img_size=8, clips=2, crops=3)


def test_views_of_a_second_window_are_numbered_after_all_of_the_first():
    records = [Record(Path("a"), 0, 0, Span(0, 1)), Record(Path("a"), 0, 0, Span(1, 2)), Record(Path("gone"), 0, 1)]
    clips = EvalClips(records=records, spec=SPEC, reader=Grey(), report=True)
    batch = collate([clips[place] for place in range(3)])
    assert batch.view.tolist() == list(range(12))
    assert [(it.row, it.reason) for it in batch.failed] == [(1, "is gone")]


def test_a_video_gives_other_clips_in_every_pass():
    log = FailureLog(1, limit=0.0)
    clips = TrainClips(records=[Record(Path("a"), 0, 0)], spec=SPEC, augment=Augment(), reader=Grey(), log=log, seed=0)
    first, second = clips[0, 0].clips, clips[1, 0].clips
    assert not torch.equal(first, second)
    assert torch.equal(first, clips[0, 0].clips)


def test_clips_are_cut_from_the_part_of_their_record_and_carry_its_target():
    record, parts = Record(Path("a"), -1, 3, Span(1, 2), 0.5), []

    class Watched(Grey):
        def __call__(self, path, choose, span=None):
            parts.append(span)
            return super().__call__(path, choose, span)

    log = FailureLog(1, limit=0.0)
    train = TrainClips(records=[record], spec=SPEC, augment=Augment(), reader=Watched(), log=log, seed=0)
    samples = [train[0, 0], EvalClips(records=[record], spec=SPEC, reader=Watched())[0]]
    assert parts == [record.span] * 2
    assert [(it.row, it.label, it.target) for it in samples] == [(3, -1, 0.5)] * 2
