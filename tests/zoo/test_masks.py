import pytest
import torch

from backbones.contract import Grid
from tests.support import load
from zoo import masks

GRID = Grid(8, 14, 14)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(seed: int = 0) -> list[torch.Tensor]:
    return [
        masks.tube(GRID, 0.9, 4, seeded(seed)),
        masks.random(GRID, 0.9, 4, seeded(seed)),
        masks.random(GRID, 0.9, 4, seeded(seed), rounding="drop"),
    ]


def test_counts_are_the_papers():
    # VideoMAE: int(0.9 * 196) = 176 dropped of each frame. mae_st: int(1568 * 0.1), and 1568 * (1 - 0.9) is 156.8.
    assert [keep.shape for keep in draws()] == [(4, 160), (4, 156), (4, 157)]
    assert masks.tube(GRID, 0.75, 1, seeded()).shape == (1, 8 * 49)
    assert masks.tube(Grid(8, 3, 3), 0.9, 1, seeded()).shape == (1, 8)


def test_counts_of_the_fixtures():
    for name, ratio in [("pretrain_f16_r32", 0.75), ("pretrain_f16_layerscale_r48", 0.9)]:
        side, tensors = load(f"videomae/{name}")
        options = side["constructor"]
        cells = options["img_size"] // options["patch_size"]
        keep = masks.tube(Grid(8, cells, cells), ratio, 1, seeded())
        assert keep.shape[1] == (~tensors["in.mask"][0]).sum()


@pytest.mark.parametrize("index", range(3))
def test_indices_are_ascending_distinct_and_of_the_grid(index):
    keep = draws()[index]
    assert keep.dtype == torch.int64
    assert (keep.diff(dim=1) > 0).all()
    assert keep.min() >= 0
    assert keep.max() < GRID.num_tokens


@pytest.mark.parametrize("index", range(3))
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


@pytest.mark.parametrize("sample", [masks.tube, masks.random])
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
    for sample in (masks.tube, masks.random):
        with pytest.raises(ValueError, match=f"ratio of {ratio} keeps"):
            sample(GRID, ratio, 1, seeded())
