import os
import pickle

import pytest

from zoo.data.list_files import ListError, Seen, check_path, read_text


def read(folder, content, **options):
    path = folder / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_text(path, expected="names", **options)


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        ("a\nb\n", ()),
        ("a\nb", ()),
        ("\ufeffa\nb\n", ("list.txt: accepted a byte order mark",)),
        ("a\r\nb\r\n", ("list.txt: accepted 2 line ends CRLF",)),
        ("a\rb\r", ("list.txt: accepted 2 line ends CR",)),
        ("\ufeffa\r\nb\n", ("list.txt: accepted a byte order mark, 1 line end CRLF",)),
        ("a\n\n  \nb\n\n", ("list.txt: accepted 3 blank lines",)),
    ],
)
def test_marks_line_ends_and_blank_lines_are_accepted_and_counted(tmp_path, content, notes):
    text = read(tmp_path, content)
    assert [line.text for line in text.lines] == ["a", "b"]
    assert text.notes == notes


def test_lines_keep_their_numbers_and_what_only_looks_like_a_line_end(tmp_path):
    assert [tuple(line) for line in read(tmp_path, "\na\u2028b\x0b\r\n\rc").lines] == [(2, "a\u2028b\x0b"), (4, "c")]


@pytest.mark.parametrize(
    ("content", "line", "field", "words"),
    [
        ("", 0, "file", "holds no names"),
        ("\ufeff", 0, "file", "holds no names"),
        (" \n\t\n", 0, "file", "holds no names"),
        ("\n<!DOCTYPE html>", 2, "file", "web page (HTML or XML)"),
        ("<?xml version='1.0'?>", 1, "file", "web page (HTML or XML)"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 1, "file", "git lfs pull"),
        ("404: Not Found", 1, "file", "a server's answer, '404: Not Found'"),
        ('{"a": 1}', 1, "file", "is JSON"),
        ("[1]", 1, "file", "is JSON"),
        (b"\x1f\x8b\x08\x00", 0, "file", "packed with gzip"),
        (b"PK\x03\x04", 0, "file", "zip archive"),
        ("a".encode("utf-16"), 0, "file", "is UTF-16"),
        (b"\x80\x04\x95", 0, "file", "pickle"),
        (b"a\r\nb\xff\n", 2, "line", "not UTF-8"),
        (b"a\nb\0c\n", 2, "line", "zero byte"),
    ],
)
def test_what_is_no_text_of_this_kind_is_refused_with_file_and_line(tmp_path, content, line, field, words):
    with pytest.raises(ListError) as caught:
        read(tmp_path, content)
    assert caught.value.file == str(tmp_path / "list.txt")
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)


def test_json_is_read_where_it_is_asked_for(tmp_path):
    assert len(read(tmp_path, '{\n\n"a": 1}', json=True).lines) == 2


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("none.txt", "No such file"), (".", "not a file"), ("pipe", "not a file")):
        with pytest.raises(ListError, match=words):
            read_text(tmp_path / name, expected="names")


@pytest.mark.parametrize("name", ["a.mp4", "a b/c,d.mp4", "..a/b..mp4", "-x", "a%03d.mp4", "跳舞.mp4"])
def test_paths_below_the_folder_are_accepted(name):
    assert check_path("f", 1, "path", name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/a.mp4", "absolute"),
        ("\\\\host\\a.mp4", "absolute"),
        ("C:a.mp4", "absolute"),
        ("../a.mp4", "leave root"),
        ("a\\..\\..\\b.mp4", "leave root"),
        ("http://host/a.mp4", "address"),
        ("concat:a|b", "address"),
        ("subfile,,start,0,end,0,,:a.mp4", "address"),
        ("", "no path"),
        ("a\0b", "no path"),
        ("a\nb", "no path"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused_with_their_field(name, words):
    with pytest.raises(ListError, match=words) as caught:
        check_path("f", 3, "video_id", name)
    assert (caught.value.line, caught.value.field) == (3, "video_id")


@pytest.mark.parametrize("name", ["/a.mp4", "../a.mp4"])
def test_a_caller_may_allow_paths_outside_but_no_addresses(name):
    assert check_path("f", 1, "path", name, outside=True) == name
    with pytest.raises(ListError, match="address"):
        check_path("f", 1, "path", "http://host/a.mp4", outside=True)


def test_what_comes_twice_is_refused_with_both_lines_and_both_labels():
    seen = Seen("f")
    seen.add(1, "path", "a", 3)
    seen.add(2, "path", "b", 3)
    with pytest.raises(ListError, match=r"line 5, path: 'a' is listed again \(line 1\)"):
        seen.add(5, "path", "a", 3)
    with pytest.raises(ListError, match=r"with label 4, and label 3 before \(line 2\)"):
        seen.add(6, "path", "b", 4)


def test_the_error_survives_pickling_and_names_any_field():
    error = pickle.loads(pickle.dumps(ListError("f.json", 0, "$.a[3]", "why")))  # noqa: S301
    assert (error.file, error.line, error.field, error.reason) == ("f.json", 0, "$.a[3]", "why")
    assert str(error) == "'f.json', $.a[3]: why"
