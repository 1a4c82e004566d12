import pytest

from benchmarks import cli
from benchmarks.commands.data import VERBS


def said(capsys, *words):
    try:
        status = cli.main(words)
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(capsys, verb):
    status, printed = said(capsys, "data", verb, "--help")
    assert status == 0
    assert f"zoo data {verb}" in printed.out
    assert "examples:" in printed.out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["data"], "VERB"),
        (["data", "sinth"], "synth"),
        (["data", "synth", "coin", "--clases", "3"], "--classes"),
        (["data", "synth", "coin", "extra"], "'extra'"),
    ],
    ids=" ".join,
)
def test_mistakes_get_a_hint_and_a_status(capsys, words, hint):
    status, printed = said(capsys, *words)
    assert status == 2
    assert hint in printed.err
