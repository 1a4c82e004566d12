from functools import partial

import pytest
import torch

from backbones.contract import Features, Grid
from heads.anticipation import anticipate, future_query
from tests.heads.test_verb_noun import loaded
from tests.support import assert_parity, load

GRID = Grid(2, 2, 3)


def test_the_tubelet_asked_for_is_counted_from_the_end_of_the_clip():
    query = future_query(GRID, torch.tensor([0.0, 0.24, 0.25, 1.0]), fps=8, tubelet_frames=2)
    assert query.shape == (4, 6)
    assert query[:, 0].tolist() == [12, 12, 12 + 6, 12 + 6 * 4]
    assert (query.diff(dim=1) == 1).all()


def test_several_tubelets_follow_each_other():
    query = future_query(GRID, torch.tensor([1.0]), fps=8, tubelet_frames=2, num_frames=4)
    assert query[0].tolist() == list(range(36, 48))


def test_predicted_tokens_come_after_those_of_the_clip():
    tokens = torch.randn(2, 12, 4)
    features, asked = Features(tokens, tokens[:, :0], GRID, None), []

    def predict(seen, query):
        asked.append((seen, query))
        return seen.tokens.mean(1, keepdim=True).expand(-1, query.shape[1], -1)

    found = anticipate(features, predict, torch.tensor([0.0, 1.0]), fps=8, tubelet_frames=2)
    assert torch.equal(found.tokens[:, :12], tokens)
    assert found.tokens.shape == (2, 18, 4)
    [(seen, query)] = asked
    assert torch.equal(query, future_query(GRID, torch.tensor([0.0, 1.0]), fps=8, tubelet_frames=2))
    assert torch.equal(seen.tokens, tokens)
    assert seen.keep.tolist() == [list(range(12))] * 2
    assert seen.grid == found.grid == (7, 2, 3)
    assert torch.equal(found.keep, torch.cat([seen.keep, query], 1))


@pytest.mark.parametrize(("seconds", "num_frames"), [(0.0, None), (0.24, 4), (1.0, None), (1.3, 6)])
def test_one_time_for_all_clips_is_that_time_for_each(seconds, num_frames):
    tokens = torch.randn(3, 12, 4)
    features = Features(tokens, tokens[:, :0], GRID, None)

    def predict(seen, query):
        return seen.tokens.mean(1, keepdim=True) + query[..., None]

    options = {"fps": 8, "tubelet_frames": 2, "num_frames": num_frames}
    one, each = (anticipate(features, predict, it, **options) for it in (seconds, torch.full((3,), seconds)))
    assert one.grid == each.grid
    assert torch.equal(one.keep, each.keep)
    assert torch.equal(one.tokens, each.tokens)


def test_what_cannot_be_anticipated_is_refused():
    with pytest.raises(ValueError, match="3 frames ahead are not whole tubelets of 2"):
        future_query(GRID, torch.tensor([1.0]), fps=8, tubelet_frames=2, num_frames=3)
    with pytest.raises(ValueError, match=r"got times of \[-1\.0\] seconds"):
        future_query(GRID, torch.tensor([-1.0]), fps=8, tubelet_frames=2)
    with pytest.raises(ValueError, match=r"got times of -1\.0 seconds"):
        future_query(GRID, -1.0, fps=8, tubelet_frames=2)
    tokens = torch.randn(1, 2, 4)
    dropped = Features(tokens, tokens[:, :0], GRID, torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="some were dropped"):
        anticipate(dropped, lambda *_: tokens, torch.tensor([1.0]), fps=8, tubelet_frames=2)


def test_encoder_predictor_and_head_give_the_answers_of_vjepa2():
    # For the merger: runs once V-JEPA's networks (tests/vjepa.py) are there.
    networks = pytest.importorskip("tests.vjepa", reason="V-JEPA's networks are not merged yet")
    side, tensors = load("vjepa/v2_action_anticipation")
    given = side["constructor"]
    encoder = networks.loaded_encoder(given["encoder"], tensors)
    predict = partial(networks.loaded_predictor(given["predictor"], tensors), mask_token=1)
    features = anticipate(
        encoder.forward_features(tensors["in.video"]),
        predict,
        tensors["in.anticipation_times"],
        fps=given["wrapper"]["frames_per_second"],
        tubelet_frames=given["wrapper"]["tubelet_size"],
        num_frames=given["wrapper"]["num_output_frames"],
    )
    name = "vjepa/v2_action_anticipation"
    assert_parity(f"{name} tokens", features.tokens, tensors["out.tokens"], rtol=1e-5, atol=1e-5)
    for question, scores in loaded(side, tensors)(features).items():
        assert_parity(f"{name} whole {question}", scores, tensors[f"out.{question}"], rtol=1e-5, atol=1e-5)
