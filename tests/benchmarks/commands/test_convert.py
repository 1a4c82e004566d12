import pytest
import torch
from safetensors.torch import load_file

import zoo
from benchmarks.cli import main


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
