import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import auto_augment_transform, rand_augment_transform
from timm.data.random_erasing import RandomErasing

from zoo.card import ClipSpec
from zoo.data.augment import erase, policy_of, require_policy, restyle
from zoo.data.transforms import Augment, train_clip
from zoo.draws import borrowed, seed_from

# Every policy that a published video or image recipe of the zoo names, and one of each other kind.
PUBLISHED = ("rand-m7-n4-mstd0.5-inc1", "rand-m5-n2-mstd0.25-inc1", "rand-m9-mstd0.5-inc1", "original", "v0")
OTHERS = ("augmix-m5-w4-d2", "3a", "rand-m6-n3-t3aw", "original-mstd0.5")
SPEC = ClipSpec(num_frames=1, sampling="uniform", img_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def frames(count=3, height=24, width=40):
    return torch.randint(256, (count, height, width, 3), generator=seeded(9), dtype=torch.uint8)


def changed(policy, seed, count=1):
    return restyle(frames(count), policy, generator=seeded(seed))


@pytest.mark.parametrize("policy", PUBLISHED)
def test_a_clip_of_one_frame_is_timms_picture(policy):
    make = rand_augment_transform if policy.startswith("rand") else auto_augment_transform
    theirs = make(policy, {"translate_const": int(16 * 0.45), "interpolation": Image.Resampling.BICUBIC})
    picture, different = frames(1), 0
    for seed in range(12):
        with borrowed(seed_from(seeded(seed))):
            expected = np.asarray(theirs(Image.fromarray(picture[0].numpy())))
        found = restyle(picture, policy, generator=seeded(seed))
        assert np.array_equal(found[0], expected)
        different += not np.array_equal(expected, picture[0])
    assert different > 4


@pytest.mark.parametrize("policy", PUBLISHED + OTHERS)
def test_one_draw_serves_all_frames(policy):
    still = frames(1).expand(3, -1, -1, -1)
    results = [restyle(still, policy, generator=seeded(seed)) for seed in range(8)]
    assert all((clip == clip[:1]).all() for clip in results)
    assert len({clip.numpy().tobytes() for clip in results}) > 2


def test_the_same_generator_gives_the_same_clip_and_global_generators_stay():
    policy = PUBLISHED[0]
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = changed(policy, 4, count=3)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    random.random()
    np.random.rand(3)
    assert torch.equal(changed(policy, 4, count=3), first)
    assert not torch.equal(changed(policy, 5, count=3), first)


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
def test_erasing_a_clip_of_one_frame_is_timms(mode):
    image, hits = torch.rand(3, 16, 20, generator=seeded(1)), 0
    theirs = RandomErasing(0.6, mode=mode, max_count=2, device="cpu")
    for seed in range(10):
        with borrowed(seed_from(seeded(seed))):
            expected = theirs(image.clone())
        found = erase(image[:, None].clone(), probability=0.6, mode=mode, count=2, generator=seeded(seed))
        assert torch.equal(found[:, 0], expected)
        hits += not torch.equal(expected, image)
    assert 2 < hits < 10


def test_the_same_box_is_erased_in_every_frame_and_noise_is_new_in_each():
    clip = torch.full((3, 5, 16, 16), 7.0)
    found = erase(clip.clone(), probability=1.0, mode="pixel", count=1, generator=seeded(2))
    holes = (found != 7).all(0)
    assert holes.any()
    assert (holes == holes[:1]).all()
    assert not torch.equal(found[:, 0], found[:, 1])
    colour = erase(clip.clone(), probability=1.0, mode="rand", count=1, generator=seeded(2))
    assert len(colour[0, 0].unique()) == 2


def test_a_training_clip_of_one_frame_is_what_timms_training_makes_of_the_picture():
    picture = frames(1, 16, 16)
    augment = Augment(crop="centre", policy=PUBLISHED[0], erase=1.0)
    theirs = rand_augment_transform(augment.policy, {"translate_const": 7, "interpolation": Image.Resampling.BICUBIC})
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (SPEC.mean, SPEC.std))
    generator = seeded(6)
    with borrowed(seed_from(generator)):
        image = np.asarray(theirs(Image.fromarray(picture[0].numpy())))
    pixels = (torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255 - mean) / std
    with borrowed(seed_from(generator)):
        expected = RandomErasing(1.0, mode="pixel", max_count=1, device="cpu")(pixels)
    clip = train_clip(picture, SPEC, augment, generator=seeded(6))
    torch.testing.assert_close(clip[:, 0], expected)


@pytest.mark.parametrize("policy", PUBLISHED + OTHERS)
def test_policies_in_timms_words_are_taken(policy):
    require_policy(policy)


@pytest.mark.parametrize("policy", ["rand-m7-n4-foo", "randm7", "rand-n", "v1", "original-m9", "augmix-inc1"])
def test_words_that_timm_would_skip_or_stumble_over_are_refused(policy):
    with pytest.raises(ValueError, match="none of timm's"):
        require_policy(policy)


def test_no_bits_at_all_make_black_as_they_did_before_pillow_refused_them():
    picture = Image.fromarray(frames(1)[0].numpy())
    for policy in ("v0", "rand-m10-inc1"):
        made = policy_of(policy)
        steps = getattr(made, "ops", None) or [step for pair in made.policy for step in pair]
        (step, *_) = [step for step in steps if step.name.startswith("Posterize")]
        assert not np.asarray(step.aug_fn(picture, 0, **step.kwargs)).any()
        assert np.asarray(step.aug_fn(picture, 8, **step.kwargs)).any()
