import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.data_tools import stats_report
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.stats import FileStats, ListStats, Overlap, Range

LISTING = Listing(name="x", root=Path("/r"), lists={})
TRAIN = ListStats(
    task="what",
    split="train",
    videos=3,
    rows=3,
    records=3,
    per_class=Range(1, 1.5, 2),
    classes=4,
    empty=("c", "d"),
    per_row=(2, 1, 0, 0),
    targets=None,
    copies=("ours",),
    known={"ours": 3, "theirs": 5},
    split_hash="abcd",
)
FILES = FileStats(
    source="all",
    files=3,
    listed=9,
    bad=1,
    durations_s=(1.0, 2.0),
    hours=0.5,
    fps={"25.00": 2},
    sizes={f"{n}x16": 1 for n in range(7)},
    codecs={"h264": 2},
    bytes=5_000_000,
)


def said(lists, overlaps=(), files=None):
    text = io.StringIO()
    stats_report.show(Console(file=text, width=200), LISTING, lists, overlaps, files)
    return text.getvalue()


def test_tables_tell_lists_overlaps_and_files():
    text = said([TRAIN], [Overlap("what", "train", "test", tuple("abcdefg"))], FILES)
    assert "1 / 1.5 / 2" in text
    assert "what/train: 2 classes without videos: c, d" in text
    assert "what/train and what/test share 7 videos: a, b, c, d, e, ..." in text
    assert "0x16 (1), 1x16 (1), 2x16 (1), 3x16 (1), 4x16 (1), 2 more" in text
    assert "1 / 1.5 / 2; 0.50 hours" in text


def test_a_length_that_no_copy_has_is_said_with_those_they_have():
    odd = ListStats(**{**TRAIN.__dict__, "copies": (), "per_class": None, "targets": Range(0.5, 1.0, 2.5)})
    text = said([odd, odd])
    assert "none: ours has 3, theirs has 5" in text
    assert "targets 0.5 / 1 / 2.5" in text
    assert "no two lists of a task share a video" in text


def test_programs_get_plain_values():
    found = stats_report.as_json(LISTING, [TRAIN], [Overlap("what", "train", "test", ("a",))], FILES)
    again = json.loads(json.dumps(found))
    assert again["lists"][0]["per_row"] == [2, 1, 0, 0]
    assert again["overlaps"] == [{"task": "what", "one": "train", "other": "test", "names": ["a"]}]
    assert again["files"]["hours"] == 0.5
    assert stats_report.as_json(LISTING, [], [], None)["files"] is None


@pytest.mark.parametrize("files", [FILES, None])
def test_a_picture_is_drawn_and_none_replaced_unasked(tmp_path, files):
    path = tmp_path / "p.png"
    stats_report.check_plot(path, force=False)
    stats_report.plot(path, LISTING, [TRAIN, TRAIN] if files else [], files)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [it.name for it in tmp_path.iterdir()] == ["p.png"]
    with pytest.raises(DataError, match=r"is there; replace it with --force"):
        stats_report.check_plot(path, force=False)
    stats_report.check_plot(path, force=True)


@pytest.mark.parametrize(("name", "hint"), [("p.gif", "one of .png, .svg, .pdf"), ("none/p.png", "there is no folder")])
def test_a_picture_that_cannot_be_written_is_refused_before_any_work(tmp_path, name, hint):
    with pytest.raises(DataError, match=hint):
        stats_report.check_plot(tmp_path / name, force=False)
