import pytest
import torch

from backbones.contract import Grid
from backbones.tokens import complement
from zoo import masks
from zoo.decoder_masks import RANKED, STRATEGIES, Budget, Counts, DecoderMasking, frame_step, noise_of

GRIDS = [Grid(8, 4, 4), Grid(7, 3, 5), Grid(1, 6, 6), Grid(16, 2, 3)]
BUDGETED = [name for name in STRATEGIES if name != "none"]


def choose(strategy, grid, *, seeds=(1, 2), scores=None, ratio=0.5, **options):
    if strategy in RANKED and scores is None:
        scores = torch.rand(len(seeds), grid.num_tokens, generator=torch.Generator().manual_seed(9))
    keep = masks.random(grid, ratio, len(seeds), torch.Generator().manual_seed(5))
    noise = noise_of(seeds, grid.num_tokens)
    return DecoderMasking(strategy=strategy, **options)(grid, noise, keep, scores), keep


@pytest.mark.parametrize(
    ("tokens", "rounding", "counts"),
    [
        (12544, "nearest", (1255, 627)),
        (3136, "nearest", (313, 157)),
        (1568, "nearest", (157, 78)),
        (12544, "paper", (1254, 627)),
        (1568, "paper", (156, 78)),
        (1000, "paper", (100, 50)),
    ],
)
def test_budgets_are_exact(tokens, rounding, counts):
    assert Budget(rounding=rounding).counts(tokens) == Counts(*counts)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("strategy", BUDGETED)
def test_every_strategy_takes_its_budget_of_unique_tokens(strategy, grid):
    for total in (0.15, 0.4):
        chosen, _ = choose(strategy, grid, budget=Budget(total=total))
        num = Budget(total=total).counts(grid.num_tokens).total
        assert chosen.query.shape == chosen.ranked.shape == (2, num)
        assert (chosen.query.diff(dim=1) > 0).all()
        assert chosen.query.min() >= 0
        assert chosen.query.max() < grid.num_tokens


@pytest.mark.parametrize("strategy", BUDGETED)
def test_choices_depend_on_the_samples_seed_alone(strategy):
    grid, scores = GRIDS[0], torch.rand(1, 128).expand(3, -1)
    alone = choose(strategy, grid, seeds=[4], scores=scores[:1])[0].query
    among = choose(strategy, grid, seeds=[3, 4, 5], scores=scores)[0].query
    assert torch.equal(among[1], alone[0])
    assert not torch.equal(among[0], among[1])


def test_none_decodes_all_that_the_encoder_does_not_see():
    chosen, keep = choose("none", GRIDS[1])
    assert torch.equal(chosen.query, complement(keep, GRIDS[1].num_tokens))


def test_the_best_tokens_are_chosen_and_the_rest_is_drawn_among_the_others():
    grid = Grid(4, 5, 5)
    scores = torch.zeros(2, 100)
    scores[:, 40:50] = torch.arange(10.0) + 1
    chosen, _ = choose("precomputed", grid, scores=scores)
    assert chosen.ranked.sum(1).tolist() == [10, 10]
    assert all(row[flag].tolist() == list(range(40, 50)) for row, flag in zip(*chosen, strict=True))
    others = chosen.query[~chosen.ranked].view(2, 5)
    assert not torch.equal(others[0], others[1])


def test_of_equal_scores_the_first_are_chosen():
    scores = torch.ones(1, 128)
    scores[0, 100] = 2
    chosen, _ = choose("flow", GRIDS[0], seeds=[1], scores=scores)
    assert chosen.query[chosen.ranked].tolist() == [*range(12), 100]


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_scores_that_say_nothing_are_replaced_by_random_choices_with_a_warning(bad):
    scores = torch.rand(2, 128)
    scores[1] = bad
    with pytest.warns(UserWarning, match=r"'learned' are constant or not finite in samples \[1\]"):
        chosen, _ = choose("learned", GRIDS[0], scores=scores)
    assert chosen.query.shape == (2, 19)
    assert chosen.query[1][chosen.ranked[1]].max() > 64, "a block at the start"


def test_uniform_frames_are_every_seventh_slot_and_trimmed_to_the_budget_when_exact():
    grid = Grid(64, 14, 14)
    slots = {exact: choose("uniform_frame", grid, exact=exact, ratio=0.9)[0].query // 196 for exact in (False, True)}
    assert slots[False].shape == (2, 1960)
    assert slots[True].shape == (2, 1882)
    for found in slots.values():
        assert found.unique().tolist() == list(range(0, 64, 7))
    assert frame_step(Grid(16, 14, 14), 470) == 7
    assert choose("uniform_frame", Grid(16, 14, 14), exact=False, ratio=0.9)[0].query.shape == (2, 588)


def test_uniform_frames_that_are_fewer_than_the_budget_are_filled_up():
    chosen, _ = choose("uniform_frame", Grid(14, 10, 10))
    slots = (chosen.query[0] // 100).unique(return_counts=True)
    assert chosen.query.shape[1] == 210
    assert (slots[1][slots[0] % 7 == 0] == 100).all()
    assert (slots[0] % 7 != 0).sum() > 3


def test_the_grid_spreads_its_tokens_evenly():
    spread, _ = choose("uniform_grid", Grid(8, 8, 8), budget=Budget(total=0.25))
    scattered, _ = choose("random", Grid(8, 8, 8), budget=Budget(total=0.25))
    cells = {}
    for name, query in (("spread", spread.query), ("scattered", scattered.query)):
        occupied = torch.zeros(2, 512).scatter_(1, query, 1.0).view(2, 4, 2, 4, 2, 4, 2).sum((2, 4, 6))
        cells[name] = occupied.var().item()
    assert cells["spread"] < 0.5 * cells["scattered"]


def test_running_cells_at_half_the_tokens_are_those_of_videomae_v2():
    grid = Grid(5, 4, 6)
    chosen, _ = choose("running_cell", grid, seeds=range(8), budget=Budget(total=0.5))
    seen = torch.zeros(8, grid.num_tokens).scatter_(1, chosen.query, 1.0).view(8, *grid)
    # OpenGVLab/VideoMAEv2 masking_generator.py: two masked and two visible of each cell, one place further each frame.
    queue, theirs = torch.tensor([0.0, 0.0, 1.0, 1.0]), []
    for start in range(4):
        frames = [queue.roll(-(start + 1 + frame)).view(2, 2).repeat(2, 3) for frame in range(5)]
        theirs.append(torch.stack(frames))
    found = {next(start for start in range(4) if torch.equal(one, theirs[start])) for one in seen}
    assert len(found) > 1


def test_tubes_stand_still_and_the_rest_lies_anywhere():
    grid = Grid(8, 4, 4)
    query = choose("tube", grid, budget=Budget(total=0.3))[0].query[0]  # 38 tokens: 4 in each of 8 slots, and 6
    seen = torch.zeros(128).scatter_(0, query, 1.0).view(8, 16)
    assert (seen.sum(0) == 8).sum() == 4
    assert seen.sum() == 38


def test_disjoint_choices_avoid_what_the_encoder_sees():
    for strategy in BUDGETED:
        chosen, keep = choose(strategy, GRIDS[0], disjoint=True, budget=Budget(total=0.3))
        assert chosen.query.shape == (2, 38)
        assert not (chosen.query[:, :, None] == keep[:, None]).any()
    whole, keep = choose("random", GRIDS[0], disjoint=True, budget=Budget(total=1.0))
    assert torch.equal(whole.query, complement(keep, 128))


def test_disjoint_ranks_go_to_hidden_tokens():
    grid, scores = GRIDS[0], torch.arange(128.0).expand(2, -1)
    chosen, keep = choose("learned", grid, scores=scores, disjoint=True)
    hidden = complement(keep, 128)
    assert torch.equal(chosen.query[chosen.ranked].view(2, 13), hidden[:, -13:])


def test_what_cannot_be_is_refused():
    for total in (0.0, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"a budget must lie in \(0, 1\]"):
            Budget(total=total)
    with pytest.raises(ValueError, match="random_share must lie in 0-1, not 2"):
        Budget(random_share=2.0)
    with pytest.raises(ValueError, match=r"unknown rounding 'up'; choose from \('nearest', 'paper'\)"):
        Budget(rounding="up")
    with pytest.raises(ValueError, match=r"a budget of 0.01 of 20 tokens is no token"):
        Budget(total=0.01).counts(20)
    with pytest.raises(ValueError, match="unknown strategy 'adaptive'; choose from"):
        DecoderMasking(strategy="adaptive")
    with pytest.raises(ValueError, match="whole slots hold tokens that the encoder sees"):
        DecoderMasking(strategy="uniform_frame", exact=False, disjoint=True)
    with pytest.raises(ValueError, match="the budget of 77 of 128 tokens does not fit into the 64"):
        choose("random", GRIDS[0], disjoint=True, budget=Budget(total=0.6))
    with pytest.raises(ValueError, match="strategy 'flow' needs scores"):
        DecoderMasking(strategy="flow")(GRIDS[0], torch.rand(1, 128), torch.zeros(1, 1, dtype=torch.int64))
