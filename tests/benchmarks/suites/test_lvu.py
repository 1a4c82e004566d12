import json
import math
from collections import Counter

import pytest

from benchmarks.layout import Plan
from benchmarks.suite import SuiteError
from benchmarks.suites import lvu
from tests.benchmarks.laid_out import change, lay_out, prepared
from tests.support import find
from zoo.data.list_files import ListError
from zoo.data.records import Span

PLAN = Plan(classes=4, videos=2)


def test_windows_share_the_row_of_their_video(tmp_path):
    records = prepared(lvu.SUITE, tmp_path, PLAN).records("genre", "test")
    first = [record for record in records if record.row == 0]
    assert [record.span for record in first] == [Span(0, 60), Span(16, 76), Span(32, 80), Span(48, 80)]
    assert len({(record.path, record.label) for record in first}) == 1
    assert Counter(Counter(record.row for record in records).values()) == {4: 4, 1: 4}
    assert {record.row for record in records} == set(range(8))


def test_windows_are_those_of_videomambas_reader():
    for case in json.loads(find("videomamba/pipeline.json").read_text())["lvu_windows"]:
        assert [list(span[:2]) for span in lvu.videomamba_windows(case["duration"])] == case["windows"]


@pytest.mark.parametrize(("seconds", "starts"), [(45, [0]), (60, [0]), (60.9, [0]), (62, [0, 1, 2])])
def test_windows_of_vis4mer_are_complete_and_one_per_second(seconds, starts):
    # range(1, duration - 60 + 1) after the window at 0, in ViS4mer datasets/lvu_dataset.py
    assert lvu.vis4mer_windows(seconds) == [Span(start, min(start + 60, seconds)) for start in starts]


def test_the_other_forms_ask_the_same_videos(tmp_path):
    folder = lay_out(lvu.SUITE, tmp_path, PLAN)
    forms = [suite.prepare(folder, False).records("scene", "val") for suite in (lvu.SUITE, lvu.VIS4MER, lvu.WHOLE)]
    assert [len(records) for records in forms] == [4 * 4 + 4, 4 * 21 + 4, 8]
    assert len({tuple(dict.fromkeys((r.path, r.label, r.row) for r in records)) for records in forms}) == 1
    assert {record.span for record in forms[2]} == {None}


def test_regressions_have_vis4mers_targets_and_no_labels(tmp_path):
    videos = prepared(lvu.WHOLE, tmp_path, PLAN)
    likes, views = (videos.records(task, "train") for task in ("like_ratio", "view_count"))
    assert {record.label for record in likes + views} == {-1}
    # 2,000 likes of 3,000; 4,000 views
    assert likes[1].target == pytest.approx(10 * 2 / 3 - 9.138220535629456, abs=1e-12)
    assert views[1].target == pytest.approx(math.log(4000) - 11.76425435683139, abs=1e-12)
    assert videos.classes("like_ratio") == ()
    assert [lvu.SUITE.task(task).metric for task in ("like_ratio", "view_count", "year")] == ["mse", "mse", "top1"]


def test_class_ids_that_no_list_has_are_kept_in_the_head_and_out_of_generated_lists(tmp_path):
    videos = prepared(lvu.SUITE, tmp_path, Plan(classes=10, videos=1))
    assert len(videos.classes("director")) == lvu.SUITE.task("director").num_classes == 10
    assert {record.label for record in videos.records("director", "train")} == {0, 1, 4, 5, 6, 7, 8, 9}
    assert {record.label for record in videos.records("relationship", "train")} == {0, 1, 2, 3}
    assert videos.classes("writer")[0] == "\\N"


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("genre/train.csv", "0 Comedy", "1 Comedy", "class_name"),
        ("genre/train.csv", "0 Comedy", "4 Comedy", "class_id"),
        ("genre/train.csv", "class_id class_name", "class_id,class_name", "header"),
        ("like_ratio/test.csv", "1000 1000", "0 0", "like_count"),
        ("view_count/val.csv", "1000 ", "0 ", "view_count"),
        ("view_count/val.csv", "1000 ", "1e3 ", "view_count"),
        ("lvu_durations.csv", ",80", ",0", "duration"),
        ("lvu_durations.csv", ",80", ",nan", "duration"),
    ],
)
def test_a_wrong_list_is_refused_by_file_line_and_field(tmp_path, file, old, new, field):
    folder = lay_out(lvu.SUITE, tmp_path, PLAN)
    change(folder / "lvu_1.0" / file, old, new)
    with pytest.raises(ListError, match=rf"{file}', line \d+, {field}"):
        lvu.prepare(folder, False)


def test_a_video_without_a_length_is_refused(tmp_path):
    folder = lay_out(lvu.SUITE, tmp_path, PLAN)
    path = folder / "lvu_1.0/lvu_durations.csv"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, *rest]))
    with pytest.raises(ListError, match=rf"youtube_id: {first.partition(',')[0]} has no length"):
        lvu.prepare(folder, False)


@pytest.mark.parametrize("name", ["lvu_durations.csv", "year/val.csv"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    folder = lay_out(lvu.SUITE, tmp_path, PLAN)
    (folder / "lvu_1.0" / name).unlink()
    with pytest.raises(SuiteError, match=name):
        lvu.prepare(folder, False)


def test_known_sizes_are_those_of_the_lists():
    # spec-videomamba section 12: 7,619 / 1,666 / 1,551 videos in total
    for split, total in (("train", 7619), ("val", 1666), ("test", 1551)):
        sizes = lvu.SUITE.sizes["VideoMamba's paper"]
        assert sum(count for name, count in sizes.items() if name.endswith(f"/{split}")) == total
    assert lvu.SUITE.sizes["lvu_1.0"]["genre/test"] == 647
