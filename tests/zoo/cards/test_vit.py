import pytest
import torch

from backbones.contract import Grid
from backbones.meta import meta_device
from heads.linear import LinearHead
from heads.masked_decoder import MaskedDecoder
from tests.support import manifest
from zoo.cards import vit as card
from zoo.model import VideoModel

SIZES = ("small", "base", "large", "huge")
ARCHITECTURES = {architecture.name: architecture for architecture in card.ARCHITECTURES}
PRETRAIN = [
    *((f"pretrain_{size}_f16_res224", f"videomae_{size}", card.VIDEOMAE_PRETRAIN) for size in SIZES),
    *((f"hf_pretraining_{size}", f"videomae_{size}", card.HF_PRETRAIN) for size in ("base", "large")),
    *(
        (f"maest_pretrain_{size}_f16_res224", f"mae_st_{size}", card.mae_st_pretrain("separable"))
        for size in ("large", "huge")
    ),
]
FINETUNE = [
    *((f"finetune_{size}_k400_f16_res224", f"videomae_{size}", card.VIDEOMAE_FINETUNE) for size in SIZES),
    ("finetune_small_ssv2_f16_res224", "videomae_small", card.VIDEOMAE_FINETUNE),
    ("finetune_base_ssv2_f16_res224", "videomae_base", card.VIDEOMAE_FINETUNE),
    ("finetune_base_ucf101_f16_res224", "videomae_base", card.VIDEOMAE_FINETUNE),
    *((f"hf_classification_{size}_k400", f"videomae_{size}", card.HF_CLASSIFIER) for size in SIZES),
    ("hf_classification_small_ssv2", "videomae_small", card.HF_CLASSIFIER),
    ("hf_classification_base_ssv2", "videomae_base", card.HF_CLASSIFIER),
    ("maest_finetune_large_k400", "mae_st_large", card.mae_st_finetune("separable")),
]
NUM_CLASSES = {"k400": 400, "ssv2": 174, "ucf101": 101}


def meta_state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def shapes_of(state: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in state.items()}


def consumed(shapes: dict[str, list[int]], converter) -> dict[str, torch.Tensor]:
    """Our names for the keys of a manifest: all known, none lost, and the way back reproduces the manifest."""
    official = meta_state(shapes)
    assert converter.matches(list(official))
    converted = converter.to_zoo(official)
    assert converted.unexpected == []
    assert converted.dropped == []
    back = converter.to_official(converted.state)
    assert back.unexpected == []
    assert shapes_of(back.state) == shapes
    return converted.state


def pretraining_form(name: str) -> torch.nn.ModuleDict:
    architecture = ARCHITECTURES[name]
    with meta_device():
        backbone = architecture.build()
        values = 3 * backbone.tubelet[1] * backbone.tubelet[2] * (2 if architecture.family == "videomae" else 1)
        decoder = MaskedDecoder(backbone.embed_dim, values, backbone.table_grid, **card.DECODERS[name])
    return torch.nn.ModuleDict({"backbone": backbone, "decoder": decoder})


def classifier(name: str, num_classes: int) -> VideoModel:
    architecture = ARCHITECTURES[name]
    form = architecture.classifier
    with meta_device():
        backbone = architecture.build(**form.options)
        head = LinearHead(backbone.embed_dim, num_classes, pool=form.pool, norm=form.norm, dropout=form.dropout)
    return VideoModel(backbone, head)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "architecture", "converter"), PRETRAIN)
def test_pretraining_manifests_load_strictly(name, architecture, converter):
    state = consumed(manifest(f"videomae/{name}"), converter)
    pretraining_form(architecture).load_state_dict(state, strict=True, assign=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "architecture", "converter"), FINETUNE)
def test_fine_tuned_manifests_load_strictly(name, architecture, converter):
    state = consumed(manifest(f"videomae/{name}"), converter)
    num_classes = next(count for data, count in NUM_CLASSES.items() if data in name)
    classifier(architecture, num_classes).load_state_dict(state, strict=True, assign=True)


@pytest.mark.parametrize(("name", "architecture", "converter"), PRETRAIN + FINETUNE)
def test_each_layout_is_recognised_by_one_converter_only(name, architecture, converter):
    keys = list(manifest(f"videomae/{name}"))
    assert [it.name for it in ARCHITECTURES[architecture].converters if it.matches(keys)] == [converter.name]


def respelt(key: str) -> str:
    """The published spelling of transformers' VideoMAE in that of its version 5."""
    return key.replace("attention.q_bias", "attention.query.bias").replace("attention.v_bias", "attention.value.bias")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("hf_pretraining_base", card.HF_PRETRAIN, card.HF_PRETRAIN_V5),
        ("hf_classification_small_ssv2", card.HF_CLASSIFIER, card.HF_CLASSIFIER_V5),
    ],
)
def test_both_spellings_of_transformers_give_the_same_weights(name, old, new):
    published = manifest(f"videomae/{name}")
    version_5 = {respelt(key): shape for key, shape in published.items()}
    assert version_5.keys() != published.keys()
    assert not old.matches(list(version_5))
    assert not new.matches(list(published))
    assert shapes_of(consumed(version_5, new)) == shapes_of(consumed(published, old))


@pytest.mark.parametrize("tables", ["joint", "joint with class row"])
def test_mae_st_with_joint_tables_goes_both_ways(tables):
    with_class = tables == "joint with class row"
    official = {"patch_embed.proj.weight": torch.randn(8, 3, 2, 4, 4), "norm.weight": torch.randn(8)}
    for prefix in ("", "decoder_"):
        official[f"{prefix}pos_embed"] = torch.randn(1, 8 + with_class, 8)
        official |= {f"{prefix}blocks.0.attn.{part}.weight": torch.randn(8, 8) for part in "qkv"}
        if with_class:
            official[f"{prefix}cls_token"] = torch.randn(1, 1, 8)
    official["decoder_embed.weight"] = torch.randn(8, 8)
    converter = card.mae_st_pretrain(tables)
    assert [card.mae_st_pretrain(it).matches(list(official)) for it in ("separable", tables)] == [False, True]
    state = converter.to_zoo(official).state
    assert state["decoder.pos_embed"].shape == (1, 8, 8)
    assert torch.equal(state["backbone.blocks.0.attn.qkv.weight"][8:16], official["blocks.0.attn.k.weight"])
    if with_class:
        assert torch.equal(state["backbone.cls_pos_embed"], official["pos_embed"][:, :1])
    back = converter.to_official(state).state
    assert back.keys() == official.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in official.items())


def test_huge_of_mae_st_is_pretrained_with_14_px_and_fine_tuned_with_16():
    architecture = ARCHITECTURES["mae_st_huge"]
    with meta_device():
        assert architecture.build().table_grid == Grid(8, 16, 16)
        assert architecture.build(**architecture.classifier.options).table_grid == Grid(8, 14, 14)
