"""Every bad file is one named error and changes nothing; every good one is loaded and reported."""

import argparse
import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from dataclasses import replace

import pytest
import torch
from pytorch_lightning import Trainer
from rich.console import Console
from safetensors.torch import save_file

import zoo
from tests.support import assert_parity, load, manifest, part
from zoo import checkpoints, layouts, registry
from zoo.card import Converter, rename
from zoo.load_report import LoadReport
from zoo.model import VideoModel
from zoo.objectives.contract import Loss, Objective
from zoo.recipes.recipe import Recipe
from zoo.training.classify import Classify
from zoo.training.pretrain import Pretrain
from zoo.weight_files import CheckpointError, read_weights


def create(num_classes=5, **overrides):
    torch.manual_seed(1)
    return zoo.create_model("vit_pico", num_classes=num_classes, embed_dim=32, depth=2, num_heads=2, **overrides)


@pytest.fixture
def model():
    return create()


@pytest.fixture
def weights():
    """Somebody else's weights for the same network."""
    torch.manual_seed(2)
    return {name: torch.randn_like(tensor) for name, tensor in create().state_dict().items()}


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(state, other):
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, other[name]), name


def torch_file(path, value):
    torch.save(value, path)
    return path


# ---------------------------------------------------------------- good files


@pytest.mark.parametrize(
    "wrapper", [(), ("model",), ("module",), ("state_dict",), ("model_state",), ("state_dict", "model")]
)
def test_wrappers_are_taken_off(model, weights, tmp_path, wrapper):
    value = weights
    for key in reversed(wrapper):
        value = {key: value, "epoch": 3, "optimizer": {"state": {}}}
    report = zoo.load_checkpoint(model, torch_file(tmp_path / "a.pth", value))
    assert_equal(model.state_dict(), weights)
    assert (len(report.matched), report.missing, report.unexpected, report.dropped) == (len(weights), [], [], {})


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module."])
def test_prefixes_of_wrapping_modules_are_taken_off(model, weights, prefix):
    zoo.load_checkpoint(model, {prefix + name: tensor for name, tensor in weights.items()})
    assert_equal(model.state_dict(), weights)


def test_the_command_line_of_the_mae_family_is_allowed_in_that_call_only(model, weights, tmp_path):
    path = torch_file(tmp_path / "a.pth", {"model": weights, "args": argparse.Namespace(lr=1e-3, name="x")})
    zoo.load_checkpoint(model, path)
    assert_equal(model.state_dict(), weights)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_legacy_files_of_torch_are_read(model, weights, tmp_path):
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    zoo.load_checkpoint(model, tmp_path / "old.pth")
    assert_equal(model.state_dict(), weights)


def test_what_is_not_a_tensor_is_reported(model, weights):
    report = zoo.load_checkpoint(model, {**weights, "version": 3})
    assert report.dropped == {"version": "not a tensor"}


def test_another_number_format_is_cast_and_reported(model, weights):
    report = zoo.load_checkpoint(model, {name: tensor.half() for name, tensor in weights.items()})
    assert set(report.cast.values()) == {"float16 to float32"}
    assert len(report.cast) == len(weights)
    assert_equal(model.state_dict(), {name: tensor.half().float() for name, tensor in weights.items()})


def test_a_head_for_other_classes_is_left_out_and_the_classifier_stays(weights):
    model = create(num_classes=7)
    before = snapshot(model)
    report = zoo.load_checkpoint(model, weights)
    assert report.dropped == dict.fromkeys(
        ["head.linear.weight", "head.linear.bias"], "5 classes in the file, 7 in the model"
    )
    assert report.missing == ["head.linear.weight", "head.linear.bias"]
    kept = {name: before[name] for name in report.missing}
    assert_equal(model.state_dict(), {**weights, **kept})


def test_a_model_without_classifier_takes_weights_with_one(weights):
    model = create(num_classes=0)
    report = zoo.load_checkpoint(model, weights)
    assert set(report.dropped) == {"head.linear.weight", "head.linear.bias"}
    assert (report.missing, report.unexpected) == ([], [])


def test_a_file_without_head_leaves_the_head_as_it_was(model, weights):
    before = snapshot(model)
    trunk = {name: tensor for name, tensor in weights.items() if name.startswith("backbone.")}
    report = zoo.load_checkpoint(model, trunk)
    head = {name: tensor for name, tensor in before.items() if name.startswith("head.")}
    assert report.missing == list(head)
    assert_equal(model.state_dict(), {**trunk, **head})


def test_an_attentive_head_does_not_take_a_linear_one(weights):
    form = zoo.Classifier(pool="mean", kind="attentive", num_heads=2, options={"final_norm": False})
    model = create(classifier=form)
    report = zoo.load_checkpoint(model, weights)
    assert set(report.dropped.values()) == {"the model has another kind of head"}
    assert report.missing == [name for name in model.state_dict() if name.startswith("head.")]


def test_a_bare_backbone_is_recognised(model, weights):
    trunk = part(weights, "backbone.")
    assert zoo.load_checkpoint(model, trunk).layout == "zoo backbone"
    assert_equal(part(model.state_dict(), "backbone."), trunk)


def test_not_strict_skips_what_does_not_match_and_says_so(model, weights):
    before = snapshot(model)
    del weights["backbone.blocks.1.norm1.weight"]
    report = zoo.load_checkpoint(model, {**weights, "head.extra": torch.ones(1)}, strict=False)
    assert report.missing == ["backbone.blocks.1.norm1.weight"]
    assert report.unexpected == ["head.extra"]
    assert_equal(model.state_dict(), {name: weights.get(name, before[name]) for name in before})


def test_the_report_reads_well(weights):
    model = create(num_classes=7)
    report = zoo.load_checkpoint(model, {name: tensor.double() for name, tensor in weights.items()})
    text = str(report)
    assert "matched  30 of 32 tensors, 0.04 M values" in text
    assert "5 classes in the file, 7 in the model" in text
    assert "kept as it was  head.linear.weight, head.linear.bias" in text
    console = Console(file=io.StringIO(), width=200)
    console.print(report)
    assert console.file.getvalue().split() == text.split()


def test_a_long_report_is_cut_short():
    report = LoadReport(source="a.pth", layout="zoo", missing=[f"backbone.{i}" for i in range(10)])
    assert "backbone.3 and 6 more" in str(report)


# ---------------------------------------------------------------- our own training modules


class Toy(Objective):
    """A student and something that predicts from it."""

    def __init__(self, student):
        super().__init__()
        self.student = student
        self.decoder = torch.nn.Linear(student.embed_dim, 3)

    def forward(self, batch):
        return Loss(self.decoder(self.student(batch.video)).mean(), {})


def saved_by_lightning(module, path):
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
    trainer.strategy.connect(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.save_checkpoint(path)
    return path


RECIPE = Recipe(steps=10, global_batch=2, base_lr=1e-3)


def test_a_checkpoint_of_a_classification_run_is_recognised(model, weights, tmp_path):
    trained = create()
    trained.load_state_dict(weights)
    report = zoo.load_checkpoint(model, saved_by_lightning(Classify(trained, RECIPE), tmp_path / "run.ckpt"))
    assert_equal(model.state_dict(), weights)
    assert (report.missing, report.unexpected) == ([], [])


def test_a_checkpoint_of_a_pretraining_run_gives_its_student(model, tmp_path):
    torch.manual_seed(3)
    student = zoo.create_backbone("vit_pico", embed_dim=32, depth=2, num_heads=2)
    report = zoo.load_checkpoint(model, saved_by_lightning(Pretrain(Toy(student), RECIPE), tmp_path / "run.ckpt"))
    assert report.layout == "zoo pretraining run"
    assert "decoder.decoder.weight" in report.dropped
    assert "backbone.norm.weight" in report.dropped
    trunk = {name: tensor for name, tensor in student.state_dict().items() if not name.startswith("norm.")}
    assert_equal(part(model.state_dict(), "backbone."), trunk)


# ---------------------------------------------------------------- saving


def test_a_saved_model_comes_back_with_everything_that_predicting_needs(weights, tmp_path):
    model = create(global_pool="first", img_size=32)
    model.load_state_dict({name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()})
    clip = replace(model.spec.clip, clips=3, flip=False, sampling="uniform")
    zoo.save_checkpoint(model, tmp_path / "a" / "m.safetensors", label_names=list("vwxyz"), clip=clip)
    again = zoo.create_model("vit_pico", checkpoint_path=tmp_path / "a" / "m.safetensors")
    assert_equal(again.state_dict(), model.state_dict())
    assert (again.spec.label_names, again.spec.clip) == (tuple("vwxyz"), clip)
    video = torch.randn(2, 3, 16, 32, 32)
    assert torch.equal(again.eval()(video), model.eval()(video))
    assert os.listdir(tmp_path / "a") == ["m.safetensors"]


def test_saved_classes_are_a_default_that_the_caller_may_change(weights, tmp_path):
    model = create()
    zoo.save_checkpoint(model, tmp_path / "m.safetensors", label_names=list("vwxyz"))
    other = zoo.create_model("vit_pico", num_classes=9, checkpoint_path=tmp_path / "m.safetensors")
    assert (other.num_classes, other.spec.label_names) == (9, ())


def test_an_attentive_head_survives_saving(tmp_path):
    model = create(classifier=zoo.Classifier(pool="mean", kind="attentive", num_heads=2, depth=2))
    zoo.save_checkpoint(model, tmp_path / "m.safetensors")
    again = zoo.create_model("vit_pico", checkpoint_path=tmp_path / "m.safetensors")
    assert_equal(again.state_dict(), model.state_dict())


def test_a_saved_model_of_another_architecture_is_named(model, tmp_path):
    zoo.save_checkpoint(model, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="it holds a vit_pico, not a timesformer_pico"):
        zoo.create_model("timesformer_pico", checkpoint_path=tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", ["{", "[]", "{}", "[" * 100_000, '{"architecture": "vit_pico", "overrides": 3}'])
def test_a_damaged_description_is_a_checkpoint_error(weights, tmp_path, text):
    save_file(weights, tmp_path / "m.safetensors", {"zoo": text})
    with pytest.raises(CheckpointError, match="description of the model is damaged"):
        zoo.create_model("vit_pico", checkpoint_path=tmp_path / "m.safetensors")


def test_saving_refuses_what_could_not_be_read_again(model, tmp_path):
    with pytest.raises(ValueError, match="2 label names for 5 classes"):
        zoo.save_checkpoint(model, tmp_path / "m", label_names=["a", "b"])
    odd = VideoModel(model.backbone, model.head, replace(model.spec, overrides={"flavor": object()}))
    with pytest.raises(ValueError, match="cannot be written down"):
        zoo.save_checkpoint(odd, tmp_path / "m")
    with pytest.raises(ValueError, match="does not say how it was made"):
        zoo.save_checkpoint(VideoModel(model.backbone, model.head), tmp_path / "m")


def test_a_failed_save_leaves_the_older_file(model, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    zoo.save_checkpoint(model, path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"m\.safetensors.*No space left.*MB are free"):
        zoo.save_checkpoint(create(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


# ---------------------------------------------------------------- bad files: the container


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


def test_errors_survive_the_way_out_of_a_worker_process(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        read_weights(tmp_path / "none.pth")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made a line above
    assert (str(copy), copy.path) == (str(caught.value), caught.value.path)


# ---------------------------------------------------------------- bad files: the contents


def without(*names):
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def with_value(value):
    def change(state):
        name = "backbone.blocks.1.mlp.fc1.weight"
        tensor = state[name].clone()
        tensor[3, 2] = value
        return {**state, name: tensor}

    return change


def reshaped(name, *shape):
    return lambda state: {**state, name: torch.ones(shape)}


KERNEL, QKV = "backbone.patch_embed.proj.weight", "backbone.blocks.0.attn.qkv.weight"
BAD_STATES = {
    "nan": (with_value(float("nan")), r"'backbone\.blocks\.1\.mlp\.fc1\.weight' holds NaN or infinity"),
    "inf": (with_value(float("inf")), "holds NaN or infinity"),
    "overflow": (
        lambda state: {name: tensor.double() * 1e60 for name, tensor in state.items()},
        r"and \d+ more holds NaN or infinity",
    ),
    "zeros": (lambda state: {name: tensor * 0 for name, tensor in state.items()}, "all its weights are zero"),
    "a missing tensor": (without(QKV), rf"1 tensors of the model are not in it \({QKV}\)"),
    "half a head": (without("head.linear.bias"), r"not in it \(head\.linear\.bias\)"),
    "no norm in the head": (without("head.norm.weight", "head.norm.bias"), r"not in it \(head\.norm\.weight"),
    "a surplus tensor": (lambda s: {**s, "backbone.gate": torch.ones(1)}, r"do not belong \(backbone\.gate\)"),
    "a surplus namespace": (lambda s: {**s, "teacher.gate": torch.ones(1)}, r"do not belong \(teacher\.gate\)"),
    "fewer blocks": (lambda s: {k: v for k, v in s.items() if "blocks.1" not in k}, "build the model with depth=1"),
    "more blocks": (
        lambda s: {**s, **{k.replace("blocks.1", "blocks.2"): v for k, v in s.items() if "blocks.1" in k}},
        "build the model with depth=3",
    ),
    "another tubelet": (reshaped(KERNEL, 32, 3, 4, 8, 8), "build it with tubelet_size=4"),
    "an image kernel": (reshaped(KERNEL, 32, 3, 1, 8, 8), "tubelet_size=1|pass inflate='center'"),
    "another patch": (reshaped(KERNEL, 32, 3, 2, 16, 16), "build it with patch_size=16"),
    "another width": (
        lambda s: {k: torch.ones([2 * n if n == 32 else n for n in v.shape]) for k, v in s.items()},
        "build it with embed_dim=64",
    ),
    "another shape": (reshaped(QKV, 90, 32), r"is \[90, 32\] in the file and \[96, 32\] in the model"),
    "another rank": (reshaped(QKV, 96, 32, 1), "another architecture"),
    "whole numbers": (lambda s: {k: v.to(torch.int8) for k, v in s.items()}, r"holds torch\.int8 in the file"),
    "rows that disagree": (reshaped("head.linear.weight", 9, 32), "num_classes=9"),
    "sparse": (lambda s: {**s, QKV: torch.eye(32).to_sparse()}, "sparse or quantised|neither a tensor"),
    "a foreign network": (
        lambda s: {"conv1.weight": torch.ones(3), "layer1.0.bn.bias": torch.ones(3)},
        "'conv1.weight', 'layer1.0.bn.bias'.*known are 'zoo'.*The closest is 'zoo.*which needs",
    ),
    "an unknown prefix": (lambda s: {f"student.{k}": v for k, v in s.items()}, "have no layout known"),
}


@pytest.mark.parametrize("kind", BAD_STATES)
def test_weights_that_do_not_fit_are_refused_with_a_way_out(model, weights, tmp_path, kind):
    change, reason = BAD_STATES[kind]
    path = torch_file(tmp_path / "bad.pth", change(weights))
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=rf"(?s)bad\.pth.*{reason}"):
        zoo.load_checkpoint(model, path)
    assert_equal(model.state_dict(), before)


@pytest.mark.parametrize("kind", ["nan", "zeros", "another tubelet", "whole numbers", "a foreign network"])
def test_not_strict_still_refuses_what_cannot_be_right(model, weights, kind):
    before = snapshot(model)
    with pytest.raises(CheckpointError, match="<state dict>"):
        zoo.load_checkpoint(model, BAD_STATES[kind][0](weights), strict=False)
    assert_equal(model.state_dict(), before)


def test_a_norm_on_the_other_side_of_pooling_names_the_option(weights):
    first = create(global_pool="first")
    with pytest.raises(CheckpointError, match="build the model with global_pool='mean'"):
        zoo.load_checkpoint(first, weights)
    with pytest.raises(CheckpointError, match="build the model with global_pool='first'"):
        zoo.load_checkpoint(create(), first.state_dict())


def test_weights_cannot_be_copied_to_the_meta_device(weights):
    with torch.device("meta"):
        model = create()
    with pytest.raises(CheckpointError, match="meta device on one side only"):
        zoo.load_checkpoint(model, weights)


def test_a_state_dict_of_two_possible_layouts_is_refused(model, weights, monkeypatch):
    swapped = Converter(
        name="swapped",
        needs=("backbone.*",),
        rules=(
            rename("backbone.blocks.*.norm1.*", "backbone.blocks.*.norm2.*"),
            rename("backbone.blocks.*.norm2.*", "backbone.blocks.*.norm1.*"),
            rename("*", "*"),
        ),
    )
    monkeypatch.setattr(layouts, "OWN", (*layouts.OWN, swapped))
    with pytest.raises(CheckpointError, match="could be any of the layouts 'zoo' and 'swapped'"):
        zoo.load_checkpoint(model, weights)


# ---------------------------------------------------------------- other clips, images to videos


def test_position_tables_are_resized_only_when_asked():
    weights = {name: torch.randn_like(it) for name, it in create_mamba(img_size=16, num_frames=4).state_dict().items()}
    model = create_mamba(img_size=32, num_frames=8)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"img_size=16, num_frames=4, or pass resize_positions=True"):
        zoo.load_checkpoint(model, weights)
    assert_equal(model.state_dict(), before)
    report = zoo.load_checkpoint(model, weights, resize_positions=True)
    assert report.resized == {
        "backbone.pos_embed": "[1, 4, 16] to [1, 16, 16], interpolated",
        "backbone.temporal_pos_embed": "[1, 4, 16] to [1, 8, 16], interpolated",
    }


def create_mamba(**options):
    return zoo.create_model("videomamba_tiny", num_classes=4, patch_size=8, embed_dim=16, depth=2, **options)


@pytest.mark.parametrize("mode", ["center", "mean"])
def test_image_weights_become_video_weights_only_when_asked(mode):
    image = create_mamba(img_size=16, num_frames=1)
    weights = {name: torch.randn_like(tensor) for name, tensor in image.state_dict().items()}
    model = create_mamba(img_size=16, num_frames=6, tubelet_size=3)
    with pytest.raises(CheckpointError, match="pass inflate='center'"):
        zoo.load_checkpoint(model, weights)
    report = zoo.load_checkpoint(model, weights, inflate=mode)
    assert set(report.resized) == {"backbone.patch_embed.proj.weight", "backbone.temporal_pos_embed"}
    kernel, flat = model.backbone.patch_embed.proj.weight, weights["backbone.patch_embed.proj.weight"]
    torch.testing.assert_close(kernel.sum(2, keepdim=True), flat)
    assert torch.equal(kernel[:, :, 1:2], flat) == (mode == "center")
    assert not model.backbone.temporal_pos_embed.any()


# ---------------------------------------------------------------- the authors' files through the front door

SIZES = {"img_size": "img_size", "patch_size": "patch_size", "embed_dim": "embed_dim", "depth": "depth"}
VIDEOMAE_NAMES = {"num_heads": "num_heads", "all_frames": "num_frames", "tubelet_size": "tubelet_size"}
MAE_ST_NAMES = {"num_heads": "num_heads", "num_frames": "num_frames", "t_patch_size": "tubelet_size"}
MAMBA_NAMES = {"num_frames": "num_frames", "kernel_size": "tubelet_size", "stride": "stride"}


def from_official(name, constructor, names, **more):
    options = {ours: constructor[theirs] for theirs, ours in {**SIZES, **names}.items() if theirs in constructor}
    return zoo.create_model(name, num_classes=constructor["num_classes"], **options, **more).eval()


@pytest.mark.parametrize(
    ("fixture", "name", "names", "options"),
    [
        ("finetune_meanpool_f16", "videomae_base", VIDEOMAE_NAMES, {}),
        ("finetune_first_token_f4", "videomae_small", VIDEOMAE_NAMES, {"global_pool": "first"}),
        ("maest_finetune_f8_sep_cls", "mae_st_large", MAE_ST_NAMES, {}),
    ],
)
def test_videomae_files_give_the_authors_logits(fixture, name, names, options):
    side, tensors = load(f"videomae/{fixture}")
    model = from_official(name, side["constructor"], names, **options)
    state = part(tensors, "sd.")
    report = zoo.load_checkpoint(model, {"module": state})
    assert (len(report.matched), report.missing) == (len(model.state_dict()), [])
    tolerance = {key: side["tolerance"][key] for key in ("atol", "rtol")}
    logits = model(tensors["in.video"])
    assert_parity(f"videomae/{fixture} through the front door", logits, tensors["out.logits"], **tolerance)


def test_transformers_files_give_the_official_logits():
    side, tensors = load("videomae/hf_classification_f8")
    config = side["config"]
    model = zoo.create_model(
        "videomae_base",
        num_classes=config["num_labels"],
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        num_frames=config["num_frames"],
        tubelet_size=config["tubelet_size"],
        embed_dim=config["hidden_size"],
        depth=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
    ).eval()
    zoo.load_checkpoint(model, part(tensors, "sd."))
    logits = model(tensors["in.pixel_values"].transpose(1, 2))
    expected = tensors["out.official_logits"]
    assert_parity("videomae/hf_classification_f8 through the front door", logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fixture", "options"),
    [
        ("video_k1", {}),
        ("video_k2", {}),
        ("image_cls", {"num_frames": 1}),
        ("image_distill_student", {"num_frames": 1}),
        ("image_layernorm_unfused", {"num_frames": 1, "norm": "layer"}),
        ("image_overlap_stride", {"num_frames": 1}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_videomamba_files_give_the_authors_logits(fixture, options, dtype, tmp_path):
    side, tensors = load(f"videomamba/{fixture}")
    model = from_official("videomamba_tiny", side["constructor"], MAMBA_NAMES, **options).to(dtype)
    report = zoo.load_checkpoint(model, torch_file(tmp_path / "a.pth", {"model": part(tensors, "state/")}))
    assert (len(report.matched), report.missing) == (len(model.state_dict()), [])
    assert all(name.startswith("distill_head.") for name in report.dropped)
    x = tensors["input/x"].to(dtype)
    logits = model(x if x.ndim == 5 else x[:, :, None])
    expected = tensors["output/logits" if dtype == torch.float32 else "output64/logits"]
    tolerance = side["tolerance"][str(dtype).removeprefix("torch.")]
    assert_parity(f"videomamba/{fixture} {dtype} through the front door", logits, expected, **tolerance)


@pytest.mark.parametrize("mode", ["center", "mean"])
def test_videomamba_images_inflate_as_the_authors_do(mode):
    side, tensors = load(f"videomamba/inflate_k2_{mode}")
    model = from_official("videomamba_tiny", side["constructor"], MAMBA_NAMES)
    report = zoo.load_checkpoint(model, part(tensors, "state/"), inflate=mode)
    assert report.missing == ["head.linear.weight", "head.linear.bias"]
    features = model.forward_head(model.forward_features(tensors["input/x"]), pre_logits=True)
    tolerance = side["tolerance"]["float32"]
    assert_parity(f"videomamba/inflate_k2_{mode} front door", features, tensors["output/features"], **tolerance)


def test_videomamba_tables_are_resized_as_the_authors_do():
    side, tensors = load("videomamba/interp_pos")
    model = from_official("videomamba_tiny", {**side["constructor"], "num_classes": 2}, MAMBA_NAMES)
    zoo.load_checkpoint(model, part(tensors, "state/"), resize_positions=True)
    found = torch.cat([model.backbone.cls_pos_embed, model.backbone.pos_embed], 1)
    tolerance = side["tolerance"]["float32"]
    assert_parity("videomamba/interp_pos space, front door", found, tensors["output/pos_embed"], **tolerance)
    found, expected = model.backbone.temporal_pos_embed, tensors["output/temporal_pos_embedding"]
    assert_parity("videomamba/interp_pos time, front door", found, expected, **tolerance)
    tokens = model.forward_features(tensors["input/x"]).tokens
    assert_parity("videomamba/interp_pos tokens, front door", tokens, tensors["output/tokens"], **tolerance)


def test_timesformer_files_of_both_spellings_load(tmp_path):
    options = {"num_classes": 3, "img_size": 16, "num_frames": 2, "patch_size": 8, "embed_dim": 16, "depth": 2}
    model = zoo.create_model("timesformer_base", num_heads=2, **options)
    weights = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    for converter in registry.get_architecture("timesformer_base").converters:
        theirs = converter.to_official(weights).state
        if converter.name == "TimeSformer official":
            theirs = {"model_state": {f"model.{name}": tensor for name, tensor in theirs.items()}, "epoch": 3}
        report = zoo.load_checkpoint(zoo.create_model("timesformer_base", num_heads=2, **options), theirs)
        zoo.load_checkpoint(model, theirs)
        assert report.layout == converter.name
        assert_equal(model.state_dict(), weights)


RELEASED = [
    ("videomae_small", "videomae/finetune_small_ssv2_f16_res224", 174, {}),
    ("videomae_base", "videomae/finetune_base_k400_f16_res224", 400, {}),
    ("videomae_large", "videomae/finetune_large_k400_f16_res224", 400, {}),
    ("videomae_huge", "videomae/finetune_huge_k400_f16_res224", 400, {}),
    ("videomae_base", "videomae/hf_classification_base_k400", 400, {}),
    ("mae_st_large", "videomae/maest_finetune_large_k400", 400, {}),
    ("videomae_small", "videomae/pretrain_small_f16_res224", 0, {}),
    ("videomae_huge", "videomae/pretrain_huge_f16_res224", 0, {}),
    ("videomae_large", "videomae/hf_pretraining_large", 0, {}),
    ("mae_st_huge", "videomae/maest_pretrain_huge_f16_res224", 0, {"patch_size": 14}),
    ("videomamba_tiny", "videomamba/videomamba_tiny_image224", 1000, {"num_frames": 1}),
    ("videomamba_base", "videomamba/videomamba_base_distill224", 1000, {}),
    ("videomamba_small", "videomamba/videomamba_small_video_f8_224", 400, {}),
    ("videomamba_middle", "videomamba/videomamba_middle_video_f8_224", 400, {}),
    ("videomamba_middle", "videomamba/videomamba_middle_pretrain_f8_224", 0, {}),
    ("videomamba_middle", "videomamba/videomamba_middle_mm_f8_224", 0, {}),
]


@pytest.mark.parametrize(("name", "file", "num_classes", "options"), RELEASED, ids=lambda it: str(it).split("/")[-1])
def test_released_files_fill_their_networks_key_by_key(name, file, num_classes, options):
    listed = manifest(file)
    with torch.device("meta"):
        model = zoo.create_model(name, num_classes=num_classes, **options)
        state = {key: torch.empty(shape) for key, shape in listed.get("keys", listed).items()}
    report = zoo.load_checkpoint(model, state)
    assert not report.unexpected
    assert all(missing.startswith("head.norm.") and num_classes == 0 for missing in report.missing)
    assert len(report.matched) + len(report.missing) == len(model.state_dict())
