import pytest

from benchmarks.suite import SuiteError
from benchmarks.suites.kinetics import names_of_lists
from benchmarks.suites.table import SUITES
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import touch, write
from zoo.data.labels import order
from zoo.data.records import ListError

HEADER = "label,youtube_id,time_start,time_end,split\n"
ALPHABETICAL = order("k400_alphabetical").names


def read(root, name="k400"):
    return SUITES[name].prepare(root, False)


def labels(videos, split="val"):
    return [record.label for record in videos.records("action", split)]


def listed(root, line, split="val"):
    """An official list of one line, with a video beside it."""
    write(root / f"{split}.csv", HEADER + line)
    touch(root / split, "aaaaaaaaaaa_000001_000011.mp4")
    return root


@pytest.mark.parametrize(
    "name", ["aaaaaaaaaaa_000001_000011.webm", "some class/aaaaaaaaaaa_000001_000011.mp4", "aaaaaaaaaaa.mp4"]
)
@pytest.mark.parametrize("folder", ["val", "videos_val", "videos/val", "videos", "."])
def test_official_clips_are_found_flat_or_by_class_under_both_kinds_of_names(tmp_path, folder, name):
    write(
        tmp_path / "annotations/kinetics_val.csv",
        HEADER + "zumba,aaaaaaaaaaa,1,11,val\nzumba,bbbbbbbbbbb,2.0,12.0,val\n",
    )
    touch(tmp_path / folder, name)
    found, lost = read(tmp_path).records("action", "val")
    assert found.path == tmp_path / folder / name
    assert found.label == lost.label == 399
    assert lost.path == tmp_path / folder / "bbbbbbbbbbb_000002_000012.mp4"


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("zumba,aaaaaaaaaa,1,11,val\n", "youtube_id", "not a YouTube id of eleven letters"),
        ("zumba,../../../etc,1,11,val\n", "youtube_id", "not a YouTube id"),
        ("zumbaa,aaaaaaaaaaa,1,11,val\n", "label", "'zumbaa' is no class of k400; the most like is 'zumba'"),
        ("zumba,aaaaaaaaaaa,-1,11,val\n", "time_start", "out of range"),
        ("zumba,aaaaaaaaaaa,1,nan,val\n", "time_end", "not a finite number"),
        ("zumba,aaaaaaaaaaa,1,11,train\n", "split", "'train' is not among val, validate, validation"),
    ],
)
def test_bad_official_lists_are_refused_with_line_and_column(tmp_path, line, field, words):
    with pytest.raises(ListError, match=words) as caught:
        labels(read(listed(tmp_path, line)))
    assert (caught.value.line, caught.value.field) == (2, field)


def test_spellings_of_labels_in_folders_and_lists_are_one_class(tmp_path):
    root = listed(tmp_path, '"passing American football (not in game)",aaaaaaaaaaa,1,11,val\n')
    assert labels(read(root)) == [ALPHABETICAL.index("passing American football (not in game)")]


def test_an_official_test_list_without_labels_is_left_out_and_said_so(tmp_path):
    listed(tmp_path, "zumba,aaaaaaaaaaa,1,11,val\n")
    write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\naaaaaaaaaaa,1,11,test\n")
    videos = read(tmp_path)
    assert "the list of test has no labels and is left out" in videos.notes
    with pytest.raises(KeyError, match="action/test"):
        videos.records("action", "test")


def test_the_classes_of_a_set_whose_names_are_not_carried_come_from_lists_that_name_all(tmp_path):
    touch(tmp_path / "val", "aaaaaaaaaaa.mp4")
    lines = "".join(f"c{600 - n:03d},{n:011d},1,11,val\n" for n in range(600))
    write(tmp_path / "val.csv", HEADER + lines.replace("00000000000", "aaaaaaaaaaa", 1))
    videos = read(tmp_path, "k600")
    assert labels(videos)[:2] == [599, 598]
    assert videos.classes("action")[:2] == ("c001", "c002")
    write(tmp_path / "val.csv", HEADER + "c000,aaaaaaaaaaa,1,11,val\n")
    with pytest.raises(SuiteError, match=r"name 1 of 600 classes.*put a file classes\.txt"):
        read(tmp_path, "k600")


@pytest.mark.parametrize("delimiter", [" ", ","])
@pytest.mark.parametrize("name", ["val.csv", "k400_val_list_videos.txt", "kinetics400_val_list_videos.txt"])
def test_common_lists_are_read_with_either_delimiter_under_their_usual_names(tmp_path, name, delimiter):
    write(tmp_path / name, f"a.mp4{delimiter}7\nb.mp4{delimiter}399\n")
    touch(tmp_path / "videos_val", "a.mp4")
    videos = read(tmp_path)
    assert labels(videos) == [7, 399]
    assert videos.records("action", "val")[0].path == tmp_path / "videos_val/a.mp4"
    assert videos.classes("action") == ALPHABETICAL
    assert "the lists name no classes: taken to stand in the order 'k400_alphabetical'" in videos.notes


@pytest.mark.parametrize("name", ["k400_alphabetical", "k400_opengvlab"])
def test_class_folders_in_a_common_list_tell_its_order(tmp_path, name):
    names = order(name).names
    write(tmp_path / "val.csv", "".join(f"{names[n].replace(' ', '_')}/a.mp4 {n}\n" for n in (0, 1, 17)))
    touch(tmp_path, f"{names[0].replace(' ', '_')}/a.mp4")
    videos = read(tmp_path)
    assert videos.classes("action") == names
    assert f"labels stand in the order {name!r}, as the class folders of the lists say" in videos.notes


def test_a_common_list_whose_labels_contradict_its_class_folders_is_refused(tmp_path):
    write(tmp_path / "val.csv", "abseiling/a.mp4 0\nzumba/b.mp4 3\n")
    touch(tmp_path, "abseiling/a.mp4")
    with pytest.raises(SuiteError, match=r"gives 'zumba/b\.mp4' the label 3, but the class of its folder is 399"):
        read(tmp_path)
    write(tmp_path / "classes.txt", "\n".join(["abseiling", "x", "y", "zumba", *(f"{n}" for n in range(396))]))
    assert read(tmp_path).classes("action")[3] == "zumba"


def test_a_common_list_of_classes_that_nobody_names_says_so(tmp_path):
    write(tmp_path / "val.csv", "a.mp4 599\n")
    touch(tmp_path, "a.mp4")
    videos = read(tmp_path, "k600")
    assert videos.classes("action") == ()
    assert any("the lists name no classes" in note for note in videos.notes)
    with pytest.raises(ListError, match="599 is out of range"):
        read(tmp_path, "k400")
    write(tmp_path / "classes.txt", "a\nb\n")
    with pytest.raises(ListError, match="has 2 classes; k600 has 600"):
        read(tmp_path, "k600")


def test_official_and_common_lists_are_not_mixed(tmp_path):
    official.k400(tmp_path)
    write(tmp_path / "train.csv", "a.mp4 1\n")
    with pytest.raises(SuiteError, match="are official lists and the others are not"):
        read(tmp_path)


def test_no_two_splits_share_a_name_of_a_list():
    facts = SUITES["k400"].prepare.args[0]
    names = [name for split in ("train", "val", "test") for name in names_of_lists(facts, split)]
    assert len(names) == len(set(names))


def test_one_list_is_evaluated_where_the_videos_of_another_are_not(tmp_path):
    listed(tmp_path, "zumba,aaaaaaaaaaa,1,11,val\n")
    write(tmp_path / "train.csv", HEADER + "zumba,bbbbbbbbbbb,1,11,train\n")
    write(tmp_path / "test.csv", "\ufeff" + HEADER + "zumba,aaaaaaaaaaa,1,11,test\n")
    touch(tmp_path / "test", "aaaaaaaaaaa.mp4")
    videos = read(tmp_path)
    assert labels(videos) == [399]
    assert not any("byte order mark" in note for note in videos.notes)
    assert labels(videos, "test") == [399]
    assert "byte order mark" in "".join(videos.notes)
    with pytest.raises(SuiteError, match=r"none of 1 listed videos.*bbbbbbbbbbb"):
        labels(videos, "train")


def test_a_clip_that_an_official_list_has_under_two_labels_is_refused(tmp_path):
    listed(tmp_path, "zumba,aaaaaaaaaaa,1,11,val\nabseiling,aaaaaaaaaaa,1,11,val\n")
    with pytest.raises(ListError, match="aaaaaaaaaaa") as caught:
        labels(read(tmp_path))
    assert caught.value.line == 3


def test_a_file_of_classes_numbers_those_of_an_official_list(tmp_path):
    write(tmp_path / "classes.txt", "\n".join(ALPHABETICAL[::-1]))
    assert labels(read(listed(tmp_path, "zumba,aaaaaaaaaaa,1,11,val\n"))) == [0]
