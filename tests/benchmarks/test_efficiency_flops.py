"""The counter's total is the sum that one writes down by hand, for every family with a formula of its own."""

import pytest

from backbones.contract import Backbone
from backbones.meta import meta_device
from benchmarks.efficiency import count_flops, one_clip
from benchmarks.efficiency_runs import Network
from zoo.cards import ARCHITECTURES
from zoo.registry import get_architecture


def stem(backbone: Backbone, tokens: int) -> int:
    time, height, width = backbone.tubelet
    return tokens * 3 * time * height * width * backbone.embed_dim


def attention(dim: int, tokens: int, sequences: int = 1) -> int:
    """Projections, and the two products of every query with every key."""
    return sequences * (4 * tokens * dim**2 + 2 * tokens**2 * dim)


def mlp(dim: int, tokens: int) -> int:
    return 8 * tokens * dim**2


def joint(backbone: Backbone, time: int, space: int, prefix: int) -> tuple[int, int]:
    tokens, dim = time * space, backbone.embed_dim
    block = attention(dim, tokens + prefix) + mlp(dim, tokens + prefix)
    return stem(backbone, tokens) + backbone.depth * block, 0


def divided(backbone: Backbone, time: int, space: int, prefix: int) -> tuple[int, int]:
    tokens, dim = time * space, backbone.embed_dim
    over_time = attention(dim, time, space) + tokens * dim**2  # and the layer after it
    block = over_time + attention(dim, space + prefix, time) + mlp(dim, tokens + prefix)
    return stem(backbone, tokens) + backbone.depth * block, 0


def mamba(backbone: Backbone, time: int, space: int, prefix: int) -> tuple[int, int]:
    tokens, dim, mixer = time * space, backbone.embed_dim, backbone.blocks[0].mixer
    inner, states = mixer.causal.A_log.shape
    rank, width = mixer.causal.dt_proj.in_features, mixer.causal.conv.kernel_size[0]
    direction = inner * (width + (rank + 2 * states) + rank)
    length = tokens + prefix
    block = length * (2 * dim * inner + 2 * direction + inner * dim)
    return stem(backbone, tokens) + backbone.depth * block, backbone.depth * 2 * 9 * length * inner * states


FORMS = {
    "vit_pico": (joint, 0),
    "timesformer_joint_pico": (joint, 1),
    "timesformer_pico": (divided, 1),
    "videomamba_pico": (mamba, 1),
    "videomae_base": (joint, 0),
    "timesformer_joint_tiny": (joint, 1),
    "timesformer_tiny": (divided, 1),
    "videomamba_tiny": (mamba, 1),
}


@pytest.mark.parametrize("frames", [8, pytest.param(32, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [name if name.endswith("_pico") else pytest.param(name, marks=pytest.mark.slow) for name in FORMS]
)
def test_the_count_is_the_closed_form_and_leaves_nothing_out(name, frames):
    form, prefix = FORMS[name]
    side = get_architecture(name).clip.img_size
    network = Network(name, side)
    with meta_device():
        backbone = network(frames)
    time, space = frames // backbone.tubelet[0], (side // backbone.tubelet[1]) ** 2
    multiply_adds, scans = form(backbone, time, space, prefix)
    assert count_flops(one_clip(network, frames, side)) == (2 * multiply_adds + scans, ())


@pytest.mark.slow  # every architecture at its published size
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda entry: entry.name)
def test_every_operator_of_every_backbone_has_a_formula(architecture):
    clip = architecture.clip
    counted = count_flops(one_clip(Network(architecture.name, clip.img_size), clip.num_frames, clip.img_size))
    assert counted.uncounted == ()
    assert counted.flops > 0
