import json

import pytest
import torch

import zoo
from tests.support import find
from zoo.data.labels import (
    DIGITS,
    ORDERS,
    LabelError,
    LabelOrder,
    find_order,
    known_part,
    order,
    read_order,
    rows_of_k710,
)
from zoo.suggest import UnknownNameError


@pytest.fixture(autouse=True)
def _no_files_of_the_users(monkeypatch):
    monkeypatch.delenv("ZOO_LABELS", raising=False)


def test_the_two_kinetics_orders_map_onto_each_other_as_the_authors_table_says():
    alphabetical = read_order(find("k400_label_orders/k400_alphabetical_order.txt"))
    opengvlab = read_order(find("k400_label_orders/k400_opengvlab_order.txt"))
    mapping = json.loads(find("k400_label_orders/opengvlab_to_alphabetical.json").read_text())
    assert opengvlab.mapping_to(alphabetical) == mapping
    assert not [label for label, other in enumerate(mapping) if label == other]
    assert opengvlab.sha256 != alphabetical.sha256


def test_an_order_is_read_from_lines_or_json_and_checked_by_its_hash(tmp_path):
    (tmp_path / "lines.txt").write_text("zumba\n\nriding a bike\n")
    (tmp_path / "list.json").write_text('["zumba", "riding a bike"]')
    order = read_order(tmp_path / "lines.txt")
    assert order.names == ("zumba", "riding a bike")
    assert read_order(tmp_path / "list.json", sha256=order.sha256) == order
    with pytest.raises(ValueError, match=r"lines\.txt.*expected 00"):
        read_order(tmp_path / "lines.txt", sha256="00")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\nb\na\n", "classes 0 and 2 are both called 'a'"),
        ("\n", "at least one class"),
        ('["a", 3]', "list of names"),
        ('["a", ', "not valid JSON"),
        ('["a", ""]', "class 1 has no name"),
    ],
)
def test_files_that_hold_no_order_are_refused_by_name(tmp_path, content, words):
    (tmp_path / "names.txt").write_text(content)
    with pytest.raises(ValueError, match=r"names\.txt") as caught:
        read_order(tmp_path / "names.txt")
    assert words in str(caught.value)


def test_orders_of_different_classes_do_not_map():
    with pytest.raises(ValueError, match=r"only in the first \['b'\], only in the second \['c'\]"):
        LabelOrder(("a", "b")).mapping_to(LabelOrder(("a", "c")))
    with pytest.raises(ValueError, match=r"only in the first \[\], only in the second \['c'\]"):
        LabelOrder(("a", "b")).mapping_to(LabelOrder(("a", "b", "c")))


def test_the_digits_suite_names_each_of_its_classes():
    assert {task: len(order.names) for task, order in DIGITS.items()} == {"appearance": 10, "motion": 10, "order": 6}
    assert DIGITS["order"].names[5] == "fade, shrink, spin"


@pytest.mark.parametrize("name", [name for name, fact in ORDERS.items() if fact.sha256])
def test_a_shipped_order_has_its_hash_and_its_number_of_classes(name):
    found = order(name)
    assert (found.sha256, len(found.names)) == (ORDERS[name].sha256, ORDERS[name].num_classes)


def test_the_orders_of_kinetics_are_those_of_the_fixtures_and_of_torchvision():
    from torchvision.models.video import MViT_V2_S_Weights

    for name in ("alphabetical", "opengvlab"):
        assert order(f"k400_{name}") == read_order(find(f"k400_label_orders/k400_{name}_order.txt"))
    assert list(order("k400_alphabetical").names) == MViT_V2_S_Weights.DEFAULT.meta["categories"]


def test_the_order_of_something_something_is_alphabetical_and_takes_templates():
    names = order("ssv2").names
    assert list(names) == sorted(names)
    assert order("ssv2").find("Throwing [something] in the air and catching it") == names.index(
        "Throwing something in the air and catching it"
    )


def test_a_misspelt_order_gets_the_closest():
    with pytest.raises(UnknownNameError, match="did you mean 'k400_opengvlab'"):
        order("k400_opengvlb")


def test_an_order_that_nobody_has_says_where_it_stands():
    with pytest.raises(LabelError, match=r"jepa/issues/18: save it .* k400_vjepa\.txt .* ZOO_LABELS"):
        order("k400_vjepa")
    assert find_order("k400_vjepa") is None
    assert find_order("") is None


def vjepa_file(folder, names):
    path = folder / "k400_vjepa.txt"
    path.write_text("\n".join(names))
    return path


def vjepa_names():
    """The known beginning and then the other classes in any order."""
    beginning = known_part("k400_vjepa").names
    everything = order("k400_alphabetical")
    started = {everything.find(name) for name in beginning}
    return [*beginning, *(name for label, name in enumerate(everything.names) if label not in started)]


def test_an_order_of_the_users_is_found_in_the_folder_and_held_against_what_is_known(tmp_path, monkeypatch):
    names = vjepa_names()
    path = vjepa_file(tmp_path, names)
    assert order("k400_vjepa", path=path).names[0] == "weaving_basket"
    monkeypatch.setenv("ZOO_LABELS", str(tmp_path))
    assert find_order("k400_vjepa") == order("k400_vjepa", path=path)
    vjepa_file(tmp_path, [names[1], names[0], *names[2:]])
    with pytest.raises(LabelError, match="class 0 is 'weaving_basket' there, not 'playing_drums'"):
        order("k400_vjepa")
    vjepa_file(tmp_path, names[:-1])
    with pytest.raises(LabelError, match="has 399 classes; k400_vjepa has 400"):
        order("k400_vjepa")
    with pytest.raises(ValueError, match="expected a8dafb93"):
        order("k400_alphabetical", path=vjepa_file(tmp_path, names))


def test_the_known_beginning_of_vjepas_order_names_classes_of_kinetics():
    assert [order("k400_alphabetical").find(name) for name in known_part("k400_vjepa").names].count(None) == 0
    assert known_part("k600_opengvlab") is None


def test_rows_of_k710_are_distinct_and_together_name_every_row():
    rows = {part: rows_of_k710(part) for part in ("k400", "k600", "k700")}
    assert {part: len(set(it)) for part, it in rows.items()} == {"k400": 400, "k600": 600, "k700": 700}
    assert set().union(*rows.values()) == set(range(710))
    assert (rows["k400"][:2], rows["k600"][:2], rows["k700"][:2]) == ([0, 1], [121, 562], [363, 481])
    with pytest.raises(ValueError, match="unknown part of Kinetics-710 'k4000'; did you mean 'k400'"):
        rows_of_k710("k4000")


def test_rows_of_k710_choose_the_classifier_that_a_file_brings():
    model = zoo.create_model("vit_pico", num_classes=710)
    smaller = zoo.create_model("vit_pico", num_classes=600)
    zoo.load_checkpoint(smaller, model.state_dict(), classes=rows_of_k710("k600"))
    expected = model.head.linear.weight[torch.tensor(rows_of_k710("k600"))]
    assert torch.equal(smaller.head.linear.weight, expected)


def test_spellings_of_one_class_are_one_and_names_that_only_punctuation_tells_apart_are_two():
    game = LabelOrder(("passing American football (in game)", "yoga"))
    folders = LabelOrder(("Yoga", "passing_American_football_-in_game-"))
    assert game.mapping_to(folders) == [1, 0]
    assert LabelOrder(("C", "C++")).mapping_to(LabelOrder(("C++", "C"))) == [1, 0]
    assert LabelOrder(("C", "C++")).find("c") is None
    assert LabelOrder(("C", "C++", "yoga")).mapping_to(LabelOrder(("C++", "yoga", "C"))) == [2, 0, 1]


def test_a_part_of_the_classes_maps_into_the_whole_and_the_missing_one_gets_the_closest():
    whole = LabelOrder(("archery", "yoga", "zumba"))
    assert LabelOrder(("zumba", "archery")).places_in(whole) == [2, 0]
    with pytest.raises(LabelError, match="1 of 2 classes are not among the 3 others: 'yogi'; the most like 'yogi' is"):
        LabelOrder(("zumba", "yogi")).places_in(whole)
