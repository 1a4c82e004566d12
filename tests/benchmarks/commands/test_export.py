"""`zoo export` as a person types it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zoo
from benchmarks import cli
from benchmarks.commands import export as command
from zoo import export as exporting


def test_the_targets_offered_are_those_there_are():
    assert command.ENDINGS == exporting.ENDINGS


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["vit_pico", "--to", "tf", "--random"], "unknown target 'tf'; there are torch, onnx"),
        (["vit_pico", "--to", "torch", "--random", "--batch", "0"], "'0' is not a whole number from 1 on"),
        (["vit_pico", "--to", "torch", "--random", "--checkpoint", "a"], "not allowed with"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_at_once(capsys, words, hint):
    with pytest.raises(SystemExit):
        cli.main(["export", *words])
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["vit_pico", "--to", "torch"], "vit_pico is an architecture without weights"),
        (["vit_pixo", "--to", "torch", "--random"], "vit_pico"),
        (["vit_pico", "--to", "torch", "--random", "--out", "it.onnx"], "ends with .pt2"),
        (["vit_pico", "--to", "torch", "--random", "--out", "there.pt2"], "is there already"),
        (["vit_pico", "--to", "torch", "--random", "--scan", "chunkd"], "did you mean 'chunked'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, words, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pt2").write_bytes(b"mine")
    assert cli.main(["export", *words]) == 2
    assert hint in capsys.readouterr().err
    assert [it.read_bytes() for it in tmp_path.iterdir()] == [b"mine"]


def test_files_are_named_after_the_network():
    assert command._file_name("videomamba_tiny.k400_f8_res224", features=False) == "videomamba_tiny.k400_f8_res224"
    assert command._file_name("hf:./some/folder", features=True) == "hf_._some_folder_features"


@pytest.mark.compiled
def test_a_checkpoint_becomes_a_file_and_the_report_says_what_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = zoo.create_model("vit_pico", num_classes=3, depth=1).eval()
    zoo.save_checkpoint(model, "mine.safetensors")
    assert cli.main(["export", "vit_pico", "--to", "torch", "--checkpoint", "mine.safetensors", "--batch", "1"]) == 0
    out = capsys.readouterr().out
    assert "vit_pico.pt2: vit_pico.pt2 " in out
    assert "scores   1 x 3" in out
    assert "on 1 random clips: differs by" in out
    clip = model.spec.clip
    video = torch.randn(1, 3, clip.num_frames, clip.img_size, clip.img_size)
    found = torch.export.load("vit_pico.pt2").module()(video)["scores"]
    torch.testing.assert_close(found, model(video), rtol=1e-4, atol=1e-5)


def test_the_report_says_any_batch_the_scan_and_what_is_needed_to_run_it():
    report = exporting.Exported(
        path=Path("a/it.pt2"),
        to="torch",
        video=(None, 3, 8, 16, 16),
        outputs={"scores": (None, 5)},
        files={"it.pt2": 2_500_000},
        opset=None,
        scan="chunked",
        needs="import it",
        checked=(2, 1),
        absolute=0.1,
        relative=1e-6,
    )
    assert command.lines(report) == [
        "a/it.pt2: it.pt2 2.5 MB",
        "  video    any x 3 x 8 x 16 x 16",
        "  scores   any x 5",
        "  scan     chunked",
        "  runs in  torch, after: import it",
        "  checked  on 2, 1 random clips: differs by 1.0e-01, 1.0e-06 of the largest value (at most 0.001)",
    ]
    alone = command.lines(replace(report, to="onnx", opset=20, scan="", needs=""))
    assert alone[0].endswith(" MB, opset 20")
    assert alone[3] == "  runs in  onnxruntime"


@pytest.mark.compiled
@pytest.mark.slow
def test_another_length_and_size_and_the_report_as_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["--frames", "8", "--resolution", "16", "--batch", "1", "--features", "--json"]
    assert cli.main(["export", "vit_pico", "--to", "torch", "--random", *sizes]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["video"] == [1, 3, 8, 16, 16]
    assert told["path"] == "vit_pico_features.pt2"
