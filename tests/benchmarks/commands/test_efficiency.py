import json

import pytest

from benchmarks import cli, efficiency_report, efficiency_runs


def call(capsys, *words):
    try:
        status = cli.main(["efficiency", *(str(word) for word in words)])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(efficiency_report, "costs_of", lambda *_: "<svg></svg>")


def test_networks_are_measured_reported_and_not_measured_again(capsys, monkeypatch, tmp_path, in_threads, undrawn):
    words = [
        "vit_pico",
        "videomamba_pico",
        "--frames",
        "8,16",
        "--resolution",
        "24",
        "--rounds",
        "2",
        "--out",
        tmp_path,
    ]
    words += ["--device", "cpu"]
    status, out, err = call(capsys, *words)
    assert (status, err) == (0, "")
    assert len([line for line in out.splitlines() if line.startswith(("vit_pico", "videomamba_pico"))]) == 4 + 2
    assert len(list(tmp_path.glob("efficiency-infer-24px-*"))) == 3
    monkeypatch.setattr(efficiency_runs, "in_turns", None)
    status, out, err = call(capsys, *words, "--json")
    assert status == 0
    assert "2 of 2 clip lengths are stored already" in err
    for network in json.loads(out)["networks"].values():
        assert [point["frames"] for point in network["points"]] == [8, 16]
        assert all(point["note"] == "" and len(point["seconds"]) == 2 for point in network["points"])
        assert all(point["clips_per_s"] > 0 and point["gflops"] > 0 for point in network["points"])
        assert network["growth"]["gflops"] > 0.9


def test_ctrl_c_leaves_a_report_of_what_is_done(capsys, monkeypatch, tmp_path, in_threads, undrawn):
    real = efficiency_runs.in_turns

    def interrupted(builds, frames, *rest, **words):
        if frames == 16:
            raise KeyboardInterrupt
        return real(builds, frames, *rest, **words)

    monkeypatch.setattr(efficiency_runs, "in_turns", interrupted)
    status, _, err = call(
        capsys, "vit_pico", "--frames", "8,16", "--resolution", "24", "--rounds", "1", "--out", tmp_path
    )
    assert status == 130
    assert "interrupted" in err
    assert "| 8 |" in next(tmp_path.glob("*.md")).read_text()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["vit_pic"], "vit_pico"),
        (["vit_pico", "--frames", "0"], "'0' is not a whole number from 1 on"),
        (["vit_pico", "--frames", "8,,16"], "'' is not a whole number"),
        (["vit_pico", "--dtype", "bfloat"], "'bf16'"),
        (["vit_pico", "--batch", "many"], "'many' is neither auto nor a whole number"),
        (["vit_pico", "--batch", "2", "--memory", "10"], "--batch auto"),
        (["vit_pico", "--timeout", "-1"], "'-1'"),
        ([], "name at least one network"),
        (["--paper", "videomamba:figure3"], "videomamba:figure1"),
        (["--paper", "videomamba:figure1", "--compile"], "--compile"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_get_a_hint_and_a_status(capsys, tmp_path, words, hint):
    status, _, err = call(capsys, *words, "--out", tmp_path)
    assert status == 2
    assert hint in err
    assert not list(tmp_path.rglob("*.json"))


def test_where_no_point_is_possible_the_cells_say_why(capsys, tmp_path, undrawn):
    status, out, _ = call(capsys, "vit_pico", "--frames", "8", "--resolution", "25", "--out", tmp_path)
    assert status == 1
    assert "not possible: clips of 8 frames of 25 px" in out


@pytest.mark.parametrize("words", [["vit_pico"], ["--paper", "lvmae:memory"]], ids=" ".join)
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_measured(capsys, tmp_path, words):
    (tmp_path / "file").write_text("")
    status, _, err = call(capsys, *words, "--out", tmp_path / "file" / "out")
    assert status == 2
    assert f"--out {tmp_path / 'file' / 'out'}: " in err
    assert "give a folder that can be written to" in err
