import pytest

from benchmarks.layout import Plan
from benchmarks.suite import SuiteError
from benchmarks.suites import diving48
from tests.benchmarks.laid_out import change, lay_out, prepared
from zoo.data.list_files import ListError

PLAN = Plan(classes=3, videos=2)


def test_labels_are_places_in_the_vocabulary(tmp_path):
    videos = prepared(diving48.SUITE, tmp_path, PLAN)
    assert [record.label for record in videos.records("dive", "test")] == [0, 1, 2, 0, 1, 2]
    assert len(videos.classes("dive")) == 48
    assert videos.classes("dive")[1] == "Back 15som NoTwis TUCK"
    assert all(record.path.is_file() and record.path.parent.name == "rgb" for record in videos.records("dive", "train"))


def test_lists_of_version_1_are_refused(tmp_path):
    folder = lay_out(diving48.SUITE, tmp_path, PLAN)
    for split in ("train", "test"):
        (folder / f"Diving48_V2_{split}.json").rename(folder / f"Diving48_{split}.json")
    with pytest.raises(SuiteError, match="labels of version 1, which are obsolete"):
        diving48.prepare(folder, False)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("Diving48_V2_train.json", '"label": 1', '"label": 48', r"\$\[1\]\.label.*48 is out of range"),
        ("Diving48_V2_train.json", '"label": 1', '"label": 1.0', r"\$\[1\]\.label"),
        ("Diving48_V2_test.json", '"vid_name": "', '"vid_name": "../', r"\$\[0\]\.vid_name.*\.\."),
        ("Diving48_vocab.json", '["Back", "15som", "NoTwis", "PIKE"], ', "", r"47 different dives; Diving48 has 48"),
        ("Diving48_vocab.json", '"PIKE"', '"TUCK"', r"47 different dives"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_json_path(tmp_path, file, old, new, words):
    folder = lay_out(diving48.SUITE, tmp_path, PLAN)
    change(folder / file, old, new)
    with pytest.raises(ListError, match=words):
        diving48.prepare(folder, False)


def test_a_video_listed_twice_is_refused(tmp_path):
    folder = lay_out(diving48.SUITE, tmp_path, PLAN)
    path = folder / "Diving48_V2_train.json"
    entries = path.read_text().strip("[]")
    path.write_text(f"[{entries}, {entries}]")
    with pytest.raises(ListError, match=r"\$\[6\]\.vid_name.*is also \$\[0\]"):
        diving48.prepare(folder, False)


@pytest.mark.parametrize("name", ["Diving48_vocab.json", "Diving48_V2_test.json"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    folder = lay_out(diving48.SUITE, tmp_path, PLAN)
    (folder / name).unlink()
    with pytest.raises(SuiteError, match=f"looked for {name}"):
        diving48.prepare(folder, False)
