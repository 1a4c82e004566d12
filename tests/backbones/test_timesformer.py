import pytest
import torch
from transformers import TimesformerConfig, TimesformerModel

from backbones.meta import meta_device
from backbones.positions import sincos_1d
from backbones.timesformer import TimeSformer, timesformer_base, timesformer_tiny

SHAPE = {"img_size": 32, "num_frames": 4, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 4}


def from_transformers(key: str) -> str | None:
    """Our name for a key of transformers' Timesformer; None for the position table, which we hold in two pieces."""
    top = {
        "embeddings.cls_token": "cls_token",
        "embeddings.time_embeddings": "temporal_pos_embed",
        "layernorm.weight": "norm.weight",
        "layernorm.bias": "norm.bias",
    }
    if key == "embeddings.position_embeddings":
        return None
    key = key.replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
    for theirs, ours in [
        ("encoder.layer.", "blocks."),
        ("temporal_layernorm", "temporal_norm"),
        ("temporal_attention.attention.qkv", "temporal_attn.qkv"),
        ("temporal_attention.output.dense", "temporal_attn.proj"),
        ("temporal_dense", "temporal_fc"),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("attention.attention.qkv", "attn.qkv"),
        ("attention.output.dense", "attn.proj"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
    ]:
        key = key.replace(theirs, ours)
    return top.get(key, key)


@pytest.fixture(params=["divided", "joint"])
def pair(request):
    """Our model and transformers' with the same weights."""
    config = TimesformerConfig(
        image_size=32,
        patch_size=8,
        num_frames=4,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        attention_type={"divided": "divided_space_time", "joint": "joint_space_time"}[request.param],
        hidden_act="gelu",
    )
    theirs = TimesformerModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.3)
    ours = TimeSformer(**SHAPE, attention=request.param).eval()
    state = {from_transformers(key): value for key, value in theirs.state_dict().items()}
    positions = state.pop(None)
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].unsqueeze(2)
    state["cls_pos_embed"], state["pos_embed"] = positions.split([1, 16], 1)
    if request.param == "joint":
        state = {key: value for key, value in state.items() if ".temporal_" not in key}
    ours.load_state_dict(state)
    return ours, theirs


def test_tokens_equal_those_of_transformers(pair):
    ours, theirs = pair
    video = torch.randn(2, 3, 4, 32, 32)
    features = ours.forward_features(video)
    # transformers orders tokens (height, width, time), as the authors' code does.
    expected = theirs(video.transpose(1, 2)).last_hidden_state
    tokens = expected[:, 1:].unflatten(1, (16, 4)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(features.prefix, expected[:, :1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.tokens, tokens, rtol=1e-4, atol=1e-5)


def test_divided_attention_refuses_a_mask_that_differs_between_frames():
    model = TimeSformer(**SHAPE)
    keep = torch.tensor([[0, 1, 16, 17, 32, 33, 48, 50]])
    with pytest.raises(ValueError, match="same positions kept in every frame"):
        model.forward_features(torch.randn(1, 3, 4, 32, 32), keep)
    with pytest.raises(ValueError, match="same positions"):
        model.forward_features(torch.randn(1, 3, 4, 32, 32), keep[:, :7])


def test_divided_attention_runs_on_a_tube_of_kept_positions():
    model = TimeSformer(**SHAPE)
    keep = (torch.arange(4)[:, None] * 16 + torch.tensor([2, 5, 11])).flatten()[None]
    assert model.forward_features(torch.randn(1, 3, 4, 32, 32), keep).tokens.shape == (1, 12, 48)


def test_new_temporal_branches_start_as_zero_except_the_first():
    model = TimeSformer(**SHAPE)
    assert [bool(block.temporal_fc.weight.any()) for block in model.blocks] == [True, False, False]


def test_unknown_attention_names_the_valid_ones():
    with pytest.raises(ValueError, match="'divided' or 'joint'"):
        TimeSformer(**SHAPE, attention="axial")


@pytest.mark.parametrize(
    ("builder", "millions"),
    # 121.4 M with a 400-class head is the paper's Table 2; DeiT-Ti has 5.7 M with its 1000-class head.
    [(timesformer_base, 121.4 - 0.3), (timesformer_tiny, 7.7)],
)
def test_published_sizes(builder, millions):
    with meta_device():
        count = sum(parameter.numel() for parameter in builder().parameters())
    assert abs(count / 1e6 - millions) < 0.25


def test_the_start_from_scratch_has_a_temporal_branch_and_positions_in_time():
    model = TimeSformer(img_size=32, num_frames=4, embed_dim=32, depth=2, num_heads=2, init="scratch")
    assert all(block.get_parameter("temporal_fc.weight").abs().max() > 0 for block in model.blocks)
    assert torch.equal(model.temporal_pos_embed.data, sincos_1d(4, 32))


def test_an_unknown_start_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown init 'xavier'; choose 'authors' or 'scratch'"):
        TimeSformer(img_size=32, embed_dim=32, depth=1, num_heads=2, init="xavier")


@pytest.mark.parametrize("sizes", [{"img_size": 20}, {"num_frames": 7}])
def test_clips_that_the_tubelet_does_not_divide_are_refused(sizes):
    with pytest.raises(ValueError, match="cannot be cut into tubelets"):
        TimeSformer(**{"img_size": 32, "num_frames": 4, "tubelet_size": 2, "embed_dim": 32, "num_heads": 2, **sizes})
