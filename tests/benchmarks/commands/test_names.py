import pytest

from benchmarks.commands.names import chosen
from tests.zoo.made_up import card
from zoo.suggest import UnknownNameError


@pytest.fixture(autouse=True)
def _cards(monkeypatch):
    monkeypatch.setattr("zoo.cards.CARDS", tuple(card(tag) for tag in ("k400_f8", "k400_f16", "ssv2")))


def test_names_and_patterns_are_joined_without_repeats():
    assert chosen(["vit_pico.ssv2", "vit_pico.k400_*", "*.ssv2"]) == [
        "vit_pico.ssv2",
        "vit_pico.k400_f8",
        "vit_pico.k400_f16",
    ]
    assert len(chosen([], everything=True)) == 3


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ([], "--all"),
        (["vit_pico.k400_f9"], r"did you mean 'vit_pico\.k400_f8'"),
        (["vit_pico.ssv2", "hf:me/net"], r"'hf:me/net' has no card.*create_model\('hf:me/net', pretrained=True\)"),
        (["local-dir:/a.b/c"], r"'local-dir:/a\.b/c' has no card"),
        (["vit_pico.k600_*"], r"no released weights fit 'vit_pico\.k600_\*'; the closest: vit_pico"),
    ],
)
def test_names_of_nothing_get_a_hint(names, hint):
    with pytest.raises(UnknownNameError, match=hint):
        chosen(names)
    with pytest.raises(UnknownNameError, match=r"'vit_pico\.ssv2' among them"):
        chosen(["vit_pico.ssv2"], everything=True)
