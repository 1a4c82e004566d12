import pytest
import torch

from benchmarks.class_map import K710, chance_alarm, class_map, keep_classes
from heads.attentive import AttentiveHead
from heads.linear import LinearHead
from heads.verb_noun import VerbNounHead
from tests.zoo.training.synthetic import TinyBackbone
from zoo.data.labels import LabelError, order, rows_of_k710
from zoo.model import VideoModel

NAMES = ("run", "jump", "sit down")


def found(classes, names, **options):
    return class_map(classes, names, len(names), suite="s", num_classes=len(classes), **options)


def test_equal_orders_need_no_map():
    assert found(NAMES, NAMES).rows is None


def test_other_orders_and_spellings_are_mapped_by_name():
    answer = found(NAMES, ("Sit Down", "run", "jump"))
    assert answer.rows == (1, 2, 0)
    assert "3 of 3 classes have another number" in answer.words


def test_a_network_may_have_more_classes():
    assert found(NAMES, ("jump", "fly", "sit_down", "run")).rows == (3, 0, 2)
    assert found(NAMES, (*NAMES, "fly")).rows == (0, 1, 2)


def test_a_network_that_lacks_classes_is_refused():
    with pytest.raises(LabelError, match="sit down"):
        found(NAMES, ("run", "jump", "stand"))


def test_without_names_the_numbers_must_agree():
    answer = class_map(NAMES, (), 3, suite="s", num_classes=3)
    assert answer.rows is None
    assert "not known" in answer.words
    with pytest.raises(LabelError, match="400 classes and s has 3"):
        class_map(NAMES, (), 400, suite="s", num_classes=3)


@pytest.mark.parametrize("which", ["k400_opengvlab", "k400_alphabetical"])
def test_kinetics_710_answers_kinetics_400_by_its_index_list(which):
    classes = order(which).names
    answer = class_map(classes, (), 710, suite="k400", num_classes=400, order_name=K710)
    part = order("k400_opengvlab")
    assert (answer.rows == tuple(range(400))) == (which == "k400_opengvlab")
    for label, row in enumerate(answer.rows):
        assert part.find(classes[label]) == rows_of_k710("k400").index(row)


def test_kinetics_710_says_which_order_it_lacks(monkeypatch):
    monkeypatch.delenv("ZOO_LABELS", raising=False)
    with pytest.raises(LabelError, match="k600_opengvlab"):
        class_map(("a", "b"), (), 710, suite="k600", num_classes=600, order_name=K710)


@pytest.mark.parametrize("kind", ["linear", "attentive"])
def test_rows_of_a_classifier_are_taken_in_the_order_asked_for(kind):
    head = LinearHead(16, 5, pool="mean") if kind == "linear" else AttentiveHead(16, 5, num_heads=2)
    model = VideoModel(TinyBackbone(), head).eval()
    torch.nn.init.normal_(head.linear.bias)
    clip = torch.randn(2, 3, 4, 8, 8)
    before = model(clip)
    after = keep_classes(model, (4, 0, 2))(clip)
    torch.testing.assert_close(after, before[:, [4, 0, 2]])
    assert model.num_classes == 3


def test_rows_of_several_questions_cannot_be_chosen():
    model = VideoModel(TinyBackbone(), VerbNounHead(16, {"verb": 2}, num_heads=2, depth=1))
    with pytest.raises(LabelError, match="VerbNounHead"):
        keep_classes(model, (0,))


def test_a_score_near_chance_raises_the_alarm_and_names_the_order():
    alphabetical, other = order("k400_alphabetical"), order("k400_opengvlab")
    # The network's rows stand in OpenGVLab's order, and everybody believes that they are alphabetical.
    labels = list(range(400))
    answers = [other.find(name) for name in alphabetical.names]
    believed = class_map(alphabetical.names, alphabetical.names, 400, suite="k400", num_classes=400)
    assert "k400_opengvlab" in chance_alarm(answers, labels, alphabetical.names, believed)
    assert chance_alarm(labels, labels, alphabetical.names, believed) == ""


def test_answers_are_judged_as_the_network_numbers_them():
    names = ("Sit Down", "run", "jump")
    assert chance_alarm([0, 1, 2] * 20, [0, 1, 2] * 20, NAMES, found(NAMES, names)) == ""


def test_without_names_a_score_near_chance_is_still_told():
    unknown = class_map((), (), 4, suite="s", num_classes=4)
    labels = [0, 1, 2, 3] * 25
    assert "near the chance of 25.0%" in chance_alarm([0] * 100, labels, (), unknown)
    assert chance_alarm(labels, labels, (), unknown) == ""
    assert chance_alarm([], [], (), unknown) == ""
