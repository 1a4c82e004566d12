import inspect

import pytest
import torch

from backbones import vit
from backbones.contract import Grid
from backbones.layers import Flavor, patchify
from backbones.positions import resize_grid_table, sincos_1d
from backbones.vit import MAE_ST, ViT, vit_pico
from tests import videomae
from tests.support import assert_parity, load
from zoo.cards import vit as card

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
BUILDERS = [
    vit.videomae_small,
    vit.videomae_base,
    vit.videomae_large,
    vit.videomae_huge,
    vit.mae_st_large,
    vit.mae_st_huge,
    vit.vit_pico,
]


@pytest.mark.parametrize("name", ["finetune_meanpool_f16", "finetune_first_token_f4"])
@torch.no_grad()
def test_fine_tuned_videomae_gives_the_authors_blocks_features_and_logits(name):
    side, tensors = load(f"videomae/{name}")
    model = videomae.loaded(videomae.videomae_classifier(side["constructor"]), tensors, card.VIDEOMAE_FINETUNE)
    depth = side["constructor"]["depth"]
    blocks = model.backbone.forward_intermediates(tensors["in.video"], range(depth), norm=False)
    actual = {
        "pos_embed": model.backbone.pos_embed,
        "blocks": torch.stack([features.tokens for features in blocks]),
        "features": model.head.pooled(model.backbone.forward_features(tensors["in.video"])),
        "logits": model(tensors["in.video"]),
    }
    for key, value in actual.items():
        assert_parity(f"videomae/{name} {key}", value, tensors[f"out.{key}"], **TOLERANCE)


@pytest.mark.parametrize("authors", ["transformers", "official"])
@torch.no_grad()
def test_transformers_classifier_gives_both_authors_logits(authors):
    side, tensors = load("videomae/hf_classification_f8")
    config = side["config"]
    # transformers' layer norms: the config's epsilon in the blocks, PyTorch's default outside; the original: 1e-6.
    eps = {"transformers": (config["layer_norm_eps"], 1e-5), "official": (1e-6, 1e-6)}[authors]
    model = videomae.loaded(
        videomae.videomae_classifier(videomae.hf_options(config), eps[0]), tensors, card.HF_CLASSIFIER
    )
    model.head.norm.eps = eps[1]
    video = tensors["in.pixel_values"].transpose(1, 2)
    key = {"transformers": "out.logits", "official": "out.official_logits"}[authors]
    assert_parity(f"videomae/hf_classification_f8 {authors} logits", model(video), tensors[key], **TOLERANCE)
    if authors == "transformers":
        tokens = model.backbone.forward_features(video).tokens
        assert_parity("videomae/hf_classification_f8 encoder", tokens, tensors["out.encoder"], **TOLERANCE)


@torch.no_grad()
def test_fine_tuned_mae_st_gives_the_authors_logits():
    side, tensors = load("videomae/maest_finetune_f8_sep_cls")
    options = side["constructor"]
    converter = card.mae_st_finetune(videomae.maest_tables(options))
    model = videomae.loaded(videomae.maest_classifier(options), tensors, converter)
    logits = model(tensors["in.video"])
    assert_parity("videomae/maest_finetune_f8_sep_cls logits", logits, tensors["out.logits"], **TOLERANCE)


@pytest.mark.parametrize("build", BUILDERS)
def test_builders_pass_every_argument_on(build):
    options = {
        "img_size": 20,
        "num_frames": 6,
        "patch_size": 10,
        "tubelet_size": 3,
        "embed_dim": 12,
        "depth": 2,
        "num_heads": 3,
        "drop_path_rate": 0.3,
        "final_norm": False,
        "flavor": Flavor(positions="joint", layer_scale=0.5),
    }
    assert set(options) == set(inspect.signature(build).parameters)
    model = build(**options)
    assert (model.embed_dim, model.depth, model.tubelet, model.table_grid) == (12, 2, (3, 10, 10), Grid(2, 2, 2))
    assert [block.drop_path.drop_prob for block in model.blocks] == [0, 0.3]
    assert model.blocks[0].attn.num_heads == 3
    assert model.blocks[0].ls1.gamma[0] == 0.5
    assert model.pos_embed.shape == (1, 8, 12)
    assert "norm.weight" not in model.state_dict()


@pytest.mark.parametrize(("build", "heads"), list(zip(BUILDERS, [6, 12, 16, 16, 16, 16, 4], strict=True)))
def test_number_of_heads_which_no_weight_shape_tells(build, heads):
    # Spec section 1; transformers' helper sets 16 for the small model. All other sizes are proven by the manifests.
    with torch.device("meta"):
        assert {block.attn.num_heads for block in build().blocks} == {heads}


def test_only_visible_tubelets_are_embedded(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "backbones.layers.patchify", lambda *args: seen.append(patchify(*args)) or seen[-1], raising=True
    )
    model, video = vit_pico(), torch.randn(2, 3, 16, 24, 24)
    keep = torch.tensor([[0, 5, 71], [1, 2, 3]])
    model.forward_features(video, keep)
    assert [patches.shape[:2] for patches in seen] == [(2, 3)]
    assert torch.equal(seen[0], patchify(video, (2, 8, 8))[torch.arange(2)[:, None], keep])


@pytest.mark.parametrize("flavor", [Flavor(), MAE_ST, Flavor(positions="joint", cls_token=True, qkv_bias="qkv")])
def test_dropped_tubelets_have_no_influence(flavor):
    model, video = vit_pico(flavor=flavor).eval(), torch.randn(1, 3, 16, 24, 24)
    keep = torch.tensor([[0, 9, 40]])
    other = video.clone()
    other[:, :, 10:] = torch.randn(1, 3, 6, 24, 24)  # token 40 covers frames 8 and 9
    first, second = model.forward_features(video, keep), model.forward_features(other, keep)
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.prefix, second.prefix)
    assert first.prefix.shape[1] == int(flavor.cls_token)


def test_longer_and_larger_clips_use_the_interpolated_table():
    model = vit_pico(depth=1).eval()
    video = torch.randn(1, 3, 24, 32, 40)
    grid = model.grid(video)
    table = resize_grid_table(sincos_1d(72, 64), Grid(8, 3, 3), grid)
    x = model.blocks[0](model.patch_embed(video) + table)
    assert torch.equal(model.forward_features(video).tokens, model.norm(x))
    assert grid == Grid(12, 4, 5)


def test_class_token_and_its_position_are_one_prefix_token():
    model = vit_pico(flavor=MAE_ST, depth=1).eval()
    video = torch.randn(2, 3, 16, 24, 24)
    features = model.forward_features(video)
    with torch.no_grad():
        model.cls_token += 1
        model.cls_pos_embed -= 1
    moved = model.forward_features(video)
    torch.testing.assert_close(moved.prefix, features.prefix)
    assert features.prefix.shape == (2, 1, 64)
    with torch.no_grad():
        model.cls_token += 1
    assert not torch.allclose(model.forward_features(video).prefix, features.prefix)


def test_videomae_keys_have_no_bias_and_mae_st_keys_do():
    names = {"qv": {"q_bias", "v_bias", "qkv.weight"}, "qkv": {"qkv.weight", "qkv.bias"}, "none": {"qkv.weight"}}
    for kind, expected in names.items():
        state = vit_pico(flavor=Flavor(qkv_bias=kind)).blocks[0].attn.state_dict()
        assert set(state) - {"proj.weight", "proj.bias"} == expected


def test_position_tables_do_not_decay_and_belong_to_the_stem():
    model = vit_pico(flavor=MAE_ST)
    tables = {"pos_embed", "temporal_pos_embed", "cls_token", "cls_pos_embed"}
    assert model.no_weight_decay() == tables
    assert {model.layer_of(name) for name in tables} == {0}


def test_linear_layers_start_xavier_uniform():
    torch.manual_seed(0)
    weight = vit_pico().blocks[0].mlp.fc1.weight
    bound = (6 / (64 + 256)) ** 0.5
    assert weight.abs().max() <= bound
    torch.testing.assert_close(weight.std(), torch.tensor(bound / 3**0.5), rtol=0.03, atol=0)


def test_shapes_that_cannot_be_cut_are_refused_with_their_sizes():
    with pytest.raises(ValueError, match="15 frames of 24 px cannot be cut into tubelets of 2 frames of 8 px"):
        ViT(img_size=24, num_frames=15, patch_size=8, tubelet_size=2, embed_dim=8, depth=1, num_heads=1)
    with pytest.raises(ValueError, match="16 frames of 20 x 24 px"):
        vit_pico().forward_features(torch.randn(1, 3, 16, 20, 24))
    with pytest.raises(ValueError, match="5 heads do not divide a width of 64"):
        vit_pico(num_heads=5)
