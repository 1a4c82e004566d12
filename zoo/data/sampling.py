"""Which frames of a video make a clip: pure arithmetic on numbers of frames.

Every function returns ascending frame numbers from 0, int64, `num_frames` of them; a video that is too short repeats
frames, so one frame is enough for any clip. The rules are those of the released models, rounding included (numpy's
`round`: halves to the even number); the index tables in the `pipeline.json` and `protocol.json` fixtures were made with
the authors' code: OpenGVLab/VideoMamba (video_sm/datasets) and OpenGVLab/unmasked_teacher.
"""

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from zoo.card import ClipSpec


def train_index(spec: ClipSpec, video_len: int, *, generator: torch.Generator) -> Int64[Tensor, "frames"]:
    """Frames of a random training clip, by the rule that `spec.sampling` names.

    Args:
        spec: of the network.
        video_len: frames of the video.
        generator: source of the random draws.

    Raises:
        ValueError: for a video without frames.
    """
    if spec.sampling == "vjepa":
        return vjepa_window(video_len, spec.num_frames, stride=spec.stride, generator=generator)
    if spec.sampling in ("dense", "strided"):
        return dense_train(video_len, spec.num_frames, stride=spec.stride, generator=generator)
    if spec.sampling == "segments":
        return segments_train(video_len, spec.num_frames, generator=generator)
    return uniform_train(video_len, spec.num_frames, generator=generator)


def eval_index(spec: ClipSpec, video_len: int, *, clip: int) -> Int64[Tensor, "frames"]:
    """Frames of test clip `clip` of `spec.clips`, by the rule that `spec.sampling` names.

    Raises:
        ValueError: for a video without frames, and for a clip that does not exist.
    """
    if spec.sampling == "vjepa":
        return vjepa_window(
            video_len, spec.num_frames, stride=spec.stride, clip=clip, clips=spec.clips, allow_overlap=True
        )
    if spec.sampling == "dense":
        return dense_test(video_len, spec.num_frames, stride=spec.stride, clip=clip, clips=spec.clips)
    if spec.sampling == "strided":
        return strided_test(video_len, spec.num_frames, stride=spec.stride, clip=clip, clips=spec.clips)
    if spec.sampling == "segments" and spec.clips == 1:
        return segments_centre(video_len, spec.num_frames)
    if spec.sampling == "segments":
        return segments_test(video_len, spec.num_frames, clip=clip, clips=spec.clips)
    return uniform_test(video_len, spec.num_frames, clip=clip, clips=spec.clips)


def uniform_train(video_len: int, num_frames: int, *, generator: torch.Generator) -> Int64[Tensor, "frames"]:
    """One random frame from each of `num_frames` equal segments ("sparse" sampling).

    Segments are (video_len - 1) / num_frames long; frame i is uniform in [round(s i), round(s (i + 1))], both ends
    included, so neighbours may be the same frame.
    """
    length = _segment(video_len, num_frames)
    edges = torch.arange(num_frames + 1, dtype=torch.float64).mul(length).round()
    width = edges[1:] - edges[:-1] + 1
    offset = torch.rand(num_frames, generator=generator, dtype=torch.float64).mul(width).floor()
    return (edges[:-1] + offset).long().clamp_max(video_len - 1)


def uniform_test(video_len: int, num_frames: int, *, clip: int = 0, clips: int = 1) -> Int64[Tensor, "frames"]:
    """The same offset in each of `num_frames` equal segments; clip c of M has the offset int(s / (M + 1) * (c + 1)).

    Validation is the one clip of one.
    """
    _check_clip(clip, clips)
    return _uniform(_segment(video_len, num_frames), num_frames, clip, clips).clamp_max(video_len - 1)


def segments_train(video_len: int, num_frames: int, *, generator: torch.Generator) -> Int64[Tensor, "frames"]:
    """One random frame from each of `num_frames` segments of video_len // num_frames frames (Something-Something).

    A video with fewer frames than the clip gives sorted random frames.
    """
    _check_video(video_len, num_frames)
    length = video_len // num_frames
    if length == 0:
        return torch.randint(video_len, (num_frames,), generator=generator).sort().values
    return length * torch.arange(num_frames) + torch.randint(length, (num_frames,), generator=generator)


def segments_centre(video_len: int, num_frames: int) -> Int64[Tensor, "frames"]:
    """The middle frame of each of `num_frames` segments: validation on Something-Something.

    A clip as long as the video is the whole video.
    """
    _check_video(video_len, num_frames)
    tick = video_len / num_frames
    return torch.tensor([int(tick / 2 + tick * place) for place in range(num_frames)])


def segments_test(video_len: int, num_frames: int, *, clip: int = 0, clips: int = 2) -> Int64[Tensor, "frames"]:
    """Every second of the segments' starts and middles, from the first or the second on: Something-Something's test.

    The authors' reader hard-codes two clips.

    Raises:
        ValueError: for another number of clips than two.
    """
    _check_clip(clip, clips)
    if clips != 2:
        raise ValueError(
            f"sampling by segments gives 1 or 2 test clips, not {clips}; choose sampling='uniform' for more"
        )
    _check_video(video_len, num_frames)
    tick = video_len / num_frames
    starts = torch.tensor([int(tick * place) for place in range(num_frames)])
    return torch.cat((starts, segments_centre(video_len, num_frames))).sort().values[clip::2]


def dense_train(video_len: int, num_frames: int, *, stride: int, generator: torch.Generator) -> Int64[Tensor, "frames"]:
    """Every `stride`-th frame from a random start."""
    room = _room(video_len, num_frames, stride)
    start = int(torch.randint(room + 1, (), generator=generator))
    return _strided(start, video_len, num_frames, stride)


def dense_test(
    video_len: int, num_frames: int, *, stride: int, clip: int = 0, clips: int = 1
) -> Int64[Tensor, "frames"]:
    """Every `stride`-th frame of window `clip` of `clips` evenly spaced ones; a single window lies in the middle."""
    _check_clip(clip, clips)
    room = _room(video_len, num_frames, stride)
    start = room // 2 if clips == 1 else int(room / (clips - 1) * clip)
    return _strided(start, video_len, num_frames, stride)


def strided_test(
    video_len: int, num_frames: int, *, stride: int, clip: int = 0, clips: int = 1
) -> Int64[Tensor, "frames"]:
    """Window `clip` of `clips` evenly spaced ones among every `stride`-th frame of the video: VideoMAE's test.

    Windows begin at multiples of the stride, up to `stride` frames before those of `dense_test`. Its reader
    (kinetics.py, `loadvideo_decord` and `__getitem__` in test mode, after GluonCV's; read in public copies) has no
    single window; here it lies in the middle.
    """
    _check_clip(clip, clips)
    _room(video_len, num_frames, stride)
    kept = math.ceil(video_len / stride)
    return dense_test(kept, num_frames, stride=1, clip=clip, clips=clips) * stride


def dense_validation_as_published(video_len: int, num_frames: int, *, stride: int) -> Int64[Tensor, "frames"]:
    """Validation window of the authors' dense reader, with its two quirks; for exact comparisons only.

    Frames are spread over the window with both ends included, so they are a little more than `stride` apart, and for
    videos shorter than two windows the window starts before the video: negative numbers count from the end, as in
    decord.
    """
    _check_video(video_len, num_frames)
    window = num_frames * stride
    if video_len <= window:
        spread = torch.linspace(0, video_len, video_len // stride, dtype=torch.float64)
        rest = torch.full((num_frames - len(spread),), video_len, dtype=torch.float64)
        return torch.cat((spread, rest)).clamp(0, video_len - 1).long()
    end = (video_len - window) // 2
    spread = torch.linspace(end - window, end, num_frames, dtype=torch.float64)
    return spread.clamp(end - window, end - 1).long()


def vjepa_window(
    video_len: int,
    num_frames: int,
    *,
    stride: int,
    clip: int = 0,
    clips: int = 1,
    allow_overlap: bool = False,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, "frames"]:
    """V-JEPA's window: clip `clip` of `clips`, each in its own equal part of the video; quirks included.

    Frames are spread over `num_frames * stride` frames with both ends included and cut off before the last, so they lie
    a little more than `stride` apart, and the last may come twice. Parts that are no longer than a window give fewer
    frames, and the last one of them again and again; then clips may overlap instead, each window starting a part of the
    remaining length later. With several clips of a video shorter than a window all are alike.

    Source: facebookresearch/jepa, src/datasets/video_dataset.py (`loadvideo_decord`). Pretraining takes one clip at a
    random place, the probes' loaders overlapping ones, by default also at random places in evaluation; here evaluation
    is the same every time. The authors would take frame -1 of videos with fewer frames than clips; here it is 0.

    Args:
        video_len: frames of the video.
        num_frames: frames of the clip.
        stride: nominal step between frames, see `stride_of_duration`.
        clip: number of the clip.
        clips: parts of the video.
        allow_overlap: let windows overlap where parts are too short.
        generator: draws the place of the window within a part that is longer; None for its beginning.
    """
    _check_clip(clip, clips)
    _room(video_len, num_frames, stride)
    window, part = num_frames * stride, video_len // clips
    if part > window:
        end = window
        if generator is not None:
            end = int(torch.randint(window, part, (), generator=generator))
        index = _spread(end - window, end, num_frames).clamp(end - window, end - 1).long()
        return index + clip * part
    if allow_overlap:
        last, top = min(window, video_len) - 1, min(window, video_len) - 2
        step = (video_len - window) // (clips - 1) if video_len > window else 0
    else:
        last, top, step = part, part - 1, part
    spread = _spread(0, last, last // stride)
    index = torch.cat((spread, torch.full((num_frames - len(spread),), last, dtype=torch.float64)))
    return index.clamp_max(top).long().clamp_min(0) + clip * step


def stride_of_duration(duration_s: float | int, fps: float | int, num_frames: int) -> int:
    """V-JEPA's step between frames for a clip of a number of seconds, rounded down; at least 1."""
    return max(1, int(duration_s * fps / num_frames))


def interval_middles(video_len: int, num_frames: int) -> Int64[Tensor, "frames"]:
    """Middle frame of each interval, the last one repeated for short videos (UMT's multimodal stage)."""
    _check_video(video_len, num_frames)
    count = min(num_frames, video_len)
    edges = torch.linspace(0, video_len, count + 1, dtype=torch.float64).long()
    middles = (edges[:-1] + edges[1:] - 1) // 2
    return torch.cat((middles, middles[-1:].expand(num_frames - count)))


def window_seconds(
    duration_s: float | int, *, window_s: float | int, stride_s: float | int
) -> list[tuple[float, float]]:
    """Windows of a long video (LVU), as (start, end) in seconds.

    A video shorter than a window is one item. Otherwise windows start every `stride_s`; one that runs past the end is
    kept, cut off, if at least half of a window remains.

    Raises:
        ValueError: when a length is not positive.
    """
    if min(duration_s, window_s, stride_s) <= 0:
        raise ValueError(f"lengths must be positive: video {duration_s} s, window {window_s} s, stride {stride_s} s")
    if duration_s < window_s:
        return [(0.0, float(duration_s))]
    starts = [stride_s * place for place in range(math.ceil(duration_s / stride_s))]
    return [(float(s), float(min(s + window_s, duration_s))) for s in starts if duration_s - s >= window_s / 2]


def _spread(first: int, last: int, count: int) -> Tensor:
    """`count` numbers from `first` to `last`, rounded as numpy's linspace does and torch's does not."""
    return torch.arange(count, dtype=torch.float64) * ((last - first) / max(1, count - 1)) + first


def _uniform(length: float, num_frames: int, clip: int, clips: int) -> Int64[Tensor, "frames"]:
    starts = torch.arange(num_frames, dtype=torch.float64).mul(length).round().long()
    return starts + int(length / (clips + 1) * (clip + 1))


def _segment(video_len: int, num_frames: int) -> float:
    _check_video(video_len, num_frames)
    return (video_len - 1) / num_frames


def _room(video_len: int, num_frames: int, stride: int) -> int:
    _check_video(video_len, num_frames)
    if stride < 1:
        raise ValueError(f"stride must be at least 1 frame, got {stride}")
    return max(0, video_len - num_frames * stride)


def _strided(start: int, video_len: int, num_frames: int, stride: int) -> Int64[Tensor, "frames"]:
    return (start + stride * torch.arange(num_frames)).clamp_max(video_len - 1)


def _check_video(video_len: int, num_frames: int) -> None:
    if video_len < 1 or num_frames < 1:
        raise ValueError(f"a clip of {num_frames} frames of a video of {video_len}; both need at least one frame")


def _check_clip(clip: int, clips: int) -> None:
    if not 0 <= clip < clips:
        raise ValueError(f"there is no test clip {clip} of {clips}; they are numbered from 0")
