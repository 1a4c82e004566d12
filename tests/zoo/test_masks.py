import json

import pytest
import torch

from backbones.contract import Grid
from tests.support import find, load
from zoo import masks

GRID = Grid(8, 14, 14)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(seed: int = 0) -> list[torch.Tensor]:
    return [
        masks.tube(GRID, 0.9, 4, seeded(seed)),
        masks.random(GRID, 0.9, 4, seeded(seed)),
        masks.random(GRID, 0.9, 4, seeded(seed), rounding="drop"),
        masks.frame_row(GRID, 0.9, 4, seeded(seed)),
        masks.clip_row(GRID, 0.9, 4, seeded(seed)),
        masks.attention(GRID, 0.9, torch.ones(4, 8, 196), seeded(seed)),
    ]


NUM_MASKS = 6


def test_counts_are_the_papers():
    # VideoMAE: int(0.9 * 196) = 176 dropped of each frame. mae_st: int(1568 * 0.1), and 1568 * (1 - 0.9) is 156.8.
    # Rows: int(0.9 * 14) = 12 dropped of each frame's 14. Attention: 196 - int(176.4) kept of each frame.
    assert [keep.shape[1] for keep in draws()] == [160, 156, 157, 8 * 28, 8 * 28, 160]
    # VideoMamba at 0.8: 40 tokens of each frame by attention and tube, 314 at random, 42 of each frame in rows.
    uniform = torch.ones(1, 8, 196)
    assert masks.attention(GRID, 0.8, uniform, seeded()).shape == (1, 320)
    assert masks.tube(GRID, 0.8, 1, seeded()).shape == (1, 320)
    assert masks.random(GRID, 0.8, 1, seeded(), rounding="drop").shape == (1, 314)
    assert masks.frame_row(GRID, 0.8, 1, seeded()).shape == (1, 336)
    assert masks.clip_row(GRID, 0.8, 1, seeded()).shape == (1, 336)
    assert masks.tube(GRID, 0.75, 1, seeded()).shape == (1, 8 * 49)
    assert masks.tube(Grid(8, 3, 3), 0.9, 1, seeded()).shape == (1, 8)


def test_counts_of_the_fixtures():
    for name, ratio in [("pretrain_f16_r32", 0.75), ("pretrain_f16_layerscale_r48", 0.9)]:
        side, tensors = load(f"videomae/{name}")
        options = side["constructor"]
        cells = options["img_size"] // options["patch_size"]
        keep = masks.tube(Grid(8, cells, cells), ratio, 1, seeded())
        assert keep.shape[1] == (~tensors["in.mask"][0]).sum()


@pytest.mark.parametrize("index", range(NUM_MASKS))
def test_indices_are_ascending_distinct_and_of_the_grid(index):
    keep = draws()[index]
    assert keep.dtype == torch.int64
    assert (keep.diff(dim=1) > 0).all()
    assert keep.min() >= 0
    assert keep.max() < GRID.num_tokens


@pytest.mark.parametrize("index", range(NUM_MASKS))
def test_the_generator_decides_and_nothing_else(index):
    torch.manual_seed(1)
    first = draws(seed=5)[index]
    torch.manual_seed(2)
    assert torch.equal(draws(seed=5)[index], first)
    assert not torch.equal(draws(seed=6)[index], first)


def test_samples_have_their_own_masks():
    for keep in draws():
        assert len(keep.unique(dim=0)) == 4


def test_tubes_keep_the_same_positions_in_every_frame():
    keep = draws()[0].unflatten(1, (8, 20))
    assert torch.equal(keep % 196, (keep % 196)[:, :1].expand(-1, 8, -1))
    assert torch.equal(keep // 196, torch.arange(8)[:, None].expand(4, 8, 20))


SAMPLERS = [masks.tube, masks.random, masks.frame_row, masks.clip_row]


@pytest.mark.parametrize("sample", SAMPLERS)
def test_every_token_is_equally_often_visible(sample):
    grid = Grid(2, 3, 3)
    keep = sample(grid, 0.5, 4000, seeded())
    share = torch.bincount(keep.flatten(), minlength=18) / 4000
    expected = keep.shape[1] / 18
    # Five standard errors of a share over 4000 draws.
    assert (share - expected).abs().max() < 5 * (0.25 / 4000) ** 0.5


def test_noise_replays_a_mask():
    noise = torch.tensor([[0.5, 0.1, 0.9, 0.2], [0.3, 0.8, 0.1, 0.7]])
    assert masks.keep_smallest(noise, 2).tolist() == [[1, 3], [0, 2]]


def test_boolean_masks_of_the_authors_mean_dropped():
    dropped = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert masks.from_dropped(dropped).tolist() == [[1, 3], [0, 1]]
    with pytest.raises(ValueError, match=r"different numbers of tokens: \[1, 2\]"):
        masks.from_dropped(torch.tensor([[True, False], [False, False]]))


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_masks_that_keep_or_drop_everything_are_refused(ratio):
    for sample in SAMPLERS:
        with pytest.raises(ValueError, match=f"ratio of {ratio} keeps"):
            sample(GRID, ratio, 1, seeded())
    with pytest.raises(ValueError, match=f"ratio of {ratio} keeps"):
        masks.attention(GRID, ratio, torch.ones(1, 8, 196), seeded())


OURS = {"tube": masks.tube, "random": masks.random, "frame_row": masks.frame_row, "clip_row": masks.clip_row}


@pytest.mark.parametrize("kind", OURS)
def test_masks_have_the_counts_and_the_structure_of_videomambas(kind):
    cases = json.loads(find("videomamba/pipeline.json").read_text())["masks"]["cases"]
    case = next(it for it in cases if it["kind"] == kind)
    grid, rounding = Grid(*case["window"]), {"rounding": "drop"} if kind == "random" else {}
    keep = OURS[kind](grid, case["ratio"], 64, seeded(), **rounding)
    dropped = torch.ones(64, grid.num_tokens, dtype=torch.bool).scatter_(1, keep, False)
    assert (dropped.sum(1) == case["masked_total"]).all()
    frames = dropped.unflatten(1, (grid.time, -1))
    assert (frames == frames[:, :1]).all() == case["same_mask_every_frame"]
    assert (frames.sum(2) == frames.sum(2)[0, 0]).all() == case["per_frame_count_fixed"]
    rows = dropped.unflatten(1, grid)
    assert (rows == rows[..., :1]).all() == case["whole_rows_only"]


@pytest.mark.parametrize("name", ["clip_teacher_k3_l2", "clip_teacher_resize_p14like"])
def test_attention_draws_what_the_authors_drew_from_the_same_seed(name):
    _, tensors = load(f"umt/{name}")
    dropped = tensors["out.sampled_mask"]
    saliency = tensors["out.attn"].unflatten(0, (len(dropped), -1))
    grid = Grid(saliency.shape[1], 4, 4)
    assert torch.equal(masks.attention(grid, 0.8, saliency, seeded(7)), masks.from_dropped(dropped))


def test_attention_prefers_what_is_salient_and_survives_zeros():
    grid = Grid(2, 3, 3)
    assert len(masks.attention(grid, 0.8, torch.zeros(500, 2, 9), seeded()).unique()) == 18
    saliency = torch.zeros(500, 2, 9)
    saliency[:, 0, 4] = saliency[:, 1, 7] = 1.0
    keep = masks.attention(grid, 0.8, saliency, seeded())
    assert keep.shape == (500, 4)
    assert (keep == 4).any(1).all()
    assert (keep == 9 + 7).any(1).all()
    frequent = masks.attention(grid, 0.9, torch.arange(1.0, 10).expand(4000, 2, 9), seeded())
    share = torch.bincount(frequent.flatten(), minlength=18) / 4000
    expected = torch.arange(1.0, 10).repeat(2) / 45
    assert (share - expected).abs().max() < 5 * (0.25 / 4000) ** 0.5


def test_saliency_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="4 frames x 9 positions does not fit a grid of 8 x 14 x 14"):
        masks.attention(GRID, 0.8, torch.ones(1, 4, 9), seeded())
