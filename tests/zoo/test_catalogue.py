import json
from dataclasses import replace

import pytest

import zoo
from tests.zoo.made_up_cards import card, zoo_of_cards
from zoo.card import Reported
from zoo.catalogue import family_of, headline, licence_kind, licence_of, record
from zoo.suggest import UnknownNameError


@pytest.fixture(autouse=True)
def _made_up(monkeypatch):
    monkeypatch.setattr("zoo.cards.CARDS", zoo_of_cards())
    monkeypatch.delenv("ZOO_LABELS", raising=False)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("MIT", "permissive"),
        ("MIT (code repository licence; no separate weight licence is stated)", "permissive"),
        ("Apache-2.0", "permissive"),
        ("CC-BY-4.0", "permissive"),
        ("CC-BY-NC-4.0", "noncommercial"),
        ("CC BY-NC 4.0", "noncommercial"),
        ("MIT for code, weights for non-commercial use", "noncommercial"),
        ("ask the authors", "unknown"),
        ("MITRE", "unknown"),
        ("weights on request, code under MIT", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_licence_is_permissive_only_when_it_is_known_to_be(text, kind):
    assert licence_kind(text) == kind


def test_a_licence_of_the_weights_goes_before_that_of_the_code():
    assert licence_of(zoo_of_cards()[1]) == ("CC-BY-NC-4.0", "weights")
    assert licence_of(zoo_of_cards()[0]) == ("MIT", "code")
    assert licence_of(zoo_of_cards()[2]) == (zoo.get_architecture("videomae_base").code_licence, "code")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"dataset": "ssv2"}, {"umt_base.ssv2_f8", "videomae_base.ssv2_f16"}),
        ({"dataset": "ssv2", "frames": 16}, {"videomae_base.ssv2_f16"}),
        ({"licence": "permissive"}, {"umt_base.k400_f8", "umt_mm_base.pt_25m"}),
        ({"licence": "noncommercial"}, {"umt_base.ssv2_f8", "videomae_base.ssv2_f16"}),
        ({"task": "pretraining"}, {"umt_mm_base.pt_25m"}),
        ({"family": "umt"}, {"umt_base.k400_f8", "umt_base.ssv2_f8", "umt_mm_base.pt_25m"}),
        ({"filter": "umt_*", "frames": 8, "licence": "permissive"}, {"umt_base.k400_f8"}),
        ({"frames": 3}, set()),
    ],
)
def test_weights_are_listed_by_what_they_are(asked, found):
    assert set(zoo.list_models(pretrained=True, **asked)) == found


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"dataset": "ssv3"}, "unknown data set 'ssv3'; did you mean 'ssv2'"),
        ({"task": "clasification"}, "did you mean 'classification'"),
        ({"licence": "permisive"}, "unknown kind of licence 'permisive'; did you mean 'permissive'"),
    ],
)
def test_misspelt_facts_get_the_closest(asked, words):
    with pytest.raises(UnknownNameError, match=words):
        zoo.list_models(pretrained=True, **asked)


def test_architectures_have_no_data_set_to_choose_by():
    with pytest.raises(ValueError, match="pass pretrained=True"):
        zoo.list_models(dataset="ssv2")


def test_a_family_is_found_also_without_a_network():
    assert family_of(card("umt_mm_large")) == "umt"
    assert family_of(card("vjepa2_ac_giant")) == "vjepa2"
    assert family_of(card("mystery_net")) == "mystery"


def test_of_families_whose_names_begin_alike_the_longest_is_meant(monkeypatch):
    known = zoo.get_architecture("umt_base")
    more = {it: replace(known, name=f"{it}_base", family=it) for it in ("umt", "umt_mm")}
    monkeypatch.setattr("zoo.catalogue.architectures", lambda: more)
    assert family_of(card("umt_mm_large")) == "umt_mm"


def test_the_number_that_stands_for_a_card_is_that_of_its_own_data_set():
    assert headline(zoo_of_cards()[0]).value == 87.4
    assert headline(card(dataset="k700", reported=(Reported("K400", "top-1", 80.0, ""),))).value == 80.0
    assert headline(card()) is None


def test_a_record_holds_everything_as_plain_json():
    told = json.loads(json.dumps(record(zoo_of_cards()[0])))
    assert told["sources"][0]["url"] == "https://example.org/a.pth"
    assert told["licence"] == {"text": "MIT", "of": "code", "kind": "permissive"}
    assert told["labels"]["sha256"].startswith("12054c1d")
    assert told["reported"][1] == {"dataset": "K400", "metric": "top-1", "value": 87.4, "source": "README table 2"}
    assert (told["layout"], told["entry"], told["md5_prefix"]) == ("UMT fine-tuned", "module", "1234")
    assert record(zoo_of_cards()[4])["labels"]["sha256"] is None
    assert record(zoo_of_cards()[1])["labels"] is None
