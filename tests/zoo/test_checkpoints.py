"""Loading and saving through the front door, the authors' files included."""

import argparse
import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import zoo
from tests.support import assert_parity, load, manifest, part
from tests.zoo.weights import assert_equal, create, snapshot, somebody_elses_weights, torch_file
from zoo import checkpoints, registry
from zoo.model import VideoModel
from zoo.weight_files import CheckpointError, read_metadata


@pytest.fixture
def model():
    return create()


@pytest.fixture
def weights():
    return somebody_elses_weights()


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


def test_not_strict_skips_what_does_not_match_and_says_so(model, weights):
    before = snapshot(model)
    del weights["backbone.blocks.1.norm1.weight"]
    report = zoo.load_checkpoint(model, {**weights, "head.extra": torch.ones(1)}, strict=False)
    assert report.missing == ["backbone.blocks.1.norm1.weight"]
    assert report.unexpected == ["head.extra"]
    assert_equal(model.state_dict(), {name: weights.get(name, before[name]) for name in before})


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
    with pytest.raises(CheckpointError, match="it holds a vit_pico, and the model is a videomamba_pico"):
        zoo.load_checkpoint(zoo.create_model("videomamba_pico"), tmp_path / "m.safetensors")


def test_weights_of_another_architecture_get_no_hint_that_cannot_help(model):
    with pytest.raises(CheckpointError, match="these are weights of another architecture"):
        zoo.load_checkpoint(zoo.create_model("videomamba_pico"), model.state_dict())


@pytest.mark.parametrize("text", ["{", "[]", "{}", "[" * 100_000, '{"architecture": "vit_pico", "overrides": 3}'])
def test_a_damaged_description_is_a_checkpoint_error(weights, tmp_path, text):
    save_file(weights, tmp_path / "m.safetensors", {"zoo": text})
    with pytest.raises(CheckpointError, match="description of the model is damaged"):
        zoo.create_model("vit_pico", checkpoint_path=tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": {"bogus": 1}},
        {"overrides": {"embed_dim": 33, "num_heads": 2}},
        {"num_classes": -3},
        {"classifier": {"pool": "max"}},
        {"classifier": {"pool": "mean", "options": {"bogus": 1}}},
        {"classifier": {"pool": "mean", "kind": "attentive", "num_heads": 7}},
        {"classifier": {"pool": "mean", "dropout": 7.0}},
        # No memory may be asked for, and no million of blocks be made.
        {"overrides": {"depth": 10**9}},
        {"overrides": {"embed_dim": 10**6, "num_heads": 10**5}},
        {"overrides": {"img_size": 10**6, "embed_dim": 32, "num_heads": 2}},
        {"overrides": {"embed_dim": 10**30}},
        {"num_classes": 10**12},
        {"classifier": {"pool": "mean", "kind": "attentive", "num_heads": 2, "depth": 10**9}},
    ],
    ids=str,
)
def test_a_description_of_which_no_model_can_be_made_names_the_file(model, tmp_path, change):
    path = tmp_path / "m.safetensors"
    zoo.save_checkpoint(model, path)
    text = json.loads(read_metadata(path)["zoo"])
    save_file(model.state_dict(), path, {"zoo": json.dumps({**text, **change})})
    with pytest.raises(CheckpointError, match=r"m\.safetensors.*description of the model is damaged"):
        zoo.create_model("vit_pico", checkpoint_path=path)


@pytest.mark.parametrize("name", ["timesformer_pico", "videomamba_pico", "umt_pico", "timm_vit_pico"])
def test_a_rate_of_dropped_paths_is_no_damage(name, tmp_path):
    path = tmp_path / "m.safetensors"
    zoo.save_checkpoint(zoo.create_model(name, num_classes=3, depth=2, drop_path_rate=0.1), path)
    assert zoo.create_model(name, checkpoint_path=path).spec.overrides["drop_path_rate"] == 0.1


def test_a_wrong_option_of_the_callers_is_not_blamed_on_the_file(model, tmp_path):
    zoo.save_checkpoint(model, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="33"):
        zoo.create_model("vit_pico", checkpoint_path=tmp_path / "m.safetensors", embed_dim=33)


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


@pytest.mark.parametrize("place", ["file/m.safetensors", "file/deep/m.safetensors", "folder"])
def test_a_place_where_no_file_can_be_is_named(model, tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=rf"cannot write '.*{place}': .* MB are free there"):
        zoo.save_checkpoint(model, tmp_path / place)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


# ---------------------------------------------------------------- the authors' files

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


def test_a_file_of_a_model_with_another_number_of_heads_is_refused(tmp_path):
    zoo.save_checkpoint(zoo.create_model("vit_pico", num_classes=3), tmp_path / "a.safetensors")
    other = zoo.create_model("vit_pico", num_classes=3, num_heads=8)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError, match="made with num_heads=4, the model has num_heads=8"):
        zoo.load_checkpoint(other, tmp_path / "a.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    longer = zoo.create_model("vit_pico", num_classes=3, num_frames=32)
    zoo.load_checkpoint(longer, tmp_path / "a.safetensors")
