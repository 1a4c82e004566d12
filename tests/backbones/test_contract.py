"""The invariants that every backbone keeps, on one shrunken member per architecture."""

import copy
import inspect
from typing import NamedTuple

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.contract import Backbone, Features, Grid, clip_sides
from zoo.cards import ARCHITECTURES

# Published sizes of one family differ in numbers only; the slow tier runs them all.
ONE_PER_FORM = {
    "vit_pico",
    "videomae_base",
    "mae_st_large",
    "videomamba_pico",
    "videomamba_tiny",
    "timesformer_pico",
    "timesformer_joint_pico",
    "umt_base",
    "timm_vit_base_dinov2",
    "timm_vit_pico",
    "hf_videomae_pico",
    "clip_visual_base_patch16",
    "vjepa_pico",
    "vjepa_large_16_224",
    "vjepa2_pico",
    "vjepa2_giant_16_256",
    "open_magvit2_video_128",
    "lvmae_tokenizer_small",
}
# Compiling takes seconds.
ONE_PER_LOOP = {"videomae_base", "videomamba_tiny", "timesformer_pico"}


class Member(NamedTuple):
    backbone: Backbone
    video: torch.Tensor
    keep: torch.Tensor | None


def build(architecture) -> Member:
    """A shrunken member with non-trivial weights, a clip for it, and the middle half of its positions to keep."""
    torch.manual_seed(0)
    backbone = architecture.build(**architecture.shrink)
    with torch.no_grad():
        # Fresh networks hold zeros (biases, temporal tables, new branches) behind which mistakes would hide.
        for parameter in backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    defaults = {name: p.default for name, p in inspect.signature(architecture.build).parameters.items()}
    options = {**defaults, **architecture.shrink}
    video = torch.randn(2, 3, options["num_frames"], options["img_size"], options["img_size"])
    if not backbone.drops_tokens:
        return Member(backbone, video, None)
    grid = backbone.grid(video)
    area = grid.height * grid.width
    inside = torch.arange(area // 4, area // 4 + max(1, area // 2))
    keep = (torch.arange(grid.time)[:, None] * area + inside).flatten().expand(2, -1)
    return Member(backbone, video, keep)


def every_architecture(fast: set[str]) -> list:
    """All architectures as parameters of a test; those that are not named are slow."""
    return [
        pytest.param(entry, id=entry.name, marks=() if entry.name in fast else pytest.mark.slow)
        for entry in ARCHITECTURES
    ]


@pytest.fixture(params=every_architecture(ONE_PER_FORM))
def member(request) -> Member:
    return build(request.param)


@pytest.fixture
def dropper(member) -> Member:
    """A member that can drop tokens."""
    if not member.backbone.drops_tokens:
        pytest.skip("cannot drop tokens")
    return member


def everything(features: Features) -> torch.Tensor:
    return torch.cat([features.prefix, features.tokens], 1)


def gradients(backbone: Backbone, video: torch.Tensor) -> dict[str, torch.Tensor | None]:
    backbone.zero_grad()
    everything(backbone.forward_features(video)).square().mean().backward()
    return {name: parameter.grad for name, parameter in backbone.named_parameters()}


def test_keep_all_equals_no_keep_bit_for_bit(dropper):
    backbone, video, _ = dropper
    keep = torch.arange(backbone.grid(video).num_tokens).expand(2, -1)
    torch.testing.assert_close(
        everything(backbone.eval().forward_features(video, keep)),
        everything(backbone.forward_features(video)),
        rtol=0,
        atol=0,
    )


def test_features_say_what_was_kept(dropper):
    backbone, video, keep = dropper
    features = backbone.forward_features(video, keep)
    assert torch.equal(features.keep, keep)
    assert features.grid == backbone.grid(video)
    assert features.tokens.shape == (2, keep.shape[1], backbone.embed_dim)
    assert backbone.forward_features(video).keep is None


def test_dropped_tokens_have_no_influence(dropper):
    backbone, video, keep = dropper
    grid, size = backbone.grid(video), backbone.tubelet
    visible = torch.zeros(2, grid.num_tokens, dtype=torch.bool).scatter_(1, keep, True).unflatten(1, grid)
    for axis, step in enumerate(size, start=1):
        visible = visible.repeat_interleave(step, axis)
    noise = torch.where(visible[:, None], video, torch.randn_like(video))
    backbone.eval()
    expected, actual = backbone.forward_features(video, keep), backbone.forward_features(noise, keep)
    assert torch.equal(everything(actual), everything(expected))


def test_cost_falls_with_the_number_of_kept_tokens(dropper):
    backbone, video, keep = dropper

    def flops(keep: torch.Tensor | None) -> int:
        with FlopCounterMode(display=False) as counter:
            backbone.forward_features(video, keep)
        return counter.get_total_flops()

    assert flops(keep) < 0.75 * flops(None)


def test_a_backbone_that_cannot_drop_tokens_says_so(member):
    backbone, video, _ = member
    if backbone.drops_tokens:
        pytest.skip("can drop tokens")
    every = torch.arange(backbone.grid(video).num_tokens).expand(2, -1)
    with pytest.raises(ValueError, match="cannot drop any"):
        backbone.forward_features(video, every)
    assert backbone.forward_features(video).keep is None


def test_last_intermediate_equals_forward_features(member):
    backbone, video, keep = member
    backbone.eval()
    for kept in (None, keep):
        last = backbone.forward_intermediates(video, [backbone.depth - 1], kept)[0]
        assert torch.equal(everything(last), everything(backbone.forward_features(video, kept)))


def test_intermediates_come_in_the_order_asked_for_and_norm_is_the_final_norm(member):
    backbone, video, _ = member
    backbone.eval()
    last, first = backbone.forward_intermediates(video, [-1, 0], norm=False)
    assert torch.equal(first.tokens, backbone.forward_intermediates(video, [0], norm=False)[0].tokens)
    assert not torch.equal(first.tokens, last.tokens)
    normed = backbone.forward_intermediates(video, [-1])[0].tokens
    torch.testing.assert_close(backbone.norm(last.tokens), normed, rtol=1e-5, atol=1e-6)


def test_a_layer_that_does_not_exist_is_named(member):
    backbone, video, _ = member
    with pytest.raises(ValueError, match=str(backbone.depth)):
        backbone.forward_intermediates(video, [backbone.depth])


def test_every_parameter_gets_a_gradient_and_has_exactly_one_layer(member):
    backbone, video, _ = member
    missing = [name for name, grad in gradients(backbone, video).items() if grad is None]
    assert not missing
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert set(layers.values()) <= set(range(backbone.depth + 2))
    assert all(layer == int(name.split(".")[1]) + 1 for name, layer in layers.items() if name.startswith("blocks."))
    assert layers["patch_embed.proj.weight"] == 0
    assert backbone.no_weight_decay() <= set(layers)
    with pytest.raises(ValueError, match="no layer"):
        backbone.layer_of("classifier.weight")


def test_checkpointing_leaves_gradients_equal(member):
    backbone, video, _ = member
    plain = {name: grad.clone() for name, grad in gradients(backbone, video).items()}
    backbone.set_grad_checkpointing(backbone.depth)
    for name, grad in gradients(backbone, video).items():
        torch.testing.assert_close(grad, plain[name], rtol=1e-6, atol=1e-8, msg=name)


def test_batch_rows_are_independent(member):
    backbone, video, keep = member
    backbone.eval()
    both = everything(backbone.forward_features(video, keep))
    for row in range(2):
        kept = None if keep is None else keep[row : row + 1]
        alone = everything(backbone.forward_features(video[row : row + 1], kept))
        torch.testing.assert_close(alone, both[row : row + 1], rtol=1e-4, atol=1e-5)


def test_forward_is_the_pooled_features(member):
    backbone, video, _ = member
    backbone.eval()
    assert torch.equal(backbone(video), backbone.forward_features(video).pool(backbone.pool))


@pytest.mark.parametrize("side", [2, 3, 4])
def test_a_clip_that_cannot_be_cut_raises_with_the_sizes(member, side):
    backbone, video, _ = member
    size = backbone.tubelet[side - 2]
    wrong = video.narrow(side, 0, size - 1) if size > 1 else video.narrow(side, 0, 0)
    if wrong.numel() == 0:
        pytest.skip("a tubelet of one frame divides every clip")
    with pytest.raises(ValueError, match=f"{wrong.shape[2]} frames of {wrong.shape[3]} x {wrong.shape[4]} px"):
        backbone.forward_features(wrong)


def test_two_clip_lengths_run_on_one_instance(member):
    backbone, video, _ = member
    if video.shape[2] == 1:
        pytest.skip("an image model")
    # The first frame of a causal encoder has a token of its own.
    alone = video.shape[2] % backbone.tubelet[0]
    longer = torch.cat([video, video[:, :, alone:]], 2)
    features = backbone.eval().forward_features(longer)
    assert features.grid.time == 2 * backbone.grid(video).time - alone
    assert torch.isfinite(everything(features)).all()


def test_two_clip_sizes_run_on_one_instance(member):
    backbone, video, _ = member
    wider = torch.cat([video, video], 4)
    assert backbone.eval().forward_features(wider).grid.width == 2 * backbone.grid(video).width


def test_bf16_autocast_gives_finite_features_close_to_float32(member):
    backbone, video, _ = member
    backbone.eval()
    with torch.autocast("cpu", torch.bfloat16):
        low = everything(backbone.forward_features(video)).float()
    full = everything(backbone.forward_features(video))
    assert torch.isfinite(low).all()
    assert (low - full).norm() < 0.1 * full.norm()


def test_a_copy_computes_the_same(member):
    backbone, video, _ = member
    assert torch.equal(copy.deepcopy(backbone).eval()(video), backbone.eval()(video))


@pytest.mark.compiled
# Divided attention takes as long as the others together.
@pytest.mark.parametrize("architecture", every_architecture(ONE_PER_LOOP - {"timesformer_pico"}))
def test_compile_without_graph_breaks_and_export_for_any_batch_agree_with_eager(architecture):
    backbone, video, _ = build(architecture)
    backbone.eval()
    expected = backbone(video)
    torch._dynamo.reset()
    compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(video), expected, rtol=1e-4, atol=1e-5)
    any_batch = {"video": {0: torch.export.Dim.AUTO}}
    exported = torch.export.export(backbone, (video,), dynamic_shapes=any_batch).module()
    for batch in (video, video[:1], torch.cat([video, video[:1]])):
        torch.testing.assert_close(exported(batch), backbone(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.compiled
@pytest.mark.slow
def test_inductor_agrees_with_eager(member):
    backbone, video, _ = member
    backbone.eval()
    torch._dynamo.reset()
    compiled = torch.compile(backbone, fullgraph=True)
    torch.testing.assert_close(compiled(video), backbone(video), rtol=1e-3, atol=1e-4)


def test_what_is_no_normalised_clip_is_refused():
    with pytest.raises(ValueError, match=r"\[batch, 3, frames, height, width\], got \[3, 4, 8, 8\]"):
        clip_sides(torch.zeros(3, 4, 8, 8))
    with pytest.raises(ValueError, match=r"floating point numbers, got torch\.uint8"):
        clip_sides(torch.zeros(1, 3, 4, 8, 8, dtype=torch.uint8))


def test_pooling_a_class_token_that_is_not_there_is_refused():
    features = Features(torch.randn(2, 4, 8), torch.randn(2, 0, 8), Grid(1, 2, 2), None)
    with pytest.raises(ValueError, match="has none; choose 'mean'"):
        features.pool("cls")
