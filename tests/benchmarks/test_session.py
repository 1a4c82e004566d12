import io
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import session
from benchmarks.session import Request, RequestError, open_session, with_classes
from benchmarks.suite import SuiteError, Task
from benchmarks.suites import table
from benchmarks.systems import SizeError
from tests.benchmarks.tiny_suite import SUITE, TinyVideos
from zoo.folders import FolderError
from zoo.suggest import UnknownNameError


def test_a_request_comes_back_from_its_folder(tmp_path):
    asked = Request(names=("vit_pico",), out=tmp_path, seeds=3, cache=tmp_path / "c", data=tmp_path / "d", jobs=2)
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
    asked = Request(names=("a", "b"), protocol="linear", budget="smoke", seeds=2, out=Path("x y"), data=Path("d"))
    words = shlex.split(asked.command)
    assert words[:4] == ["zoo", "compare", "a", "b"]
    assert words[words.index("--out") + 1] == "x y"
    assert words[words.index("--data") + 1] == "d"
    assert "--cache" not in words
    assert words[words.index("--protocol") + 1] == "linear"
    assert "--jobs" not in words


def test_names_are_checked_before_anything_is_rendered(tmp_path, monkeypatch):
    def prepare(*_):
        raise AssertionError("rendered")

    changed = replace(SUITE, prepare=prepare)
    monkeypatch.setitem(table.SUITES, "digits", changed)
    with pytest.raises(SizeError):
        open_session(Request(names=("videomae_base",), out=tmp_path), Console(file=io.StringIO()))


def test_the_smoke_budget_takes_the_small_rendering(tmp_path, monkeypatch):
    small = replace(SUITE, name="small")
    monkeypatch.setitem(table.SUITES, "digits", replace(SUITE, small=small))
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
    with pytest.raises(FolderError, match=f"--{option} .*file: .*; give a folder that can be written to"):
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


def test_classes_that_only_the_files_know_get_their_names_and_values_are_left_out(tmp_path):
    listed = Task(name="shade", question="?", num_outputs=2)
    values = Task(name="likes", question="?", num_outputs=1, metric="mse")
    found = with_classes(replace(SUITE, tasks=(listed, values)), TinyVideos(tmp_path))
    assert [(task.name, task.classes, task.num_classes) for task in found.tasks] == [("shade", ("dark", "light"), 2)]
    with pytest.raises(RequestError, match="tiny asks for values"):
        with_classes(replace(SUITE, tasks=(values,)), TinyVideos(tmp_path))


def test_a_folder_of_videos_that_is_not_there_is_told(tmp_path):
    asked = Request(names=("vit_pico",), data=tmp_path / "none", out=tmp_path / "out", cache=tmp_path / "cache")
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="file: this is a file, not a folder"):
        open_session(replace(asked, data=tmp_path / "file"), Console(quiet=True))
    with pytest.raises(RequestError, match=r"--data .*none: there is no such folder; it should hold the files of"):
        open_session(asked, Console(quiet=True))
    with pytest.raises(SuiteError, match="coin needs the folder with its videos and lists, --data FOLDER"):
        open_session(replace(asked, suite="coin", data=None), Console(quiet=True))


def test_one_task_of_a_suite_can_be_compared_on(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, "digits", SUITE)
    asked = Request(names=("vit_pico",), task=SUITE.tasks[-1].name, out=tmp_path, cache=tmp_path / "cache")
    assert [it.name for it in open_session(asked, Console(quiet=True)).suite.tasks] == [SUITE.tasks[-1].name]
    assert f"--task {asked.task}" in asked.command
    with pytest.raises(UnknownNameError, match="unknown task 'nothing'"):
        open_session(replace(asked, task="nothing"), Console(quiet=True))


def test_a_comparison_says_which_tasks_it_leaves_out_and_announces_a_rendering_only_where_there_is_one(
    tmp_path, monkeypatch
):
    values = Task(name="likes", question="?", num_outputs=1, metric="mse")
    asked = Request(names=("vit_pico",), budget="quick", out=tmp_path, cache=tmp_path / "cache")
    said = {}
    for url in ("", "https://example.org"):
        monkeypatch.setitem(table.SUITES, "digits", replace(SUITE, tasks=(*SUITE.tasks, values), url=url))
        text = io.StringIO()
        open_session(replace(asked, data=tmp_path if url else None), Console(file=text, width=200))
        said[url] = text.getvalue()
    assert all("left out, because they ask for values and not for classes: likes\n" in it for it in said.values())
    assert ["rendered" in it for it in said.values()] == [True, False]


def test_a_system_that_is_named_twice_is_told_and_takes_part_once(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, "tiny", SUITE)
    said, names = io.StringIO(), ("vit_pico", "vit_pico:mae")
    request = Request(names=names, suite="tiny", budget="quick", out=tmp_path / "out", cache=tmp_path / "cache")
    session_ = open_session(request, Console(file=said, width=200))
    assert [one.label for one in session_.comparison.systems] == ["vit_pico:mae"]
    assert "named more than once, which makes no difference: vit_pico, vit_pico:mae are vit_pico:mae" in said.getvalue()
