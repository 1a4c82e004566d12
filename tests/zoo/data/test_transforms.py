import json

import pytest
import torch
import torch.nn.functional as F

from tests.support import assert_parity, find, load
from zoo.card import ClipSpec
from zoo.data.transforms import (
    Augment,
    crop_positions,
    crop_starts,
    eval_clips,
    jittered_size,
    multiscale_box,
    normalise,
    resized_box,
    short_side_size,
    train_clip,
)

SPEC = ClipSpec(num_frames=4, sampling="uniform", img_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def frames(count=4, height=24, width=40):
    return torch.randint(256, (count, height, width, 3), generator=seeded(9), dtype=torch.uint8)


def test_crop_starts_equal_umts():
    rows = json.loads(find("umt/protocol.json").read_text())["three_crop_start"]
    assert rows
    for row in rows:
        assert crop_starts(max(row["height"], row["width"]), row["short"], row["crops"]) == row["start"], row


def opencv_axis(length, size):
    """Neighbours of each resized pixel and their weights in 1/2048."""
    place = ((torch.arange(size, dtype=torch.float64) + 0.5) * (length / size) - 0.5).float().clamp(0, length - 1)
    low = place.floor().long()
    share = place - low
    weights = ((1 - share) * 2048).round().int(), (share * 2048).round().int()
    return low, (low + 1).clamp(max=length - 1), *weights


def opencv_resize(pixels, size, spec):
    """OpenCV's bilinear resize of bytes, in its fixed-point arithmetic; stands in for ours to compare all the rest."""
    x = pixels.int()
    low, high, near, far = opencv_axis(x.shape[3], size[1])
    rows = x[..., low] * near + x[..., high] * far
    low, high, near, far = opencv_axis(x.shape[2], size[0])
    upper, lower = near[:, None] * (rows[:, :, low] >> 4), far[:, None] * (rows[:, :, high] >> 4)
    return (((upper >> 16) + (lower >> 16) + 2) >> 2).clamp(0, 255).float()


@pytest.mark.parametrize(("name", "crops"), [("v1_eval_transform_3views", 3), ("v1_eval_transform_center", 1)])
def test_views_are_vjepas(name, crops, monkeypatch):
    side, tensors = load(f"vjepa/{name}")
    size = side["constructor"]["size"]
    short_side = None if crops > 1 else int(size * 256 / 224)
    spec = ClipSpec(num_frames=2, sampling="vjepa", img_size=size, short_side=short_side, crops=crops)
    expected = torch.stack([tensors[f"out.views.{view}"] for view in range(crops)])
    ours = eval_clips(tensors["in.clip"], spec, crops=crops)
    # OpenCV rounds to bytes and its weights to 1/2048: one level of 255 is 0.017 after normalisation.
    assert_parity(f"vjepa/{name} our resize", ours, expected, rtol=0, atol=0.017)
    monkeypatch.setattr("zoo.data.transforms._resize", opencv_resize)
    same = eval_clips(tensors["in.clip"], spec, crops=crops)
    assert_parity(f"vjepa/{name} OpenCV's resize", same, expected, rtol=0, atol=1e-6)


def test_vjepas_crops_move_by_whole_pixels():
    assert crop_starts(61, 32, 3) == [0, 14, 29]
    assert crop_starts(61, 32, 3, whole_steps=True) == [0, 14, 28]
    video, spec = frames(height=16, width=31), ClipSpec(num_frames=4, sampling="vjepa", img_size=16)
    views = eval_clips(video, spec, crops=3)
    assert torch.equal(views[2], normalise(video[:, :, 14:30].permute(0, 3, 1, 2).float(), spec))


def test_crops_are_cut_at_these_starts_along_the_long_side():
    video = frames(height=16, width=40)
    views = eval_clips(video, SPEC, crops=3)
    assert views.shape == (3, 3, 4, 16, 16)
    for view, left in zip(views, (0, 12, 24), strict=True):
        assert torch.equal(view, normalise(video[:, :, left : left + 16].permute(0, 3, 1, 2).float(), SPEC))
    tall = eval_clips(video.transpose(1, 2).contiguous(), SPEC, crops=3)
    assert torch.equal(tall, views.transpose(3, 4))


def test_normalisation_is_per_channel_on_pixels_in_0_to_1():
    video = torch.full((2, 3, 4, 4), 102.0)
    clip = normalise(video, SPEC)
    assert clip.shape == (3, 2, 4, 4)
    expected = torch.tensor([(0.4 - 0.5) / 0.2, 0.0, (0.4 - 0.3) / 0.3])
    torch.testing.assert_close(clip[:, 1, 2, 3], expected, atol=1e-6, rtol=0)


def test_bgr_networks_get_the_channels_reversed_after_normalisation():
    video = torch.rand(2, 3, 4, 4, generator=seeded()) * 255
    bgr = ClipSpec(num_frames=2, sampling="dense", img_size=4, mean=SPEC.mean, std=SPEC.std, channel_order="bgr")
    assert torch.equal(normalise(video, bgr), normalise(video, SPEC).flip(0))


def test_the_short_side_is_resized_bilinearly_without_low_pass():
    video = frames(height=33, width=50)
    assert short_side_size(33, 50, 16) == (16, 24)
    assert short_side_size(50, 33, 16) == (24, 16)
    resized = F.interpolate(video.permute(0, 3, 1, 2).float(), size=(16, 24), mode="bilinear", align_corners=False)
    torch.testing.assert_close(eval_clips(video, SPEC, crops=1)[0], normalise(resized[..., 4:20], SPEC))


def test_crops_smaller_than_the_short_side_lie_in_its_middle():
    spec = ClipSpec(num_frames=4, sampling="dense", img_size=16, short_side=24, mean=SPEC.mean, std=SPEC.std)
    video = frames(height=24, width=40)
    views = eval_clips(video, spec, crops=3)
    assert torch.equal(views[2], normalise(video[:, 4:20, 24:40].permute(0, 3, 1, 2).float(), spec))


@pytest.mark.parametrize("crop", ["resized", "multiscale"])
def test_random_crops_stay_inside_and_vary(crop):
    draw = resized_box if crop == "resized" else multiscale_box
    augment = Augment(crop=crop, area=(0.2, 0.9))
    boxes = [draw(60, 100, 32, augment, generator=seeded(seed)) for seed in range(400)]
    assert len(set(boxes)) > 50
    for box in boxes:
        assert 0 <= box.top <= 60 - box.height
        assert 0 <= box.left <= 100 - box.width


def test_resized_crops_fill_the_allowed_areas_and_ratios():
    augment = Augment(area=(0.25, 0.5), aspect=(0.5, 2.0))
    boxes = [resized_box(400, 400, 32, augment, generator=seeded(seed)) for seed in range(500)]
    areas = torch.tensor([box.height * box.width / 160_000 for box in boxes])
    ratios = torch.tensor([box.width / box.height for box in boxes])
    assert 0.245 < areas.min() < 0.26
    assert 0.49 < areas.max() < 0.505
    assert 0.49 < ratios.min() < 0.53
    assert 1.9 < ratios.max() < 2.05
    assert 0.4 < (ratios > 1).float().mean() < 0.6


def test_a_picture_too_narrow_for_any_crop_gets_the_largest_allowed_one():
    box = resized_box(300, 6, 32, Augment(area=(0.9, 1.0)), generator=seeded())
    assert (box.height, box.width) == (8, 6)
    assert (box.top, box.left) == (146, 0)


def test_multiscale_crops_have_tsns_sizes_and_places():
    augment = Augment(crop="multiscale")
    boxes = [multiscale_box(256, 340, 224, augment, generator=seeded(seed)) for seed in range(1200)]
    steps = [256, 224, 192, 168]  # 256 * .66 = 168.96
    sizes = {(box.height, box.width) for box in boxes}
    assert sizes == {(h, w) for i, h in enumerate(steps) for j, w in enumerate(steps) if abs(i - j) <= 1}
    places = {(box.top, box.left) for box in boxes if (box.height, box.width) == (192, 168)}
    assert places == set(crop_positions(256, 340, 192, 168))
    assert len(places) == 13
    assert (0, 4 * 43) in places
    assert (3 * 16, 43) in places


def test_a_multiscale_crop_within_two_pixels_of_the_final_size_gets_it():
    boxes = [multiscale_box(226, 300, 224, Augment(crop="multiscale"), generator=seeded(seed)) for seed in range(200)]
    assert 224 in {box.height for box in boxes}
    assert 226 not in {box.height for box in boxes}


def test_training_clips_depend_on_the_generator_alone():
    video = frames()
    first, again, other = (train_clip(video, SPEC, Augment(), generator=seeded(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 4, 16, 16)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_all_frames_of_a_clip_get_the_same_crop():
    still = frames(count=1).expand(4, -1, -1, -1)
    clip = train_clip(still, SPEC, Augment(flip=0.5), generator=seeded(3))
    assert (clip == clip[:, :1]).all()


def test_flips_come_only_when_asked_for_and_allowed():
    video = frames(height=16, width=16)
    plain = eval_clips(video, SPEC, crops=1)[0]
    centre = Augment(crop="centre")
    assert all(torch.equal(train_clip(video, SPEC, centre, generator=seeded(seed)), plain) for seed in range(20))
    flipped = train_clip(video, SPEC, Augment(crop="centre", flip=1.0), generator=seeded())
    assert torch.equal(flipped, plain.flip(3))
    halves = [
        torch.equal(train_clip(video, SPEC, Augment(crop="centre", flip=0.5), generator=seeded(seed)), plain)
        for seed in range(100)
    ]
    assert 30 < sum(halves) < 70
    forbidden = ClipSpec(num_frames=4, sampling="uniform", img_size=16, flip=False)
    with pytest.raises(ValueError, match="flips would change labels"):
        train_clip(video, forbidden, Augment(flip=0.5), generator=seeded())


def test_bicubic_is_not_bilinear_and_stays_in_range():
    bicubic = ClipSpec(
        num_frames=4,
        sampling="uniform",
        img_size=16,
        interpolation="bicubic",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    bilinear = ClipSpec(num_frames=4, sampling="uniform", img_size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    video = (frames(height=9, width=9) > 127).to(torch.uint8) * 255
    sharp, soft = eval_clips(video, bicubic, crops=1), eval_clips(video, bilinear, crops=1)
    assert not torch.allclose(sharp, soft, atol=0.01)
    assert sharp.min() >= 0
    assert sharp.max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": "random"}, "'resized', 'multiscale', 'jitter' or 'centre'"),
        ({"area": (0.0, 1.0)}, "two shares"),
        ({"aspect": (2.0, 1.0)}, "two positive ratios"),
        ({"flip": 1.5}, "probability"),
        ({"erase": -0.1}, "Augment.erase must be a probability"),
        ({"short_side": (320, 256)}, "two sizes"),
        ({"policy": "rand-m9-q3"}, "'rand-m9-q3' is none of timm's"),
        ({"erase_mode": "noise"}, "'pixel', 'rand', 'const'"),
        ({"erase_count": 0}, "at least 1"),
    ],
)
def test_impossible_augmentations_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Augment(**options)


def test_crops_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 crops of 32 px along 24 px"):
        crop_starts(24, 32, 3)


def test_jittered_sides_fill_their_range_and_keep_the_shape():
    augment = Augment(crop="jitter", short_side=(256, 320))
    sizes = [jittered_size(240, 320, augment, generator=seeded(seed)) for seed in range(400)]
    shorts = torch.tensor([short for short, _ in sizes]).float()
    assert (shorts.min(), shorts.max()) == (256, 320)
    assert 286 < shorts.mean() < 290
    assert all(width == int(320 / 240 * short) for short, width in sizes)
    assert (
        jittered_size(320, 240, augment, generator=seeded())[0]
        > jittered_size(320, 240, augment, generator=seeded())[1]
    )


def test_inverse_jitter_draws_one_over_the_side():
    augment = Augment(crop="jitter", short_side=(100, 400), inverse_side=True)
    shorts = torch.tensor([jittered_size(50, 60, augment, generator=seeded(seed))[0] for seed in range(400)]).float()
    assert (shorts.min() < 104, shorts.max() > 380) == (True, True)
    assert 1 / 170 < (1 / shorts).mean() < 1 / 150  # the middle of 1/100 and 1/400 is 1/160


def test_jittered_crops_have_the_final_size_without_another_resize():
    spec = ClipSpec(num_frames=4, sampling="uniform", img_size=16, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    video, augment = frames(height=20, width=40), Augment(crop="jitter", short_side=(20, 20))
    pictures = {
        video[:, top : top + 16, left : left + 16].numpy().tobytes(): (top, left)
        for top in range(5)
        for left in range(25)
    }
    clips = [train_clip(video, spec, augment, generator=seeded(seed)) for seed in range(150)]
    tops, lefts = zip(*(pictures[it.permute(1, 2, 3, 0).round().byte().numpy().tobytes()] for it in clips), strict=True)
    # As published, the last row and column are out of reach.
    assert set(tops) == set(range(4))
    assert max(lefts) == 23
    with pytest.raises(ValueError, match="crops of 16 px do not fit"):
        train_clip(video, SPEC, Augment(crop="jitter", short_side=(8, 20)), generator=seeded())


def test_everything_together_is_drawn_once_per_clip_and_from_the_generator_alone():
    still = frames(count=1).expand(4, -1, -1, -1)
    augment = Augment(policy="rand-m7-n4-mstd0.5-inc1", erase=1.0, erase_mode="const", flip=0.5)
    first, again, other = (train_clip(still, SPEC, augment, generator=seeded(seed)) for seed in (3, 3, 4))
    assert (first == first[:, :1]).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_options_that_are_off_do_not_change_the_settings_of_earlier_results():
    first = {"crop": "resized", "area": (0.08, 1.0), "aspect": (0.75, 4 / 3), "flip": 0.0}
    assert Augment().to_dict() == first
    assert Augment(erase=0.25, erase_mode="pixel").to_dict() == {**first, "erase": 0.25}


def test_resized_crops_reach_the_last_row_and_column():
    augment = Augment(area=(0.25, 0.25), aspect=(1.0, 1.0))
    boxes = [resized_box(4, 4, 2, augment, generator=seeded(seed)) for seed in range(60)]
    assert {box.top for box in boxes} == {box.left for box in boxes} == {0, 1, 2}
