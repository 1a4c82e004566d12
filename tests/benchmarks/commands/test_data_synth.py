import pytest

from benchmarks import cli

TINY = ("--classes", "2", "--videos", "1", "--seconds", "1", "--size", "16", "--jobs", "1")


def test_a_data_set_is_written_read_back_and_counted(capsys, tmp_path):
    folder = tmp_path / "coin"
    assert cli.main(["data", "synth", "coin", "--out", str(folder), *TINY]) == 0
    out = capsys.readouterr().out
    assert "4 videos of 4 s together, 1 files" in out
    lines = [line.split() for line in out.splitlines()[1:]]
    assert [(line[0], line[1]) for line in lines] == [("task/train", "2"), ("task/test", "2")]
    assert all(len(line[-1]) == 16 for line in lines)
    assert (folder / "COIN.json").is_file()
    assert len(list(folder.glob("videos/*/*.mp4"))) == 4
    assert cli.main(["data", "synth", "coin", "--out", str(folder), *TINY]) == 0


def test_without_a_suite_those_that_can_be_written_are_listed(capsys):
    assert cli.main(["data", "synth"]) == 0
    names = capsys.readouterr().out.split()
    assert {"breakfast", "coin", "lvu", "diving48", "ek100"} <= set(names)
    assert "digits" not in names


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["coim", "--out", "{}/new"], "'coin'"),
        (["coin"], "--out DIR"),
        (["coin", "--out", "{}"], "not generated here"),
        (["digits", "--out", "{}/new"], "no writer"),
        (["nonsense", "--out", "{}/new"], "zoo data synth: unknown suite 'nonsense'; valid: k400, k600"),
        (["coin", "--out", "/dev/null/new"], "--out /dev/null/new: Not a directory; give a folder that can be"),
        (["breakfast", "--out", "{}/new", "--classes", "11"], "2 to 10 classes, not 11"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_line(capsys, tmp_path, words, hint):
    (tmp_path / "mine").touch()
    assert cli.main(["data", "synth", *(word.format(tmp_path) for word in words)]) == 2
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
