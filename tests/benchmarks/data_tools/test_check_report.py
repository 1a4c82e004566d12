import io
from pathlib import Path

from rich.console import Console

from benchmarks.data_tools import check_report
from benchmarks.data_tools.check import Entry
from benchmarks.data_tools.listing import Listing
from zoo.data.records import Record

LISTS = {
    ("", "train"): [Record(Path("/r/a.mp4"), 0, 0), Record(Path("/r/a.mp4"), 0, 1), Record(Path("/r/b.mp4"), 0, 2)],
    ("", "val"): [Record(Path("/r/b.mp4"), 0, 0), Record(Path("/r/c[x].mp4"), 0, 1)],
}
LISTING = Listing(name="x", root=Path("/r"), lists=LISTS, notes=["a.csv: accepted [x]"])
ENTRIES = {
    "a.mp4": Entry(path="a.mp4", status="ok"),
    "b.mp4": Entry(path="b.mp4", status="corrupt", reason="a hole"),
    "c[x].mp4": Entry(path="c[x].mp4", status="missing", reason="there is no such file"),
}


def said(entries, listing=LISTING, parts=()):
    text = io.StringIO()
    check_report.show(Console(file=text, width=100), listing, entries, parts, Path("m.jsonl"))
    return text.getvalue()


def test_each_list_counts_its_distinct_videos_and_the_whole_each_once():
    found = check_report.counts(LISTING, ENTRIES)
    assert found["train"] == {"ok": 1, "short": 0, "corrupt": 1, "missing": 0}
    assert found["val"] == {"ok": 0, "short": 0, "corrupt": 1, "missing": 1}
    assert found["all, each once"] == {"ok": 1, "short": 0, "corrupt": 1, "missing": 1}


def test_bad_files_are_named_as_they_are_written():
    text = said(ENTRIES, parts=["val, row 3: nothing"])
    assert "corrupt b.mp4: a hole" in text
    assert "missing c[x].mp4: there is no such file" in text
    assert "no frames val, row 3" in text
    assert "a.csv: accepted [x]" in text
    assert "right?" not in text


def test_many_bad_files_are_cut_and_a_wrong_root_is_guessed():
    lists = {("", "a"): [Record(Path(f"/r/{n}.mp4"), 0, n) for n in range(30)]}
    entries = {f"{n}.mp4": Entry(path=f"{n}.mp4", status="missing") for n in range(30)}
    text = said(entries, Listing(name="x", root=Path("/r"), lists=lists))
    assert "and 10 more, see the manifest" in text
    assert "is --root /r right?" in text


def test_programs_get_the_same():
    found = check_report.as_json(LISTING, ENTRIES, [], Path("m.jsonl"))
    assert found["videos"] == 3
    assert found["notes"] == ["a.csv: accepted [x]"]
    assert [it["path"] for it in found["bad"]] == ["b.mp4", "c[x].mp4"]
    assert found["counts"]["val"]["missing"] == 1
