import dataclasses

import pytest

from benchmarks.suite import Suite, Task
from zoo.card import ClipSpec

TASK = Task(name="motion", question="Which?", classes=("a", "b", "c", "d"), sampling="uniform", clips=2, crops=3)
SUITE = Suite(
    name="toy",
    description="",
    tasks=(TASK, dataclasses.replace(TASK, name="order")),
    splits=("train", "test"),
    test_split="test",
    licence="",
    source="",
    quirks=(),
    prepare=lambda root, progress: None,
)
NETWORK = ClipSpec(num_frames=8, sampling="dense", stride=4, img_size=32, mean=(0.1, 0.2, 0.3), clips=5)


def test_a_task_decides_sampling_and_views_and_the_network_everything_else():
    spec = TASK.clip_spec(NETWORK)
    assert (spec.sampling, spec.clips, spec.crops) == ("uniform", 2, 3)
    assert dataclasses.replace(spec, sampling="dense", clips=5, crops=1) == NETWORK


@pytest.mark.parametrize(
    ("task", "network", "allowed"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_flips_need_the_consent_of_task_and_network(task, network, allowed):
    spec = dataclasses.replace(TASK, flip=task).clip_spec(dataclasses.replace(NETWORK, flip=network))
    assert spec.flip is allowed


def test_chance_is_that_of_balanced_classes():
    assert (TASK.num_classes, TASK.chance) == (4, 0.25)


def test_a_misspelt_task_gets_the_closest_one():
    assert SUITE.task("order").name == "order"
    with pytest.raises(KeyError, match=r"unknown task 'motoin'; did you mean 'motion'"):
        SUITE.task("motoin")
