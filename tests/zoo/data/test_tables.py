import pytest

from zoo.data.tables import ListError, read_columns, read_json, read_names, read_table

COLUMNS = ("label", "id", "start")


def write(folder, content, name="val.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def table(tmp_path):
    return lambda content, **options: read_table(write(tmp_path, content), columns=COLUMNS, **options)


def fields(found):
    return [tuple(row.fields[name] for name in COLUMNS) for row in found.rows]


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("label,id,start\na dog,x,1\nb,y,2.5\n", ","),
        ("id,start,label\nx,1,a dog\ny,2.5,b\n", ","),
        ("label, id, start\r\na dog , x,1\r\nb,y,2.5", ","),
        ('\ufeff"label","id","start"\n"a dog","x","1"\n"b","y","2.5"', ","),
        ('label id  start\n"a dog"  x 1 \n b y 2.5\n', " "),
        ("label\tid\tstart\na dog\tx\t1\nb\ty\t2.5\n", "\t"),
    ],
)
def test_tables_are_read_by_the_names_of_their_columns(table, content, delimiter):
    assert fields(table(content, delimiter=delimiter)) == [("a dog", "x", "1"), ("b", "y", "2.5")]


def test_quotes_hold_delimiters_and_quotes_and_rows_keep_their_lines(table):
    found = table('label,id,start\n\n"a, ""b""",x,1\n')
    assert (found.rows[0].fields["label"], found.rows[0].line) == ('a, "b"', 3)


def test_what_was_odd_is_counted_and_named_by_file(table):
    assert table("label,id,start\na,b,1\n").notes == ()
    assert table('\ufefflabel,id,start,is_cc\r\n"a",b,1,0\r\n\r\n').notes == (
        "val.csv: accepted a byte order mark, 3 line ends CRLF, 1 blank line",
        "val.csv: accepted further columns is_cc, 1 line with quotes",
    )


@pytest.mark.parametrize(
    ("content", "line", "field", "words"),
    [
        ("label,id\na,b\n", 1, "header", "no column 'start': it has label, id; expected label, id, start"),
        ("Label,id,start\na,b,1\n", 1, "header", "no column 'label'"),
        ("a,b,1\n", 1, "header", "no column 'label', 'id', 'start'"),
        ("label id start\na b 1\n", 1, "header", "separated by a comma"),
        ("label,id,start,id\na,b,1,c\n", 1, "header", "names the column 'id' twice"),
        ("label,id,start\n", 0, "file", "a header and no rows"),
        ("label,id,start\na,b,1\nc,d\n", 3, "line", "has 2 fields; expected 3: label, id, start"),
        ("label,id,start\na,b,1,\n", 2, "line", "has 4 fields"),
        ("label,id,start\na b c\n", 2, "line", "has 1 field;"),
        ('label,id,start\n"a,b,1\n', 2, "line", "a quote is not closed on its line"),
        ('label,id,start\n"a"x,b,1\n', 2, "line", "quoted wrongly"),
        ("label,id,start\n" + 200_000 * "a" + ",b,1\n", 2, "line", "field larger than"),
        ("<html>\n", 1, "file", "web page"),
        ("version https://git-lfs.github.com/spec/v1\n", 1, "file", "git-lfs pointer"),
        ('{"label": 1}', 1, "file", "is JSON"),
        ("", 0, "file", "expected the columns label, id, start"),
        (b"label,id,start\na,\0,1\n", 2, "line", "zero byte"),
        (b"label,id,start\na,\xff,1\n", 2, "line", "not UTF-8"),
        (b"\x1f\x8b\x08", 0, "file", "gzip"),
    ],
)
def test_bad_tables_are_refused_with_line_and_field(table, content, line, field, words):
    with pytest.raises(ListError) as caught:
        table(content)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)


def test_rows_repeat_only_where_the_caller_lets_them(table):
    content = "label,id,start\na,x,1\na,x,2\n"
    assert len(table(content).rows) == len(table(content, unique=("id", "start")).rows) == 2
    with pytest.raises(ListError, match=r"line 3, id: 'x' is listed with the fields 'a, 2', and the fields 'a, 1' be"):
        table(content, unique=("id",))
    with pytest.raises(ListError, match=r"line 3, id \+ start: 'x, 1' is listed again \(line 2\)"):
        table("label,id,start\na,x,1\na,x,1\n", unique=("id", "start"))
    with pytest.raises(ListError, match="line 2, id: is empty"):
        table("label,id,start\na,,1\n", unique=("id",))


def test_an_unknown_delimiter_names_the_known_ones(table):
    with pytest.raises(ValueError, match=r"unknown delimiter '\|'; known: ','"):
        table("label,id,start\n", delimiter="|")


@pytest.fixture
def row(table):
    return lambda value: table(f'label,id,start\na,b,"{value}"\n').rows[0]


def test_fields_are_taken_as_what_they_should_be(row):
    assert row(" 12 ").integer("start") == 12
    assert row("-3").integer("start", low=None) == -3
    assert (row("2.50").number("start"), row("1e3").number("start"), row("7").number("start")) == (2.5, 1000.0, 7.0)
    assert row("train").choice("start", ("train", "val")) == "train"
    assert row("ab_1").text("start", pattern="[a-z_0-9]+") == "ab_1"
    assert row("a/b.mp4").path("start") == "a/b.mp4"


@pytest.mark.parametrize(
    ("value", "take", "words"),
    [
        ("", lambda row: row.text("start"), "is empty"),
        ("a", lambda row: row.integer("start"), "'a' is not a whole number in ASCII digits"),
        ("1.0", lambda row: row.integer("start"), "'1.0' is not a whole number"),
        ("1_7", lambda row: row.integer("start"), "'1_7' is not"),
        ("٣", lambda row: row.integer("start"), "ASCII digits"),
        (30 * "9", lambda row: row.integer("start"), "is not a whole number"),
        ("-1", lambda row: row.integer("start"), "-1 is out of range; expected at least 0"),
        ("7", lambda row: row.integer("start", high=6), "7 is out of range; expected at least 0 and at most 6"),
        ("nan", lambda row: row.number("start"), "'nan' is not a finite number"),
        ("inf", lambda row: row.number("start"), "'inf' is not a finite number"),
        ("1e999", lambda row: row.number("start"), "too large"),
        ("1_0.5", lambda row: row.number("start"), "is not a finite number"),
        ("0.5", lambda row: row.number("start", low=1), "0.5 is out of range"),
        ("test", lambda row: row.choice("start", ("train", "val")), "'test' is not among train, val"),
        ("a b", lambda row: row.text("start", pattern="[a-z]+", right="an id"), "'a b' is not an id"),
        ("/a", lambda row: row.path("start"), "absolute"),
    ],
)
def test_fields_of_another_kind_are_refused_with_line_and_column(row, value, take, words):
    with pytest.raises(ListError) as caught:
        take(row(value))
    assert (caught.value.line, caught.value.field) == (2, "start")
    assert words in str(caught.value)


def test_tables_without_header_have_the_columns_that_the_caller_names(tmp_path):
    path = write(tmp_path, "a/b.mp4,dancing\nc.mp4,running\n")
    found = read_columns(path, columns=("path", "class"), optional=("votes",))
    assert [dict(row.fields) for row in found.rows] == [
        {"path": "a/b.mp4", "class": "dancing"},
        {"path": "c.mp4", "class": "running"},
    ]
    path = write(tmp_path, "a/b.mp4,dancing,3\n")
    assert read_columns(path, columns=("path", "class"), optional=("votes",)).rows[0].integer("votes") == 3


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("path,class\na,b\n", 1, "'path,class' is a header row"),
        ("video,class\na,b\n", 1, "is a header row"),
        ("a,b\nc\n", 2, "has 1 field; expected 2"),
        ("a\nc\n", 1, "has 1 field; expected 2: path, class"),
        ("a,b\nc,d,1\n", 2, "has 3 fields; expected 2"),
        ("a,b,1\nc,d\n", 2, "has 2 fields; expected 3: path, class, votes"),
        ("a,b,1,2\n", 1, "has 4 fields; expected 3"),
        ("a,b\na,c\n", 2, "'a' is listed with the fields 'c', and the fields 'b' before"),
    ],
)
def test_bad_tables_without_header_are_refused(tmp_path, content, line, words):
    with pytest.raises(ListError) as caught:
        read_columns(write(tmp_path, content), columns=("path", "class"), optional=("votes",), unique=("path",))
    assert caught.value.line == line
    assert words in str(caught.value)


def test_lists_of_names_are_read_and_refuse_repetitions(tmp_path):
    path = write(tmp_path, "\ufeffriding a bike \n\ndancing\r\n")
    found = read_names(path)
    assert found.names == ("riding a bike", "dancing")
    assert found.notes == ("val.csv: accepted a byte order mark, 1 line end CRLF, 1 blank line",)
    path = write(tmp_path, "a\nb\na\n")
    assert read_names(path, unique=False).names == ("a", "b", "a")
    with pytest.raises(ListError, match=r"line 3, name: 'a' is listed again \(line 1\)"):
        read_names(path)


@pytest.fixture
def node(tmp_path):
    return lambda content: read_json(write(tmp_path, content, "a.json")).root


def test_json_gives_values_of_the_kind_that_is_asked_for(node):
    root = node('\ufeff{"a b": [{"id": "12", "n": 3, "x": 2.5, "s": "train", "p": "v/a.mp4"}]}')
    (item,) = root.member("a b").items()
    assert item.where == "$['a b'][0]"
    assert item.member("id").integer(quoted=True) == 12
    assert (item.member("n").integer(), item.member("n").number(), item.member("x").number()) == (3, 3.0, 2.5)
    assert item.member("s").choice(("train", "val")) == item.member("s").text() == "train"
    assert item.member("p").path() == "v/a.mp4"
    assert [name for name, _ in item.members()] == ["id", "n", "x", "s", "p"]
    assert item.has("id")
    assert not item.has("no")


@pytest.mark.parametrize(
    ("content", "take", "where", "words"),
    [
        ('{"a": 1}', lambda root: root.member("b"), "$.b", "is missing; there are 'a'"),
        ("[1]", lambda root: root.member("b"), "$", "is a list; expected an object"),
        ('{"a": 1}', lambda root: root.items(), "$", "is an object; expected a list"),
        ("[]", lambda root: root.items(), "$", "is empty"),
        ("{}", lambda root: root.members(), "$", "is empty"),
        ('{"a": 1}', lambda root: root.member("a").text(), "$.a", "is the number 1; expected a text"),
        ('{"a": "1"}', lambda root: root.member("a").integer(), "$.a", "is a text; expected a whole number"),
        ('{"a": true}', lambda root: root.member("a").integer(), "$.a", "is true or false"),
        ('{"a": 1.0}', lambda root: root.member("a").integer(), "$.a", "is the number 1.0; expected a whole number"),
        ('{"a": null}', lambda root: root.member("a").number(), "$.a", "is null; expected a number"),
        ('{"a": -1}', lambda root: root.member("a").integer(), "$.a", "-1 is out of range"),
        ('{"a": 9}', lambda root: root.member("a").number(high=8.5), "$.a", "9.0 is out of range; expected at most"),
        ('{"a": "1_7"}', lambda root: root.member("a").integer(quoted=True), "$.a", "'1_7' is not a whole number"),
        ('{"a": " "}', lambda root: root.member("a").text(), "$.a", "is empty"),
        ('{"a": "x"}', lambda root: root.member("a").choice(("y", "z")), "$.a", "'x' is not among y, z"),
        ('{"a": ["/x"]}', lambda root: next(root.member("a").items()).path(), "$.a[0]", "absolute"),
        ('{"a": "x\\u0000"}', lambda root: root.member("a").path(), "$.a", "no path"),
        ('{"a": [1, NaN]}', lambda root: root, "$.a[1]", "NaN is not JSON"),
        ("[-Infinity]", lambda root: root, "$[0]", "-Infinity is not JSON"),
        ('{"a b": 1e999}', lambda root: root, "$['a b']", "1e999 is not finite"),
        (f'{{"a": {"9" * 5000}}}', lambda root: root, "$.a", "has 5000 digits"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', lambda root: root, "$.a.b", "comes twice"),
        ('{"a": NaN, "a": 1}', lambda root: root, "$.a", "comes twice"),
    ],
)
def test_bad_json_is_refused_with_its_json_path(node, content, take, where, words):
    with pytest.raises(ListError) as caught:
        take(node(content))
    assert (caught.value.line, caught.value.field) == (0, where)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "field", "words"),
    [
        ('{"a": 1,\n\n}', 3, "line", "is not JSON"),
        ("a,b\n", 1, "line", "is not JSON"),
        ('{"a": 1}\n{"a": 1}\n', 2, "line", "Extra data"),
        ("[" * 100_000, 0, "file", "nested too deeply"),
        ("<html>", 1, "file", "web page"),
        ("version https://git-lfs.github.com/spec/v1\n", 1, "file", "git-lfs"),
        ("", 0, "file", "holds no JSON"),
        ('{"a": "\0"}', 1, "line", "zero byte"),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(node, content, line, field, words):
    with pytest.raises(ListError) as caught:
        node(content)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)
