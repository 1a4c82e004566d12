import json
import math
from dataclasses import replace

import pytest
import torch

from backbones.contract import Grid
from backbones.tokens import complement
from tests.support import find
from zoo.multiblock import LONG_RANGE, SHORT_RANGE, Multiblock, RandomTube, Split

GRID = Grid(4, 6, 6)
BLOCKS = Multiblock(num_blocks=2, spatial_scale=(0.2, 0.4))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask_of(settings: dict) -> Multiblock:
    flags = {name: settings[name] for name in ("full_complement", "pred_full_complement") if name in settings}
    return Multiblock(
        num_blocks=settings["npred"],
        spatial_scale=tuple(settings["spatial_pred_mask_scale"]),
        temporal_scale=tuple(settings["temporal_pred_mask_scale"]),
        aspect_ratio=tuple(settings["aspect_ratio"]),
        **flags,
    )


def grid_of(settings: dict) -> Grid:
    side = settings["crop_size"] // settings["spatial_patch_size"]
    return Grid(settings["num_frames"] // settings["temporal_patch_size"], side, side)


def cases(file: str) -> dict:
    return json.loads(find(f"vjepa/{file}.json").read_text())["cases"]


V1 = ("short_range_224", "long_range_224", "short_range_224_batch24", "long_range_224_batch24", "temporal_blocks_small")
V2 = ("short_256_b1", "long_256_b1", "short_256_full_complement_b8", "long_256_pred_full_complement_b8")


@pytest.mark.parametrize("name", V1)
def test_block_sizes_of_the_first_64_batches_equal_the_authors(name):
    case = cases("v1_mask_collator_stats")[name]
    mask, grid = mask_of(case["settings"]), grid_of(case["settings"])
    sizes = [list(mask.size(grid, counter)) for counter in range(64)]
    assert sizes == case["block_size_by_seed_first_64"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        pytest.param(file, name, marks=() if place == 0 else pytest.mark.slow)
        for file, names in (("v1", V1), ("v2", V2))
        for place, name in enumerate(names)
    ],
)
def test_numbers_of_tokens_are_the_authors_within_four_standard_errors(file, name):
    case = cases(f"{file}_mask_collator_stats")[name]
    mask, grid, source = mask_of(case["settings"]), grid_of(case["settings"]), generator(1)
    draws = 120
    splits = [mask(grid, case["batch_size"], source, counter=counter) for counter in range(draws)]
    kept, predicted = ("kept_encoder", "predicted") if file == "v1" else ("first_tensor", "second_tensor")
    for key, found in ((kept, [it.keep for it in splits]), (predicted, [it.query for it in splits])):
        counts = torch.tensor([float(it.shape[1]) for it in found])
        theirs = case[key]["stderr"] if file == "v2" else case[f"{key}_stderr"]
        error = math.hypot(theirs, counts.std().item() / draws**0.5)
        print(f"{name} {key}: {counts.mean():.1f}, the authors' {case[key]['mean']:.1f} +- {error:.1f}")
        assert abs(counts.mean().item() - case[key]["mean"]) < 4 * error


@pytest.mark.parametrize("name", ["short_range_224", "long_range_224", "temporal_blocks_small"])
def test_places_are_predicted_as_often_as_by_the_authors(name):
    case = cases("v1_mask_collator_stats")[name]
    mask, grid, source = mask_of(case["settings"]), grid_of(case["settings"]), generator(2)
    batch, counters = 10, 200
    covered = torch.stack(
        [~mask.visible(grid, batch, source, mask.size(grid, counter)) for counter in range(counters)]
    ).float()
    frequency = covered.mean((0, 1)).unflatten(0, grid)
    expected = torch.tensor(case["mask_frequency_by_row_col_time_mean"])
    # 2000 draws each; sizes are shared by ten of ours.
    assert (frequency.mean(0) - expected).abs().max() < 0.06
    assert (frequency.mean((1, 2)) - torch.tensor(case["mask_frequency_by_time"])).abs().max() < 0.03


def test_short_and_long_range_are_the_published_masks():
    found = cases("v1_mask_collator_stats")
    assert mask_of(found["short_range_224"]["settings"]) == SHORT_RANGE
    assert mask_of(found["long_range_224"]["settings"]) == LONG_RANGE


def test_two_masks_of_one_batch_share_their_aspect_ratio():
    grid, wide = Grid(8, 100, 100), Multiblock(num_blocks=1, spatial_scale=(0.2, 0.2))
    large = replace(wide, spatial_scale=(0.4, 0.4))
    for counter in range(5):
        one, other = wide.size(grid, counter), large.size(grid, counter)
        assert one.height / one.width == pytest.approx(other.height / other.width, rel=0.05)
    assert wide.size(grid, 0) != wide.size(grid, 1)


@pytest.mark.parametrize("truncation", ["first", "random", "tube"])
def test_kept_and_predicted_tokens_are_apart_ascending_and_equally_many(truncation):
    split = replace(BLOCKS, truncation=truncation)(GRID, 16, generator(), counter=3)
    for keep, query in zip(split.keep.tolist(), split.query.tolist(), strict=True):
        assert keep == sorted(set(keep))
        assert query == sorted(set(query))
        assert not set(keep) & set(query)
    whole = [it.shape[1] for it in BLOCKS(GRID, 16, generator(), counter=3)]
    assert [it.shape[1] for it in split] == whole


def test_the_published_truncation_leaves_out_the_end_and_the_others_do_not():
    def late(truncation: str) -> float:
        mask = replace(BLOCKS, truncation=truncation)
        splits = [mask(GRID, 16, generator(seed), counter=seed) for seed in range(20)]
        ids = torch.cat([torch.cat([it.keep, it.query], 1).flatten() for it in splits])
        return (ids >= 3 * 36).float().mean().item()

    assert late("first") < 0.15
    assert late("random") == pytest.approx(0.25, abs=0.01)
    assert late("tube") == pytest.approx(0.25, abs=0.01)


def test_tube_truncation_keeps_the_same_positions_in_every_frame():
    split = replace(BLOCKS, truncation="tube", max_keep=30)(GRID, 16, generator(), counter=3)
    assert split.keep.shape[1] == 28
    for ids in split:
        frames = ids.unflatten(1, (4, -1)) - 36 * torch.arange(4)[:, None]
        assert (frames == frames[:, :1]).all()


def test_tube_truncation_of_short_cuboids_is_refused():
    short = replace(BLOCKS, truncation="tube", temporal_scale=(0.5, 0.5))
    with pytest.raises(ValueError, match="as long as the clip; choose 'random'"):
        short(GRID, 4, generator(), counter=0)


def test_limits_on_what_is_seen():
    assert replace(BLOCKS, max_keep=10)(GRID, 4, generator(), counter=0).keep.shape == (4, 10)
    causal = replace(BLOCKS, max_temporal_keep=0.5)(GRID, 4, generator(), counter=0)
    assert causal.keep.max() < 2 * 36
    assert causal.query.max() >= 2 * 36


def test_complements_and_swap():
    plain = BLOCKS(GRID, 8, generator(), counter=0)
    full = replace(BLOCKS, full_complement=True)(GRID, 8, generator(), counter=0)
    assert torch.equal(full.keep, plain.keep)
    assert torch.equal(full.query, complement(full.keep, 144))
    other = replace(BLOCKS, pred_full_complement=True)(GRID, 8, generator(), counter=0)
    assert torch.equal(other.query, plain.query)
    assert torch.equal(other.keep, complement(other.query, 144))
    swapped = replace(BLOCKS, inverse=True)(GRID, 8, generator(), counter=0)
    assert torch.equal(swapped.keep, plain.query)
    assert torch.equal(swapped.query, plain.keep)


def test_clips_of_which_nothing_is_left_are_drawn_again():
    # Two blocks of 3 x 2 on a frame of 3 x 3 cover everything in half of the draws.
    mask, grid = Multiblock(num_blocks=2, spatial_scale=(0.7, 0.7), aspect_ratio=(1.2, 1.2)), Grid(2, 3, 3)
    assert mask.size(grid, 0) == Grid(2, 3, 2)
    assert mask(grid, 64, generator(), counter=0).keep.shape == (64, 6)
    with pytest.raises(ValueError, match="leave nothing to see"):
        replace(mask, spatial_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0))(grid, 2, generator(), counter=0)


def test_small_grids_have_blocks_of_one_token_at_least():
    assert SHORT_RANGE.size(Grid(1, 2, 2), 0) == Grid(1, 1, 1)


@pytest.mark.parametrize("mask", [SHORT_RANGE, LONG_RANGE, RandomTube(ratio=0.5)])
def test_masks_depend_on_generator_and_counter_only(mask):
    grid = Grid(2, 6, 6)
    one = mask(grid, 8, generator(5), counter=1)
    torch.manual_seed(1)
    same, other = mask(grid, 8, generator(5), counter=1), mask(grid, 8, generator(6), counter=1)
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))
    assert one.keep.shape != other.keep.shape or not torch.equal(one.keep, other.keep)


@pytest.mark.parametrize("ratio", ["0.9", "0.75"])
def test_random_tubes_have_the_authors_numbers_of_tokens(ratio):
    case = json.loads(find("vjepa/v1_tube_mask_counts.json").read_text())["cases"][ratio]
    grid = Grid(8, 14, 14)
    split: Split = RandomTube(ratio=float(ratio))(grid, 3, generator(), counter=0)
    assert (split.keep.shape[1], split.query.shape[1]) == (case["kept"], case["predicted"])
    frames = split.keep.unflatten(1, (8, -1)) - 196 * torch.arange(8)[:, None]
    assert (frames == frames[:, :1]).all()
    assert torch.equal(split.query, complement(split.keep, 1568))


def test_tubes_that_show_nothing_and_unknown_truncations_are_refused():
    with pytest.raises(ValueError, match="shows 0 of 4"):
        RandomTube()(Grid(2, 2, 2), 1, generator(), counter=0)
    with pytest.raises(ValueError, match="'last'; choose from"):
        replace(BLOCKS, truncation="last")
