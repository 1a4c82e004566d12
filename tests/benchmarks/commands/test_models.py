from pathlib import Path

import pytest
import torch

import zoo
from benchmarks.commands.models import named_model
from zoo.suggest import UnknownNameError


def test_an_architecture_needs_weights_of_some_kind():
    with pytest.raises(UnknownNameError, match=r"vit_pico is an architecture without weights.*or say --random"):
        named_model("vit_pico", checkpoint=None, random=False)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    before = torch.get_rng_state()
    one, other = (named_model("vit_pico", checkpoint=None, random=True, num_classes=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.num_classes == 2


def test_a_checkpoint_is_taken_and_its_positions_fit_another_length(tmp_path: Path):
    model = zoo.create_model("timesformer_pico", num_classes=2)
    zoo.save_checkpoint(model, tmp_path / "a.safetensors")
    frames = 2 * model.spec.clip.num_frames
    options = {"num_frames": frames}
    longer = named_model("timesformer_pico", checkpoint=tmp_path / "a.safetensors", random=False, options=options)
    assert longer.spec.clip.num_frames == frames
    assert torch.equal(longer.head.linear.weight, model.head.linear.weight)
