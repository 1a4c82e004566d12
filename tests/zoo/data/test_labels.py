import json

import pytest

from tests.support import find
from zoo.data.labels import DIGITS, LabelOrder, read_order


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


def test_the_digits_suite_names_each_of_its_classes():
    assert {task: len(order.names) for task, order in DIGITS.items()} == {"appearance": 10, "motion": 10, "order": 6}
    assert DIGITS["order"].names[5] == "fade, shrink, spin"
