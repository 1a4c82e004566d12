import faulthandler
import itertools
import os
import signal
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from tests.zoo.data.clips import write_set
from zoo.card import ClipSpec
from zoo.data import workers
from zoo.data.datamodule import VideoDataModule
from zoo.data.loading import EvalClips, Reader, UnreadableVideoError
from zoo.data.transforms import Augment
from zoo.data.workers import Board, WatchedClips, WorkerError

SPEC = ClipSpec(num_frames=4, sampling="uniform", img_size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), flip=False)


def fail_unpicklably():
    class LocalError(Exception):
        def __init__(self, one, two):
            super().__init__(one, two, threading.Lock())

    raise LocalError(1, 2)


FAULTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "raise": lambda: [][1],
    "unpicklable": fail_unpicklably,
    "hang": lambda: time.sleep(100),
}
WORDS = {
    "kill": "when it died: DataLoader worker",
    "segfault": "when it died: DataLoader worker",
    "exit": "when it died: DataLoader worker",
    "raise": "when it failed: IndexError: list index out of range",
    "unpicklable": "when it failed: LocalError",
    "hang": r"longer than the limit of 1 s",
}


@dataclass(frozen=True)
class Faulty(Reader):
    """Does something bad at one video."""

    fault: str = ""

    def __call__(self, path, choose, span=None):
        if path.name == "2.mp4":
            FAULTS[self.fault]()
        return super().__call__(path, choose, span)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    records = write_set(tmp_path_factory.mktemp("clips"), num_frames=(4, 4, 4, 4))
    Reader()(records[0].path, lambda length: torch.arange(length))  # the first reading imports PyAV, which takes time
    return records


def module(records, **options):
    return VideoDataModule(spec=SPEC, train=records, test=records, batch_size=1, **options)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_happens_to_a_worker_ends_the_run_in_time_and_names_the_video(records, fault):
    data = module(records, num_workers=2, worker_timeout_s=1.0 if fault == "hang" else 60.0)
    data.reader = Faulty(fault=fault)
    loader, start = data.test_dataloader(), time.monotonic()
    with pytest.raises(
        WorkerError, match=rf"(?s)data worker [01] \(pid \d+\) was reading '.*/2\.mp4' for .*{WORDS[fault]}"
    ):
        for _ in loader:
            pass
    # torch alone waits five seconds for every worker that is busy, and for ever for two of these.
    assert time.monotonic() - start < 4.5


def test_a_worker_that_dies_in_the_middle_of_a_step_is_named_there(records):
    data = module(records, num_workers=1)
    data.reader = Faulty(fault="kill")
    stream = iter(data.test_dataloader())
    next(stream)
    with pytest.raises(WorkerError, match=r"2\.mp4' for .* when it died"):
        time.sleep(5)
    stream.close()


@pytest.mark.slow
def test_a_worker_may_be_slow_as_long_as_no_video_takes_too_long(records):
    data = VideoDataModule(spec=SPEC, test=records, batch_size=4, num_workers=1, worker_timeout_s=4.0)
    data.reader = Slow()
    assert [len(batch.row) for batch in data.test_dataloader()] == [4]


@dataclass(frozen=True)
class Slow(Reader):
    """Little more than a second per video, more than four per batch."""

    def __call__(self, path, choose, span=None):
        time.sleep(1.1)
        return super().__call__(path, choose, span)


def test_workers_are_gone_when_the_reader_of_a_stream_leaves(records):
    loader = module(records, num_workers=2).train_dataloader()
    stream = iter(loader)
    list(itertools.islice(stream, 6))
    pids = [note.pid for note in loader.board.notes()]
    stream.close()
    del stream
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_unreadable_videos_keep_their_own_error(records, tmp_path):
    bad = write_set(tmp_path, num_frames=(4, 4))
    bad[1].path.write_bytes(b"no video")
    with pytest.raises(UnreadableVideoError, match=r"^1 videos of the list cannot be read.*1\.mp4") as caught:
        list(module(bad, num_workers=1).test_dataloader())
    assert "Traceback" not in str(caught.value)


def test_notes_tell_what_is_read_and_keep_the_end_of_a_long_path():
    board = Board(2, 60.0)
    board.begin(1, "x" * 2000 + "/clip ä.mp4")
    idle, busy = board.notes()
    assert (idle.pid, idle.path, idle.seconds) == (0, "", 0.0)
    assert busy.path.endswith("x/clip ä.mp4")
    assert 0 <= busy.seconds < 5
    assert "for 0" in str(busy)
    board.end(1)
    assert "between two videos" in str(board.notes()[1])


def test_messages_about_other_processes_are_left_alone():
    assert Board(1, 60.0).named("DataLoader worker (pid 1) is killed by signal: Killed.") == ""


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads the use of memory from /proc")
def test_the_memory_of_a_worker_stays_flat_over_thousands_of_clips(records):
    augment = Augment(policy="rand-m7-n4-mstd0.5-inc1", erase=0.25, crop="resized")
    loader = VideoDataModule(spec=SPEC, train=records, batch_size=4, num_workers=1, augment=augment).train_dataloader()
    stream, sizes = iter(loader), []
    for _ in itertools.islice(stream, 1500):
        sizes.append(resident(loader.board.notes()[0].pid))
    stream.close()
    assert sizes[-1] - sizes[len(sizes) // 4] < 20


def test_the_time_limit_is_for_one_video_and_not_for_a_batch_or_a_pause(records, monkeypatch):
    calls = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda limit_s, **_: calls.append(limit_s))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: calls.append("off"))
    monkeypatch.setattr(workers, "get_worker_info", lambda: SimpleNamespace(id=0))
    board = Board(1, 3.0)
    WatchedClips(EvalClips(records=records, spec=SPEC, reader=Reader()), board).__getitems__([0, 1])
    assert calls == [3.0, 3.0, "off"]
    data = VideoDataModule(spec=SPEC, test=records, batch_size=4, num_workers=1, worker_timeout_s=3.0)
    assert data.test_dataloader().timeout == 3.0 * (4 + 1)
