"""Drawing the clips of the embedded suite: handwritten digits that move over textured backgrounds with noise.

No single frame and no set of frames tells in which direction time runs or in which order events came:

- `motion`: every movement has constant speed and starts at a phase that is uniform over its full period, so that every
  frame has the same distribution in both directions, and the backward clip is the forward one reversed.
- `order`: the six orders of a scene are the same frames in another order: three events, each with frames of its own,
  and calm frames between them that do not depend on the time. Events start at equal remainders modulo 4, so this is
  still true to the frame for every 2nd or 4th frame.

Every draw comes from the generator of the scene. Lengths are in pixels, times in frames, pixel values in 0-1.
"""

import math
from itertools import combinations, pairwise, permutations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

SIDE_PX = 24
MOTION_FRAMES = 16
ORDER_FRAMES = 64
# Bump when any clip changes; it is part of the suite's hash.
VERSION = 1

MOTIONS = ("slide", "lift", "spin", "zoom", "orbit")
MOTION_CLASSES = (
    "slide right", "slide left", "lift down", "lift up", "spin clockwise", "spin counter-clockwise", "zoom in",
    "zoom out", "orbit clockwise", "orbit counter-clockwise",
)  # fmt: skip
EVENTS = ("spin", "shrink", "fade")
ORDERS = tuple(permutations(range(3)))
ORDER_CLASSES = tuple(", ".join(EVENTS[event] for event in order) for order in ORDERS)

# Chosen by trial, so that a ViT of width 64 and depth 4 is clearly above chance on all three tasks after 150 steps of
# 64 clips from random weights, and has room to improve.
SPEED_PX = (1.0, 2.4)
SPIN_FRAMES = (8.0, 12.0)
ORBIT_FRAMES = (12.0, 18.0)
ZOOM_FRAMES = (6.0, 9.0)
ZOOM_PX = (7.0, 20.0)
ORBIT_PX = 6.5
OFF_CENTRE_PX = 1.5
TILT_RAD = 0.25
MOTION_PX = (13.0, 16.0)
APPEARANCE_PX = (16.0, 20.0)
TEXTURE_CELLS = 6
DARK, LIGHT, INK = 0.1, 0.5, 0.6
NOISE = 0.05

ORDER_PX = (14.0, 17.0)
ORDER_OFF_CENTRE_PX = 3.0
EVENT_FRAMES = 12
EVENT_SPACING = 12
CALM_START = 4
EVENT_GRID = 4
SHRINK_BY, FADE_BY = 0.7, 0.9

Frames = UInt8[Tensor, "frames height width 3"]


class Pose(NamedTuple):
    """Where the digit is in every frame: centre and size in pixels, angle in radians."""

    x: Float[Tensor, "frames"]
    y: Float[Tensor, "frames"]
    angle: Float[Tensor, "frames"]
    size: Float[Tensor, "frames"]


class Look(NamedTuple):
    """What does not move: the background and the colour of the digit."""

    background: Float[Tensor, "3 height width"]
    ink: Float[Tensor, "3"]


def appearance_clip(digit: Float[Tensor, "8 8"], *, generator: torch.Generator) -> Frames:
    """A digit in one of the ten motions, drawn at random."""
    motion = MOTIONS[int(torch.randint(len(MOTIONS), (), generator=generator))]
    pose = motion_pose(motion, APPEARANCE_PX, generator=generator)
    frames = paint(digit, pose, draw_look(generator), generator=generator)
    return frames.flip(0) if uniform((0.0, 1.0), generator) < 0.5 else frames


def motion_clip(digit: Float[Tensor, "8 8"], motion: str, *, generator: torch.Generator) -> Frames:
    """The forward member of a pair of motions; the backward one is `frames.flip(0)`."""
    pose = motion_pose(motion, MOTION_PX, generator=generator)
    return paint(digit, pose, draw_look(generator), generator=generator)


def order_clips(digit: Float[Tensor, "8 8"], *, generator: torch.Generator) -> list[Frames]:
    """One scene in the six orders of its three events, as in `ORDERS`."""
    look = draw_look(generator)
    starts = event_starts(generator)
    calm = rest_pose(generator)
    num_calm = ORDER_FRAMES - len(EVENTS) * EVENT_FRAMES
    between = paint(digit, still(calm, num_calm), look, generator=generator)
    events = [paint_event(event, digit, calm, look, generator=generator) for event in EVENTS]
    clips = []
    for order in ORDERS:
        parts, used = [], 0
        for place, event in enumerate(order):
            until = starts[place] - place * EVENT_FRAMES
            parts += [between[used:until], events[event]]
            used = until
        clips.append(torch.cat([*parts, between[used:]]))
    return clips


def uniform(bounds: tuple[float, float], generator: torch.Generator) -> float:
    """One draw from [low, high)."""
    low, high = bounds
    return low + (high - low) * torch.rand((), generator=generator).item()


def draw_look(generator: torch.Generator) -> Look:
    """A dark random texture and a bright random ink."""
    cells = torch.rand(1, 3, TEXTURE_CELLS, TEXTURE_CELLS, generator=generator)
    texture = F.interpolate(cells, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=True)[0]
    return Look(DARK + (LIGHT - DARK) * texture, INK + (1 - INK) * torch.rand(3, generator=generator))


def motion_pose(motion: str, size_px: tuple[float, float], *, generator: torch.Generator) -> Pose:
    """The digit along a movement of constant speed from a random phase.

    Slides and lifts leave the picture on one side and come back on the other.

    Raises:
        KeyError: for an unknown motion.
    """
    time = torch.arange(MOTION_FRAMES, dtype=torch.float32)
    near = SIDE_PX / 2 - OFF_CENTRE_PX, SIDE_PX / 2 + OFF_CENTRE_PX
    x, y = uniform(near, generator) + 0 * time, uniform(near, generator) + 0 * time
    angle = uniform((-TILT_RAD, TILT_RAD), generator) + 0 * time
    size = uniform(size_px, generator) + 0 * time
    phase = uniform((0.0, 1.0), generator)
    travelled = SIDE_PX * phase + uniform(SPEED_PX, generator) * time
    spun = 2 * math.pi * (phase + time / uniform(SPIN_FRAMES, generator))
    turned = 2 * math.pi * (phase + time / uniform(ORBIT_FRAMES, generator))
    # The size falls back when it has reached its end: growing and shrinking are told apart, and no phase is special.
    grown = torch.remainder(phase + time / uniform(ZOOM_FRAMES, generator), 1.0)
    poses = {
        "slide": Pose(travelled, y, angle, size),
        "lift": Pose(x, travelled, angle, size),
        "spin": Pose(x, y, spun, size),
        "zoom": Pose(x, y, angle, ZOOM_PX[0] * (ZOOM_PX[1] / ZOOM_PX[0]) ** grown),
        "orbit": Pose(x + ORBIT_PX * turned.cos(), y + ORBIT_PX * turned.sin(), angle, size),
    }
    return poses[motion]


def event_starts(generator: torch.Generator) -> list[int]:
    """First frames of the three events: none at the start, never at once, all at one remainder modulo `EVENT_GRID`."""
    remainder = int(torch.randint(EVENT_GRID, (), generator=generator))
    last = (ORDER_FRAMES - EVENT_FRAMES - CALM_START - EVENT_GRID + 1) // EVENT_GRID
    spacing = EVENT_SPACING // EVENT_GRID
    choices = [
        places
        for places in combinations(range(last + 1), len(EVENTS))
        if all(late - early >= spacing for early, late in pairwise(places))
    ]
    chosen = choices[int(torch.randint(len(choices), (), generator=generator))]
    return [CALM_START + remainder + EVENT_GRID * place for place in chosen]


def rest_pose(generator: torch.Generator) -> Pose:
    """One frame of a digit at rest."""
    near = SIDE_PX / 2 - ORDER_OFF_CENTRE_PX, SIDE_PX / 2 + ORDER_OFF_CENTRE_PX
    draws = [uniform(near, generator), uniform(near, generator), uniform((-TILT_RAD, TILT_RAD), generator)]
    return Pose(*[torch.tensor([draw]) for draw in (*draws, uniform(ORDER_PX, generator))])


def still(pose: Pose, num_frames: int) -> Pose:
    """One frame's pose for several frames."""
    return Pose(*[value.expand(num_frames) for value in pose])


def paint_event(
    event: str, digit: Float[Tensor, "8 8"], calm: Pose, look: Look, *, generator: torch.Generator
) -> Frames:
    """The frames of one event, which starts and ends near rest."""
    progress = torch.linspace(0, 1, EVENT_FRAMES + 2)[1:-1]
    bump = (math.pi * progress).sin()
    pose, ink = still(calm, EVENT_FRAMES), look.ink
    if event == "spin":
        pose = pose._replace(angle=pose.angle + 2 * math.pi * progress)
    elif event == "shrink":
        pose = pose._replace(size=pose.size * (1 - SHRINK_BY * bump))
    else:
        ink = look.ink * (1 - FADE_BY * bump[:, None])
    return paint(digit, pose, look._replace(ink=ink), generator=generator)


def cover(digit: Float[Tensor, "8 8"], pose: Pose) -> Float[Tensor, "frames height width"]:
    """How much of each pixel the digit covers, in a picture whose opposite sides meet."""
    centres = torch.arange(SIDE_PX) + 0.5
    half_side = SIDE_PX / 2
    dx = torch.remainder(centres[None, None, :] - pose.x[:, None, None] + half_side, SIDE_PX) - half_side
    dy = torch.remainder(centres[None, :, None] - pose.y[:, None, None] + half_side, SIDE_PX) - half_side
    cos, sin = pose.angle.cos()[:, None, None], pose.angle.sin()[:, None, None]
    half = pose.size[:, None, None] / 2
    where = torch.stack(((cos * dx + sin * dy) / half, (cos * dy - sin * dx) / half), -1)
    images = digit[None, None].expand(len(pose.x), 1, -1, -1)
    return F.grid_sample(images, where, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


def paint(digit: Float[Tensor, "8 8"], pose: Pose, look: Look, *, generator: torch.Generator) -> Frames:
    """The digit over its background, with new noise in every frame."""
    ink = look.ink.expand(len(pose.x), 3)[:, :, None, None]
    covered = cover(digit, pose)[:, None]
    video = look.background * (1 - covered) + ink * covered
    video = video + NOISE * torch.randn(video.shape, generator=generator)
    return (video.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
