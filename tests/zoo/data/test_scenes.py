import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.support import find
from zoo.data import scenes

DISC = torch.ones(8, 8)
# Ink to the right of the centre only, so that the side it is on tells how the digit is turned.
HALF = torch.zeros(8, 8)
HALF[2:6, 5:] = 1
# Small enough to stay clear of the border on its orbit.
DOT = torch.zeros(8, 8)
DOT[3:5, 3:5] = 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def plain(monkeypatch):
    """White ink on black without noise, so that positions can be measured."""
    look = scenes.Look(torch.zeros(3, scenes.SIDE_PX, scenes.SIDE_PX), torch.ones(3))
    monkeypatch.setattr(scenes, "NOISE", 0.0)
    monkeypatch.setattr(scenes, "draw_look", lambda generator: look)


def direction(clip, axis):
    """Mean position of the ink in each frame as an angle around the picture, since sides meet (1 x, 2 y)."""
    weight = clip[..., 0].double().sum(axis)
    angle = 2 * math.pi * (torch.arange(scenes.SIDE_PX) + 0.5) / scenes.SIDE_PX
    return torch.atan2((weight * angle.sin()).sum(1), (weight * angle.cos()).sum(1))


def steps(angles):
    return torch.remainder(angles.diff() + math.pi, 2 * math.pi) - math.pi


def side_of_ink(clip):
    """Direction from the middle of the picture to the ink: 0 right, a quarter turn down."""
    line = torch.arange(scenes.SIDE_PX) + 0.5 - scenes.SIDE_PX / 2
    weight = clip[..., 0].double()
    return torch.atan2((weight * line[:, None]).sum((1, 2)), (weight * line[None, :]).sum((1, 2)))


@pytest.mark.parametrize(("motion", "axis"), [("slide", 1), ("lift", 2)])
def test_slides_go_right_and_lifts_go_down(plain, motion, axis):
    for seed in range(5):
        moved = steps(direction(scenes.motion_clip(DISC, motion, generator=seeded(seed)), axis))
        pixels = moved * scenes.SIDE_PX / (2 * math.pi)
        assert (pixels > 0.8).all()
        assert (pixels < 3.0).all()


@pytest.mark.parametrize(("motion", "digit"), [("spin", HALF), ("orbit", DOT)])
def test_spins_and_orbits_go_clockwise(plain, monkeypatch, motion, digit):
    monkeypatch.setattr(scenes, "OFF_CENTRE_PX", 0.0)
    for seed in range(5):
        turned = steps(side_of_ink(scenes.motion_clip(digit, motion, generator=seeded(seed))))
        assert (turned > 0.2).all()
        assert (turned < 1.2).all()


def test_zooms_grow_except_where_they_start_again(plain):
    for seed in range(5):
        ink = scenes.motion_clip(DISC, "zoom", generator=seeded(seed)).double().sum((1, 2, 3))
        falls = (ink.diff() < 0).sum()
        assert 1 <= falls <= 3
        assert (ink.diff()[ink.diff() < 0].abs() > ink.max() / 3).all()


@pytest.mark.slow
def test_no_classifier_tells_the_first_frames_of_motions_from_the_last():
    generator = seeded(1)
    images = torch.rand(40, 8, 8, generator=generator)
    first, last = [], []
    for number in range(700):
        motion = scenes.MOTIONS[number % len(scenes.MOTIONS)]
        clip = scenes.motion_clip(images[number % 40], motion, generator=seeded(number))
        first.append(clip[0].flatten())
        last.append(clip[-1].flatten())
    frames = torch.cat([torch.stack(first), torch.stack(last)]).float().numpy() / 255
    answers = np.repeat([0, 1], 700)
    train = np.tile(np.arange(700) < 400, 2)
    probe = make_pipeline(PCA(40, random_state=0), LogisticRegression(max_iter=500))
    accuracy = probe.fit(frames[train], answers[train]).score(frames[~train], answers[~train])
    # 600 answers; four standard deviations of guessing.
    assert abs(accuracy - 0.5) < 4 * 0.5 / math.sqrt(600)


def event_times(clip):
    """When each event is at its height: fading darkens the centre, shrinking uncovers the rim, spinning the corners."""
    middle = scenes.SIDE_PX // 2
    ink = clip[..., 0].double()
    centre = ink[:, middle, middle]
    faded = centre < centre.max() - 20
    covered = (ink > 100).double().sum((1, 2))
    calm = covered.mode().values
    shrunk = (covered < 0.5 * calm) & ~faded
    # A square turned by an eighth covers other pixels but as many of them.
    rest = ink[0] > 100
    differs = ((ink > 100) != rest).double().sum((1, 2))
    spun = (differs > 10) & (covered > 0.85 * calm) & ~faded
    return {"fade": faded, "shrink": shrunk, "spin": spun}


def test_events_come_in_the_order_of_their_class(plain, monkeypatch):
    monkeypatch.setattr(scenes, "ORDER_OFF_CENTRE_PX", 0.0)
    for seed in range(4):
        for order, clip in zip(scenes.ORDERS, scenes.order_clips(DISC, generator=seeded(seed)), strict=True):
            times = {event: seen.nonzero().double().median().item() for event, seen in event_times(clip).items()}
            assert [scenes.EVENTS[event] for event in order] == sorted(times, key=times.__getitem__)


def test_the_orders_of_a_scene_are_the_same_frames():
    for seed in range(6):
        clips = scenes.order_clips(torch.rand(8, 8, generator=seeded(seed)), generator=seeded(seed))
        assert {clip.shape for clip in clips} == {(scenes.ORDER_FRAMES, scenes.SIDE_PX, scenes.SIDE_PX, 3)}
        for stride in (1, 2, 4):
            for offset in range(stride):
                sets = {frozenset(frame.numpy().tobytes() for frame in clip[offset::stride]) for clip in clips}
                assert len(sets) == 1
        assert len({clip.numpy().tobytes() for clip in clips}) == len(scenes.ORDERS)


def test_events_leave_the_start_alone_and_never_come_at_once():
    starts = [scenes.event_starts(seeded(seed)) for seed in range(300)]
    for times in starts:
        assert times[0] >= scenes.CALM_START
        assert times[-1] + scenes.EVENT_FRAMES <= scenes.ORDER_FRAMES
        assert all(late - early >= scenes.EVENT_FRAMES for early, late in pairwise(times))
        assert len({time % scenes.EVENT_GRID for time in times}) == 1
    assert {times[0] % scenes.EVENT_GRID for times in starts} == set(range(scenes.EVENT_GRID))
    # The time alone does not say whether it is the first, second or third event.
    assert max(times[0] for times in starts) > min(times[1] for times in starts)
    assert max(times[1] for times in starts) > min(times[2] for times in starts)


def test_no_frame_repeats_within_a_clip():
    clip = scenes.order_clips(DISC, generator=seeded())[0]
    assert len({frame.numpy().tobytes() for frame in clip}) == scenes.ORDER_FRAMES


def test_appearance_shows_every_motion_in_both_directions(monkeypatch):
    drawn = []
    original = scenes.motion_pose
    monkeypatch.setattr(
        scenes,
        "motion_pose",
        lambda motion, size, *, generator: drawn.append(motion) or original(motion, size, generator=generator),
    )
    for seed in range(60):
        assert scenes.appearance_clip(DISC, generator=seeded(seed)).shape == (16, 24, 24, 3)
    assert set(drawn) == set(scenes.MOTIONS)


def test_equal_generators_draw_equal_clips():
    first, again, other = (scenes.motion_clip(HALF, "spin", generator=seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_clips_are_what_they_were_when_the_version_was_set():
    """Rendering may differ by a grey level between processors, and by nothing else; else VERSION must change."""
    with np.load(find("digits/scenes.npz")) as golden:
        assert int(golden["version"]) == scenes.VERSION
        for name, clip in golden_clips().items():
            difference = np.abs(clip.astype(int) - golden[name].astype(int))
            assert difference.max() <= 1, name


def golden_clips():
    digit = torch.arange(64).view(8, 8).float() / 63
    clips = {motion: scenes.motion_clip(digit, motion, generator=seeded(5))[::5].numpy() for motion in scenes.MOTIONS}
    clips["appearance"] = scenes.appearance_clip(digit, generator=seeded(5))[::5].numpy()
    clips["order"] = scenes.order_clips(digit, generator=seeded(5))[3][::8].numpy()
    return clips
