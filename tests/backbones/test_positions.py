import math

import pytest
import torch
from torch import nn

from backbones.contract import Grid
from backbones.positions import (
    grid_positions,
    register_positions,
    resize_axes_table,
    resize_grid_table,
    resize_spatial_table,
    resize_temporal_table,
    sincos_1d,
    sincos_axes,
)
from tests.support import assert_parity, load


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("pretrain_f16_r32", "encoder"),
        ("pretrain_f16_r32", "decoder"),
        ("pretrain_f16_layerscale_r48", "encoder"),
        ("pretrain_f16_layerscale_r48", "decoder"),
    ],
)
def test_sincos_is_the_authors_table(fixture, name):
    _, tensors = load(f"videomae/{fixture}")
    expected = tensors[f"out.{name}_pos_embed"]
    assert_parity(f"videomae/{fixture} {name} table", sincos_1d(*expected.shape[1:]), expected, rtol=0, atol=1e-7)


def test_sincos_interleaves_sines_and_cosines_of_the_raster_index():
    table = sincos_1d(200, 6)
    angle = 150 / 10000 ** (2 / 6)
    expected = [math.sin(150), math.cos(150), math.sin(angle), math.cos(angle)]
    assert table.dtype == torch.float32
    torch.testing.assert_close(table[0, 150, :4], torch.tensor(expected), rtol=0, atol=1e-7)


def test_space_is_resized_before_time_as_in_umt():
    table, old, new = torch.randn(1, 2 * 4 * 4, 5), Grid(2, 4, 4), Grid(3, 3, 5)
    maps = table.unflatten(1, (2, 4, 4))[0].permute(0, 3, 1, 2)
    maps = nn.functional.interpolate(maps, size=(3, 5), mode="bicubic", align_corners=False)
    lines = maps.permute(2, 3, 1, 0).flatten(0, 1)
    lines = nn.functional.interpolate(lines, size=3, mode="linear", align_corners=False)
    expected = lines.permute(2, 0, 1).reshape(1, 45, 5)
    torch.testing.assert_close(resize_grid_table(table, old, new), expected)


def test_umt_fixture_keeps_the_interpolated_table():
    # UMT always builds the table for 8 x 14 x 14 tokens and resizes it; the fixture stores the result.
    _, tensors = load("umt/finetune_f8_r32_interp_table")
    expected = tensors["out.pos_embed"]
    actual = resize_grid_table(sincos_1d(1568, expected.shape[-1]), Grid(8, 14, 14), Grid(8, 2, 2))
    assert_parity("umt/finetune_f8_r32_interp_table table", actual, expected, rtol=1e-4, atol=1e-5)


def test_equal_sizes_return_the_very_table():
    table = torch.randn(1, 12, 4)
    assert resize_spatial_table(table, (3, 4), (3, 4)) is table
    assert resize_temporal_table(table, 12) is table
    assert resize_grid_table(table, Grid(3, 2, 2), Grid(3, 2, 2)) is table


def test_a_linear_ramp_in_time_stays_a_ramp_inside():
    ramp = torch.arange(4.0)[None, :, None]
    # align_corners false: new positions are (i + 0.5) / 2 - 0.5, clamped to the table's ends.
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])[None, :, None]
    torch.testing.assert_close(resize_temporal_table(ramp, 8), expected)


def test_half_precision_tables_are_interpolated_in_float32():
    table = torch.randn(1, 16, 8).bfloat16()
    expected = resize_spatial_table(table.float(), (4, 4), (6, 6)).bfloat16()
    actual = resize_spatial_table(table, (4, 4), (6, 6))
    assert actual.dtype == torch.bfloat16
    assert torch.equal(actual, expected)


def test_separable_tables_sum_space_and_time_in_raster_order():
    spatial, temporal = torch.randn(1, 6, 4), torch.randn(1, 3, 4)
    table = grid_positions(spatial, temporal, Grid(3, 2, 3), Grid(3, 2, 3))
    assert torch.equal(table[0, 2 * 6 + 1], spatial[0, 1] + temporal[0, 2])


def test_learned_tables_and_those_of_v_jepas_files_are_in_the_state_dict():
    names = {}
    for kind in ("sincos", "separable", "joint", "vjepa", "rotary"):
        module = nn.Module()
        register_positions(module, kind, Grid(2, 3, 3), 8)
        names[kind] = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert names == {
        "sincos": {},
        "separable": {"pos_embed": (1, 9, 8), "temporal_pos_embed": (1, 2, 8)},
        "joint": {"pos_embed": (1, 18, 8)},
        "vjepa": {"pos_embed": (1, 18, 8)},
        "rotary": {},
    }


def test_unknown_kind_is_named():
    unchecked = getattr(register_positions, "__wrapped__", register_positions)  # as users call it: without type checks
    with pytest.raises(ValueError, match="'spiral'; choose from"):
        unchecked(nn.Module(), "spiral", Grid(1, 1, 1), 8)


@pytest.mark.parametrize(
    ("kind", "dim", "starts", "widths"),
    [
        ("vjepa", 24, (0, 8, 16), (8, 8, 8)),
        ("vjepa", 16, (0, 6, 12), (6, 6, 6)),
        ("vjepa_split", 16, (0, 8, 12), (8, 4, 4)),
        ("vjepa_image", 16, (0, 0, 8), (0, 8, 8)),
    ],
)
def test_v_jepas_tables_by_the_definition(kind, dim, starts, widths):
    grid = Grid(2, 3, 4)
    table = sincos_axes(grid, dim, kind=kind)
    assert table.shape == (1, 24, dim)
    token, places = 23, (1, 2, 3)
    for start, width, place in zip(starts, widths, places, strict=True):
        for channel in range(start, min(start + width, dim)):
            number = (channel - start) % (width // 2)
            angle = place * 10000 ** (-number / (width // 2))
            expected = math.sin(angle) if channel - start < width // 2 else math.cos(angle)
            assert table[0, token, channel].item() == pytest.approx(expected, abs=1e-6)


def test_a_width_that_the_axes_cannot_share_is_refused():
    with pytest.raises(ValueError, match="width of 10 cannot be shared"):
        sincos_axes(Grid(1, 2, 2), 10, kind="vjepa_split")


def test_v_jepas_table_grows_trilinearly_and_v_jepa_2s_shrinks_in_time_by_leaving_out():
    old, shorter = Grid(4, 2, 2), Grid(2, 2, 2)
    table = sincos_axes(old, 24)
    blended = table.unflatten(1, (2, 2, 4)).mean(2).flatten(1, 2)
    torch.testing.assert_close(resize_axes_table(table, old, shorter, kind="vjepa"), blended)
    assert torch.equal(resize_axes_table(table, old, shorter, kind="vjepa_prefix"), table[:, :8])
    wider = [resize_axes_table(table, old, Grid(2, 4, 4), kind=kind) for kind in ("vjepa", "vjepa_prefix")]
    assert torch.equal(*wider)


def test_positions_of_other_clips_follow_the_kind_of_the_table():
    old, new = Grid(4, 2, 2), Grid(3, 3, 3)
    table = sincos_axes(old, 24)
    expected = resize_axes_table(table, old, new, kind="vjepa")
    assert torch.equal(grid_positions(table, None, old, new, kind="vjepa"), expected)
    assert not torch.allclose(grid_positions(table, None, old, new), expected, atol=1e-3)
