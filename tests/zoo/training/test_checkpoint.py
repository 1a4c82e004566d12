import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData
from zoo.training import checkpoint
from zoo.training.checkpoint import RunFileError, load_checkpoint, save_atomically, sweep
from zoo.training.fit import fit
from zoo.training.pretrain import Pretrain


def test_what_was_saved_comes_back(tmp_path):
    save_atomically({"weights": torch.arange(3), "steps": [1, 2], "name": "run"}, tmp_path / "deep" / "last.ckpt")
    loaded = load_checkpoint(tmp_path / "deep" / "last.ckpt")
    assert torch.equal(loaded.pop("weights"), torch.arange(3))
    assert loaded == {"steps": [1, 2], "name": "run"}


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path, events = tmp_path / "last.ckpt", []
    flush, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(("flush", path.exists())), flush(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda old, new: (events.append(("rename", new)), rename(old, new))[1])
    save_atomically({"step": 1}, path)
    # The file first, then its new name, then the folder that holds the name.
    assert events == [("flush", False), ("rename", path), ("flush", True)]


def full_disk(checkpoint, file):
    file.write(b"half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_keeps_the_old_checkpoint_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    save_atomically({"step": 1}, path)
    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(RunFileError, match=rf"cannot write {path}: .*No space left.*MiB are free there"):
        save_atomically({"step": 2}, path)
    monkeypatch.undo()
    assert load_checkpoint(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_full_disk_in_the_middle_of_a_run_stops_it_and_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    save, calls = torch.save, []

    def fills_up(content, file):
        calls.append(content["global_step"])
        return save(content, file) if len(calls) == 1 else full_disk(content, file)

    monkeypatch.setattr(checkpoint.torch, "save", fills_up)
    with pytest.raises(RunFileError, match="No space left"):
        fit(Pretrain(MeanColour(), RECIPE), TinyData(), run_dir=tmp_path, checkpoint_every=4)
    assert calls == [4, 8]
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 4


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFileError, match=r"cannot write .*/file/run/last\.ckpt"):
        save_atomically({}, tmp_path / "file" / "run" / "last.ckpt")


def test_leftovers_of_killed_runs_are_swept(tmp_path):
    (tmp_path / ".last.ckpt.12ab.tmp").write_text("half a checkpoint")
    (tmp_path / "last.ckpt").write_text("whole")
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["last.ckpt"]


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", "pickle", "torn"])
def test_files_that_are_no_checkpoint_are_named_and_run_nothing(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.ckpt"
    if content == "pickle":
        torch.save({"harm": Harmful()}, path)
    elif content == "torn":
        torch.save({"weights": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:-500])
    else:
        path.write_bytes(content)
    with pytest.raises(
        RunFileError, match=r"cannot read checkpoint .*/last\.ckpt: it is damaged or no checkpoint"
    ) as error:
        load_checkpoint(path)
    assert "weights_only" not in str(error.value)
    assert not (tmp_path / "harm").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunFileError, match=r"cannot read checkpoint .*/gone\.ckpt: .*No such file"):
        load_checkpoint(tmp_path / "gone.ckpt")


WRITER = """
import os, signal, sys, threading, torch
from pathlib import Path
from zoo.training.checkpoint import save_atomically
path, delay = Path(sys.argv[1]), float(sys.argv[2])
content = {"ones": torch.ones(2_000_000)}
save_atomically(content, path)
print("ready", flush=True)
threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
while True:
    save_atomically(content, path)
"""


@pytest.mark.slow
def test_a_checkpoint_survives_kills_while_it_is_written(tmp_path):
    path, root = tmp_path / "last.ckpt", Path(__file__).parents[3]
    for kill in range(10):
        command = [sys.executable, "-c", WRITER, str(path), str(0.01 + 0.007 * kill)]
        assert subprocess.run(command, cwd=root, check=False).returncode == -9
        assert load_checkpoint(path)["ones"].sum() == 2_000_000
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["last.ckpt"]
