import pytest
import torch

import zoo
from backbones.layers import Flavor
from backbones.meta import meta_device
from heads.attentive import AttentiveHead
from heads.masked_decoder import MaskedDecoder
from tests.support import assert_parity, load, manifest, part
from tests.vjepa import PREFIX, encoder
from zoo.cards import vjepa as card
from zoo.model import VideoModel

ARCHITECTURES = {architecture.name: architecture for architecture in card.ARCHITECTURES}
OFFICIAL = [
    ("vjepa_vit_large_224", "vjepa_large_16_224"),
    ("vjepa_vit_huge_224", "vjepa_huge_16_224"),
    ("vjepa_vit_huge_384", "vjepa_huge_16_384"),
    ("vjepa2_vit_large_256", "vjepa2_large_16_256"),
    ("vjepa2_vit_huge_256", "vjepa2_huge_16_256"),
    ("vjepa2_vit_giant_256", "vjepa2_giant_16_256"),
    ("vjepa2_vit_giant_384", "vjepa2_giant_16_384"),
]


def meta(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def networks(name: str) -> tuple[torch.nn.Module, MaskedDecoder]:
    with meta_device():
        backbone = ARCHITECTURES[name].build()
        dim = backbone.embed_dim
        return backbone, MaskedDecoder(dim, dim, backbone.table_grid, **card.PREDICTORS[name])


def take_in(network: torch.nn.Module, state: dict[str, torch.Tensor], converter, namespace: str) -> None:
    converted = converter.to_zoo(state)
    assert (converted.unexpected, converted.dropped) == ([], [])
    back = converter.to_official(converted.state).state
    assert {key: it.shape for key, it in back.items()} == {key: it.shape for key, it in state.items()}
    network.load_state_dict(part(converted.state, f"{namespace}."), strict=True, assign=True)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), OFFICIAL)
def test_official_manifests_load_strictly(file, name):
    listed = manifest(f"vjepa/{file}")
    backbone, predictor = networks(name)
    take_in(backbone, part(meta(listed["encoder"]), PREFIX), ARCHITECTURES[name].converters[0], "backbone")
    take_in(predictor, part(meta(listed["predictor"]), PREFIX), card.OFFICIAL_PREDICTOR, "decoder")


@pytest.mark.slow
@pytest.mark.parametrize("size", ["large", "huge", "giant"])
def test_transformers_manifests_load_strictly(size):
    state = meta(manifest(f"vjepa/hf_vjepa2-vit{size[0]}-fpc64-256")["state_dict"])
    backbone, predictor = networks(f"vjepa2_{size}_16_256")
    take_in(backbone, state, card.TRANSFORMERS, "backbone")
    take_in(predictor, state, card.TRANSFORMERS, "decoder")


@pytest.mark.parametrize(
    ("file", "name", "num_classes"),
    [("vitl-fpc16-256-ssv2", "vjepa2_large_16_256", 174), ("vitg-fpc64-384-ssv2", "vjepa2_giant_16_384", 174)],
)
def test_transformers_classifiers_load_strictly(file, name, num_classes):
    state = meta(manifest(f"vjepa/hf_vjepa2-{file}")["state_dict"])
    with meta_device():
        model = zoo.create_model(name, num_classes=num_classes)
    converted = card.TRANSFORMERS_CLASSIFIER.to_zoo(state)
    assert converted.unexpected == []
    assert all(key.startswith("vjepa2.predictor.") for key in converted.dropped)
    model.load_state_dict(converted.state, strict=True, assign=True)


@torch.no_grad()
def test_transformers_classifier_gives_the_authors_logits():
    side, tensors = load("vjepa/v2_to_hf_conversion")
    options = side["constructor"]["classifier"]
    for eps, key in ((1e-6, "hf"), (1e-5, "official")):
        head = AttentiveHead(
            options["embed_dim"],
            options["num_classes"],
            num_heads=options["num_heads"],
            depth=options["depth"],
            norm_eps=eps,
        )
        model = VideoModel(encoder(side["constructor"]["encoder"]), head).eval()
        model.load_state_dict(card.TRANSFORMERS_CLASSIFIER.to_zoo(part(tensors, "hf/")).state)
        name = f"vjepa/v2_to_hf_conversion logits_{key}_eps"
        expected = tensors[f"out.logits_{key}_eps"]
        assert_parity(name, model(tensors["in.video"]), expected, rtol=0, atol=side["tolerance"])


def test_a_training_file_gives_its_target_encoder(tmp_path):
    side, tensors = load("vjepa/v1_train_step")
    networks = ("encoder", "predictor", "target_encoder")
    file = {name: part(tensors, f"sd/{name}/") for name in networks}
    file["encoder"] = {key: it + 1 for key, it in file["encoder"].items()}
    torch.save({**file, "opt": {"state": {}}, "epoch": 3}, tmp_path / "latest.pth.tar")
    options = side["constructor"]["encoder"]
    names = ("img_size", "patch_size", "num_frames", "tubelet_size", "embed_dim", "depth", "num_heads")
    model = zoo.create_model("vjepa_base", num_classes=0, **{name: options[name] for name in names})
    report = zoo.load_checkpoint(model, tmp_path / "latest.pth.tar")
    assert len(report.matched) == len(model.state_dict())
    expected = file["target_encoder"]["module.backbone.norm.weight"]
    assert torch.equal(model.backbone.norm.weight, expected)


def test_a_stray_table_of_the_second_v_jepa_is_left_out():
    network = encoder({**load("vjepa/v2_encoder_rope")[0]["constructor"]["encoder"]})
    state = {**network.state_dict(), "pos_embed": torch.zeros(1, 64, 48)}
    converted = card.OFFICIAL_2.to_zoo(state)
    assert converted.dropped == ["pos_embed"]
    network.load_state_dict(part(converted.state, "backbone."))


def test_a_fixed_table_for_other_clips_is_left_out_as_the_authors_loader_does_and_that_is_said():
    state = {f"backbone.{name}": it for name, it in ARCHITECTURES["vjepa_pico"].build().state_dict().items()}
    small = zoo.create_model("vjepa_pico", num_classes=0, num_frames=8)
    computed = small.backbone.pos_embed.clone()
    report = zoo.load_checkpoint(small, state)
    assert report.dropped["backbone.pos_embed"] == "for other clips; the model has computed its own"
    assert torch.equal(small.backbone.pos_embed, computed)
    assert torch.equal(small.backbone.norm.weight, state["backbone.norm.weight"])


def test_a_learned_table_over_space_and_time_for_other_clips_is_refused_with_a_hint_that_is_right():
    learned = Flavor(positions="joint", qkv_bias="qkv")
    build = ARCHITECTURES["vjepa_pico"].build
    state = {f"backbone.{name}": it for name, it in build(flavor=learned).state_dict().items()}
    small = zoo.create_model("vjepa_pico", num_classes=0, num_frames=8, flavor=learned)
    with pytest.raises(zoo.CheckpointError, match="img_size and num_frames of the file, whose table is over space"):
        zoo.load_checkpoint(small, state)
