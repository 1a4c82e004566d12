import pickle

import pytest

from zoo.data.records import ListError, Span, read_list


@pytest.fixture
def listed(tmp_path):
    """Write a list and read it; videos need not exist."""

    def read(content, **options):
        path = tmp_path / "train.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_list(path, must_exist=False, **options)

    return read


def names(records, folder):
    return [(record.path.relative_to(folder).as_posix(), record.label, record.row) for record in records]


@pytest.mark.parametrize(
    "content",
    [
        "a.mp4 3\nsub/b.mp4 0\n",
        "a.mp4,3\nsub/b.mp4,0\n",
        "a.mp4 3\r\nsub/b.mp4 0\r\n",
        "a.mp4 3\rsub/b.mp4 0",
        "\ufeffa.mp4 3\nsub/b.mp4 0",
        "a.mp4   3  \n\n   \nsub/b.mp4 0\n\n",
        "a.mp4, 3\nsub/b.mp4 ,0",
        '"a.mp4",3\n"sub/b.mp4",0',
        '"a.mp4" 3\nsub/b.mp4 0',
    ],
)
def test_good_lists_are_read_whatever_their_line_ends_and_delimiter(listed, tmp_path, content):
    assert names(listed(content), tmp_path) == [("a.mp4", 3, 0), ("sub/b.mp4", 0, 1)]


def test_blanks_commas_and_letters_of_any_language_stay_in_the_path(listed, tmp_path):
    assert names(listed("riding a bike/c d.mp4 7\n"), tmp_path) == [("riding a bike/c d.mp4", 7, 0)]
    assert names(listed("a,b.mp4 7\n"), tmp_path) == [("a,b.mp4", 7, 0)]
    assert names(listed("a b,c.mp4,7\n"), tmp_path) == [("a b,c.mp4", 7, 0)]
    assert names(listed("跳舞/é.mp4 7\n"), tmp_path) == [("跳舞/é.mp4", 7, 0)]
    assert names(listed('"say ""hi"".mp4",7\n'), tmp_path) == [('say "hi".mp4', 7, 0)]


@pytest.mark.parametrize(
    ("content", "line", "field", "words"),
    [
        ("a.mp4 1\nb.mp4\n", 2, "label", "no label"),
        ("a.mp4 1\nb.mp4,\n", 2, "label", "no label"),
        ("my clip.mp4\n", 1, "label", "no label"),
        ("a.mp4 1\nb.mp4 0.5\n", 2, "label", "'0.5' is not a class index"),
        ("a.mp4 1\nb.mp4 dancing\n", 2, "label", "'dancing' is not a class index"),
        ("a.mp4 1_7\n", 1, "label", "'1_7' is not a class index"),
        ("a.mp4 ٣\n", 1, "label", "not a class index"),
        ("a.mp4 nan\n", 1, "label", "'nan' is not a class index"),
        ("a.mp4 +3\n", 1, "label", "not a class index"),
        ("a.mp4 -1\n", 1, "label", "-1 is negative"),
        ("a.mp4 0\nb.mp4 5\n", 2, "label", "5 classes are numbered 0 to 4"),
        (" 3\n", 1, "path", "no path"),
        (",3\n", 1, "path", "no path"),
        ('"",3\n', 1, "path", "no path"),
        ('"a.mp4,3\n', 1, "path", "quoted wrongly"),
        ("a.mp4 1\nb.mp4,2\n", 2, "line", "by a comma, line 1 by a blank"),
        ("a.mp4\t1\n", 1, "line", r"by '\t'; use a blank or a comma"),
        ("a.mp4\u00a01\n", 1, "line", "use a blank or a comma"),
        ("a.mp4,,1\n", 1, "line", "more than two fields"),
        ("a.mp4 " + 5000 * "9", 1, "label", "not a class index"),
        (100_000 * "a " + "b\n", 1, "label", "'b' is not a class index"),
        ("a.mp4 120 3\n", 1, "line", "more than two fields"),
        ("a.mp4,120,3\n", 1, "line", "more than two fields"),
        ("path label\na.mp4 1\n", 1, "line", "header row"),
        ("path,label\na.mp4,1\n", 1, "line", "header row"),
        ("<!DOCTYPE html>\n<html></html>\n", 1, "file", "web page"),
        ("\n\n<html>1</html>\n", 3, "file", "web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", 1, "file", "git-lfs pointer"),
        ('{"a.mp4": 1}\n', 1, "file", "JSON"),
        ("", 0, "file", "no videos"),
        (" \n\n", 0, "file", "no videos"),
        ("/data/a.mp4 1\n", 1, "path", "absolute"),
        ("C:\\data\\a.mp4 1\n", 1, "path", "absolute"),
        ("../a.mp4 1\n", 1, "path", "leave root"),
        ("b/../../a.mp4 1\n", 1, "path", "leave root"),
        ("http://host/a.mp4 1\n", 1, "path", "an address"),
        ("concat:a.mp4|b.mp4 1\n", 1, "path", "an address"),
        ("a.mp4 1\nb.mp4 2\n./a.mp4 3\n", 3, "path", "with label 3, and label 1 before (line 1)"),
        ("a.mp4 1\na.mp4 1\n", 2, "path", "again (line 1)"),
        (b"a.mp4 1\n\xff.mp4 2\n", 2, "line", "UTF-8"),
        (b"a.mp4 1\nb\0.mp4 2\n", 2, "line", "zero byte"),
        ("a\u2028b.mp4 1\nc.mp4 x\n", 2, "label", "'x' is not a class index"),
    ],
)
def test_bad_lists_are_refused_with_file_line_and_field(listed, content, line, field, words):
    with pytest.raises(ListError) as caught:
        listed(content, num_classes=5)
    assert caught.value.file.endswith("train.csv")
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)


def test_paths_outside_root_need_permission_and_addresses_never_get_it(listed):
    records = listed("/data/a.mp4 1\n../b.mp4 2\n", outside=True)
    assert [record.path.as_posix().split("/")[-1] for record in records] == ["a.mp4", "b.mp4"]
    assert records[0].path.is_absolute()
    with pytest.raises(ListError, match="an address"):
        listed("http://host/a.mp4 1\n", outside=True)


def test_paths_are_relative_to_root(listed, tmp_path):
    assert listed("a.mp4 1\n", root=tmp_path / "videos")[0].path == tmp_path / "videos" / "a.mp4"


def test_missing_videos_are_refused_by_name(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 2\n")
    with pytest.raises(ListError, match=r"line 2, path: there is no file .*b\.mp4"):
        read_list(tmp_path / "list.txt")
    (tmp_path / "b.mp4").write_bytes(b"x")
    assert len(read_list(tmp_path / "list.txt")) == 2


def test_a_missing_list_is_a_list_error(tmp_path):
    with pytest.raises(ListError, match="cannot be read"):
        read_list(tmp_path / "none.csv")


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ListError("f.csv", 3, "label", "why")))  # noqa: S301
    assert (error.file, error.line, error.field, error.reason) == ("f.csv", 3, "label", "why")


@pytest.mark.parametrize(
    ("span", "frames"),
    [
        (Span(0, 2), range(61)),
        (Span(1.5, 2), range(45, 61)),
        (Span(16, 76), range(480, 900)),
        (Span(3, 7, "frames"), range(3, 8)),
        (Span(0, 0, "frames"), range(1)),
    ],
)
def test_a_part_of_a_video_has_both_its_ends_and_ends_with_the_video(span, frames):
    assert span.frames(900, 30.0) == frames


def test_a_rate_with_a_rounding_error_loses_no_frame():
    assert Span(0, 20).frames(900, 29.9999999) == range(601)


@pytest.mark.parametrize(
    ("span", "fps", "says"),
    [
        (Span(31, 40), 30.0, "900 frames at 30 per second"),
        (Span(900, 910, "frames"), 30.0, "from 900 to 910 frames"),
        (Span(-2, -1), 30.0, "no frame"),
        (Span(1, 2), 0.0, "without a frame rate"),
    ],
)
def test_a_part_outside_of_the_video_is_refused(span, fps, says):
    with pytest.raises(ValueError, match=says):
        span.frames(900, fps)
