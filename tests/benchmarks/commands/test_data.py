"""`zoo data` hands over to its verbs, and their mistakes are theirs."""

import subprocess
import sys

import pytest

from benchmarks import cli
from benchmarks.commands.data import VERBS


def call(capsys, *words):
    try:
        status = cli.main(["data", *words])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(capsys, verb):
    status, out, _ = call(capsys, verb, "--help")
    assert status == 0
    assert f"zoo data {verb}" in out
    assert "examples:" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "required: VERB"),
        (["chek"], "chek"),
        (["synth", "coin", "--clases", "3"], "--classes"),
        (["synth", "coin", "extra"], "'extra'"),
        (["check", "--quik"], "unknown option '--quik'; did you mean --quick"),
        (["stats", "--smple", "3"], "did you mean --sample"),
        (["check"], "name either a suite (with --data DIR), or lists"),
        (["check", "k40O"], "unknown suite 'k40O'"),
        (["check", "--list", "/nowhere/a.csv"], "cannot be read"),
        (["check", "--list", "a.csv", "--root", "/nowhere"], "there is no folder '/nowhere'"),
        (["check", "--list", "a.csv", "--jobs", "0"], "'0' is not a whole number from 1 on"),
    ],
)
def test_mistakes_are_named_and_end_with_2(capsys, words, hint):
    status, out, err = call(capsys, *words)
    assert (status, out) == (2, "")
    assert hint in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_help_does_not_wait_for_torch():
    code = "import sys; import benchmarks.commands.data; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
