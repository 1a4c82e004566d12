import json
from pathlib import Path

import pytest

from benchmarks import cli, paper_tables, reproduce, reproduce_costs
from benchmarks.layout import Plan
from benchmarks.paper_tables import MEASURED, papers
from benchmarks.results import Store
from benchmarks.suites import table
from benchmarks.suites.table import get_suite
from benchmarks.synth import write_suite
from tests.benchmarks.tiny_files import SUITE, write_files
from tests.benchmarks.tiny_paper import tiny_paper
from zoo import fetch

REAL = papers()


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    paper = tiny_paper(tmp_path)
    monkeypatch.setattr(paper_tables, "papers", lambda: {"tiny": paper, **REAL})
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)


@pytest.fixture(autouse=True)
def _nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr(fetch, "fetch", lambda *_, **__: pytest.fail("somebody downloads"))


@pytest.fixture
def uncounted(monkeypatch):
    """Counting FLOPs takes longest, and the slow tests do it."""
    monkeypatch.setattr(reproduce_costs, "counted", lambda *_: 10**9)


def call(capsys, *words):
    try:
        status = cli.main(["reproduce", *(str(word) for word in words)])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_row_ends_in_a_verdict(tiny, videos, tmp_path, capsys):
    words = ("tiny:shade:umt", "--data", videos, "--out", tmp_path / "out", "--accelerator", "cpu", "--shrink")
    status, out, err = call(capsys, *words)
    assert status == 0, err
    assert "tiny:shade:umt: 20 videos of tiny_files" in out
    for text in ("90", "20/20", "outside (random weights, shrunken network)", "list of ours"):
        assert text in out
    _, out, _ = call(capsys, *words, "--format", "csv")
    assert out.splitlines()[0].startswith("row,metric,reported,ours,95 % interval,difference,scored,verdict,notes")
    assert call(capsys, *words, "--limit", "3")[0] == 1
    assert out.splitlines()[1].startswith('umt,"top-1, %",90,')
    status, _, err = call(capsys, *words, "--format", "csv", "--dry-run")
    assert (status, "--format is for the verdicts, not for --dry-run" in err) == (2, True)
    status, out, _ = call(capsys, *words, "--json")
    ((result,), (told,)) = Store(tmp_path / "out").results(), json.loads(out)
    assert (told["row"], told["metric"], told["reported"]) == ("tiny:shade:umt", "top1", 90.0)
    assert told["measured"] == pytest.approx(100 * result.metrics["top1"].value)
    assert (told["num_scored"], told["num_expected"], told["weights"]) == (20, 20, "random weights, shrunken network")
    assert (told["verdict"], told["result"]) == ("outside", result.identity.key)


def test_a_dry_run_tells_what_it_would_take_and_does_nothing(tiny, uncounted, tmp_path, capsys):
    status, out, err = call(capsys, "tiny:shade", "--dry-run", "--out", tmp_path / "out")
    assert status == 0, err
    for text in (
        "tiny:shade, Shades (Table 1)",
        "8, of which 2 can be measured",
        "tiny_files, test: 20 (ours), 7 (another copy)",
        "videomamba_tiny.k400_f8_res224: about 28 MB, from hf:OpenGVLab/VideoMamba/videomamba_t16_k400_f8_res224.pth",
        "Apache-2.0",
        "8 frames, uniform, 224 px; 2 clips x 1 crops, mean of softmax",
        "9 GFLOPs a view (as printed) x 2 views x 20 videos = 0.36 TFLOPs",
        "elsewhere top-1 51.0 (README): rounded",
        "zoo eval videomamba_tiny.k400_f8_res224 --pretrained --suite tiny_files --task shade --clips 2 --crops 1",
        "it is quoted from elsewhere",
    ):
        assert text in out
    assert not (tmp_path / "out").exists()


def test_a_dry_run_as_json_has_the_same(tiny, tmp_path, capsys):
    status, out, _ = call(capsys, "tiny:boxes", "--dry-run", "--json", "--out", tmp_path / "out")
    told = json.loads(out)
    assert status == 0
    assert told["table"]["rows"] == "1, of which 0 can be measured"
    assert told["rows"][0]["cannot be measured"].startswith("AVA asks")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["tiny:shad"], "'shade'"),
        (["tiny:shade:umtt"], "'umt'"),
        (["tiny:boxes:umt"], "tiny:boxes:umt cannot be measured: AVA asks"),
        (["tiny:boxes"], "no row of tiny:boxes can be measured: AVA asks"),
        (["tiny:boxes:umt", "--dry-run"], "AVA asks"),
        (["tiny:shade:umt", "--dry-run", "--tolerate", "some"], "neither a number of videos"),
        (["tiny:shade:mamba", "--data", "no/such"], "--data no/such: there is no such folder"),
        (["tiny:shade:mamba", "--dry-run", "--data", "no/such"], "--data no/such: there is no such folder"),
        (["tiny:moments:mamba", "--data", "."], "something-something-v2"),
        (["tiny:moments:mamba"], "ssv2 needs the folder"),
        (["tiny:probe:mamba", "--dry-run", "--budget", "ful"], "full"),
        (["tiny:shade:umt", "--decoder", "opencv"], "pyav"),
        (["tiny:shade:umt", "--accelerator", "gpuu"], "unknown accelerator 'gpuu'"),
        (["tiny:shade:umt", "--shrink", "--checkpoint", "x"], "not allowed with argument"),
        (["tiny:shade", "--checkpoint", "x"], "--checkpoint is for a single row"),
        (["tiny:shade:umt", "--limt", "3"], "--limit"),
    ],
)
def test_bad_input_is_answered_with_what_would_be_right(tiny, tmp_path, capsys, words, hint):
    folder = ["--data", tmp_path] if words[0] == "tiny:shade:umt" else []
    status, _, err = call(capsys, *words, *folder, "--out", tmp_path / "out")
    assert status == 2
    assert hint in err
    assert "Traceback" not in err


def test_a_folder_of_results_that_is_a_file_is_told_before_anything_is_looked_up(tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status, _, err = call(capsys, "tiny:shade:umt", "--shrink", "--data", tmp_path, "--out", tmp_path / "file")
    assert status == 2
    assert "give a folder that can be written to" in err


def test_an_interrupted_run_says_what_is_kept(tiny, videos, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "evaluate", interrupted)
    status, _, err = call(capsys, "tiny:shade:umt", "--shrink", "--data", videos, "--out", tmp_path / "out")
    assert status == 130
    assert f"what was computed is kept in {tmp_path / 'out'}; the same command goes on from there" in err


FIRST = [f"{paper.name}:{next(iter(paper.tables))}" for paper in REAL.values()]
EVERY = [f"{paper.name}:{it}" for paper in REAL.values() for it in paper.tables]


def _dry(capsys, tmp_path, name):
    status, out, err = call(capsys, name, "--dry-run", "--out", tmp_path / "none")
    assert status == 0, err
    paper, _, rest = name.partition(":")
    for row in REAL[paper].table(rest).rows:
        assert f"{name}:{row.name}" in out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", FIRST)
def test_a_dry_run_of_a_table_of_each_paper_names_every_row(name, uncounted, tmp_path, capsys):
    _dry(capsys, tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_dry_run_of_every_table_names_every_row(name, tmp_path, capsys):
    _dry(capsys, tmp_path, name)


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """Suite -> a folder with two classes of generated videos."""
    made: dict[str, Path] = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            plan = Plan(classes=2, videos=2, seconds=2)
            write_suite(get_suite(name), made[name], plan, workers=0, progress=False)
        return made[name]

    return of


# A row of each family. LVMAE released no weights, and two trainings may be meant, so that the network must be named.
FAMILIES = {
    "videomamba": ("videomamba:k400:tiny_f8", ()),
    "umt": ("umt:ssv2:base_f8", ()),
    "videomae": ("videomae:ssv2:base", ()),
    "mae_st": ("mae_st:k400:large", ("--budget", "smoke")),
    "vjepa": ("vjepa:released_ssv2:large", ()),
    "vjepa, probed": ("vjepa:linear_ssv2:large", ("--budget", "smoke")),
    "vjepa2": ("vjepa2:released_diving48:large", ()),
    "timesformer": ("timesformer:ssv2:base", ("--budget", "smoke")),
    "lvmae": ("lvmae:budget_diving48:p15", ("--network", "lvmae_base", "--budget", "smoke")),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_of_each_family_is_run_to_its_verdict(family, generated, tmp_path, capsys):
    name, words = FAMILIES[family]
    paper, of, row = name.split(":")
    data = generated(REAL[paper].table(of).suite)
    status, out, err = call(
        capsys, name, *words, "--shrink", "--data", data, "--out", tmp_path, "--accelerator", "cpu", "--json"
    )
    assert status == 0, err
    told = json.loads(out)
    reported = {metric: it for metric, it in REAL[paper].table(of).row(row).values.items() if metric in MEASURED}
    assert {it["metric"]: it["reported"] for it in told} == {
        name: it for name, it in reported.items() if it is not None
    }
    assert {(it["num_scored"], it["verdict"]) for it in told} <= {(4, "incomplete"), (4, "protocol differs")}
    assert len(Store(tmp_path).results()) == 1


def test_a_dry_run_in_a_pipe_has_no_blanks_at_the_ends_of_its_lines(tiny, uncounted, capsys):
    _, out, _ = call(capsys, "tiny:shade:mamba", "--dry-run")
    assert "the same as  zoo eval" in out
    assert all(line == line.rstrip() for line in out.splitlines())
