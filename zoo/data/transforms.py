"""Frames to clips: crop, resize, normalise. Built on torchvision's v2 functions; every draw comes from a generator.

Frames go in as decoders give them, uint8 `[T, H, W, 3]`, and clips come out as networks take them, float32
`[3, T, H, W]`. All frames of a clip get the same draws. Resizing does not low-pass, as the authors' readers
(OpenCV's bilinear, torch's interpolate) do not either.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from zoo.card import ClipSpec
from zoo.data.augment import ERASE_MODES, erase, require_policy, restyle

# TSN's multi-scale crop, as UMT and VideoMAE pretrain with it (spec-umt-videomae sections 3 and 5).
CROP_SCALES = (1.0, 0.875, 0.75, 0.66)
CROPS = ("resized", "multiscale", "jitter", "centre")


class Box(NamedTuple):
    """A crop, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What varies from one training clip to the next.

    Attributes:
        crop: "resized" takes a random area and aspect ratio, "multiscale" one of four sizes per side and one of 13
            positions, "jitter" resizes the short side at random and crops the final size (PySlowFast: TimeSformer),
            "centre" what an evaluation with one crop sees.
        area: smallest and largest share of the picture; "resized" only.
        aspect: smallest and largest width over height; "resized" only.
        flip: probability of a horizontal flip. An option of its own, never implied: where left and right are part of
            the label (Something-Something, digits) it must stay 0.
        short_side: smallest and largest short side in pixels; "jitter" only. 256 to 320 is for crops of 224 (mae_st,
            util/kinetics.py).
        inverse_side: draw one over the short side evenly, not the short side (TimeSformer on Something-Something).
        policy: timm's policy for whole frames, drawn once per clip, before the crop; "" for none. Published:
            "rand-m7-n4-mstd0.5-inc1" (VideoMAE, UMT, VideoMamba, MAE-ST, V-JEPA's probes),
            "rand-m5-n2-mstd0.25-inc1" (VideoMamba-Ti), "original" (V-JEPA's probes on images).
        erase: probability that boxes of the clip are erased, the same ones in every frame; 0.25 in all of the above.
        erase_mode: see `zoo.data.augment.erase`; "pixel" in all of the above.
        erase_count: largest number of boxes; 1 in all of the above.
        own_frames: repeats of a video draw frames of their own, as MAE-ST's pretraining does; otherwise they are other
            crops of the same frames, as in VideoMAE, UMT and VideoMamba (`num_sample`). A video is opened once, and
            each of its frames decoded at most once, either way.
    """

    crop: str = "resized"
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (0.75, 4 / 3)
    flip: float = 0.0
    short_side: tuple[int, int] = (256, 320)
    inverse_side: bool = False
    policy: str = ""
    erase: float = 0.0
    erase_mode: str = "pixel"
    erase_count: int = 1
    own_frames: bool = False

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise ValueError(f"Augment.crop must be 'resized', 'multiscale', 'jitter' or 'centre', got {self.crop!r}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"Augment.area must be two shares in (0, 1], the smaller first, got {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"Augment.aspect must be two positive ratios, the smaller first, got {self.aspect}")
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Augment.{name} must be a probability, got {getattr(self, name)}")
        if not 0 < self.short_side[0] <= self.short_side[1]:
            raise ValueError(f"Augment.short_side must be two sizes, the smaller first, got {self.short_side}")
        if self.policy:
            require_policy(self.policy)
        if self.erase_mode not in ERASE_MODES:
            raise ValueError(f"Augment.erase_mode must be one of {ERASE_MODES}, got {self.erase_mode!r}")
        if self.erase_count < 1:
            raise ValueError(f"Augment.erase_count must be at least 1, got {self.erase_count}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the settings of a result; what came after the first four fields only where it is used.

        So results from before the later fields existed keep their hashes.
        """
        first = ("crop", "area", "aspect", "flip")
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if name in first or value != default}

    def check(self, spec: ClipSpec) -> None:
        """Refuse what does not go with a network's clips.

        Raises:
            ValueError: when `flip` is not 0 and the spec forbids flips, or the crop is larger than the short side.
        """
        if self.flip and not spec.flip:
            raise ValueError(f"Augment.flip is {self.flip}, but ClipSpec.flip is False: flips would change labels")
        if self.crop == "jitter" and self.short_side[0] < spec.img_size:
            raise ValueError(f"crops of {spec.img_size} px do not fit into Augment.short_side {self.short_side}")


def train_clip(
    frames: UInt8[Tensor, "frames height width 3"], spec: ClipSpec, augment: Augment, *, generator: torch.Generator
) -> Float[Tensor, "3 frames side side"]:
    """One random training clip: policy, crop, flip, erasing, in the published order.

    Args:
        frames: the frames of the clip, in order.
        spec: size, interpolation and normalisation.
        augment: what may vary.
        generator: source of the random draws.
    """
    augment.check(spec)
    if augment.policy:
        frames = restyle(frames, augment.policy, generator=generator)
    clip = _cropped(frames, spec, augment, generator)
    flip = augment.flip > 0 and torch.rand((), generator=generator).item() < augment.flip
    clip = clip.flip(3) if flip else clip
    if not augment.erase:
        return clip
    return erase(
        clip,
        probability=augment.erase,
        mode=augment.erase_mode,
        count=augment.erase_count,
        generator=generator,
    )


def _cropped(
    frames: UInt8[Tensor, "frames height width 3"], spec: ClipSpec, augment: Augment, generator: torch.Generator
) -> Float[Tensor, "3 frames side side"]:
    if augment.crop == "centre":
        return eval_clips(frames, spec, crops=1)[0]
    height, width, side = frames.shape[1], frames.shape[2], spec.img_size
    if augment.crop == "jitter":
        size = jittered_size(height, width, augment, generator=generator)
        top, left = (_below(max(1, length - side), generator) for length in size)
        video = _resize(frames.permute(0, 3, 1, 2), size, spec)
        return normalise(video[:, :, top : top + side, left : left + side], spec)
    draw = resized_box if augment.crop == "resized" else multiscale_box
    box = draw(height, width, side, augment, generator=generator)
    return normalise(_resize(_cut(frames, box), (side, side), spec), spec)


def eval_clips(
    frames: UInt8[Tensor, "frames height width 3"], spec: ClipSpec, *, crops: int
) -> Float[Tensor, "crops 3 frames side side"]:
    """Evenly spaced square crops along the long side of the resized frames.

    Args:
        frames: the frames of the clip, in order.
        spec: size, interpolation and normalisation. With a `short_side` larger than `img_size` the crops lie in the
            middle of the short side.
        crops: number of crops; one is the centre.
    """
    height, width = short_side_size(frames.shape[1], frames.shape[2], spec.short_side or spec.img_size)
    video = _resize(frames.permute(0, 3, 1, 2), (height, width), spec)
    tops, lefts = crop_starts(height, spec.img_size, 1), crop_starts(width, spec.img_size, 1)
    whole = spec.sampling == "vjepa"
    if height > width:
        tops = crop_starts(height, spec.img_size, crops, whole_steps=whole)
        lefts = lefts * crops
    else:
        lefts = crop_starts(width, spec.img_size, crops, whole_steps=whole)
        tops = tops * crops
    side = spec.img_size
    views = [video[:, :, top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
    return torch.stack([normalise(view, spec) for view in views])


def normalise(video: Float[Tensor, "frames 3 height width"], spec: ClipSpec) -> Float[Tensor, "3 frames height width"]:
    """Pixels in 0-255 to the network's range and channel order, channels first."""
    mean, std = _constants(spec.mean, spec.std)
    clip = (video.transpose(0, 1).contiguous() / 255).sub_(mean).div_(std)
    return clip.flip(0) if spec.channel_order == "bgr" else clip


@lru_cache(maxsize=32)
def _constants(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[Float[Tensor, "3 1 1 1"], Float[Tensor, "3 1 1 1"]]:
    return torch.tensor(mean).view(3, 1, 1, 1), torch.tensor(std).view(3, 1, 1, 1)


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Size after the short side was resized, the long side rounded down (torchvision and the authors alike)."""
    if height <= width:
        return short_side, int(short_side * width / height)
    return int(short_side * height / width), short_side


def crop_starts(length: int, size: int, crops: int, *, whole_steps: bool = False) -> list[int]:
    """First pixels of `crops` evenly spaced crops along a side, rounded down; one crop is the centre.

    With `whole_steps` the step between crops is rounded down instead, so the last one may end a pixel or two before the
    side does (facebookresearch/jepa, evals/video_classification_frozen/utils.py).

    Raises:
        ValueError: when the crop does not fit, or there is none.
    """
    if crops < 1 or size > length:
        raise ValueError(f"{crops} crops of {size} px along {length} px; at least one that fits is needed")
    if crops == 1:
        return [(length - size) // 2]
    if whole_steps:
        return [(length - size) // (crops - 1) * place for place in range(crops)]
    step = (length - size) / (crops - 1)
    return [int(step * place) for place in range(crops)]


def resized_box(height: int, width: int, side: int, augment: Augment, *, generator: torch.Generator) -> Box:
    """Random area and aspect ratio, by torchvision's rule: ten tries, then the largest allowed centre crop."""
    low, high = (math.log(ratio) for ratio in augment.aspect)
    for _ in range(10):
        draw = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        area = height * width * (augment.area[0] + draw[0] * (augment.area[1] - augment.area[0]))
        aspect = math.exp(low + draw[1] * (high - low))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            return Box(
                _below(height - box_height + 1, generator),
                _below(width - box_width + 1, generator),
                box_height,
                box_width,
            )
    box_width = min(width, round(height * augment.aspect[1]))
    box_height = min(height, round(width / augment.aspect[0]))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def multiscale_box(height: int, width: int, side: int, augment: Augment, *, generator: torch.Generator) -> Box:
    """TSN's crop: sides from `CROP_SCALES` of the short side, at most one step apart, at one of 13 positions."""
    sizes = [int(min(height, width) * scale) for scale in CROP_SCALES]
    # A crop that nearly has the final size gets it, so that it is not resized by a pixel or two (TSN).
    sizes = [side if abs(size - side) < 3 and side <= min(height, width) else size for size in sizes]
    pairs = [(h, w) for i, h in enumerate(sizes) for j, w in enumerate(sizes) if abs(i - j) <= 1]
    box_height, box_width = pairs[_below(len(pairs), generator)]
    places = crop_positions(height, width, box_height, box_width)
    top, left = places[_below(len(places), generator)]
    return Box(top, left, box_height, box_width)


def jittered_size(height: int, width: int, augment: Augment, *, generator: torch.Generator) -> tuple[int, int]:
    """Size with a random short side, rounded as PySlowFast does (mae_st, util/decoder/transform.py).

    There, the crop that follows never touches the last row or column of a side that is longer than it.
    """
    low, high = augment.short_side
    draw = torch.rand((), generator=generator, dtype=torch.float64).item()
    side = 1 / (1 / high + draw * (1 / low - 1 / high)) if augment.inverse_side else low + draw * (high - low)
    short = round(side)
    if min(height, width) == short:
        return height, width
    return (int(height / width * short), short) if width < height else (short, int(width / height * short))


def crop_positions(height: int, width: int, box_height: int, box_width: int) -> list[tuple[int, int]]:
    """TSN's 13 places (top, left): corners, edge middles, centre, and the quarter points between."""
    step_y, step_x = (height - box_height) // 4, (width - box_width) // 4
    coarse = [(y, x) for y in (0, 2, 4) for x in (0, 2, 4)]
    quarters = [(y, x) for y in (1, 3) for x in (1, 3)]
    return [(y * step_y, x * step_x) for y, x in coarse + quarters]


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _cut(frames: UInt8[Tensor, "frames height width 3"], box: Box) -> UInt8[Tensor, "frames 3 height2 width2"]:
    part = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
    return part.permute(0, 3, 1, 2)


def _resize(
    video: UInt8[Tensor, "frames 3 height width"], size: tuple[int, int], spec: ClipSpec
) -> Float[Tensor, "frames 3 height2 width2"]:
    pixels = video.float()
    if tuple(pixels.shape[2:]) == size:
        return pixels
    mode = InterpolationMode.BILINEAR if spec.interpolation == "bilinear" else InterpolationMode.BICUBIC
    return tv.resize(pixels, list(size), interpolation=mode, antialias=False).clamp(0, 255)
