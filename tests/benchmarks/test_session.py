import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import session
from benchmarks.session import Request, RequestError, open_session
from benchmarks.systems import SizeError
from tests.benchmarks.tiny_suite import SUITE


def test_a_request_comes_back_from_its_folder(tmp_path):
    asked = Request(names=("vit_pico",), out=tmp_path, seeds=3, cache=tmp_path / "cache", jobs=2)
    asked.save()
    assert Request.load(tmp_path) == asked


def test_a_folder_that_was_moved_is_found_where_it_is_now(tmp_path):
    Request(names=("vit_pico",), out=tmp_path).save()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert Request.load(moved).out == moved


@pytest.mark.parametrize("content", [None, "{", '{"names": ["a"]}', '{"names": ["a"], "cache": null, "other": 1}'])
def test_any_other_folder_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / session.REQUEST_FILE).write_text(content)
    with pytest.raises(RequestError, match=str(tmp_path)):
        Request.load(tmp_path)


def test_the_command_asks_for_the_same_again():
    asked = Request(names=("a", "b"), protocol="linear", budget="smoke", seeds=2, out=Path("x y"))
    words = shlex.split(asked.command)
    assert words[:4] == ["zoo", "compare", "a", "b"]
    assert words[words.index("--out") + 1] == "x y"
    assert words[words.index("--protocol") + 1] == "linear"
    assert "--jobs" not in words


def test_names_are_checked_before_anything_is_rendered(tmp_path, monkeypatch):
    def prepare(*_):
        raise AssertionError("rendered")

    changed = type(SUITE)(**{**SUITE.__dict__, "prepare": prepare})
    monkeypatch.setitem(session.SUITES, "digits", (changed, changed))
    with pytest.raises(SizeError):
        open_session(Request(names=("videomae_base",), out=tmp_path), Console(file=io.StringIO()))


def test_the_smoke_budget_takes_the_small_rendering(tmp_path, monkeypatch):
    small = type(SUITE)(**{**SUITE.__dict__, "name": "small"})
    monkeypatch.setitem(session.SUITES, "digits", (SUITE, small))
    console = Console(file=io.StringIO())
    for name, budget in (("small", "smoke"), ("tiny", "quick")):
        opened = open_session(
            Request(names=("vit_pico",), budget=budget, out=tmp_path, cache=tmp_path / "cache"), console
        )
        assert opened.suite.name == name
        assert json.dumps(opened.told.versions)


@pytest.mark.parametrize("option", ["out", "cache"])
def test_a_place_that_cannot_be_written_to_is_named_with_its_option(tmp_path, option):
    (tmp_path / "file").write_text("")
    places = {"out": tmp_path / "out", "cache": tmp_path / "cache", option: tmp_path / "file"}
    with pytest.raises(RequestError, match=f"--{option} .*file: .*; give a folder that can be written to"):
        open_session(Request(names=("vit_pico",), **places), Console(quiet=True))


@pytest.mark.parametrize(("text", "said"), [(None, "no comparison was written to"), ("{}", "request.json is damaged")])
def test_a_folder_without_a_sound_request_is_told(tmp_path, text, said):
    if text is not None:
        (tmp_path / "request.json").write_text(text)
    with pytest.raises(RequestError, match=said):
        Request.load(tmp_path)


def test_a_misspelt_name_leaves_no_folder_behind(tmp_path):
    with pytest.raises(ValueError, match="vit_pico"):
        open_session(Request(names=("vit_pic",), out=tmp_path / "out", cache=tmp_path / "cache"), Console(quiet=True))
    assert not list(tmp_path.iterdir())
