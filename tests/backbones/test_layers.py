import pytest
import torch
from torch import nn
from torch.nn import functional as F

from backbones.contract import Grid
from backbones.layers import (
    Attention,
    Block,
    Flavor,
    PatchEmbed3d,
    patchify,
    plain_blocks,
    rotation_of,
    start_stem,
    start_weights,
    unit_length,
    unpatchify,
)
from backbones.positions import sincos_1d


def test_embedding_equals_a_convolution_in_raster_order():
    embed = PatchEmbed3d(16, (2, 4, 8))
    video = torch.randn(2, 3, 6, 8, 16)
    expected = embed.proj(video).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(video), expected, rtol=1e-4, atol=1e-5)


def test_overlapping_stride_equals_a_strided_convolution():
    embed = PatchEmbed3d(8, (1, 16, 16), stride=(1, 8, 8))
    video = torch.randn(1, 3, 1, 40, 40)
    torch.testing.assert_close(embed(video), embed.proj(video).flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_only_kept_tubelets_are_copied():
    video = torch.randn(2, 3, 4, 8, 8)
    keep = torch.tensor([[0, 5, 7], [1, 2, 6]])
    patches = patchify(video, (2, 4, 4), keep)
    assert patches.shape == (2, 3, 3, 2, 4, 4)
    assert torch.equal(patches, torch.stack([patchify(video, (2, 4, 4))[b, keep[b]] for b in range(2)]))


def test_attention_equals_torch_multihead_attention():
    ours = Attention(24, 4, qkv_bias="qkv")
    theirs = nn.MultiheadAttention(24, 4, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    x = torch.randn(2, 5, 24)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=1e-4, atol=1e-6)


def test_split_bias_has_no_key_bias():
    attention = Attention(8, 2)
    assert {name for name, _ in attention.named_parameters()} >= {"q_bias", "v_bias"}
    whole = Attention(8, 2, qkv_bias="qkv")
    with torch.no_grad():
        attention.q_bias.normal_()
        attention.v_bias.normal_()
        whole.qkv.weight.copy_(attention.qkv.weight)
        whole.qkv.bias.copy_(torch.cat([attention.q_bias, torch.zeros(8), attention.v_bias]))
        whole.proj.load_state_dict(attention.proj.state_dict())
    x = torch.randn(2, 5, 8)
    assert torch.equal(attention(x), whole(x))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="5 heads do not divide a width of 24"):
        Attention(24, 5)


def test_layer_scale_of_zero_branches_leaves_the_input():
    block = Block(8, 2, layer_scale=1e-3)
    with torch.no_grad():
        block.ls1.gamma.zero_()
        block.ls2.gamma.zero_()
    x = torch.randn(1, 4, 8)
    assert torch.equal(block(x), x)


def test_unpatchify_undoes_patchify():
    video = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(unpatchify(patchify(video, (2, 3, 2)), Grid(2, 2, 4)), video)


def test_drop_path_grows_linearly_over_the_blocks():
    blocks = plain_blocks(8, 3, 2, 0.4, Flavor())
    assert [block.drop_path.drop_prob for block in blocks] == [0, 0.2, 0.4]
    assert plain_blocks(8, 1, 2, 0.4, Flavor())[0].drop_path.drop_prob == 0


def test_flavor_decides_the_form_of_the_blocks():
    flavor = Flavor(qkv_bias="none", layer_scale=0.1, mlp_ratio=2.0, norm_eps=1e-3)
    state = plain_blocks(8, 1, 2, 0.0, flavor)[0].state_dict()
    assert {"ls1.gamma", "ls2.gamma"} < set(state)
    assert not {"attn.q_bias", "attn.qkv.bias"} & set(state)
    assert state["mlp.fc1.weight"].shape == (16, 8)
    assert plain_blocks(8, 1, 2, 0.0, flavor)[0].norm2.eps == 1e-3


def test_the_stem_of_small_models_is_drawn_like_a_linear_layer():
    torch.manual_seed(0)
    stem, time = PatchEmbed3d(64, (2, 8, 8)), torch.nn.Parameter(torch.zeros(1, 8, 64))
    start_stem(stem, time)
    assert stem.proj.weight.abs().max().item() == pytest.approx((6 / (384 + 64)) ** 0.5, rel=0.01)
    assert torch.equal(time.data, sincos_1d(8, 64))
    assert time.requires_grad


@pytest.mark.parametrize("qkv_bias", ["none", "qv", "qkv"])
def test_class_attention_is_the_first_row_of_the_map(qkv_bias):
    torch.manual_seed(0)
    attn = Attention(16, 4, qkv_bias=qkv_bias)
    with torch.no_grad():
        for parameter in attn.parameters():
            parameter.normal_()
    x = torch.randn(2, 7, 16)
    bias = attn.qkv.bias
    if qkv_bias == "qv":
        bias = torch.cat([attn.q_bias, torch.zeros(16), attn.v_bias])
    query, key, _ = F.linear(x, attn.qkv.weight, bias).chunk(3, -1)
    heads = [
        (query[..., start : start + 4] @ key[..., start : start + 4].transpose(1, 2) / 2).softmax(-1)
        for start in range(0, 16, 4)
    ]
    expected = torch.stack(heads).mean(0)[:, 0, 2:]
    torch.testing.assert_close(attn.class_attention(x, num_prefix=2), expected)


def test_unit_length_is_taken_in_float32():
    x = torch.full((1, 1, 4), 300.0, dtype=torch.float16)
    assert unit_length(x).dtype == torch.float32
    torch.testing.assert_close(unit_length(x), torch.full((1, 1, 4), 0.5))
    assert unit_length(x.double()).dtype == torch.float64


@pytest.mark.parametrize("start", ["normal", "normal_rescaled"])
def test_v_jepas_start_is_normal_with_or_without_smaller_branches(start):
    torch.manual_seed(0)
    module = nn.Module()
    module.stem, module.blocks = PatchEmbed3d(64, (2, 8, 8)), plain_blocks(64, 3, 2, 0.0, Flavor(qkv_bias="qkv"))
    start_weights(module, module.blocks, start)
    assert module.stem.proj.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for index, block in enumerate(module.blocks, start=1):
        scale = (2 * index) ** -0.5 if start == "normal_rescaled" else 1.0
        assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert block.attn.proj.weight.std().item() == pytest.approx(0.02 * scale, rel=0.05)
        assert block.mlp.fc2.weight.std().item() == pytest.approx(0.02 * scale, rel=0.05)
        assert not block.mlp.fc2.bias.any()


def test_a_rotation_changes_attention_and_no_rotation_is_plain_attention():
    attention, grid = Attention(12, 2, qkv_bias="qkv"), Grid(1, 2, 2)
    x = torch.randn(1, 4, 12)
    assert rotation_of(Flavor(), grid, 6, None, x) is None
    rotation = rotation_of(Flavor(positions="rotary"), grid, 6, None, x)
    assert (attention(x, rotation) - attention(x)).abs().max() > 1e-4
    still = rotation_of(Flavor(positions="rotary"), grid, 6, torch.zeros(1, 4, dtype=torch.int64), x)
    torch.testing.assert_close(attention(x, still), attention(x))


def test_angles_are_computed_in_float32_unless_the_authors_way_is_asked_for():
    tokens, grid = torch.zeros(1, 1, 24, dtype=torch.bfloat16), Grid(200, 1, 1)

    def rotation(**options) -> torch.Tensor:
        return rotation_of(Flavor(positions="rotary", **options), grid, 24, None, tokens)

    exact = rotation_of(Flavor(positions="rotary"), grid, 24, None, tokens.float())
    assert rotation().dtype == rotation(angles="tokens").dtype == torch.bfloat16
    assert (rotation().float() - exact).abs().max() < 2**-8
    assert (rotation(angles="tokens").float() - exact).abs().max() > 2**-6
