import pytest

import zoo
from benchmarks import cli
from benchmarks.results import Identity, Interval, Result, digest


@pytest.fixture
def checkpoint(tmp_path):
    model = zoo.create_model("vit_pico", num_classes=3, embed_dim=32, depth=1, num_heads=2)
    path = tmp_path / "run.safetensors"
    zoo.save_checkpoint(model, path, label_names=["a", "b", "c"])
    return path


def result_file(folder):
    identity = Identity(
        kind="evaluate", system="vit_pico", init="random", suite="digits", task="motion", split_hash="",
        protocol="finetune", settings_hash=digest({}), seed=2,
    )  # fmt: skip
    result = Result(identity=identity, settings={}, metrics={"top1": Interval(0.625, 0.5, 0.7)}, commit="abc")
    path = folder / "result.json"
    path.write_text(result.to_json())
    return path


def test_a_checkpoint_becomes_a_folder_with_its_measured_numbers(checkpoint, tmp_path, capsys):
    words = [str(checkpoint), str(tmp_path / "out"), "--result", str(result_file(tmp_path)), "--licence", "MIT"]
    assert cli.main(["push", *words]) == 0
    assert "README.md, config.json, model.safetensors" in capsys.readouterr().out
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| digits motion | top1 | 0.625 | measured: finetune, seed 2, 0 videos, commit abc |" in text
    assert "license: mit" in text
    assert zoo.create_model(f"local-dir:{tmp_path / 'out'}").spec.label_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"destination": "hf-hub:me/it"}, "say so with --yes"),
        ({"destination": "hf-hub:me"}, "'me' is no repository on the hub"),
        ({"source": "no_such_model.tag"}, "unknown model"),
        ({"source": "no_such_model.tag"}, "nor is there a file 'no_such_model.tag'"),
        ({"source": "plain.safetensors"}, "no such file"),
        ({"source": "runs/plain.pth"}, "no such file"),
        ({"result": "nothing.json"}, "is no result of a comparison"),
    ],
)
def test_what_stands_in_the_way_is_said(checkpoint, tmp_path, capsys, monkeypatch, change, hint):
    monkeypatch.chdir(tmp_path)
    words = [change.get("source", str(checkpoint)), change.get("destination", "out")]
    words += ["--result", change["result"]] if "result" in change else []
    assert cli.main(["push", *words]) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_hub_is_reached_only_with_yes(checkpoint, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr("zoo.push.upload", lambda folder, name, *, private: sent.append((folder.name, name)) or "there")
    assert cli.main(["push", str(checkpoint), "hf-hub:me/it", "--yes"]) == 0
    assert sent == [("it", "me/it")]
    assert "there" in capsys.readouterr().out
