import pytest
import torch

from backbones.contract import Grid
from backbones.hf import HfBackbone, native_clip
from tests.backbones import hf_models, test_contract

KINDS = [kind for kind in hf_models.KINDS if kind != "clip_vision_model"]
CONTRACT = [
    test_contract.test_a_backbone_that_cannot_drop_tokens_says_so,
    test_contract.test_last_intermediate_equals_forward_features,
    test_contract.test_intermediates_come_in_the_order_asked_for_and_norm_is_the_final_norm,
    test_contract.test_a_layer_that_does_not_exist_is_named,
    test_contract.test_every_parameter_gets_a_gradient_and_has_exactly_one_layer,
    test_contract.test_checkpointing_leaves_gradients_equal,
    test_contract.test_batch_rows_are_independent,
    test_contract.test_forward_is_the_pooled_features,
    test_contract.test_bf16_autocast_gives_finite_features_close_to_float32,
    test_contract.test_a_copy_computes_the_same,
]


def clips(*sides: int) -> torch.Tensor:
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("claim", CONTRACT, ids=lambda it: it.__name__.removeprefix("test_"))
@pytest.mark.parametrize("kind", KINDS)
def test_adapters_keep_the_contract(kind, claim):
    member = test_contract.Member(HfBackbone(hf_models.model(kind)), clips(4, 16, 16), None)
    member.backbone.train()
    claim(member)


@pytest.mark.parametrize("kind", ["vjepa2", "vivit", "videomae"])
def test_tokens_of_clips_are_the_networks_own_to_the_last_bit(kind):
    model, video = hf_models.model(kind), clips(4, 16, 16)
    expected = model(video.transpose(1, 2)).last_hidden_state
    features = HfBackbone(model).eval().forward_features(video)
    assert torch.equal(torch.cat([features.prefix, features.tokens], 1), expected)
    assert features.grid == Grid(2, 2, 2)


def test_tokens_of_timesformer_are_its_own_in_raster_order():
    model, video = hf_models.model("timesformer"), clips(4, 16, 16)
    expected = model(video.transpose(1, 2)).last_hidden_state
    cls, patches = expected.split([1, 16], 1)
    features = HfBackbone(model).eval().forward_features(video)
    assert torch.equal(features.prefix, cls)
    # Theirs are ordered by place, then by frame.
    assert torch.equal(features.tokens, patches.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2))


def test_tokens_of_frames_are_the_networks_own_to_the_last_bit():
    model, video = hf_models.model("dinov2"), clips(3, 16, 16)
    frames = video.transpose(1, 2).flatten(0, 1)
    expected = model(frames).last_hidden_state.unflatten(0, (2, 3))
    cls, patches = expected.split([1, 4], 2)
    features = HfBackbone(model).eval().forward_features(video)
    assert torch.equal(features.tokens, patches.flatten(1, 2))
    assert torch.equal(features.prefix, cls.mean(1))


def test_frames_of_other_sizes_are_seen_as_the_network_itself_sees_them():
    model, video = hf_models.model("dinov2"), clips(2, 24, 32)
    frames = video.transpose(1, 2).flatten(0, 1)
    expected = model(frames).last_hidden_state.unflatten(0, (2, 2)).split([1, 12], 2)[1].flatten(1, 2)
    features = HfBackbone(model).eval().forward_features(video)
    torch.testing.assert_close(features.tokens, expected, rtol=1e-5, atol=1e-5)
    assert features.grid == Grid(2, 3, 4)


@pytest.mark.parametrize(
    ("kind", "sides", "words"),
    [
        ("vjepa2", (4, 24, 24), "any number of frames of 16 x 16 px, got 4 frames of 24 x 24 px"),
        ("timesformer", (8, 16, 16), "clips of 4 frames of 16 x 16 px, got 8 frames"),
        ("timesformer", (4, 16, 32), "got 4 frames of 16 x 32 px"),
    ],
)
def test_clips_that_a_network_is_not_made_for_are_refused(kind, sides, words):
    with pytest.raises(ValueError, match=words):
        HfBackbone(hf_models.model(kind)).forward_features(clips(*sides))


@pytest.mark.parametrize(("kind", "frames"), [("vjepa2", 8), ("vivit", 8), ("videomae", 8), ("dinov2", 1)])
def test_longer_clips_run_where_the_network_allows(kind, frames):
    features = HfBackbone(hf_models.model(kind)).eval().forward_features(clips(frames, 16, 16))
    assert features.grid.num_tokens == features.tokens.shape[1]
    assert torch.isfinite(features.tokens).all()


def test_longer_clips_of_vjepa2_are_seen_as_the_network_itself_sees_them():
    model, video = hf_models.model("vjepa2"), clips(8, 16, 16)
    expected = model(video.transpose(1, 2), skip_predictor=True).last_hidden_state
    assert torch.equal(HfBackbone(model).eval().forward_features(video).tokens, expected)


def test_tables_and_tokens_do_not_decay():
    found = HfBackbone(hf_models.model("timesformer")).no_weight_decay()
    assert found == {"cls_token", "pos_embed", "temporal_pos_embed"}


def test_other_kinds_of_networks_are_named():
    class Config:
        model_type = "swin"

    module = torch.nn.Identity()
    module.config = Config()
    with pytest.raises(ValueError, match=r"no adapter for 'swin' of transformers; there are dinov2, timesformer"):
        HfBackbone(module)


def test_pictures_that_are_not_square_are_refused():
    class Config:
        image_size = (16, 24)

    with pytest.raises(ValueError, match="clips are square"):
        native_clip(Config())
