import pytest

from benchmarks.suite import Suite, SuiteError, Videos
from benchmarks.suites.table import SUITES, get_suite
from tests.benchmarks.suites import official

# Suite -> test list of its first task as `official` writes it: names of files and labels, and the first class names.
KINETICS = [f"_000000000{n}_0000{n}0_0000{n + 1}0.mp4" for n in range(3)]
TEST_LISTS = {
    "k400": (list(zip(KINETICS, (399, 398, 397), strict=True)), "abseiling"),
    "k600": (list(zip(KINETICS, (599, 598, 597), strict=True)), "class 000"),
    "k700": (list(zip(KINETICS, (699, 698, 697), strict=True)), "class 000"),
    "k710": ([(f"val_{n}_{place}.mp4", n) for n in (400, 600, 700) for place in (0, 1)], ""),
    "ssv2": ([("20.webm", 0), ("21.webm", 1)], "Approaching something with your camera"),
    "mit": ([("yt-validation_0.mp4", 0), ("yt-validation_1.mp4", 1)], "class+000"),
    "in1k": ([("val_n10000000.JPEG", 0), ("val_n10000007.JPEG", 1)], "n10000000"),
    "ucf101": ([("v_Class000_g11_c01.avi", 0), ("v_Class001_g11_c01.avi", 1)], "Class000"),
    "hmdb51": ([("2_1_0.avi", 0), ("2_1_1.avi", 1)], "class_00"),
    "finegym288": (
        [("A0xAXXysHUo_E_002182_002237_A_0035_0030.mp4", 0), ("A0xAXXysHUo_E_002182_002237_A_0035_0031.mp4", 1)],
        "(VT) element 0",
    ),
}


@pytest.fixture(params=TEST_LISTS)
def suite(request):
    return SUITES[request.param]


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_a_suite_has_a_source_a_licence_quirks_and_tasks_of_distinct_names(suite: Suite):
    assert all((suite.source, suite.licence, suite.quirks))
    assert suite.test_split in suite.splits
    assert suite.train_split in suite.splits
    assert len({task.name for task in suite.tasks}) == len(suite.tasks) > 0


def test_a_misspelt_suite_gets_the_closest_one():
    assert get_suite("digits").name == "digits"
    with pytest.raises(KeyError, match="did you mean 'digits'"):
        get_suite("digist")


def test_official_files_give_the_listed_videos_their_labels_and_the_class_names(suite, tmp_path):
    official.WRITERS[suite.name](tmp_path)
    videos = suite.prepare(tmp_path, False)
    assert isinstance(videos, Videos)
    wanted, first_name = TEST_LISTS[suite.name]
    records = videos.records(suite.tasks[0].name, suite.test_split)
    assert [(record.path.name, record.label) for record in records] == wanted
    assert [record.row for record in records] == list(range(len(wanted)))
    assert all(record.path.is_file() for record in records)
    names = videos.classes(suite.tasks[0].name)
    assert names[:1] == ((first_name,) if first_name else ())
    assert len(names) in (0, suite.tasks[0].num_classes)
    train = {record.path for record in videos.records(suite.tasks[0].name, suite.train_split)}
    assert train
    assert not train & {record.path for record in records}
    assert {record.path for record in videos.pretraining()} >= train


def test_the_split_hash_is_that_of_the_list_wherever_it_lies(suite, tmp_path):
    task = suite.tasks[0].name
    for folder in ("a", "b"):
        official.WRITERS[suite.name](tmp_path / folder)
    first, second = (suite.prepare(tmp_path / folder, False) for folder in ("a", "b"))
    assert first.split_hash(task, suite.test_split) == second.split_hash(task, suite.test_split)
    assert first.split_hash(task, suite.test_split) != first.split_hash(task, suite.train_split)


def test_without_files_a_suite_says_what_it_looked_for_where_and_where_to_get_it(suite, tmp_path):
    with pytest.raises(SuiteError, match="--data") as caught:
        suite.prepare(None, False)
    assert suite.url in str(caught.value)
    assert f"zoo data synth {suite.name}" in str(caught.value)
    with pytest.raises(SuiteError, match="looked for") as caught:
        suite.prepare(tmp_path, False)
    assert str(tmp_path) in str(caught.value)
    assert f"zoo data synth {suite.name}" in str(caught.value)
    with pytest.raises(SuiteError, match="there is no folder"):
        suite.prepare(tmp_path / "none", False)


def test_a_listed_video_that_is_missing_stays_in_the_list(suite, tmp_path):
    official.WRITERS[suite.name](tmp_path)
    task = suite.tasks[0].name
    videos = suite.prepare(tmp_path, False)
    before = videos.split_hash(task, suite.test_split)
    videos.records(task, suite.test_split)[0].path.unlink()
    again = suite.prepare(tmp_path, False).split_hash(task, suite.test_split)
    # The images of ImageNet are listed by their folders alone.
    assert (again == before) == (suite.name != "in1k")


def test_lists_without_any_of_their_videos_say_that_the_folder_is_probably_wrong(suite, tmp_path):
    official.WRITERS[suite.name](tmp_path)
    videos = suite.prepare(tmp_path, False)
    for task in suite.tasks:
        for split in (suite.train_split, suite.test_split):
            for record in videos.records(task.name, split):
                record.path.unlink(missing_ok=True)
    with pytest.raises(SuiteError, match=r"--data|no folders with images"):
        suite.prepare(tmp_path, False).records(suite.tasks[0].name, suite.test_split)


def test_known_copies_are_named_by_the_length_of_their_lists():
    assert SUITES["k400"].copies_of("action", "val", 19_881) == ["CVDF archive"]
    assert SUITES["k400"].copies_of("action", "val", 19_796) == ["MMAction2 and VideoMAE"]
    assert SUITES["k400"].copies_of("action", "val", 19_000) == []
    assert SUITES["ucf101"].copies_of("split2", "test", 3_734) == ["official lists (from memory)"]
    assert SUITES["ucf101"].copies_of("split1", "test", 3_734) == []
    assert SUITES["hmdb51"].copies_of("split3", "test", 1_530) == ["official lists"]
    assert SUITES["digits"].copies_of("motion", "test", 1) == []


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("k400", 400),
        ("k600", 600),
        ("k700", 700),
        ("k710", 710),
        ("ssv2", 174),
        ("mit", 339),
        ("in1k", 1000),
        ("ucf101", 101),
        ("hmdb51", 51),
        ("finegym288", 288),
    ],
)
def test_class_counts_are_those_of_the_publications(name, classes):
    assert {task.num_classes for task in SUITES[name].tasks} == {classes}


def test_no_flips_where_left_and_right_are_part_of_the_label():
    assert not SUITES["ssv2"].tasks[0].flip
