import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import RAFT, raft_small

from backbones.frames import timm_vit_pico
from backbones.importance import ImportanceScorer, adjacent_distance, top_k
from backbones.vit import vit_pico
from tests.backbones.toy_video import moving_square
from zoo.decoder_scores import FrameDifference, RaftFlow, embedding_change, looked_up, raft


def square() -> tuple[torch.Tensor, torch.Tensor]:
    return moving_square(2, torch.Generator().manual_seed(0))


def test_frame_difference_finds_what_moves():
    video, touched = square()
    scores = FrameDifference()(video, (2, 4, 4))
    assert scores.shape == touched.shape
    assert scores[touched].mean() > 2 * scores[~touched].mean()
    still = FrameDifference()(video[:, :, :1].expand(-1, -1, 4, -1, -1), (2, 4, 4))
    assert still.abs().max() == 0
    assert FrameDifference()(video[:, :, :1], (1, 4, 4)).abs().max() == 0


def test_a_change_belongs_to_the_later_frame():
    video = torch.zeros(1, 3, 4, 4, 4)
    video[:, :, 2:] = 1
    assert FrameDifference()(video, (2, 4, 4)).flatten().tolist() == [0.0, 0.5]


def test_everest_compares_the_stems_embeddings_of_adjacent_slots():
    student, video = vit_pico(), torch.randn(1, 3, 16, 24, 24)
    scores = embedding_change(student, video)
    tokens = student.patch_embed(video).unflatten(1, (8, 9))
    torch.testing.assert_close(scores[0, 3].flatten(), (tokens[0, 3] - tokens[0, 2]).norm(dim=-1))
    assert torch.equal(scores[:, 0], scores[:, 1])
    with pytest.raises(ValueError, match="has no stem of tubelets"):
        embedding_change(timm_vit_pico(), video)


def test_precomputed_scores_are_found_by_row():
    scores = {3: torch.zeros(1, 2, 2), 5: torch.ones(1, 2, 2)}
    assert looked_up(scores, [5, 3, 5])[:, 0, 0, 0].tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"no precomputed scores for rows \[4\]; there are some for 2 rows"):
        looked_up(scores, [3, 4])


class Pushed(RAFT):
    """In place of RAFT: everything moves by 3 px to the right and 1 px up, more and more after each update."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def forward(self, before, after, num_flow_updates):
        assert before.shape == after.shape
        assert min(before.shape[2:]) >= 128
        assert before.amin() >= -1
        assert before.amin() < -0.5
        flow = torch.tensor([3.0, -1.0])[None, :, None, None].expand(len(before), -1, *before.shape[2:])
        return [flow * (step + 1) for step in range(num_flow_updates)]


def test_flow_is_the_last_update_in_pixels_of_the_clip():
    flow = RaftFlow(Pushed(), num_updates=2)
    # Resized from 64 to 128 px: 6 px right and 2 px up there are 3 and 1 here, on average 2.
    scores = flow(torch.rand(2, 3, 4, 64, 64), (2, 16, 16))
    torch.testing.assert_close(scores, torch.full((2, 2, 4, 4), 2.0))
    assert flow(torch.rand(1, 3, 1, 64, 64), (1, 16, 16)).abs().max() == 0


@pytest.mark.slow
def test_raft_runs_with_the_weights_of_a_file(tmp_path):
    torch.manual_seed(0)
    network = raft_small(weights=None)
    save_file(network.state_dict(), tmp_path / "raft.safetensors")
    torch.save(network.state_dict(), tmp_path / "raft.pth")
    video, _ = square()
    with torch.no_grad():
        found = [
            raft(tmp_path / f"raft.{ending}", num_updates=2).eval()(video, (2, 4, 4))
            for ending in ("safetensors", "pth")
        ]
    assert found[0].shape == (2, 8, 8, 8)
    assert torch.equal(*found)
    assert found[0].isfinite().all()
    assert found[0].std() > 0


def test_files_without_rafts_weights_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="should be torchvision's raft_small_C_T_V2-01064c6d"):
        raft(tmp_path / "raft.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors does not hold the tensors of torchvision's raft_small"):
        raft(tmp_path / "other.safetensors")


def test_a_camera_that_pans_is_scored_otherwise_by_features_than_by_flow():
    wide = torch.rand(1, 3, 1, 32, 64, generator=torch.Generator().manual_seed(0))
    video = torch.cat([wide[..., frame : frame + 32] for frame in range(16)], 2)
    scorer = ImportanceScorer((2, 4, 4), hidden=4, dim=2)
    learned, flow = adjacent_distance(scorer(video)), FrameDifference()(video, (2, 4, 4))
    assert not torch.equal(top_k(learned.flatten(1), 60), top_k(flow.flatten(1), 60))
