"""The scan orders of VideoMamba, against plain one-directional mixers on sequences that are put in order by hand."""

import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.mamba_mixer import MambaMixer
from backbones.scan_order import SCAN_ORDERS
from backbones.videomamba import VideoMamba

SHAPE = {"img_size": 12, "num_frames": 4, "patch_size": 4, "tubelet_size": 2, "embed_dim": 16, "depth": 3}
KEEP = torch.tensor([[0, 2, 4, 9, 10, 17], [1, 2, 3, 5, 12, 16]])
OTHERS = [order for order in SCAN_ORDERS if order != "spatial"]


def built(scan_order, **options):
    """A model with weights behind which no mistake hides; the same weights for every order."""
    torch.manual_seed(0)
    model = VideoMamba(**SHAPE | {"scan_order": scan_order} | options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def clip(batch=2):
    return torch.randn(batch, 3, 4, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def sequence(model, video, keep=None):
    features = model.forward_features(video, keep)
    return torch.cat([features.prefix, features.tokens], 1)


def one_way(mixer, direction):
    """The plain Mamba mixer with the weights of one direction."""
    plain = MambaMixer(16, bidirectional=False).double()
    plain.in_proj, plain.out_proj = mixer.in_proj, mixer.out_proj
    plain.causal.load_state_dict(direction.state_dict())
    return plain


def read_along(plain, row, order):
    """Mix one sample, its tokens read in `order`."""
    mixed = plain(row[None, order])[0]
    out = torch.empty_like(mixed)
    for place, token in enumerate(order):
        out[token] = mixed[place]
    return out


def by_hand(model, row, indices, scan_order):
    """Tokens after the last norm, from the embedded tokens of one sample and their raster indices."""
    area, depth = 9, model.depth
    frames_first = sorted(range(len(indices)), key=lambda i: (indices[i] // area, indices[i] % area))
    places_first = sorted(range(len(indices)), key=lambda i: (indices[i] % area, indices[i] // area))
    spatial, temporal = ([0, *(1 + i for i in order)] for order in (frames_first, places_first))
    for index, block in enumerate(model.blocks):
        forward, backward = one_way(block.mixer, block.mixer.causal), one_way(block.mixer, block.mixer.anticausal)
        first = {"temporal": True, "alternating": index == 1, "spatial_then_temporal": index >= depth // 2}
        order = temporal if first.get(scan_order, scan_order == "temporal_then_spatial" and index < 1) else spatial
        scans = [(forward, order), (backward, order[::-1])]
        if scan_order == "spatiotemporal_v1":
            scans = [(forward, spatial), (backward, temporal[::-1])]
        if scan_order == "spatiotemporal_v2":
            scans = [
                (way, step) for step in (spatial, temporal) for way, step in ((forward, step), (backward, step[::-1]))
            ]
        x = block.norm(row[None])[0]
        row = row + sum(read_along(plain, x, walk) for plain, walk in scans)
    return model.norm(row[None])[0]


@pytest.mark.parametrize("keep", [None, KEEP], ids=["all", "keep"])
@pytest.mark.parametrize("scan_order", SCAN_ORDERS)
def test_order_equals_mixers_over_tokens_ordered_by_hand(scan_order, keep):
    model, video = built(scan_order), clip()
    embedded = model._embed(video, keep, model.grid(video))
    with torch.no_grad():
        for row in range(2):
            indices = list(range(18)) if keep is None else keep[row].tolist()
            expected = by_hand(model, embedded[row], indices, scan_order)
            torch.testing.assert_close(sequence(model, video, keep)[row], expected)


def test_every_order_differs_from_the_others():
    found = [sequence(built(order), clip()) for order in SCAN_ORDERS]
    assert all((one - other).abs().max() > 1e-4 for one, other in itertools.combinations(found, 2))


@pytest.mark.parametrize("scan_order", OTHERS)
def test_keep_all_equals_no_keep_bit_for_bit(scan_order):
    model, video = built(scan_order), clip()
    assert torch.equal(sequence(model, video, torch.arange(18).repeat(2, 1)), sequence(model, video))


@pytest.mark.parametrize("scan_order", OTHERS)
def test_intermediates_come_in_raster_order(scan_order):
    model, video = built(scan_order), clip()
    for block in model.blocks:
        torch.nn.init.zeros_(block.mixer.out_proj.weight)  # tokens then stay what they were
    plain = model._embed(video, KEEP, model.grid(video))[:, 1:]
    for features in model.forward_intermediates(video, [0, 1, 2], KEEP, norm=False):
        assert torch.equal(features.tokens, plain)
        assert torch.equal(features.keep, KEEP)


@pytest.mark.parametrize("scan_order", [order for order in OTHERS if order != "spatiotemporal_v2"])
def test_with_one_position_per_frame_every_order_is_the_spatial_one(scan_order):
    options = {"img_size": 4, "num_frames": 6}
    video = torch.randn(2, 3, 6, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(
        sequence(built(scan_order, **options), video), sequence(built("spatial", **options), video)
    )


def test_with_one_position_per_frame_scanning_both_orders_counts_twice():
    options = {"img_size": 4, "num_frames": 6, "depth": 1}
    video = torch.randn(2, 3, 6, 4, 4, dtype=torch.float64)
    both, spatial = built("spatiotemporal_v2", **options), built("spatial", **options)
    with torch.no_grad():
        spatial.blocks[0].mixer.out_proj.weight.mul_(2)
    raw = [model.forward_intermediates(video, [0], norm=False)[0].tokens for model in (both, spatial)]
    torch.testing.assert_close(*raw)


@pytest.mark.parametrize("scan_order", OTHERS)
def test_checkpointing_leaves_gradients_equal_and_all_weights_learn(scan_order):
    model, gradients = built(scan_order), []
    for blocks in (0, 3):
        model.set_grad_checkpointing(blocks)
        model.zero_grad()
        sequence(model, clip(), KEEP).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(plain.any() and torch.equal(plain, again) for plain, again in zip(*gradients, strict=True))


@pytest.mark.slow
def test_scanning_both_orders_costs_twice_the_scans_and_the_others_cost_nothing():
    def flops(scan_order):
        with FlopCounterMode(display=False) as counter:
            built(scan_order)(clip())
        return counter.get_total_flops()

    plain = flops("spatial")
    assert {flops(order) for order in SCAN_ORDERS if order != "spatiotemporal_v2"} == {plain}
    # Projections into and out of the mixer are not repeated.
    assert 1.2 * plain < flops("spatiotemporal_v2") < 2 * plain


def test_the_published_order_moves_no_token(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("tokens were moved")

    monkeypatch.setattr("backbones.videomamba.temporal_first", refuse)
    built("spatial")(clip())
    with pytest.raises(AssertionError, match="tokens were moved"):
        built("temporal")(clip())


@pytest.mark.parametrize(("scan_order", "moves"), [("temporal", 2), ("spatial_then_temporal", 2), ("alternating", 2)])
def test_tokens_move_only_where_the_order_changes(scan_order, moves, monkeypatch):
    seen = []
    real = torch.Tensor.index_select
    monkeypatch.setattr(torch.Tensor, "index_select", lambda *args: seen.append(1) or real(*args))
    built(scan_order)(clip())
    assert len(seen) == moves


def test_plain_mamba_has_no_backward_scan_for_a_second_order():
    with pytest.raises(ValueError, match=r"'backward' \(spatiotemporal_v1\) needs .* bidirectional=True"):
        built("spatiotemporal_v1", bidirectional=False)
    with pytest.raises(ValueError, match="unknown scan_order 'diagonal'"):
        built("diagonal")
    with pytest.raises(ValueError, match="unknown second_order 'twice'"):
        MambaMixer(16, second_order="twice")


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan_order", "keep"),
    [
        pytest.param("alternating", KEEP, id="alternating"),
        pytest.param("spatiotemporal_v1", KEEP, id="v1"),
        pytest.param("spatiotemporal_v2", None, id="v2"),
    ],
)
def test_compile_without_graph_breaks_and_export_agree_with_eager(scan_order, keep):
    model, video = built(scan_order), clip()
    if keep is not None:
        model.forward = model.forward_features
    arguments = (video,) if keep is None else (video, keep)
    expected = sequence(model, video, keep)
    torch._dynamo.reset()
    compiled = torch.compile(model.forward_features, fullgraph=True, backend="aot_eager")(video, keep)
    torch.testing.assert_close(torch.cat([compiled.prefix, compiled.tokens], 1), expected)
    exported = torch.export.export(model, arguments).module()(*arguments)
    if keep is None:
        torch.testing.assert_close(exported, expected[:, 0])
    else:
        torch.testing.assert_close(exported.tokens, expected[:, 1:])
