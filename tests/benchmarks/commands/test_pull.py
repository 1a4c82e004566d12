"""`zoo pull` as a person types it."""

import pytest
import torch

from benchmarks import cli
from tests.zoo.loopback import good, serving
from tests.zoo.made_up import card, official
from zoo import fetch as fetching
from zoo.folders import weights_folder
from zoo.weight_cache import read_record


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "ZOO_OFFLINE", "ZOO_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def publish(monkeypatch, *cards):
    monkeypatch.setattr("zoo.cards.CARDS", cards)


def test_pull_downloads_loads_and_says_where(capsys, monkeypatch, tmp_path):
    torch.save(official(), tmp_path / "toy.pth")
    toy = card()
    publish(monkeypatch, toy)
    monkeypatch.setattr("zoo.download.check_address", lambda *_, **__: None)
    with serving() as server:
        server.routes["/toy.pth"] = good((tmp_path / "toy.pth").read_bytes())
        monkeypatch.setattr(fetching, "direct_url", lambda url: server.url("/toy.pth"))
        assert cli.main(["pull", toy.name]) == 0
        assert cli.main(["pull", toy.name]) == 0
    out = capsys.readouterr().out
    assert f"{weights_folder(toy.name) / 'toy.pth'}  0." in out
    assert "loads: 32 tensors" in out
    assert len(server.asked) == 1
    assert read_record(toy.name)["file"] == "toy.pth"


def test_a_dry_run_lists_sources_and_touches_nothing(capsys, monkeypatch, tmp_path):
    publish(monkeypatch, card(), card("other", missing="no text encoder"))
    assert cli.main(["pull", "vit_pico.*", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "https://example.org/toy/toy.pth" in out
    assert f"would come to {weights_folder('vit_pico.toy')}" in out
    assert "no network takes it: no text encoder" in out
    assert list(tmp_path.iterdir()) == []


def test_what_is_here_is_said_by_a_dry_run(capsys, monkeypatch):
    publish(monkeypatch, card())
    path = weights_folder("vit_pico.toy") / "toy.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert cli.main(["pull", "vit_pico.toy", "--dry-run"]) == 0
    assert f"is here: {path}" in capsys.readouterr().out


def test_one_failure_does_not_stop_the_others_and_ends_with_1(capsys, monkeypatch):
    publish(monkeypatch, card("absent"), card("here"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    path = weights_folder("vit_pico.here") / "toy.pth"
    path.parent.mkdir(parents=True)
    torch.save(official(), path)
    assert cli.main(["pull", "vit_pico.absent", "vit_pico.here"]) == 1
    out, err = capsys.readouterr()
    assert "cannot get the weights 'vit_pico.absent'" in err
    assert "Traceback" not in err
    assert str(path) in out


def test_a_file_that_no_network_takes_is_kept_and_not_trusted(capsys, monkeypatch):
    publish(monkeypatch, card(missing="no text encoder"))
    path = weights_folder("vit_pico.toy") / "toy.pth"
    path.parent.mkdir(parents=True)
    torch.save({"a": torch.ones(1)}, path)
    assert cli.main(["pull", "vit_pico.toy"]) == 0
    assert "not loaded, so that its hash is not recorded: no text encoder" in capsys.readouterr().out
    assert read_record("vit_pico.toy") is None


def test_the_backbone_of_a_probe_is_named_too(capsys, monkeypatch):
    publish(monkeypatch, card("base", file="base.pth"), card("probe", backbone="vit_pico.base"))
    assert cli.main(["pull", "vit_pico.probe", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.index("https://example.org/base/base.pth") < out.index("https://example.org/probe/toy.pth")


def test_an_unknown_name_gets_a_hint_and_status_2(capsys, monkeypatch):
    publish(monkeypatch, card())
    assert cli.main(["pull", "vit_pico.toi"]) == 2
    assert "did you mean 'vit_pico.toy'" in capsys.readouterr().err
