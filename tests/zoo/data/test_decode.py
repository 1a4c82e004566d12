"""The front of decoding: arguments, names, errors, processes, and what is left behind."""

import contextlib
import faulthandler
import itertools
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from tests.zoo.data.corpus import COUNT, numbered, numbers, plain, sound_file
from zoo.data.decode import DecodeError, Limits, probe, read_frames
from zoo.data.encode import write_video


@pytest.fixture(autouse=True)
def _nothing_hangs():
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def test_the_answer_is_an_array_that_torch_can_share():
    frames = read_frames(sound_file("h264_mp4"), [5, 1])
    assert (frames.shape, frames.dtype) == ((2, 64, 64, 3), np.uint8)
    tensor = torch.from_numpy(frames)
    tensor[0] = 0
    assert not frames[0].any()
    assert frames.flags["C_CONTIGUOUS"]
    assert frames.flags["OWNDATA"]


@pytest.mark.parametrize("indices", [(4, 2), range(4, 1, -2), np.array([4, 2]), torch.tensor([4, 2])], ids=str)
def test_indices_may_come_in_any_sequence_of_integers(indices):
    assert numbers(read_frames(sound_file("h264_mp4"), indices)) == [4, 2]


@pytest.mark.parametrize("outside", [-1, COUNT, 10**12])
def test_indices_outside_the_track_are_refused_by_name(outside):
    with pytest.raises(DecodeError, match=rf"a\.mp4'.*{outside}.* outside 0\.\.47"):
        read_frames(sound_file("h264_mp4"), [0, outside])


def test_wrong_arguments_are_the_callers_fault():
    path = sound_file("h264_mp4")
    with pytest.raises(TypeError):
        read_frames(path, [0.5])
    with pytest.raises(ValueError, match="no frame indices"):
        read_frames(path, [])
    with pytest.raises(ValueError, match="unknown decoder 'pyaw'; known: pyav, decord"):
        read_frames(path, decoder="pyaw")


def test_the_error_survives_pickling_and_names_the_file():
    error = DecodeError("a\nb.mp4", "cut short")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), again.path, again.reason, str(again)) == (DecodeError, "a\nb.mp4", "cut short", str(error))
    assert str(error) == r"'a\nb.mp4': cut short"


NAMES = [
    "with space.mp4",
    "ünïcödé-視頻-🎬.mp4",
    "new\nline.mp4",
    "-i.mp4",
    "%03d.mp4",
    "quote'\".mp4",
    "[a]*?.mp4",
    "pipe:0",
    "concat:a|b.mp4",
    "subfile,,start,0,end,9,,:a.mp4",
    "http:",
    "file:a.mp4",
    "a" * 240 + ".mp4",
    "no ending",
    "wrong ending.jpg",
    "a.m3u8",
    "back\\slash.mp4",
    "~.mp4",
    "$HOME.mp4",
    os.fsdecode(b"not utf-8 \xff.mp4"),
]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_odd_names_are_names(name, relative, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(sound_file("h264_mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert numbers(read_frames(name if relative else tmp_path / name, [9, 4])) == [9, 4]


def test_errors_of_odd_names_show_them_quoted(tmp_path):
    path = tmp_path / "new\nline.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(DecodeError) as caught:
        read_frames(path)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_connection_is_made_whatever_the_path_or_the_file_says(tmp_path):
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        host = address.removeprefix("http://")
        stop = threading.Event()

        def listen():
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                calls.append(connection.recv(100))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        playlist, script = tmp_path / "a.mp4", tmp_path / "b.mp4"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\n{address}\n#EXT-X-ENDLIST\n")
        script.write_text(f"ffconcat version 1.0\nfile {address}\n")
        for path in (address, f"tcp://{host}", f"async:{address}", f"cache:{address}", playlist, script):
            for decoder in ("pyav", "decord"):
                with pytest.raises(DecodeError):
                    read_frames(path, decoder=decoder)
        stop.set()
        thread.join()
    assert calls == []


def _child(path, queue):
    try:
        queue.put((numbers(read_frames(path, [7, 40])), probe(path).num_frames))
    except BaseException as error:
        queue.put(repr(error))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of forks beside torch's threads
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_child_process_reads_after_its_parent_did(method):
    path = sound_file("h264_mp4")
    read_frames(path)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_child, args=(path, queue))
    process.start()
    assert queue.get(timeout=60) == ([7, 40], COUNT)
    process.join(timeout=20)
    assert process.exitcode == 0


def test_an_index_travels_between_processes():
    path = sound_file("h264_mkv")
    index = pickle.loads(pickle.dumps(probe(path)))  # noqa: S301
    assert numbers(read_frames(path, [44, 3], index=index)) == [44, 3]


def test_importing_needs_no_decoder_and_their_absence_is_explained():
    code = """
import sys
sys.modules["av"] = sys.modules["decord"] = None
import zoo.data.decode, zoo.data.encode
import numpy as np
for call in (lambda: zoo.data.decode.read_frames("a.mp4"), lambda: zoo.data.decode.probe("a.mp4"),
             lambda: zoo.data.encode.write_video("a.mp4", np.zeros((1, 2, 2, 3), np.uint8), fps=1)):
    try:
        call()
    except ImportError as error:
        assert "pip install av" in str(error), error
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def _open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in /proc")
def test_nothing_stays_open_after_good_and_bad_files(tmp_path):
    (tmp_path / "text.mp4").write_bytes(b"no video")
    paths = [sound_file("h264_mp4"), sound_file("hevc_mp4"), tmp_path / "text.mp4", tmp_path, tmp_path / "missing"]
    counts = set()
    for _ in range(4):
        for path, decoder in itertools.product(paths, ("pyav", "decord")):
            with contextlib.suppress(DecodeError):
                read_frames(path, [3, 30], decoder=decoder)
        counts.add((_open_files(), threading.active_count(), len(os.listdir("/proc/self/task"))))
    assert len(counts) == 1


LEAK = """
import os, sys
from zoo.data.decode import DecodeError, probe, read_frames
def load(paths):
    for path in paths:
        for call in (lambda: read_frames(path, [3, 30]), lambda: read_frames(path), lambda: probe(path)):
            try:
                call()
            except DecodeError:
                pass
def state():
    rss = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return rss, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
paths = sys.argv[1:]
for _ in range(40 // len(paths) + 2):
    load(paths)
before = state()
for _ in range(400 // len(paths)):
    load(paths)
print(state()[0] - before[0], state()[1] - before[1], state()[2] - before[2])
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads its own use of memory from /proc")
def test_400_loads_leave_memory_files_and_threads_as_they_were(tmp_path):
    from tests.zoo.data import corpus_hostile

    bad = []
    for kind in ("no_moov", "cut_in_the_middle", "forty_flipped_bits", "size_change_mp4", "text", "mp4_with_a_hole"):
        (tmp_path / kind).mkdir()
        bad.append(corpus_hostile.REFUSED[kind](tmp_path / kind))
    good = [sound_file(kind) for kind in ("h264_mp4", "hevc_mp4", "vp9_webm", "av1_mp4", "h264_ts", "mpeg4_avi")]
    result = subprocess.run(
        [sys.executable, "-c", LEAK, *good, *bad], check=True, timeout=300, capture_output=True, text=True
    )
    grown, files, threads = (float(number) for number in result.stdout.split())
    print(f"memory grown by {grown:.1f} MiB, files {files:+.0f}, threads {threads:+.0f}")
    assert grown < 20
    assert (files, threads) == (0, 0)


BOMB = """
import resource, sys
from zoo.data.decode import DecodeError, read_frames
import av
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for indices in (None, [0, 5]):
    try:
        read_frames(sys.argv[1], indices)
    except DecodeError as error:
        assert "frame_pixels" in str(error), error
    else:
        raise SystemExit("not refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_a_small_file_of_huge_frames_is_refused_for_little_memory(tmp_path):
    frames = np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (3, 8192, 8192, 3))
    write_video(tmp_path / "a.mp4", frames, fps=30, options={"preset": "ultrafast", "qp": "40"})
    result = subprocess.run(
        [sys.executable, "-c", BOMB, tmp_path / "a.mp4"], check=True, timeout=120, capture_output=True, text=True
    )
    print(f"{(tmp_path / 'a.mp4').stat().st_size} bytes took {float(result.stdout):.0f} MiB")
    assert float(result.stdout) < 150


def test_decoding_is_the_same_twice_and_with_other_budgets():
    path = sound_file("deep_pyramid")
    np.testing.assert_array_equal(read_frames(path), read_frames(path, limits=Limits(kept_bytes=1000)))


def test_frames_survive_the_round_trip(tmp_path):
    frames = numbered(16)
    write_video(tmp_path / "a.mp4", frames, fps=30, options={"qp": "4"}, pixel_format="yuv444p")
    assert np.abs(read_frames(tmp_path / "a.mp4").astype(int) - frames).max() < 24
    assert numbers(read_frames(plain(tmp_path / "b.mp4"), [1])) == [1]
