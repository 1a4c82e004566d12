import pytest

from benchmarks.data_tools.clips import clip_of, frames_needed
from tests.zoo.made_up_cards import zoo_of_cards
from zoo.card import ClipSpec
from zoo.suggest import UnknownNameError


def test_a_dense_clip_needs_its_window_and_others_their_frames():
    assert frames_needed(ClipSpec(num_frames=16, sampling="dense", stride=4, img_size=8)) == 61
    assert frames_needed(ClipSpec(num_frames=16, sampling="uniform", stride=4, img_size=8)) == 16


def test_architectures_and_weights_have_clips(monkeypatch):
    monkeypatch.setattr("zoo.cards.CARDS", zoo_of_cards())
    assert clip_of("videomae_base").num_frames == 16
    assert clip_of("umt_base.k400_f8").num_frames == 8
    with pytest.raises(UnknownNameError, match="videomae_base"):
        clip_of("videomae_bse")
