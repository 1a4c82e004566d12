import pytest
import torch
from safetensors.torch import load_file

import zoo
import zoo.convert
from benchmarks.cli import main
from benchmarks.commands import convert


def test_a_file_is_converted_and_the_command_says_into_what(tmp_path, capsys):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    options = {**zoo.get_architecture("timesformer_base").shrink}
    zoo.save_checkpoint(zoo.create_model("timesformer_base", num_classes=3, **options), source)
    assert main(["convert", str(source), str(target), "--to", "official"]) == 0
    assert "zoo -> TimeSformer official" in capsys.readouterr().out
    assert "model.head.weight" in load_file(target) or "head.weight" in load_file(target)
    back = tmp_path / "c.safetensors"
    settings = [f"--set={name}={value}" for name, value in options.items()]
    command = ["convert", str(target), str(back), "--to", "zoo", "--as", "timesformer_base", *settings]
    assert main(command) == 0
    assert all(torch.equal(it, load_file(source)[name]) for name, it in load_file(back).items())


def test_what_a_person_can_mend_is_said_in_one_line(tmp_path, capsys):
    source = tmp_path / "a.safetensors"
    zoo.save_checkpoint(zoo.create_model("vit_pico", num_classes=3), source)
    assert main(["convert", str(source), str(source), "--to", "zoo"]) != 0
    assert "is there already; nothing was written" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["convert", str(source), str(source), "--to", "zoo", "--set", "depth"])
    assert "not of the form OPTION=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "to", "hint"),
    [
        ("b.safetensors", "tf", "unknown target 'tf'; there are official, hf, zoo"),
        ("b.pth", "official", "b.pth' must end with .safetensors"),
        ("", "official", "'' must end with .safetensors"),
    ],
)
def test_a_mistake_is_told_before_anything_is_read(tmp_path, capsys, monkeypatch, target, to, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["convert", "none.safetensors", target, "--to", to])
    assert hint in capsys.readouterr().err


def test_the_targets_offered_are_those_there_are():
    assert convert.TARGETS == zoo.convert.TARGETS


def test_what_the_operating_system_refuses_is_said_in_one_line(tmp_path, capsys):
    source = tmp_path / "a.safetensors"
    zoo.save_checkpoint(zoo.create_model("vit_pico", num_classes=3), source)
    assert main(["convert", str(source), str(tmp_path / f"{'x' * 300}.safetensors"), "--to", "zoo"]) == 2
    assert "File name too long" in capsys.readouterr().err
