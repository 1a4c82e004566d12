"""One answer from several segments and views of a video: V-JEPA's frozen evaluation.

A segment is a clip from one part of the video, a view a spatial crop of it. The published probes look at the tokens of
all segments of a view at once, and average the probabilities of the views.

Source: facebookresearch/jepa, evals/video_classification_frozen (ClipAggregation, FrameAggregation) and
facebookresearch/vjepa2, same folder, models.py.
"""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional as F

from backbones.contract import Backbone, Features

Head = Callable[[Features], Tensor]


def join(parts: Sequence[Features]) -> Features:
    """Tokens of several features one after the other, as of one longer clip: segments in time, or levels of one clip.

    Raises:
        ValueError: without parts, with parts whose pictures differ in size, and with dropped tokens.
    """
    if not parts:
        raise ValueError("there are no features to join")
    if len({part.grid[1:] for part in parts}) > 1 or any(part.keep is not None for part in parts):
        raise ValueError(
            f"only features of whole clips of one height and width can be joined, got grids "
            f"{[tuple(part.grid) for part in parts]}"
        )
    grid = parts[0].grid._replace(time=sum(part.grid.time for part in parts))
    tokens, prefix = (torch.cat(pieces, 1) for pieces in zip(*(part[:2] for part in parts), strict=True))
    return Features(tokens, prefix, grid, None)


def join_segments(features: Features, *, clips: int, crops: int) -> Features:
    """The clips of each crop of a video as one with all their tokens, for a head that looks at them at once.

    Args:
        features: of whole clips, as data modules give them: those of a video together, clip by clip, the crops of a
            clip one after the other.
        clips: temporal clips of a video.
        crops: spatial crops of a clip.

    Returns:
        One entry per crop of a video.

    Raises:
        ValueError: when there are no such clips, and for features with dropped tokens.
    """
    found = len(features.tokens)
    if min(clips, crops) < 1 or found % (clips * crops) or features.keep is not None:
        raise ValueError(f"{found} views are no whole clips of videos with {clips} clips x {crops} crops each")
    form = "(videos clips crops) n d -> (videos crops) (clips n) d"
    tokens, prefix = (rearrange(part, form, clips=clips, crops=crops) for part in features[:2])
    return Features(tokens, prefix, features.grid._replace(time=clips * features.grid.time), None)


def first_of_segments(values: Shaped[Tensor, "views"], *, clips: int, crops: int) -> Shaped[Tensor, "crops_of_videos"]:
    """Of what `join_segments` makes one, the value of the first clip."""
    return rearrange(values, "(videos clips crops) -> clips (videos crops)", clips=clips, crops=crops)[0]


def encode(
    backbone: Backbone,
    video: Float[Tensor, "batch 3 frames height width"],
    *,
    layers: Sequence[int] | None = None,
    frame_by_frame: bool = False,
) -> Features:
    """What the published probes see of a clip.

    Args:
        backbone: the network.
        video: normalised clips.
        layers: blocks whose normed outputs are joined along the tokens, such as 17, 19, 21 and 23 for V-JEPA 2 L on
            Diving-48 and Jester; None for the last one.
        frame_by_frame: send the frames through one by one, for an image model, and join their tokens.
    """
    frames = video.shape[2]
    clips = rearrange(video, "b c t h w -> (b t) c 1 h w") if frame_by_frame else video
    wanted = [backbone.depth - 1] if layers is None else layers
    found = backbone.forward_intermediates(clips, wanted)
    if frame_by_frame:
        found = [_as_clips(features, frames) for features in found]
    return join(found)


def _as_clips(features: Features, frames: int) -> Features:
    """Features of single frames as features of the clips they come from."""
    tokens, prefix = (rearrange(part, "(b t) n d -> b (t n) d", t=frames) for part in features[:2])
    return Features(tokens, prefix, features.grid._replace(time=frames * features.grid.time), None)


def encode_views(
    backbone: Backbone,
    clips: Float[Tensor, "segments views batch 3 frames height width"],
    *,
    layers: Sequence[int] | None = None,
    frame_by_frame: bool = False,
) -> list[list[Features]]:
    """Features of every view of every segment, by one pass over all of them; `[view][segment]`.

    Args:
        backbone: the network.
        clips: normalised clips.
        layers: see `encode`.
        frame_by_frame: likewise.
    """
    segments, views, batch = clips.shape[:3]
    whole = encode(backbone, clips.flatten(0, 2), layers=layers, frame_by_frame=frame_by_frame)
    parts = list(zip(whole.tokens.split(batch), whole.prefix.split(batch), strict=True))
    return [
        [Features(*parts[segment * views + view], whole.grid, None) for segment in range(segments)]
        for view in range(views)
    ]


def add_times(features: Features, frames: Int64[Tensor, "batch frames"], *, tubelet_frames: int) -> Features:
    """Tell the head when its tokens were: sines and cosines of the number of each tubelet's first frame.

    An option of the authors' that no published configuration uses. Channel k of the first half is sin(p w_k), of the
    second half cos(p w_k), with w_k = 10000^(-2 k / width), in float64.

    Args:
        features: of whole clips.
        frames: number in the video of each frame of the clip.
        tubelet_frames: frames of a token.

    Raises:
        ValueError: when the frames are not those of the clip's tokens, and for an odd width.
    """
    dim, grid = features.tokens.shape[2], features.grid
    if frames.shape[1] != grid.time * tubelet_frames or features.keep is not None or dim % 2:
        raise ValueError(
            f"{frames.shape[1]} frames in tubelets of {tubelet_frames} for a whole clip of {grid.time} tokens in time "
            f"and even width, which has {dim} channels"
        )
    frequency = 10000 ** (-torch.arange(dim // 2, device=frames.device, dtype=torch.float64) / (dim // 2))
    angle = frames[:, ::tubelet_frames, None] * frequency
    times = torch.cat([angle.sin(), angle.cos()], 2).to(features.tokens.dtype)
    area = grid.height * grid.width
    return features._replace(tokens=features.tokens + repeat(times, "b t d -> b (t area) d", area=area))


def scores_of_views(
    head: Head, views: Sequence[Sequence[Features]], *, attend_across_segments: bool = True
) -> Float[Tensor, "calls batch classes"]:
    """Class scores before softmax, of each view, or of each segment of each view.

    Args:
        head: class scores from features.
        views: features `[view][segment]`.
        attend_across_segments: show the head all segments of a view at once (published); False asks it about each.
    """
    if attend_across_segments:
        return torch.stack([head(join(segments)) for segments in views])
    return torch.stack([head(features) for segments in views for features in segments])


def probabilities(scores: Float[Tensor, "calls batch classes"]) -> Float[Tensor, "batch classes"]:
    """Softmax of each call of the head, then the mean."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(2).mean(0)


def loss_of_views(scores: Float[Tensor, "calls batch classes"], label: Int64[Tensor, "batch"]) -> Float[Tensor, ""]:
    """Mean over the calls of the head of their cross entropy: not that of the mean."""
    return F.cross_entropy(scores.flatten(0, 1), label.repeat(len(scores)))
