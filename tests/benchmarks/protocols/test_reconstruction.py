import json
import math

import numpy as np
import pytest
import torch

from benchmarks.protocols import codecs, reconstruction
from benchmarks.protocols.reconstruction import CodeCounts, Point, compression, frechet, psnr, reconstruct
from tests.backbones.toy_tokenizer import ToyTokenizer


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


def clips(count=2):
    return torch.rand(count, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def toy():
    torch.manual_seed(0)
    return ToyTokenizer(bits=6).requires_grad_(False)


def test_a_report_tells_error_rate_and_use_of_the_codebook():
    tokenizer, videos = toy(), [clips(2), clips(1)]
    report = reconstruct(tokenizer, videos, against=())
    made = [tokenizer.decode(tokenizer.encode(it)) for it in videos]
    error = torch.cat(made) - torch.cat(videos)
    assert report.point.psnr == pytest.approx(-10 * math.log10(error.square().mean()), abs=1e-4)
    # 6 bits for 2 x 8 x 8 pixels
    assert report.point.bits_per_pixel == pytest.approx(6 / 128)
    codes = torch.cat([tokenizer.encode(it).flatten() for it in videos])
    share = codes.unique(return_counts=True)[1] / len(codes)
    assert report.codebook_usage == len(share) / 64
    assert report.entropy_bits == pytest.approx(float(-(share * share.log2()).sum()), abs=1e-5)
    assert report.clips == 3
    assert report.lpips is None
    assert report.rfvd is None
    assert [note.split(":")[0] for note in report.notes] == ["no LPIPS", "no rFVD"]
    assert tokenizer.training
    json.dumps(report.plain())


def test_a_codec_stands_beside_at_its_achieved_rate_and_a_missing_one_is_told(monkeypatch):
    if why := codecs.available("x264"):
        pytest.skip(why)
    monkeypatch.setattr(codecs, "available", lambda codec: "" if codec == "x264" else f"{codec}: not here")
    monkeypatch.setattr(codecs, "TRIALS", 2)
    report = reconstruct(toy(), [clips(1)], against=("x264", "x265"))
    (other,) = report.others
    assert other.system == "x264"
    assert other.wanted == report.point.bits_per_pixel
    coded = codecs.at_rate(reconstruction.to_bytes(clips(1))[0], "x264", other.wanted * 4 * 256)
    assert other.bits_per_pixel == coded.bits / (4 * 256)
    error = torch.from_numpy(coded.frames).movedim(-1, 0) / 255 - clips(1)[0]
    assert other.psnr == pytest.approx(psnr(float(error.square().mean())), abs=1e-4)
    assert "x265: not here" in report.notes
    assert any("do not compare it at equal rate" in note for note in report.notes)


def test_the_frechet_distance_is_that_of_two_normal_distributions():
    noise = np.random.default_rng(0).normal(size=(400, 3))
    assert frechet(noise, noise) == pytest.approx(0, abs=1e-6)
    assert frechet(noise, noise + np.array([3.0, 0.0, 4.0])) == pytest.approx(25, abs=1e-4)
    spread = noise.std(0, ddof=1)
    assert frechet(noise[:, :1], 3 * noise[:, :1]) == pytest.approx(
        float((2 * spread[0]) ** 2 + (2 * noise[:, 0].mean()) ** 2), abs=1e-4
    )
    with pytest.raises(ValueError, match="two samples"):
        frechet(noise[:1], noise)


def test_features_of_a_network_give_the_distance():
    report = reconstruct(toy(), [clips(4)], against=(), features=lambda video: video.mean((2, 3, 4)))
    assert report.rfvd > 0
    assert not any("rFVD" in note for note in report.notes)


def test_a_clip_that_comes_back_exactly_has_a_finite_ratio():
    assert psnr(0.0) == 100.0
    assert psnr(0.01) == pytest.approx(20)


def test_counts_of_one_code_have_no_entropy_and_those_of_all_have_the_most():
    counts = CodeCounts(4)
    counts.add(torch.zeros(8, dtype=torch.int64))
    assert (counts.usage, counts.entropy, counts.bits) == (0.25, 0.0, 16.0)
    counts = CodeCounts(4)
    counts.add(torch.arange(4))
    assert (counts.usage, counts.entropy) == (1.0, 2.0)


def test_the_plot_names_every_system_once():
    report = reconstruct(toy(), [clips(1)], name="toy", against=())
    codec = Point(system="x264", bits_per_pixel=0.1, psnr=20.0, ssim=0.5, wanted=0.1)
    report = reconstruction.replace(report, others=(codec,))
    svg = compression([report, report])
    assert svg.startswith("<svg ")
    assert svg.count(">toy<") == svg.count(">x264<") == 1


def test_no_clips_are_no_report():
    with pytest.raises(ValueError, match="no clips"):
        reconstruct(toy(), [])
