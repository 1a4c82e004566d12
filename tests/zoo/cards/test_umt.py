import pytest
import torch

import zoo
from backbones.contract import Grid
from backbones.meta import meta_device
from backbones.umt import umt_base, umt_large
from heads.alignment import AlignmentHead
from heads.linear import LinearHead
from tests.support import manifest
from zoo.cards import umt as card
from zoo.cards.videomamba import PRETRAINED
from zoo.checkpoints import load_checkpoint
from zoo.model import VideoModel
from zoo.weight_files import CheckpointError

BUILD = {"b16": umt_base, "l16": umt_large}
FINETUNED = [
    ("b16_ptk710_ftk710_f8_res224", 710, {}),
    ("b16_ptk710_ftk710_ftk400_f8_res224", 400, {}),
    ("b16_ptk710_ftk710_ftssv2_f8_res224", 174, {}),
    ("b16_ptk710_ftk710_ftk400_ftmitv1_f8_res384", 339, {"img_size": 384}),
    ("l16_ptk710_ftk710_ftk400_f16_res224", 400, {"num_frames": 16}),
    ("l16_ptk710_ftk710_ftk700_f16_res224", 700, {"num_frames": 16}),
]


def on_meta(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in manifest(f"umt/{name}").items()}


def converted(name: str, converter) -> dict[str, torch.Tensor]:
    """Our names for a manifest: every key known, and an exact way back."""
    official = on_meta(name)
    assert [it.name for it in (card.PRETRAIN, card.FINETUNE) if it.matches(list(official))] == [converter.name]
    found = converter.to_zoo(official)
    assert found.unexpected == found.dropped == []
    assert converter.to_official(found.state).state.keys() == official.keys()
    return found.state


@pytest.mark.parametrize(("name", "out_dim"), [("b16_ptk710_f8_res224", 512), ("l16_ptk710_f8_res224", 768)])
def test_stage_1_files_fit_student_and_alignment_head(name, out_dim):
    state = converted(name, card.PRETRAIN)
    with meta_device():
        student = BUILD[name[:3]]()
        decoder = AlignmentHead(student.embed_dim, out_dim, Grid(8, 14, 14), num_layers=6)
    torch.nn.ModuleDict({"backbone": student, "decoder": decoder}).load_state_dict(state, assign=True)


@pytest.mark.parametrize(("name", "num_classes", "options"), FINETUNED)
def test_fine_tuned_files_fit(name, num_classes, options):
    state = converted(name, card.FINETUNE)
    with meta_device():
        backbone = BUILD[name[:3]](**card.MEAN_POOL.options, **options)
        head = LinearHead(backbone.embed_dim, num_classes, pool="mean", norm=True)
    VideoModel(backbone, head).load_state_dict(state, assign=True)


def test_action_detection_files_fit_the_form_with_the_final_norm():
    state = converted("b16_ptk710_ftk710_ftava_f8_res224", card.FINETUNE)
    with meta_device():
        backbone = umt_base()
        head = LinearHead(backbone.embed_dim, 80, pool="mean")
    VideoModel(backbone, head).load_state_dict(state, assign=True)


def test_videomambas_pretraining_files_fit_student_and_alignment_head():
    shapes = manifest("videomamba/videomamba_middle_pretrain_f8_224")["keys"]
    official = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    found = PRETRAINED.to_zoo(official)
    assert found.unexpected == found.dropped == []
    with meta_device():
        student = zoo.create_backbone("videomamba_middle")
        decoder = AlignmentHead(576, 512, Grid(8, 14, 14), class_token=True, norm_eps=1e-5)
    torch.nn.ModuleDict({"backbone": student, "decoder": decoder}).load_state_dict(found.state, assign=True)


TINY = {"embed_dim": 32, "depth": 2, "num_heads": 4, "patch_size": 8}


def small(num_classes: int = 5, **options) -> VideoModel:
    """A small member of the published fine-tuning form, whose native clips are 8 frames of 112 px."""
    torch.manual_seed(0)
    return zoo.create_model("umt_base", num_classes=num_classes, **{**TINY, "img_size": 112, **options})


def official_of(model: VideoModel) -> dict[str, torch.Tensor]:
    return {name: it.clone() for name, it in card.FINETUNE.to_official(model.state_dict()).state.items()}


def test_files_without_a_table_fit_other_clips_and_the_other_way_round():
    short, long = small(), small(num_frames=16)
    assert "pos_embed" in official_of(long)
    table = long.backbone.pos_embed.clone()
    assert load_checkpoint(long, official_of(short)).missing == []
    assert torch.equal(long.backbone.pos_embed, table)
    moved = official_of(small(num_frames=16))
    moved["pos_embed"] += 1
    load_checkpoint(long, moved)
    torch.testing.assert_close(long.backbone.pos_embed, table + 1)


def test_a_table_for_other_clips_makes_way_for_the_models_own():
    wide, long = small(img_size=64), small(num_frames=16)
    table = wide.backbone.pos_embed.clone()
    report = load_checkpoint(wide, official_of(long), resize_positions=True)
    assert "the model has computed its own" in report.dropped["backbone.pos_embed"]
    assert torch.equal(wide.backbone.pos_embed, table)


def test_a_model_with_another_table_refuses_a_stored_one():
    plain = zoo.create_model("umt_base", num_classes=5, **TINY, img_size=112, num_frames=16, table_grid=(16, 14, 14))
    with pytest.raises(CheckpointError, match=r"do not belong \(backbone.pos_embed\).*table_grid it comes from"):
        load_checkpoint(plain, official_of(small(num_frames=16)))


def test_classes_of_k400_are_the_first_rows_of_k710s():
    union, model = small(num_classes=710), small(num_classes=400)
    report = load_checkpoint(model, official_of(union), classes=range(400))
    assert not report.missing
    assert torch.equal(model.head.linear.weight, union.head.linear.weight[:400])
    picked = [700, 3, 3]
    other = small(num_classes=3)
    load_checkpoint(other, official_of(union), classes=picked)
    assert torch.equal(other.head.linear.bias, union.head.linear.bias[picked])
    with pytest.raises(CheckpointError, match="there is no class 710 in a classifier of 710 classes"):
        load_checkpoint(other, official_of(union), classes=[0, 1, 710])
    with pytest.raises(CheckpointError, match="2 classes were chosen for a model that has 3"):
        load_checkpoint(other, official_of(union), classes=[0, 1])


def test_a_stage_1_file_starts_a_classifier_without_its_norm_and_head():
    torch.manual_seed(1)
    student = zoo.create_backbone("umt_base", **TINY, img_size=112)
    decoder = AlignmentHead(32, 8, student.table_grid)
    both = torch.nn.ModuleDict({"backbone": student, "decoder": decoder}).state_dict()
    model = small(num_frames=16)
    report = load_checkpoint(model, card.PRETRAIN.to_official(both).state)
    assert all(name.startswith("head.") for name in report.missing)
    assert {name.partition(".")[0] for name in report.dropped} == {"backbone", "decoder"}
    assert torch.equal(model.backbone.blocks[1].attn.q_bias, student.blocks[1].attn.q_bias)


def test_our_own_file_of_short_clips_starts_a_model_of_longer_ones(tmp_path):
    short = small()
    zoo.save_checkpoint(short, tmp_path / "short.safetensors")
    long = zoo.create_model("umt_base", checkpoint_path=tmp_path / "short.safetensors", num_frames=16)
    assert torch.equal(long.head.linear.weight, short.head.linear.weight)
    assert long.backbone.pos_embed.shape == (1, 16 * 196, 32)


def test_a_learned_table_may_not_be_missing():
    mamba = zoo.create_model("videomamba_pico")
    state = {name: it for name, it in mamba.state_dict().items() if name != "backbone.pos_embed"}
    with pytest.raises(CheckpointError, match=r"not in it \(backbone.pos_embed\)"):
        load_checkpoint(mamba, state)
