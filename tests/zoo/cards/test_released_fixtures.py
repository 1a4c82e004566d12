"""The authors' weights at tiny sizes, as files of their layouts, opened by the name of a card."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import zoo
from backbones.layers import Flavor
from tests.support import assert_parity, load, part
from tests.zoo.weights import torch_file
from zoo import masks
from zoo.model import VideoModel

# Constructor arguments of all the authors, in our words.
NAMES = {
    "img_size": "img_size",
    "image_size": "img_size",
    "patch_size": "patch_size",
    "stride": "stride",
    "embed_dim": "embed_dim",
    "encoder_embed_dim": "embed_dim",
    "hidden_size": "embed_dim",
    "depth": "depth",
    "encoder_depth": "depth",
    "num_hidden_layers": "depth",
    "num_heads": "num_heads",
    "encoder_num_heads": "num_heads",
    "num_attention_heads": "num_heads",
    "num_frames": "num_frames",
    "all_frames": "num_frames",
    "tubelet_size": "tubelet_size",
    "t_patch_size": "tubelet_size",
    "kernel_size": "tubelet_size",
    "num_classes": "num_classes",
    "num_labels": "num_classes",
}


def opened(card: str, path: Path, constructor: dict[str, Any], **more: Any) -> VideoModel:
    """The model of a card at a fixture's size, filled from a file."""
    sizes = {ours: constructor[theirs] for theirs, ours in NAMES.items() if theirs in constructor}
    if card.startswith("umt_"):
        del sizes["tubelet_size"]
    return zoo.create_model(card, checkpoint_path=path, **{**sizes, **more}).eval()


def written(path: Path, state: dict[str, torch.Tensor], wrapper: str) -> Path:
    """A file as the authors' trainers, or transformers, write it."""
    if wrapper == "safetensors":
        save_file(state, path, {"format": "pt"})
        return path
    return torch_file(path, {wrapper: state, "epoch": 3, "optimizer": {"state": {}}} if wrapper else state)


FIRST_TOKEN = {"global_pool": "first", "table_grid": (8, 14, 14), "flavor": Flavor(layer_scale=0.1)}
CLASSIFIERS = [
    ("umt/finetune_f8_r32_interp_table", "umt_base.k710_ft_k400_f8_res224", "module", {}),
    ("umt/finetune_f4_r48_clstoken0_layerscale", "umt_large.k710_pt_ssv2_f8_res224", "model", FIRST_TOKEN),
    ("videomae/finetune_meanpool_f16", "videomae_base.k400_pt_e1600_k400_ft", "module", {}),
    ("videomae/hf_classification_f8", "videomae_base.k400_pt_e1600_k400_ft", "safetensors", {}),
    ("videomae/hf_classification_f8", "videomae_small.ssv2_pt_e2400_ssv2_ft", "", {}),
    ("videomamba/video_k1", "videomamba_tiny.k400_f64_res224", "", {}),
    ("videomamba/image_cls", "videomamba_small.in1k_res224", "model", {}),
    ("videomamba/image_distill_student", "videomamba_middle.in1k_res224", "model", {}),
]


def expected_logits(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    names = ("out.official_logits", "out.logits", "output/logits")
    return next(tensors[name] for name in names if name in tensors)


def bounds(side: dict[str, Any]) -> dict[str, float]:
    found = side["tolerance"].get("float32", side["tolerance"])
    return {key: found[key] for key in ("rtol", "atol")}


@pytest.mark.parametrize(("fixture", "card", "wrapper", "options"), CLASSIFIERS)
@torch.no_grad()
def test_files_give_the_authors_logits_by_the_name_of_a_card(fixture, card, wrapper, options, tmp_path):
    side, tensors = load(fixture)
    state = part(tensors, "sd.") or part(tensors, "state/")
    constructor = side.get("constructor") or side["config"]
    model = opened(card, written(tmp_path / "file", state, wrapper), constructor, **options)
    video = next(tensors[name] for name in ("in.video", "in.pixel_values", "input/x") if name in tensors)
    if "in.pixel_values" in tensors:
        video = video.transpose(1, 2)
    video = video if video.ndim == 5 else video[:, :, None]
    logits = model(video)
    assert_parity(f"{fixture} as {card}", logits, expected_logits(tensors), **bounds(side))


PRETRAINED = [
    ("umt/pretrain_student_f4_r32", "umt_base.k710_pt_f8_res224", "model", "out.encoder_last"),
    ("videomae/pretrain_f16_r32", "videomae_huge.k400_pt_e1600", "model", "out.encoder"),
    ("videomae/hf_pretraining_f16", "videomae_base.k400_pt_e800", "safetensors", "out.encoder"),
]


@pytest.mark.parametrize(("fixture", "card", "wrapper", "output"), PRETRAINED)
@torch.no_grad()
def test_pretraining_files_give_the_encoders_visible_tokens_by_the_name_of_a_card(
    fixture, card, wrapper, output, tmp_path
):
    side, tensors = load(fixture)
    constructor = side.get("constructor") or side["config"]
    frames = {"num_frames": side.get("frames") or constructor["num_frames"]}
    model = opened(card, written(tmp_path / "file", part(tensors, "sd."), wrapper), constructor, **frames)
    assert model.num_classes == 0
    dropped = next(tensors[name] for name in ("in.mask", "in.bool_masked_pos") if name in tensors)
    video = tensors["in.pixel_values"].transpose(1, 2) if "in.pixel_values" in tensors else tensors["in.video"]
    tokens = model.backbone.forward_features(video, masks.from_dropped(dropped)).tokens
    assert_parity(f"{fixture} as {card}", tokens, tensors[output], **bounds(side))


@torch.no_grad()
def test_mae_sts_pretraining_file_gives_its_latent_tokens(tmp_path):
    side, tensors = load("videomae/maest_pretrain_f8_sep_cls")
    path = written(tmp_path / "file", part(tensors, "sd."), "model")
    model = opened("mae_st_large.k400_pt", path, side["constructor"])
    keep = masks.from_dropped(tensors["out.mask"].bool())
    tokens = model.backbone.forward_features(tensors["in.video"], keep).tokens
    # The authors keep the order of the noise, we keep raster order.
    order = tensors["in.noise"].argsort(1)[:, : keep.shape[1]].argsort(1)[..., None].expand_as(tokens)
    assert_parity(
        "videomae/maest_pretrain_f8_sep_cls latent", tokens, tensors["out.latent"].gather(1, order), **bounds(side)
    )


@torch.no_grad()
def test_videomambas_pretraining_file_gives_the_stream_that_was_taught(tmp_path):
    side, tensors = load("videomamba/pretrain_last")
    path = written(tmp_path / "file", part(tensors, "state/"), "")
    model = opened("videomamba_middle_pretrain.k400_mask_pt_f8_res224", path, side["constructor"])
    keep = masks.from_dropped(tensors["input/mask"].narrow(1, 1, tensors["input/mask"].shape[1] - 1).bool())
    (features,) = model.backbone.forward_intermediates(tensors["input/x"], [-2], keep, norm=False)
    found = torch.cat([features.prefix, features.tokens], 1)[None]
    assert_parity("videomamba/pretrain_last as a card", found, tensors["output/student_layers"], **bounds(side))


def test_a_pretraining_file_starts_a_classifier_with_a_fresh_head(tmp_path):
    side, tensors = load("videomae/pretrain_f16_r32")
    path = written(tmp_path / "file", part(tensors, "sd."), "model")
    model = opened("videomae_base.k400_pt_e1600", path, side["constructor"], num_frames=16, num_classes=9)
    assert model.head.linear.weight.shape == (9, 48)
    expected = tensors["sd.encoder.blocks.2.mlp.fc2.weight"]
    assert torch.equal(model.backbone.blocks[2].mlp.fc2.weight, expected)
