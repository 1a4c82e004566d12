"""Every bad file is one named error; nothing in it is executed and nothing changes."""

import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import zoo
from tests.zoo.weights import assert_equal, create, snapshot, somebody_elses_weights
from zoo.weight_files import CheckpointError, read_weights


@pytest.fixture
def model():
    return create()


@pytest.fixture
def weights():
    return somebody_elses_weights()


class Hostile:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return (open, (str(self.sentinel), "w"))


def hostile_zip(path, sentinel):
    torch.save({"model": Hostile(sentinel)}, path)


def hostile_legacy(path, sentinel):
    torch.save({"model": Hostile(sentinel)}, path, _use_new_zipfile_serialization=False)


def hostile_pickle(path, sentinel):
    path.write_bytes(pickle.dumps({"model": Hostile(sentinel)}))


def hostile_system(path, sentinel):
    command = f"touch {sentinel}"
    path.write_bytes(b"\x80\x02cposix\nsystem\nX" + struct.pack("<I", len(command)) + command.encode() + b"\x85R.")


def hostile_beside_tensors(path, sentinel):
    torch.save({**create().state_dict(), "extra": Hostile(sentinel)}, path)


@pytest.mark.parametrize(
    "make",
    [hostile_zip, hostile_legacy, hostile_pickle, hostile_system, hostile_beside_tensors],
    ids=lambda it: it.__name__,
)
def test_nothing_in_a_file_is_executed(model, tmp_path, make, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    sentinel, path = tmp_path / "executed", tmp_path / "hostile.pth"
    make(path, sentinel)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"hostile\.pth") as caught:
        zoo.load_checkpoint(model, path)
    assert not sentinel.exists()
    assert "weights_only" not in str(caught.value)
    assert_equal(model.state_dict(), before)


def whole_module(path):
    torch.save(torch.nn.Linear(2, 2), path)


def truncated(path):
    torch.save(create().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-2000])


def half_zip(path):
    torch.save(create().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_safetensors(path):
    save_file(create().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])


def flipped_bit(path):
    torch.save(create().state_dict(), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def zip_bomb(path):
    torch.save({"a": torch.zeros(1000, 1000)}, path.with_suffix(".tmp"))
    with zipfile.ZipFile(path.with_suffix(".tmp")) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in plain.infolist():
            bomb.writestr(member.filename, plain.read(member))


def overlapping_members(path):
    torch.save({f"t{i}": torch.full((5000,), 1.0 + i) for i in range(3)}, path)
    data = bytearray(path.read_bytes())
    # Every entry of the central directory is made to point at the largest member.
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda it: it.file_size)
        start = archive.start_dir
    for _ in range(20):
        start = data.find(b"PK\x01\x02", start)
        if start < 0:
            break
        data[start + 20 : start + 28] = struct.pack("<II", largest.file_size, largest.file_size)
        data[start + 42 : start + 46] = struct.pack("<I", largest.header_offset)
        start += 4
    path.write_bytes(bytes(data))


def header_longer_than_file(path):
    path.write_bytes(struct.pack("<Q", 10**9) + b'{"a": {}}')


def header_of_nonsense(path):
    path.write_bytes(struct.pack("<Q", 20) + b"{" + b"x" * 19)


def header_with_a_hole(path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)


def header_of_too_many_tensors(path):
    header = json.dumps(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20_001)}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def tar_with_a_way_out(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("../escaped")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"hi"))


def tar_with_a_link(path):
    """A link out of the archive and a file through it, in GNU's format."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        archive.addfile(link)
        member = tarfile.TarInfo("a/escaped")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"hi"))


def compressed_tar(path):
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../escaped"))


def zip_with_a_way_out(path):
    torch.save(create().state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../escaped", "hi")


def zip_with_two_pickles(path):
    """Readers disagree on which of two members of one name counts."""
    torch.save(create().state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = next(it for it in archive.namelist() if it.endswith("data.pkl"))
        archive.writestr(name, b"\x80\x02}q.")


def zip_with_a_password(path):
    torch.save(create().state_dict(), path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    data[6] |= 1
    data[start + 8] |= 1
    path.write_bytes(bytes(data))


def array_of_objects(path):
    with open(path, "wb") as file:
        np.save(file, np.array([Hostile(path.parent / "executed")], dtype=object), allow_pickle=True)


def array_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY")


BAD_FILES = {
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "html": (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), "a web page, not weights"),
    "git-lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git-lfs pointer"),
    "noise": (lambda path: path.write_bytes(bytes(range(7, 250))), "neither a safetensors nor a torch file"),
    "json": (lambda path: path.write_text('{"error": "not found"}'), "neither a safetensors nor a torch file"),
    "zeros": (lambda path: path.write_bytes(bytes(1000)), "neither a safetensors nor a torch file"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "fifo": (lambda path: os.mkfifo(path), "not a regular file"),
    "missing": (lambda path: None, "no such file"),
    "loop": (lambda path: path.symlink_to(path), "too many levels"),
    "module": (whole_module, r"torch\.nn\.modules\.linear\.Linear.*nothing in the file was executed"),
    "truncated": (truncated, "truncated or damaged"),
    "half": (half_zip, "truncated or damaged"),
    "truncated safetensors": (truncated_safetensors, "damaged safetensors"),
    "bit flip": (flipped_bit, "checksum is wrong"),
    "zip bomb": (zip_bomb, "is compressed"),
    "overlap": (overlapping_members, "claim more bytes"),
    "long header": (header_longer_than_file, "header is longer than the file"),
    "bad header": (header_of_nonsense, "damaged safetensors"),
    "hole": (header_with_a_hole, "damaged safetensors"),
    "header flood": (header_of_too_many_tensors, "20001 tensors"),
    "tar": (tar_with_a_way_out, "tar archive"),
    "tar link": (tar_with_a_link, "tar archive"),
    "tar.gz": (compressed_tar, "compressed file; unpack it"),
    "xz": (lambda path: path.write_bytes(lzma.compress(b"weights")), "compressed file; unpack it"),
    "zip slip": (zip_with_a_way_out, r"'\.\./escaped' leads out of the archive"),
    "zip twins": (zip_with_two_pickles, "two members are called"),
    "password": (zip_with_a_password, "truncated or damaged"),
    "npy": (array_of_objects, "numpy array"),
    "npz": (array_archive, "truncated or damaged"),
    "tensor": (lambda path: torch.save(torch.ones(3), path), "it holds a Tensor, not a dictionary"),
    "numbers": (lambda path: torch.save({"epoch": 3}, path), "no tensors; its entries are 'epoch'"),
    "no names": (lambda path: torch.save({1: torch.ones(3)}, path), "one is 1"),
    "early end": (lambda path: path.write_bytes(b"\x80\x02}q"), "truncated or damaged"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_one_named_error_and_changes_nothing(model, tmp_path, kind):
    make, reason = BAD_FILES[kind]
    path = tmp_path / "bad.pth"
    make(path)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=f"(?is)bad\\.pth.*{reason}") as caught:
        zoo.load_checkpoint(model, path)
    assert "weights_only" not in str(caught.value)
    assert caught.value.path == str(path)
    assert_equal(model.state_dict(), before)
    assert not (tmp_path.parent / "escaped").exists()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("path", ["~nobody_of_this_name/a.pth", "http://127.0.0.1/a.pth", "a\0b.pth", ""])
def test_names_that_are_no_files_are_named(path):
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert isinstance(caught.value.reason, str)


def test_errors_survive_the_way_out_of_a_worker_process(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        read_weights(tmp_path / "none.pth")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made a line above
    assert (str(copy), copy.path) == (str(caught.value), caught.value.path)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("nets.2", r"'2' is not there; entries there are '0', '1'"),
        ("nets.-1", r"'-1' is not there"),
        ("nets.x", r"'x' is not there; entries there are '0', '1'"),
        ("net", r"'net' is not there; entries there are 'nets', 'epoch'"),
        ("epoch.a", r"'a' is not there; entries there are none"),
        ("epoch", "it holds a int, not a dictionary"),
    ],
)
def test_an_entry_that_is_not_there_is_named_with_those_that_are(tmp_path, entry, words):
    path = tmp_path / "a.pth"
    torch.save({"nets": [{"a": torch.ones(1)}, {"a": torch.zeros(1)}], "epoch": 3}, path)
    assert torch.equal(read_weights(path, "nets.1").state["a"], torch.zeros(1))
    with pytest.raises(CheckpointError, match=words):
        read_weights(path, entry)


def test_an_entry_may_be_wrapped_once_more(tmp_path):
    torch.save({"target_encoder": {"model": {"a": torch.ones(1)}}}, tmp_path / "a.pth")
    contents = read_weights(tmp_path / "a.pth", "target_encoder")
    assert (list(contents.state), contents.wrapper) == (["a"], "target_encoder.model")


def test_a_safetensors_file_has_no_entries(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="no entry 'encoder'"):
        read_weights(tmp_path / "a.safetensors", "encoder")


def nested_in_itself(around):
    value: dict = {}
    value.update(around(value))
    return value


@pytest.mark.parametrize(
    "around", [lambda it: {"model": it}, lambda it: {"classifiers": [it]}, lambda it: {"model": {"module": it}}]
)
def test_a_dictionary_that_contains_itself_is_refused(tmp_path, around):
    torch.save(nested_in_itself(around), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="nested without end"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["model_ema", "state_dict_ema"])
def test_a_running_average_is_taken_only_where_the_weights_are_not_there(tmp_path, name):
    weights, average = {"a": torch.ones(1)}, {"a": torch.zeros(1)}
    torch.save({name: average, "epoch": 3}, tmp_path / "a.pth")
    contents = read_weights(tmp_path / "a.pth")
    assert (contents.wrapper, contents.state["a"].item()) == (name, 0)
    torch.save({name: average, "model": weights}, tmp_path / "b.pth")
    assert read_weights(tmp_path / "b.pth").state["a"].item() == 1
