"""What the README tells people to type works as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
import torch

import zoo
from benchmarks import cli
from zoo.objectives.matrix import OBJECTIVES, TITLES, statement
from zoo.registry import create_backbone, list_models

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_quick_start_runs_at_the_smoke_budget(tmp_path, monkeypatch, capsys):
    found = re.search(r"<!-- quick-start -->\n```sh\n(.*?)```\n<!-- /quick-start -->", README, re.DOTALL)
    assert found, "README.md has no quick start between its two marks"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    lines = [shlex.split(line, comments=True) for line in found[1].splitlines()]
    assert [line[:2] for line in lines] == [["zoo", "list"], ["zoo", "info"], ["zoo", "compare"]]
    for line in lines:
        assert cli.main(line[1:]) == 0, line
    assert "videomamba_tiny" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "runs" / "smoke" / "report.html").read_text(encoding="utf-8")


def test_the_python_lines_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    model = zoo.create_model("videomae_small", num_classes=174, num_frames=8, img_size=112)
    torch.save(model.state_dict(), "checkpoint.pth")
    names: dict[str, object] = {}
    for code in blocks:
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own lines
    assert names["loss"].total.isfinite()
    assert names["scores"].shape == (2, 174)
    assert "matched" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["compare", "test", "test-slow", "check", "gpu", "setup"])
def test_make_has_the_targets(target):
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_table_of_members_names_every_architecture():
    table = README.partition("| family |")[2].partition("\n\n")[0]
    for name in list_models():
        family, _, member = name.rpartition("_")
        assert f"`{name}`" in table or f"`_{member}`" in table or f"`{family.removesuffix('_joint')}_joint_*`" in table


def test_the_table_of_objectives_says_what_the_zoo_says():
    table = README.partition("<!-- objectives -->\n")[2].partition("<!-- /objectives -->")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    assert head == ["backbone", *TITLES.values()]
    for name, *cells in rows:
        backbone = create_backbone(name.split("`")[1])
        for objective, cell in zip(OBJECTIVES, cells, strict=True):
            said = statement(backbone, objective)
            assert cell == ("no" if said.startswith("no: ") else "with tube masks" if "tube" in said else "trains")
