"""The counter's total is the sum that one writes down by hand, for every architecture, forward and backward."""

import math
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import pytest
import torch

from backbones.contract import Backbone
from backbones.meta import meta_device
from backbones.ops.selective_scan import fused, kernel, table
from benchmarks.efficiency import count_flops, one_clip
from benchmarks.efficiency_runs import Network
from benchmarks.points import Build
from zoo.card import ClipSpec
from zoo.cards import ARCHITECTURES


class Work(NamedTuple):
    """Multiply-adds of what sees the pixels and of all else, and FLOPs of the scans, forward."""

    stem: int
    rest: int
    scans: int = 0

    @property
    def forward(self) -> int:
        return 2 * (self.stem + self.rest) + self.scans

    @property
    def training(self) -> int:
        """Backward is twice the forward; nobody asks for the gradient of the pixels."""
        return 2 * (2 * self.stem + 3 * self.rest) + 3 * self.scans


def stem(backbone: Backbone, tokens: int) -> int:
    return tokens * 3 * math.prod(backbone.tubelet) * backbone.embed_dim


def attention(dim: int, tokens: int, sequences: int = 1) -> int:
    """Projections, and the two products of every query with every key."""
    return sequences * (4 * tokens * dim**2 + 2 * tokens**2 * dim)


def mlp(dim: int, tokens: int) -> int:
    hidden = 6144 if dim == 1408 else 4 * dim  # V-JEPA 2's giant is 48 / 11 as wide
    return 2 * tokens * dim * hidden


def joint(backbone: Backbone, time: int, space: int, prefix: int) -> Work:
    tokens, dim = time * space, backbone.embed_dim
    return Work(stem(backbone, tokens), backbone.depth * (attention(dim, tokens + prefix) + mlp(dim, tokens + prefix)))


def frame_by_frame(backbone: Backbone, time: int, space: int, prefix: int) -> Work:
    one = joint(backbone, 1, space, prefix)
    return Work(time * one.stem, time * one.rest)


def divided(backbone: Backbone, time: int, space: int, prefix: int) -> Work:
    tokens, dim = time * space, backbone.embed_dim
    over_time = attention(dim, time, space) + tokens * dim**2  # and the layer after it
    block = over_time + attention(dim, space + prefix, time) + mlp(dim, tokens + prefix)
    return Work(stem(backbone, tokens), backbone.depth * block)


def mamba(backbone: Backbone, time: int, space: int, prefix: int) -> Work:
    tokens, dim, mixer = time * space, backbone.embed_dim, backbone.blocks[0].mixer
    inner, states = mixer.causal.A_log.shape
    rank, width = mixer.causal.dt_proj.in_features, mixer.causal.conv.kernel_size[0]
    direction = inner * (width + (rank + 2 * states) + rank)
    length = tokens + prefix
    block = length * (2 * dim * inner + 2 * direction + inner * dim)
    return Work(stem(backbone, tokens), backbone.depth * block, backbone.depth * 2 * 9 * length * inner * states)


def pyramid(backbone: Backbone, time: int, space: int, prefix: int) -> Work:
    """A tokenizer's encoder, from its last level, whose positions are the tokens, back to the pixels."""
    form = backbone.form
    cube = 27 if max(form.time_strides) > 1 else 9
    widths = (form.channels, *form.widths)

    def blocks(narrow: int, wide: int, number: int) -> int:
        shortcut = narrow * wide if narrow != wide else 0
        return cube * (narrow * wide + (2 * number - 1) * wide**2) + shortcut

    last = time * space
    rest = last * (blocks(widths[-2], widths[-1], form.depth) + blocks(widths[-1], widths[-1], form.depth))
    for level in reversed(range(len(form.steps))):
        wide = widths[level + 1]
        rest += cube * time * space * wide**2 if form.version == 2 else 0
        time = (time - 1) * form.time_strides[level] + 1 if form.causal else time * form.time_strides[level]
        space *= 4
        rest += time * space * blocks(widths[level], wide, form.depth)
    return Work(cube * time * space * 3 * form.channels, rest)


# Family, or architecture where a family has several -> closed form, tokens in front of the others.
FORMS = {
    "videomae": (joint, 0),
    "mae_st": (joint, 1),
    "teacher": (frame_by_frame, 1),
    "lvmae": (joint, 0),
    "timesformer": (divided, 1),
    **{f"timesformer_joint_{size}": (joint, 1) for size in ("tiny", "base", "pico")},
    "videomamba": (mamba, 1),
    "umt": (joint, 0),
    "vjepa": (joint, 0),
    "vjepa2": (joint, 0),
    "magvit": (pyramid, 0),
    "clip": (frame_by_frame, 1),
    "adapter": (frame_by_frame, 1),
    "hf_videomae_pico": (joint, 0),
}
# One of each form and kind of code; the others, of published sizes, are slow to build.
FAST = {
    "vit_pico",
    "vit_still_pico",
    "timesformer_pico",
    "timesformer_joint_pico",
    "videomamba_pico",
    "umt_pico",
    "vjepa_pico",
    "vjepa2_pico",
    "lvmae_tokenizer_tiny",
    "timm_vit_pico",
    "hf_videomae_pico",
}


def closed_form(architecture) -> Work:
    form, prefix = FORMS.get(architecture.name) or FORMS[architecture.family]
    clip = architecture.clip
    with meta_device():
        backbone = Network(architecture.name, clip.img_size)(clip.num_frames)
        grid = backbone.grid(torch.empty(1, 3, clip.num_frames, clip.img_size, clip.img_size))
    return form(backbone, grid.time, grid.height * grid.width, prefix)


def training_step(build: Build, clip: ClipSpec, where=meta_device) -> None:
    """Forward and backward pass of a clip, shapes only where that is on the meta device."""
    with where():
        backbone = build(clip.num_frames).train()
        video = torch.zeros(1, 3, clip.num_frames, clip.img_size, clip.img_size)
    features = backbone.forward_features(video)
    torch.cat([features.prefix, features.tokens], 1).sum().backward()


def every_architecture(fast: set[str]) -> list:
    return [pytest.param(it, id=it.name, marks=() if it.name in fast else pytest.mark.slow) for it in ARCHITECTURES]


@pytest.mark.parametrize("architecture", every_architecture(FAST))
def test_the_count_is_the_closed_form_and_leaves_nothing_out(architecture):
    clip, work = architecture.clip, closed_form(architecture)
    call = one_clip(Network(architecture.name, clip.img_size), clip.num_frames, clip.img_size)
    assert count_flops(call) == (work.forward, ())


@pytest.mark.parametrize("architecture", every_architecture({"timesformer_pico", "lvmae_tokenizer_tiny"}))
def test_the_count_of_a_training_step_is_the_closed_form_too(architecture):
    build = Network(architecture.name, architecture.clip.img_size)
    counted = count_flops(lambda: training_step(build, architecture.clip))
    assert counted == (closed_form(architecture).training, ())


PICO = next(it for it in ARCHITECTURES if it.name == "videomamba_pico")


def pico(frames: int, **options: str) -> Backbone:
    return PICO.build(num_frames=frames, img_size=PICO.clip.img_size, **options)


@pytest.mark.parametrize("scan", ["chunked", "triton", pytest.param("compiled", marks=pytest.mark.slow)])
def test_every_kernel_of_the_scan_counts_the_same(scan, monkeypatch):
    """On the meta device nothing is computed, so the Triton kernels need no GPU; the C++ one is built and run."""
    monkeypatch.setattr(fused, "INTERPRETED", True)
    monkeypatch.setattr(fused, "INSTALLED", True)
    if scan == "compiled" and (problem := kernel.load(build=True)):
        pytest.skip(problem)
    clip, work = PICO.clip, closed_form(PICO)
    build, where = partial(pico, scan=scan), nullcontext if scan == "compiled" else meta_device
    assert count_flops(lambda: training_step(build, clip, where)) == (work.training, ())
    with where():
        model, video = build(clip.num_frames).eval(), torch.zeros(1, 3, clip.num_frames, clip.img_size, clip.img_size)
    assert count_flops(lambda: model(video)) == (work.forward, ())


@pytest.mark.parametrize("scan", ["reference", "associative"])
def test_what_auto_stands_for_does_not_decide_what_is_counted(scan):
    """`ZOO_SCAN=reference` scans by elementwise operators, which count nothing."""
    clip = PICO.clip
    with table.auto_is(scan):
        assert count_flops(one_clip(pico, clip.num_frames, clip.img_size)) == (closed_form(PICO).forward, ())
