"""What decoder masks rank tokens by, where it is not learned: motion, and change of the stem's features.

A learned score is `Tokenizer.importance`. All scores are `[batch, t, h, w]` on the student's grid; their scale has no
meaning, only their order within a clip.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from einops import reduce
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.optical_flow import RAFT, raft_small

from backbones.contract import Backbone
from backbones.importance import adjacent_distance
from backbones.layers import PatchEmbed3d

Clips = Float[Tensor, "batch 3 frames height width"]
Scores = Float[Tensor, "batch t h w"]
Tubelet = tuple[int, int, int]
RAFT_SIDE = 128  # torchvision refuses smaller frames: their features at 1/8 would not fill its pyramid of four levels


def per_token(motion: Float[Tensor, "batch frames height width"], tubelet: Tubelet) -> Scores:
    """Mean over the pixels of each tubelet."""
    frames, height, width = tubelet
    return reduce(motion, "b (t f) (h y) (w x) -> b t h w", "mean", f=frames, y=height, x=width)


class FrameDifference(nn.Module):
    """The poorest flow, which needs no weights: how much a pixel differs from the same pixel a frame earlier."""

    def forward(self, video: Clips, tubelet: Tubelet) -> Scores:
        """Mean absolute difference per token; the first frame takes the second's."""
        moved = video.diff(dim=2).abs().mean(1)
        if not moved.shape[1]:
            return per_token(torch.zeros_like(video[:, 0]), tubelet)
        return per_token(torch.cat([moved[:, :1], moved], 1), tubelet)


class RaftFlow(nn.Module):
    """Optical flow by torchvision's RAFT (arXiv 2003.12039): mean of |u| and |v| per token, as in LVMAE.

    The paper scales the flow to -1..1 and makes a distribution of it, which leaves the order of a clip's tokens alone.

    Args:
        network: RAFT with its weights.
        num_updates: refinements of the flow (torchvision: 12).
    """

    def __init__(self, network: RAFT, *, num_updates: int = 12) -> None:
        super().__init__()
        self.network, self.num_updates = network, num_updates

    def forward(self, video: Clips, tubelet: Tubelet) -> Scores:
        """Flow from every frame to the next; the last frame takes that of the one before. Pixels in 0-1.

        Frames whose sides are below 128 px or no multiple of 8 are resized for the network.
        """
        batch, _, frames, height, width = video.shape
        if frames == 1:
            return per_token(torch.zeros_like(video[:, 0]), tubelet)
        size = [max(RAFT_SIDE, -(-side // 8) * 8) for side in (height, width)]
        images = F.interpolate(video.transpose(1, 2).flatten(0, 1), size=size, mode="bilinear") * 2 - 1
        images = images.unflatten(0, (batch, frames))
        before, after = (part.flatten(0, 1).contiguous() for part in (images[:, :-1], images.narrow(1, 1, frames - 1)))
        flow = self.network(before, after, num_flow_updates=self.num_updates)[-1]
        # In pixels of the clip, where resizing has stretched it.
        flow = flow * flow.new_tensor([width / size[1], height / size[0]])[:, None, None]
        motion = F.interpolate(flow.abs().mean(1, keepdim=True), size=(height, width), mode="bilinear")
        motion = motion[:, 0].unflatten(0, (batch, frames - 1))
        return per_token(torch.cat([motion, motion[:, -1:]], 1), tubelet)


def raft(path: Path, *, num_updates: int = 12) -> RaftFlow:
    """RAFT-S with the weights of a file.

    Args:
        path: torchvision's `raft_small_C_T_V2-01064c6d.pth` from download.pytorch.org/models, or the same tensors as
            safetensors.
        num_updates: refinements of the flow.

    Raises:
        ValueError: for a file that holds other tensors.
        FileNotFoundError: when there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; it should be torchvision's raft_small_C_T_V2-01064c6d.pth from "
            f"https://download.pytorch.org/models/"
        )
    network = raft_small(weights=None)
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the tensors of torchvision's raft_small: {error}") from error
    return RaftFlow(network, num_updates=num_updates)


def embedding_change(student: Backbone, video: Clips) -> Scores:
    """EVEREST's rule (arXiv 2211.10636): distance of a patch embedding from that of the slot before.

    Embeddings are those of the stem, before positions are added; the first slot takes the second's values.

    Args:
        student: a backbone with a stem `patch_embed` of tubelets.
        video: normalised clips.

    Raises:
        ValueError: for a backbone without such a stem.
    """
    stem = getattr(student, "patch_embed", None)
    if not isinstance(stem, PatchEmbed3d):
        raise ValueError(f"{type(student).__name__} has no stem of tubelets, whose changes 'embed_diff' ranks by")
    return adjacent_distance(stem(video).unflatten(1, student.grid(video)))


def looked_up(scores: Mapping[int, Float[Tensor, "t h w"]], rows: Sequence[int]) -> Scores:
    """Scores that were computed beforehand, by the rows of the list. They fit clips that are always cut alike only.

    Raises:
        ValueError: naming rows that have none.
    """
    if missing := [row for row in rows if row not in scores]:
        raise ValueError(f"no precomputed scores for rows {missing}; there are some for {len(scores)} rows")
    return torch.stack([scores[row] for row in rows])
