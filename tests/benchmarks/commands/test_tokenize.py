"""`zoo tokenize` as a person types it."""

import json

import numpy as np
import pytest

from benchmarks import cli
from zoo.data.encode import write_video

RANDOM = ["--tokenizer", "lvmae_tokenizer_tiny", "--random", "--accelerator", "cpu"]


@pytest.fixture
def clip(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    write_video(tmp_path / "clip.mp4", frames, fps=8)
    return tmp_path / "clip.mp4"


def test_a_clip_becomes_codes_and_a_video_and_the_codes_a_video_again(clip, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["tokenize", str(clip), *RANDOM, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bits_per_pixel"] == pytest.approx(18 / 128)
    assert {it.name for it in out.iterdir()} == {"clip.codes.npz", "clip.side_by_side.mp4"}
    words = ["tokenize", str(out / "clip.codes.npz"), "--decode", "--random", "--accelerator", "cpu", "--out", str(out)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.strip() == str(out / "clip.decoded.mp4")
    assert (out / "clip.decoded.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "name a tokenizer with --tokenizer"),
        (["--tokenizer", "lvmae_tokenizer_tiny"], "is an architecture without weights"),
        (["--tokenizer", "lvmae_tokenizer_tin", "--random"], "lvmae_tokenizer_tiny"),
        (["--tokenizer", "lvmae_tokenizer_tin"], "lvmae_tokenizer_tiny"),
        (["--decode", "--random"], "--decode takes an .npz file"),
        ([*RANDOM, "--checkpoint", "file"], "exclude each other"),
        ([*RANDOM, "--window", "3"], "a window of 3 frames"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words, why, clip, tmp_path, capsys):
    assert cli.main(["tokenize", str(clip), "--out", str(tmp_path / "out"), *words]) == 2
    assert why in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_a_missing_file_is_named(tmp_path, capsys):
    assert cli.main(["tokenize", str(tmp_path / "no.mp4"), *RANDOM]) == 2
    assert f"there is no file {tmp_path / 'no.mp4'}" in capsys.readouterr().err
