"""`zoo verify` as a person types it."""

import json

import pytest
import torch

import zoo.verify
from benchmarks import cli
from tests.zoo.made_up import card, official
from zoo.folders import weights_folder


@pytest.fixture(autouse=True)
def cards(monkeypatch, tmp_path):
    """One that is here, one that is nowhere, one that no network takes."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.delenv("ZOO_WEIGHTS", raising=False)
    cards = (card("here"), card("nowhere"), card("mm", missing="no text encoder"))
    monkeypatch.setattr("zoo.cards.CARDS", cards)
    put("here", official())


def put(tag, value):
    path = weights_folder(f"vit_pico.{tag}") / "toy.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)


def rows(capsys, *words):
    status = cli.main(["verify", *words])
    return status, capsys.readouterr().out


def test_all_without_a_network_tells_each_card_and_is_no_failure(capsys):
    status, out = rows(capsys, "--all")
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("vit_pico")}
    assert status == 0
    assert " ok " in lines["vit_pico.here"]
    assert " not downloaded " in lines["vit_pico.nowhere"]
    assert "no network" in lines["vit_pico.mm"]
    assert "vit_pico.mm:\n  no text encoder\n" in out


def test_a_failed_card_makes_the_status_1(capsys):
    put("nowhere", {"a": torch.ones(1)})
    status, out = rows(capsys, "--all", "--json")
    verdicts = {it["name"]: it for it in json.loads(out)}
    assert status == 1
    assert {name: it["status"] for name, it in verdicts.items()} == {
        "vit_pico.here": "ok",
        "vit_pico.mm": "no network",
        "vit_pico.nowhere": "failed",
    }
    assert "have no layout" in verdicts["vit_pico.nowhere"]["reason"]
    assert len(verdicts["vit_pico.here"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["vit_pico.here"], 0),
        (["vit_pico.nowhere"], 1),
        (["vit_pico.nowhere", "--no-download"], 0),
        (["vit_pico.mm"], 1),
        (["vit_pico.non"], 2),
        ([], 2),
    ],
)
def test_the_status_tells_whether_what_was_asked_for_was_done(capsys, words, expected):
    assert rows(capsys, *words)[0] == expected


def test_recording_makes_the_next_run_compare(capsys):
    assert json.loads(rows(capsys, "vit_pico.here", "--record", "--json")[1])[0]["golden"] == "recorded"
    assert json.loads(rows(capsys, "vit_pico.here", "--json")[1])[0]["golden"] == "matches"


def test_ctrl_c_shows_what_is_done(capsys, monkeypatch):
    verify = zoo.verify.verify

    def interrupted(name, **options):
        if name == "vit_pico.nowhere":
            raise KeyboardInterrupt
        return verify(name, **options)

    monkeypatch.setattr(zoo.verify, "verify", interrupted)
    status, out = rows(capsys, "--all")
    assert status == 130
    assert "vit_pico.here" in out


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_reason_with_a_path_is_not_broken_into_a_narrow_column(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    put("here", {"a": torch.ones(1)})
    out = rows(capsys, "--all", "--no-download")[1]
    path = weights_folder("vit_pico.here") / "toy.pth"
    assert f"vit_pico.here:\n  cannot load '{path}': " in out
    assert " not downloaded" in next(line for line in out.splitlines() if "vit_pico.nowhere" in line)


def test_weights_with_the_same_reason_share_it_and_what_is_not_here_needs_none(capsys, monkeypatch):
    cards = (card("mm", missing="no text encoder"), card("mm2", missing="no text encoder"), card("nowhere"))
    monkeypatch.setattr("zoo.cards.CARDS", cards)
    out = rows(capsys, "--all", "--no-download")[1]
    assert "vit_pico.mm, vit_pico.mm2:\n  no text encoder\n" in out
    assert "is not on this machine" not in out
    assert "is not on this machine" in rows(capsys, "vit_pico.nowhere")[1]


def test_names_beside_all_are_refused_and_not_ignored(capsys):
    assert cli.main(["verify", "--all", "vit_pico.here"]) == 2
    assert "--all is every card, 'vit_pico.here' among them" in capsys.readouterr().err
