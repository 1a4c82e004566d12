import json

import pytest
import torch

from benchmarks import tokenizer_compression
from benchmarks.protocols import codecs
from benchmarks.protocols.reconstruction import Point
from benchmarks.provenance import Provenance
from benchmarks.tokenizer_compression import RATES, file_words, measure, mosaics, write
from zoo.tokenizers import create_tokenizer, save_tokenizer

NAME = "lvmae_tokenizer_tiny"
TOLD = Provenance(device="a processor", versions={"torch": "2"}, commit="abc", command="python -m x")


@pytest.fixture
def files(tmp_path):
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(tmp_path / f"tokenizer-x-seed{seed}-abc.safetensors")
        save_tokenizer(create_tokenizer(NAME, channels=4), made[-1], name=NAME, overrides={"channels": 4})
    return made


def test_codecs_are_asked_for_the_tokenizers_rate_and_its_multiples_once(files, tmp_path, monkeypatch):
    asked = []

    def beside(codec, videos, rate, **_):
        asked.append((codec, rate))
        return Point(system=codec, bits_per_pixel=rate, psnr=20.0, ssim=0.5, wanted=rate)

    monkeypatch.setattr(tokenizer_compression, "beside", beside)
    monkeypatch.setattr("benchmarks.protocols.reconstruction.beside", beside)
    painted = []
    monkeypatch.setattr(tokenizer_compression, "png", lambda *size_and_paint: painted.append(size_and_paint) or b"PNG")
    monkeypatch.setattr(codecs, "available", lambda codec: "" if codec == "x264" else f"{codec} is not here")
    found = measure(files, [torch.rand(2, 3, 16, 24, 24)])
    rate = 18 / (2 * 8 * 8)
    assert asked == [("x264", pytest.approx(rate * times)) for times in (1.0, *RATES)]
    assert [len(it.report.others) for it in found] == [1 + len(RATES), 0]
    table, numbers, picture = write(found, TOLD, tmp_path / "out", "2 clips.")
    text = table.read_text()
    assert text.count("\n| x264 |") == 1 + len(RATES)
    assert "| lvmae_tokenizer_tiny seed1 | 0.141 |" in text
    assert "Too small to conclude" in text
    assert "commit abc" in text
    assert [it["file"] for it in json.loads(numbers.read_text())["tokenizers"]] == [it.name for it in files]
    assert picture.read_bytes() == b"PNG"
    assert len(painted) == 1


def test_a_file_without_a_seed_is_called_by_its_tokenizer(files):
    plain = files[0].with_name("mine.safetensors")
    files[0].rename(plain)
    assert file_words(plain) == NAME
    assert file_words(files[1]) == f"{NAME} seed1"


def test_a_mosaic_shows_clips_side_by_side_from_all_over_the_list():
    clips = torch.arange(9.0).view(9, 1, 1, 1, 1).expand(9, 3, 2, 4, 6)
    made = mosaics(clips, 2)
    assert made.shape == (2, 3, 2, 8, 12)
    assert made[:, 0, 0, ::4, ::6].tolist() == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
    with pytest.raises(ValueError, match="a mosaic of 4 x 4 takes 16 clips, and there are 9"):
        mosaics(clips, 4)
