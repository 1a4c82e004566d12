"""What comes after a clip: tokens of the near future, predicted from the tokens of the clip."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from backbones.contract import Features, Grid

Predictor = Callable[[Features, Tensor], Tensor]


def future_query(
    grid: Grid,
    seconds: Float[Tensor, "batch"] | float,
    *,
    fps: float | int,
    tubelet_frames: int,
    num_frames: int | None = None,
) -> Int64[Tensor, "_ query"]:
    """Raster indices of the tokens that lie `seconds` after a clip, counted on beyond its last token.

    V-JEPA 2's rule: the first tubelet asked for is int(seconds * fps / tubelet) places after the clip, which at 0
    seconds is the first one after it.

    Args:
        grid: grid of the clip.
        seconds: how far ahead to look, for each clip; one number for all gives one row.
        fps: frames per second of the clip.
        tubelet_frames: frames of a token.
        num_frames: frames to predict; one tubelet's when None.

    Raises:
        ValueError: for a time before the end of the clip, and for frames that are no whole tubelets.
    """
    frames = tubelet_frames if num_frames is None else num_frames
    if frames < 1 or frames % tubelet_frames:
        raise ValueError(f"{frames} frames ahead are not whole tubelets of {tubelet_frames} frames")
    if (seconds.min() if isinstance(seconds, Tensor) else seconds) < 0:
        told = seconds.tolist() if isinstance(seconds, Tensor) else seconds
        raise ValueError(f"anticipation looks ahead; got times of {told} seconds")
    area = grid.height * grid.width
    tokens = torch.arange(
        area * frames // tubelet_frames, device=seconds.device if isinstance(seconds, Tensor) else None
    )
    # A number stays one, so that torch.export sees how many tokens there will be.
    places = seconds * fps / tubelet_frames
    skipped = places.long()[:, None] if isinstance(places, Tensor) else int(places)
    return grid.num_tokens + area * skipped + tokens.unsqueeze(0)


def anticipate(
    features: Features,
    predict: Predictor,
    seconds: Float[Tensor, "batch"] | float,
    *,
    fps: float | int,
    tubelet_frames: int,
    num_frames: int | None = None,
) -> Features:
    """The tokens of a clip, then the predicted tokens of what comes after it.

    The clip becomes the beginning of a longer one: the result has the longer clip's grid, and `keep` says where its
    tokens lie. Source: facebookresearch/vjepa2, evals/action_anticipation_frozen (AnticipativeWrapper with one step).

    Args:
        features: of the whole clip, no token dropped.
        predict: (features, query) -> tokens as wide as the features, such as V-JEPA 2's predictor with its second mask
            token, `functools.partial(decoder, mask_token=1)`. Positions must not depend on the length of the clip:
            rotary ones do not, interpolated tables do.
        seconds: see `future_query`, as are the others.
        fps: likewise.
        tubelet_frames: likewise.
        num_frames: likewise.

    Raises:
        ValueError: for features with dropped tokens, and for what `future_query` refuses.
    """
    if features.keep is not None:
        raise ValueError("anticipation needs the tokens of the whole clip; some were dropped")
    grid, batch = features.grid, features.tokens.shape[0]
    query = future_query(grid, seconds, fps=fps, tubelet_frames=tubelet_frames, num_frames=num_frames)
    query = query.to(features.tokens.device).expand(batch, -1)
    if isinstance(seconds, Tensor):
        time = int(query.max()) // (grid.height * grid.width) + 1
    else:
        time = (grid.num_tokens + query.shape[1]) // (grid.height * grid.width) + int(seconds * fps / tubelet_frames)
    longer = grid._replace(time=time)
    seen = torch.arange(grid.num_tokens, device=query.device).expand(batch, -1)
    predicted = predict(features._replace(grid=longer, keep=seen), query)
    return Features(torch.cat([features.tokens, predicted], 1), features.prefix, longer, torch.cat([seen, query], 1))
