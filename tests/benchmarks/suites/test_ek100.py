import numpy as np
import pytest

from benchmarks.layout import Plan
from benchmarks.suite import SuiteError
from benchmarks.suites import ek100
from tests.benchmarks.laid_out import change, lay_out, prepared
from zoo.card import ClipSpec
from zoo.data.list_files import ListError
from zoo.data.records import Span
from zoo.data.sampling import eval_index

PLAN = Plan(classes=4, videos=3)
LISTS = "epic-kitchens-100-annotations"


def segment(*, start=10.0, stop=14.0, stop_frame=840):
    return ek100.Segment("P01_01", "P01", start, stop, stop_frame, 0, 0)


def annotations(rate):
    nothing: frozenset = frozenset()
    return ek100.Annotations(
        train=[],
        validation=[],
        verbs=(),
        nouns=(),
        tail_verbs=nothing,
        tail_nouns=nothing,
        unseen=nothing,
        rates={"P01_01": rate},
        notes=(),
    )


def test_a_segment_has_three_labels(tmp_path):
    videos = prepared(ek100.SUITE, tmp_path, PLAN)
    lists = {task.name: videos.records(task.name, "train") for task in ek100.SUITE.tasks}
    assert [record.label for record in lists["verb"]] == [0, 1, 0, 1] * 3
    assert [record.label for record in lists["noun"]] == [0, 0, 1, 1] * 3
    # pairs (0, 0), (1, 0), (0, 1), (1, 1) in ascending order are classes 0, 2, 1, 3
    assert [record.label for record in lists["action"]] == [0, 2, 1, 3] * 3
    assert videos.classes("action")[2] == "verb-1 noun-0"
    assert [record.span for record in lists["verb"][:2]] == [Span(6, 10), Span(16, 20)]
    assert [record.row for record in lists["verb"]] == list(range(12))


def test_times_are_hours_minutes_and_seconds(tmp_path):
    folder = lay_out(ek100.SUITE, tmp_path, PLAN)
    change(folder / LISTS / "EPIC_100_train.csv", "00:00:10.00", "01:02:10.50")
    assert ek100.prepare(folder, False).records("verb", "train")[0].span == Span(6, 3730.5)


def test_pairs_that_only_validation_has_are_classes_after_those_of_training(tmp_path):
    videos = prepared(ek100.SUITE, tmp_path, PLAN)
    assert videos.records("action", "validation")[-1].label == 4
    assert videos.classes("action")[4] == "verb-0 noun-299"
    assert len(videos.records("action", "validation")) == 13
    assert "1 validation segments show one of 1 pairs" in videos.notes[-1]


def test_subsets_are_participants_without_training_videos_and_rare_classes(tmp_path):
    videos = prepared(ek100.SUITE, tmp_path, PLAN)
    unseen = videos.records("verb", "validation_unseen")
    assert {record.path.parts[-3] for record in unseen} == {"P18"}
    assert {record.path.parts[-3] for record in videos.records("verb", "train")}.isdisjoint({"P18"})
    assert [record.row for record in unseen] == list(range(9))
    # the tail is verb 1, and nouns 1 and 299
    assert {record.label for record in videos.records("verb", "validation_tail")} == {1}
    assert {record.label for record in videos.records("noun", "validation_tail")} == {1, 299}
    assert {record.label for record in videos.records("action", "validation_tail")} == {1, 2, 3, 4}


def test_both_layouts_of_videos_are_found(tmp_path):
    folder = lay_out(ek100.SUITE, tmp_path, PLAN)
    assert all(record.path.is_file() for record in ek100.prepare(folder, False).records("verb", "validation"))
    for participant in (folder / "EPIC-KITCHENS").iterdir():
        for video in (participant / "videos").iterdir():
            video.rename(participant / video.name)
        (participant / "videos").rmdir()
    assert all(record.path.is_file() for record in ek100.prepare(folder, False).records("verb", "validation"))


def test_anticipation_ends_a_second_before_the_action_starts_and_drops_pairs_that_training_lacks(tmp_path):
    videos = prepared(ek100.ANTICIPATION, tmp_path, PLAN)
    for task in ("verb", "noun", "action"):
        records = videos.records(task, "validation")
        assert len(records) == 12
        assert [record.span for record in records[:2]] == [Span(1, 5), Span(11, 15)]
        assert max(record.label for record in records) < len(videos.classes(task)) == {"action": 4}.get(task, 2)
    assert "1 of 13 validation segments dropped" in videos.notes[-2]
    assert {task.metric for task in ek100.ANTICIPATION.tasks} == {"recall5"}


@pytest.mark.parametrize(("start", "span"), [(10.0, (5.0, 9.0)), (3.0, (0.0, 2.0)), (0.4, (0.0, 0.0))])
def test_anticipation_sees_four_seconds_or_what_there_is(start, span):
    assert ek100.standard_span(segment(start=start), annotations(60.0))[:2] == span


@pytest.mark.parametrize("rate", [59.94005994005994, 50.0, 29.97, 25.0, 8.0])
@pytest.mark.parametrize("stop_frame", [400, 841])
def test_the_released_window_takes_the_frames_of_vjepa2s_loader(rate, stop_frame):
    span = ek100.released_span(segment(stop_frame=stop_frame), annotations(rate))
    part = span.frames(100_000, rate)
    spec = ClipSpec(num_frames=32, sampling="segments", img_size=16, clips=1)
    mine = eval_index(spec, len(part), clip=0) + part.start
    # evals/action_anticipation_frozen/epickitchens.py, decode_videos_to_clips, anticipation point 0 and time 1 s
    step = int(rate / 8)
    last = int(stop_frame - int(1.0 * rate))
    assert mine.tolist() == np.arange(last - 32 * step, last, step).tolist()


def test_the_released_window_shows_the_action_and_the_standard_one_does_not():
    action = segment(start=10.0, stop=14.0, stop_frame=840)
    released = ek100.released_span(action, annotations(60.0))
    assert released.end / 60 > action.start + 2
    assert ek100.standard_span(action, annotations(60.0)).end == action.start - 1


def test_a_released_window_before_the_video_is_cut_off_at_its_beginning():
    assert ek100.released_span(segment(stop_frame=100), annotations(60.0)) == Span(0, 36, "frames")
    assert ek100.released_span(segment(stop_frame=30), annotations(60.0)) == Span(0, 0, "frames")


def test_only_the_released_window_needs_frame_rates(tmp_path):
    folder = lay_out(ek100.SUITE, tmp_path, PLAN)
    (folder / LISTS / "EPIC_100_video_info.csv").unlink()
    ek100.SUITE.prepare(folder, False)
    ek100.ANTICIPATION.prepare(folder, False)
    with pytest.raises(SuiteError, match=r"looked for EPIC_100_video_info\.csv"):
        ek100.RELEASED.prepare(folder, False)


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("EPIC_100_train.csv", "00:00:10.00", "00:00:03.00", "stop_timestamp"),
        ("EPIC_100_train.csv", "00:00:10.00", "10.0", "stop_timestamp"),
        ("EPIC_100_validation.csv", "verb-1,1", "verb-1,97", "verb_class"),
        ("EPIC_100_validation.csv", "noun-1,1", "noun-1,300", "noun_class"),
        ("EPIC_100_train.csv", "P01,P01_01", "P01,P02_01", "video_id"),
        ("EPIC_100_train.csv", "P01_01_1", "P01_01_0", "narration_id"),
        ("EPIC_100_verb_classes.csv", "96,verb-96", "98,verb-96", "id"),
        ("EPIC_100_tail_verbs.csv", "\n1", "\n97", "verb"),
        ("EPIC_100_video_info.csv", "P01_01", "P01_71", "video_id"),
        ("EPIC_100_video_info.csv", ",8.0,", ",0,", "fps"),
    ],
)
def test_a_wrong_file_is_refused_by_line_and_field(tmp_path, file, old, new, field):
    folder = lay_out(ek100.SUITE, tmp_path, PLAN)
    change(folder / LISTS / file, old, new)
    with pytest.raises(ListError, match=rf"{file}', line \d+, {field}"):
        ek100.RELEASED.prepare(folder, False)


def test_a_list_of_classes_that_is_not_whole_is_refused(tmp_path):
    folder = lay_out(ek100.SUITE, tmp_path, PLAN)
    path = folder / LISTS / "EPIC_100_verb_classes.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(ListError, match="last of 96 classes; EPIC-KITCHENS-100 has 97"):
        ek100.prepare(folder, False)


def test_lists_that_are_not_there_are_named(tmp_path):
    with pytest.raises(SuiteError, match=r"looked for EPIC_100_verb_classes\.csv"):
        ek100.prepare(tmp_path, False)
