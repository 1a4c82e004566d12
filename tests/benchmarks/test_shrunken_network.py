import pytest

from benchmarks.shrunken_network import shrunken_file, shrunken_model, shrunken_network
from benchmarks.suites import k400, lvu
from zoo.checkpoints import read_saved
from zoo.registry import create_model, released

TASK = k400.SUITE.tasks[0]
NAME = "umt_base.k710_ft_k400_f8_res224"
BUILDABLE = [name for name, card in released().items() if not card.missing]


def test_a_shrunken_network_keeps_clips_views_and_head_of_its_card():
    network, card = shrunken_network(NAME, TASK), released()[NAME]
    assert (network.clip.clips, network.clip.crops, network.clip.sampling) == (4, 3, card.clip.sampling)
    assert (network.clip.img_size, network.clip.num_frames, network.num_rows) == (16, 4, 400)
    assert (network.names, network.weights) == ((), "random weights, shrunken network")


def test_the_file_is_the_same_whenever_it_is_asked_for(tmp_path):
    first, second = (shrunken_file(NAME, TASK, tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    other = shrunken_file(NAME, TASK, tmp_path / "a", seed=1)
    assert other.read_bytes() != first.read_bytes()
    model = create_model(NAME, checkpoint_path=first)
    assert (model.num_classes, model.spec.label_names) == (400, ())
    assert read_saved(first).clip == shrunken_network(NAME, TASK).clip


def test_heads_that_look_at_more_blocks_or_through_more_heads_than_there_are_are_fitted():
    several = shrunken_model("vjepa2_large_16_256.videomix22m_probe_diving48", TASK).spec.classifier
    assert several.layers == (0, 1, 2)
    wide = shrunken_model("vjepa2_giant_16_384.videomix22m_ssv2_hf", TASK).spec.classifier
    assert wide.num_heads == 4


def test_values_have_one_output():
    task = next(task for task in lvu.SUITE.tasks if task.metric == "mse")
    assert shrunken_network("vit_pico", task).num_rows == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDABLE)
def test_every_released_network_can_be_shrunken(name):
    network = shrunken_network(name, TASK)
    assert network.clip.img_size <= 64
    assert network.clip.clips == released()[name].clip.clips
