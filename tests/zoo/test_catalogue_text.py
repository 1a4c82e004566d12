import io

import pytest
from rich.console import Console

from tests.zoo.made_up_cards import card, zoo_of_cards
from zoo.catalogue_text import card_lines, cards_table, describe_card


@pytest.fixture(autouse=True)
def _no_files_of_the_users(monkeypatch):
    monkeypatch.delenv("ZOO_LABELS", raising=False)


def printed(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def test_the_table_says_number_clip_and_whose_licence_it_is():
    lines = {line.split()[0]: line.split()[1:] for line in printed(cards_table(zoo_of_cards())).splitlines() if line}
    assert lines["umt_base.k400_f8"] == ["k400", "8x224", "87.4", "(MIT)"]
    assert lines["umt_base.ssv2_f8"] == ["ssv2", "8x224", "CC-BY-NC-4.0"]
    assert lines["umt_mm_base.pt_25m"] == ["12x224", "*", "(MIT)"]


def test_marks_are_explained_only_where_they_stand():
    assert "none is stated for the weights" in printed(cards_table(zoo_of_cards()))
    assert "says why" in printed(cards_table(zoo_of_cards()))
    plain = printed(cards_table([card(weight_licence="MIT")]))
    assert "says why" not in plain
    assert "none is stated" not in plain


@pytest.mark.parametrize("tag", ["k400_mask_ft_f64_res224", "k710_pt_k400_ft_f16_res384_and_what_not"])
def test_long_names_stay_whole_in_80_columns(tag):
    long = card("videomamba_middle", tag, dataset="k400", weight_licence="CC-BY-NC-4.0")
    text = printed(cards_table([long]))
    assert long.name in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_a_description_says_what_a_person_wants_to_know():
    text = printed(describe_card(zoo_of_cards()[0]), width=200)
    for expected in [
        "https://example.org/a.pth",
        "me/it/a.pth at main",
        "md5 begins with 1234",
        "UMT fine-tuned, entry module",
        "400 classes",
        "8 x 224 px, uniform, 1 x 1 views",
        "mean 0.485, 0.456, 0.406",
        "k400_opengvlab: 0 is 'riding a bike'",
        "none stated; the code's is all there is",
        "K400 top-1 87.4 (README table 2)",
        "table says 3 crops, script says 1",
    ]:
        assert expected in text


def test_a_missing_class_order_says_where_it_stands():
    assert "jepa/issues/18; ZOO_LABELS" in card_lines(zoo_of_cards()[4])["class order"]
    assert card_lines(zoo_of_cards()[3])["cannot be built"] == "it reads text"
