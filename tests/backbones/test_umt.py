import pytest
import torch

from backbones.contract import Grid
from backbones.layers import Flavor
from backbones.positions import resize_grid_table, sincos_1d
from backbones.umt import umt
from heads.linear import LinearHead
from tests.support import assert_parity, load, part
from zoo.cards.umt import FINETUNE
from zoo.model import VideoModel

TINY = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


def classifier(options) -> VideoModel:
    """UMT's fine-tuning VisionTransformer in our words."""
    mean = options["use_mean_pooling"]
    backbone = umt(
        img_size=options["img_size"],
        num_frames=options["all_frames"],
        patch_size=options["patch_size"],
        embed_dim=options["embed_dim"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        final_norm=not mean,
        table_grid=(8, 14, 14),
        flavor=Flavor(layer_scale=options.get("init_values") or None),
    )
    head = LinearHead(options["embed_dim"], options["num_classes"], pool="mean" if mean else "first", norm=mean)
    return VideoModel(backbone, head).eval()


@pytest.mark.parametrize("name", ["finetune_f8_r32_interp_table", "finetune_f4_r48_clstoken0_layerscale"])
@torch.no_grad()
def test_fine_tuned_forms_give_the_authors_outputs(name):
    side, tensors = load(f"umt/{name}")
    model = classifier(side["constructor"])
    computed = model.backbone.pos_embed.clone()
    converted = FINETUNE.to_zoo(part(tensors, "sd."))
    assert not converted.unexpected
    model.load_state_dict(converted.state)
    features = model.backbone.forward_intermediates(tensors["in.video"], range(model.backbone.depth), norm=False)
    actual = {
        "blocks": torch.stack([it.tokens for it in features]),
        "features": model.head.pooled(model.backbone.forward_features(tensors["in.video"])),
        "logits": model(tensors["in.video"]),
        "pos_embed": model.backbone.pos_embed,
    }
    bounds = {key: side["tolerance"][key] for key in ("rtol", "atol")}
    for key, value in actual.items():
        assert_parity(f"umt/{name} {key}", value, tensors[f"out.{key}"], **bounds)
    if side["pos_embed_note"] == "official interpolated table kept":
        assert_parity(f"umt/{name} computed table", computed, tensors["out.pos_embed"], **bounds)


def test_the_table_is_stored_where_it_was_interpolated_and_never_trained():
    native = umt(img_size=112, patch_size=8, embed_dim=16, depth=1, num_heads=2, table_grid=(8, 14, 14))
    longer = umt(img_size=112, num_frames=16, **TINY, table_grid=(8, 14, 14))
    assert "pos_embed" not in native.state_dict()
    assert longer.state_dict()["pos_embed"].shape == (1, 16 * 196, 16)
    assert "pos_embed" not in dict(longer.named_parameters())
    torch.testing.assert_close(native.pos_embed, sincos_1d(8 * 196, 16))
    expected = resize_grid_table(sincos_1d(8 * 196, 16), Grid(8, 14, 14), Grid(16, 14, 14))
    torch.testing.assert_close(longer.pos_embed, expected)
    assert not torch.allclose(longer.pos_embed, sincos_1d(16 * 196, 16), atol=0.1)


def test_pretraining_makes_the_table_for_its_own_clip():
    assert torch.equal(umt(img_size=24, num_frames=4, **TINY).pos_embed, sincos_1d(36, 16))


@torch.no_grad()
def test_action_detection_resizes_the_table_online():
    torch.manual_seed(0)
    detector = umt(img_size=112, **TINY)
    stored = umt(img_size=24, **TINY, table_grid=(8, 14, 14))
    stored.load_state_dict(detector.state_dict(), strict=False)
    video = torch.randn(1, 3, 8, 24, 24)
    torch.testing.assert_close(detector.forward_features(video).tokens, stored.forward_features(video).tokens)
