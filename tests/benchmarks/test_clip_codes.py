"""Videos to codes and back: windows, sizes that do not fit, damaged files, Ctrl-C."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from benchmarks.clip_codes import ClipCodes, TokenizeError, decode, fitting, read_codes, tokenize
from tests.zoo.objectives.adversary import tokenizer as magvit
from zoo.data.decode import read_frames
from zoo.data.encode import write_video


def made(**options):
    torch.manual_seed(0)
    return magvit(**options).eval().requires_grad_(False)


@pytest.fixture
def clip(tmp_path):
    """7 frames of 18 x 14 px, grey, so that halved colours lose nothing."""
    frames = np.random.default_rng(0).integers(0, 255, (7, 18, 14, 1)).repeat(3, 3).astype(np.uint8)
    write_video(tmp_path / "clip.mp4", frames, fps=Fraction(10), options={"crf": "5"}, pixel_format="yuv444p")
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize(
    ("causal", "frames", "fits"),
    [(False, 1, 2), (False, 4, 4), (False, 5, 6), (True, 1, 1), (True, 2, 3), (True, 5, 5)],
)
def test_the_next_number_of_frames_that_fits(causal, frames, fits):
    network = made(causal=causal, version=2 if causal else 1)
    assert fitting(frames, network) == fits
    network.grid(torch.empty(1, 3, fits, 8, 8))


def test_windows_are_coded_by_themselves_and_filled_up_and_it_is_said(clip, tmp_path):
    network, windows = made(), []
    told = tokenize(network, clip, tmp_path, name="toy", window=4, on_window=lambda *at: windows.append(at))
    assert windows == [(1, 2), (2, 2)]
    assert told.notes == ("the last 3 frames are filled up to 4 with the last one",)
    codes = read_codes(told.codes)
    assert (codes.slots, codes.frames, codes.size, codes.fps) == ((2, 2), (4, 3), (18, 14), 10)
    frames = torch.from_numpy(read_frames(clip)).movedim(-1, 0)[None] / 255
    filled = torch.cat([frames, frames[:, :, -1:]], 2)
    expected = torch.cat([network.encode(filled[:, :, :4]), network.encode(filled[:, :, 4:])], 1)
    assert np.array_equal(codes.indices, expected[0].numpy())
    # 4 bits for each of 4 x 9 x 7 codes
    assert told.bits_per_pixel == pytest.approx(4 * 4 * 9 * 7 / (7 * 18 * 14))
    back = torch.cat([network.decode(it) for it in expected.split(2, 1)], 2)[:, :, :7]
    assert told.psnr == pytest.approx(float(-10 * (back - frames).square().mean().log10()), abs=1e-3)
    assert told.codebook_usage == len(expected.unique()) / 16
    shown = read_frames(told.video)
    assert shown.shape == (7, 18, 28, 3)
    assert np.abs(shown[:, :, :14].astype(int) - read_frames(clip)).mean() < 12


def test_frames_that_do_not_fit_are_filled_up_at_the_border_and_cut_back(clip, tmp_path):
    network = made(multipliers=(1, 1, 1), time_strides=(1, 2))
    told = tokenize(network, clip, tmp_path, name="toy", window=8)
    assert told.notes[0] == "frames of 14 x 18 px are filled up to 16 x 20 px with their border"
    assert read_codes(told.codes).indices.shape == (4, 5, 4)
    assert read_frames(told.video).shape == (7, 18, 28, 3)


def test_codes_are_turned_back_into_the_same_pictures(clip, tmp_path):
    network = made()
    told = tokenize(network, clip, tmp_path, name="toy", window=4)
    decode(network, read_codes(told.codes), tmp_path / "back.mp4")
    back, beside = read_frames(tmp_path / "back.mp4"), read_frames(told.video)[:, :, 14:]
    assert back.shape == (7, 18, 14, 3)
    assert np.abs(back.astype(int) - beside).mean() < 8


def test_ctrl_c_leaves_no_file(clip, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        tokenize(made(), clip, out, name="toy", window=4, on_window=stop)
    assert not list(out.iterdir())


def test_what_cannot_be_decoded_is_refused(clip, tmp_path):
    told = tokenize(made(), clip, tmp_path, name="toy", window=4)
    codes = read_codes(told.codes)
    torch.manual_seed(1)
    with pytest.raises(TokenizeError, match="other weights of toy"):
        decode(magvit(), codes, tmp_path / "back.mp4")
    with pytest.raises(TokenizeError, match="code 16 is not in a codebook of 16"):
        decode(made(), ClipCodes(**{**vars(codes), "indices": codes.indices * 0 + 16}), tmp_path / "back.mp4")
    with pytest.raises(TokenizeError, match="window 1 has too few codes"):
        decode(made(), ClipCodes(**{**vars(codes), "frames": (9, 3)}), tmp_path / "back.mp4")
    with pytest.raises(TokenizeError, match=r"a window of 5 frames.*take 6"):
        tokenize(made(), clip, tmp_path, name="toy", window=5)
    assert not (tmp_path / "back.mp4").exists()
    whole = told.codes.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nothing"):
        told.codes.write_bytes(damaged)
        with pytest.raises(TokenizeError, match=r"clip\.codes\.npz holds no codes"):
            read_codes(told.codes)
    ClipCodes(**{**vars(codes), "slots": (2, 1)}).write(told.codes)
    with pytest.raises(TokenizeError, match="is damaged: 3 slots"):
        read_codes(told.codes)
