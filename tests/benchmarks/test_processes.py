import os
import signal
import sys

import pytest

from benchmarks.processes import fresh_processes, prepare_workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows starts every process anew")


def _tell(pipe):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    pipe.send((signal.SIGINT in blocked, "benchmarks.runners" in sys.modules, "benchmarks.cli" in sys.modules))


def told():
    fresh = fresh_processes()
    ours, theirs = fresh.Pipe()
    process = fresh.Process(target=_tell, args=(theirs,))
    process.start()
    theirs.close()
    assert ours.poll(60)
    answer = ours.recv()
    process.join()
    return answer


def test_a_fresh_process_has_its_imports_and_nothing_else_of_ours():
    import benchmarks.cli  # noqa: F401 - in this process only

    _, imported, leaked = told()
    assert imported
    assert not leaked


def test_ctrl_c_reaches_this_process_alone():
    deaf, _, _ = told()
    assert deaf
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_workers_agree_on_the_scan_unless_a_person_chose_one(monkeypatch):
    monkeypatch.delenv("ZOO_SCAN")
    prepare_workers()
    assert os.environ["ZOO_SCAN"] == "chunked"
    monkeypatch.setenv("ZOO_SCAN", "reference")
    prepare_workers()
    assert os.environ["ZOO_SCAN"] == "reference"
