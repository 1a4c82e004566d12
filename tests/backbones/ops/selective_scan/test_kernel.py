import multiprocessing
import os
import signal
import time

import pytest

from backbones.ops.selective_scan import kernel


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """A cache without a library, and a process that has not asked for one."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel, "_problems", {})
    return tmp_path


def test_nothing_is_built_unasked(empty_cache, monkeypatch):
    monkeypatch.setattr(kernel, "_missing", lambda: "")
    assert "not built yet" in kernel.load(build=False)
    assert not list(empty_cache.rglob("*.so"))


@pytest.mark.parametrize(("absent", "reason"), [("c++", "no C++ compiler 'c++'"), ("ninja", "no ninja on the PATH")])
def test_a_missing_tool_is_named(empty_cache, monkeypatch, absent, reason):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(kernel.shutil, "which", lambda tool: None if tool == absent else f"/usr/bin/{tool}")
    assert reason in kernel.obstacle()
    assert reason in kernel.load(build=True)


def test_a_failed_build_shows_the_tail_of_what_the_compiler_said(empty_cache, monkeypatch):
    def fail(path):
        raise RuntimeError("\n".join(f"line {index}" for index in range(100)))

    monkeypatch.setattr(kernel, "_missing", lambda: "")
    monkeypatch.setattr(kernel, "_build", fail)
    problem = kernel.load(build=True)
    assert "does not build" in problem
    assert problem.endswith("line 99")
    assert "line 50" not in problem


def test_a_library_that_does_not_load_is_no_library(empty_cache):
    path = kernel.library()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert "does not load" in kernel.load(build=False)


def test_the_answer_stands_for_the_whole_process(empty_cache, monkeypatch):
    monkeypatch.setattr(kernel, "_missing", lambda: "")
    first = kernel.load(build=False)
    path = kernel.library()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"built by another process")
    assert kernel.load(build=False) == first


def test_libraries_are_filed_by_torch_flags_and_sources(monkeypatch, tmp_path):
    paths = {kernel.library()}
    monkeypatch.setattr(kernel.torch, "__version__", "0.0")
    paths.add(kernel.library())
    monkeypatch.setattr(kernel, "target", lambda: kernel.Target("AVX2", ("-mavx2",)))
    paths.add(kernel.library())
    for name in (*kernel.SOURCES, *kernel.HEADERS):
        (tmp_path / name).write_bytes((kernel.HERE / name).read_bytes())
    (tmp_path / kernel.HEADERS[0]).write_text("// changed")
    monkeypatch.setattr(kernel, "HERE", tmp_path)
    paths.add(kernel.library())
    assert len(paths) == 4


def hold(path, started):
    kernel._build = lambda path: (started.set(), time.sleep(60))
    kernel._build_alone(path)


def test_a_killed_build_leaves_no_lock_behind(tmp_path, monkeypatch):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    path = tmp_path / "folder" / "library.so"
    builder = context.Process(target=hold, args=(path, started))
    builder.start()
    assert started.wait(20)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    built = []
    monkeypatch.setattr(kernel, "_build", built.append)
    kernel._build_alone(path)
    assert built == [path]
