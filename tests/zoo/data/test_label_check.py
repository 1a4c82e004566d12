import pytest

from zoo.data.label_check import alarm, fits, index_map, near_chance
from zoo.data.labels import LabelError, LabelOrder, known_part, order


@pytest.fixture(autouse=True)
def _no_files_of_the_users(monkeypatch):
    monkeypatch.delenv("ZOO_LABELS", raising=False)


def answers(network: LabelOrder, dataset: LabelOrder, truth: list[int]) -> list[int]:
    """What a network says that errs on every fifth video, and whose classes stand in the order `network`."""
    place = index_map(network, dataset)
    return [place[label if number % 5 else 0] for number, label in enumerate(truth)]


def test_classes_map_by_name_whatever_the_spelling():
    model, dataset = LabelOrder(("playing_drums", "yoga")), LabelOrder(("yoga", "playing drums"))
    assert index_map(model, dataset) == [1, 0]


def test_classes_without_a_partner_are_one_clear_error():
    model, dataset = LabelOrder(("yoga", "zumba", "archery")), LabelOrder(("yoga", "archery"))
    with pytest.raises(LabelError, match=r"data set's classes are not the network's: .*only in the second \['zumba'\]"):
        index_map(model, dataset)
    assert index_map(model, dataset, more_classes=True) == [0, 2]
    with pytest.raises(LabelError, match="1 of 2 classes are not among"):
        index_map(model, LabelOrder(("yoga", "polo")), more_classes=True)


@pytest.mark.parametrize(
    ("accuracy", "classes", "videos", "near"),
    [
        (0.0025, 400, 19_787, True),
        (0.03, 400, 19_787, True),
        (0.06, 400, 19_787, False),
        (0.81, 400, 19_787, False),
        (0.17, 10, 600, True),
        (0.3, 10, 600, False),
        (0.3, 10, 20, True),
        (1.0, 1, 5, False),
    ],
)
def test_near_chance_is_a_matter_of_classes_and_videos(accuracy, classes, videos, near):
    assert near_chance(accuracy, classes, videos) is near


@pytest.mark.parametrize("wrong", [(1.2, 10, 5), (0.5, 0, 5), (0.5, 10, 0)])
def test_numbers_of_no_evaluation_are_refused(wrong):
    with pytest.raises(ValueError, match="no accuracy of"):
        near_chance(*wrong)


@pytest.mark.parametrize("true_order", ["k400_opengvlab", "k400_alphabetical"])
def test_the_alarm_names_the_order_that_the_networks_classes_stand_in(true_order):
    dataset, truth = order("k400_alphabetical"), list(range(400)) * 2
    believed = order("k400_alphabetical" if true_order == "k400_opengvlab" else "k400_opengvlab")
    predictions = answers(order(true_order), dataset, truth)
    text = alarm(predictions, truth, dataset, believed)
    assert f"With the class order {true_order!r} the same answers are right for 80." in text
    assert text.startswith("0.") and "of 800 videos are right, which is near the chance of 0.2%" in text  # noqa: PT018
    assert alarm(predictions, truth, dataset, order(true_order)) == ""


def test_a_part_of_an_order_is_enough_to_recognise_it():
    dataset, beginning = order("k400_alphabetical"), known_part("k400_vjepa")
    started = {dataset.find(name) for name in beginning.names}
    rest = [name for label, name in enumerate(dataset.names) if label not in started]
    network, truth = LabelOrder((*beginning.names, *rest)), list(range(400))
    predictions = answers(network, dataset, truth)
    best = fits(predictions, truth, dataset)[0]
    assert (best.name, best.videos) == ("k400_vjepa", 54)
    assert "'k400_vjepa'" in alarm(predictions, truth, dataset, dataset)


def test_a_network_that_guesses_is_not_blamed_on_the_order():
    dataset, truth = order("k400_alphabetical"), list(range(400))
    text = alarm([7] * 400, truth, dataset, dataset)
    assert "It is not the class order" in text
    assert "weights that were not loaded" in text


def test_an_order_that_fits_hardly_better_is_not_blamed():
    dataset, network, truth = order("k400_alphabetical"), order("k400_opengvlab"), list(range(400))
    other = network.places_in(dataset)
    elsewhere = [network.find(name) for name in dataset.names]
    assert all(label != place for label, place in enumerate(other[:40]))
    # 16 of 400 are right under the order that is believed in, 24 under the other one: neither is near the truth.
    predictions = [*truth[:16], *elsewhere[16:40], *[truth[0]] * 360]
    text = alarm(predictions, truth, dataset, dataset)
    assert text.startswith("4.0%")
    assert "It is not the class order: the best known one, 'k400_opengvlab', gives 6." in text


def test_part_of_the_classes_of_an_order_can_be_judged():
    network = order("k400_opengvlab")
    dataset, truth = LabelOrder(order("k400_alphabetical").names[::4]), list(range(100))
    predictions = [network.find(name) for name in dataset.names]
    assert fits(predictions, truth, dataset)[0][:2] == ("k400_opengvlab", 1.0)


def test_classes_of_no_known_order_get_the_alarm_alone():
    dataset = LabelOrder(tuple(f"thing {number}" for number in range(50)))
    text = alarm([0] * 50, list(range(50)), dataset, dataset)
    assert "No class order of this data set is known" in text


@pytest.mark.parametrize(
    ("predictions", "truth", "words"),
    [([1], [1, 2], "1 answers for 2 labels"), ([1], [400], "no label 400"), ([], [], "no video was scored")],
)
def test_answers_that_cannot_be_judged_are_refused(predictions, truth, words):
    dataset = order("k400_alphabetical")
    with pytest.raises(ValueError, match=words):
        alarm(predictions, truth, dataset, dataset)


def test_a_perfect_score_is_never_near_chance_however_few_the_classes_and_videos():
    assert not near_chance(1.0, 2, 4)
    assert near_chance(0.75, 2, 4)
