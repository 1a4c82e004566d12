"""The verdict on a card: every way to be wrong has its word, and nothing wrong is ok."""

import json
from dataclasses import replace

import pytest
import torch

import zoo
from tests.zoo.made_up import CLIP, card, official
from zoo import verify as module
from zoo.fetch import FetchError
from zoo.folders import weights_folder
from zoo.verify import golden_clip, golden_output, verify
from zoo.weight_cache import digests

NAME = "vit_pico.toy"


@pytest.fixture
def publish(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def publish(card, value):
        monkeypatch.setattr("zoo.cards.CARDS", (card,))
        path = weights_folder(card.name) / "toy.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        if value is not None:
            torch.save(value, path)
        return path

    return publish


def test_a_sound_file_is_ok_with_its_hash(publish):
    path = publish(card(), official())
    verdict = verify(NAME)
    assert (verdict.status, verdict.reason, verdict.golden) == ("ok", "", "none")
    assert (verdict.path, verdict.sha256) == (str(path), digests(path).sha256)


def test_the_golden_output_is_recorded_once_and_then_compared(publish):
    publish(card(), official())
    assert [verify(NAME, record=it).golden for it in (True, True, False)] == ["recorded", "matches", "matches"]


def test_another_output_than_the_golden_one_fails_and_is_not_recorded_over(publish, monkeypatch):
    publish(card(), official())
    verify(NAME, record=True)
    golden = weights_folder(NAME) / "golden.json"
    before = golden.read_text()
    answer = module.golden_output
    monkeypatch.setattr(module, "golden_output", lambda model: answer(model) * 1.01)
    verdict = verify(NAME, record=True)
    assert verdict.status == "failed"
    assert "golden.json" in verdict.reason
    assert "differs from it by 1.0e-02 of the largest value" in verdict.reason
    assert golden.read_text() == before
    monkeypatch.setattr(module, "golden_output", lambda model: answer(model) * (1 + 1e-5))
    assert verify(NAME).golden == "matches"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sha256": "0" * 64}, "it is of a file with sha256 000"),
        ({"output": [1.0]}, "it has 1 outputs, and the network has 5"),
        ({"output": [float("nan")] * 5}, "differs from it by nan"),
        ({"output": None}, "is damaged"),
        ({"output": ["x"]}, "is damaged"),
    ],
)
def test_a_damaged_golden_output_fails(publish, change, reason):
    publish(card(), official())
    verify(NAME, record=True)
    golden = weights_folder(NAME) / "golden.json"
    golden.write_text(json.dumps({**json.loads(golden.read_text()), **change}))
    verdict = verify(NAME)
    assert verdict.status == "failed"
    assert reason in verdict.reason


def test_a_file_that_does_not_fit_fails_with_the_reason(publish):
    path = publish(card(), official(embed_dim=16))
    verdict = verify(NAME)
    assert verdict.status == "failed"
    assert "tensors have another shape" in verdict.reason
    assert verdict.path == str(path)


def test_a_changed_file_fails(publish):
    publish(card(), official(1))
    assert verify(NAME).status == "ok"
    publish(card(), official(2))
    verdict = verify(NAME)
    assert verdict.status == "failed"
    assert "is refused: its sha256" in verdict.reason


def test_a_network_that_answers_nan_fails(publish):
    state = official()
    # Finite values whose products are not.
    state = {name: torch.full_like(it, 1e38) for name, it in state.items()}
    publish(card(), state)
    verdict = verify(NAME)
    assert verdict.status == "failed"
    assert "answers NaN or infinity" in verdict.reason


def test_a_file_that_is_nowhere_is_not_downloaded_without_a_network(publish):
    publish(card(), None)
    verdict = verify(NAME)
    assert verdict.status == "not downloaded"
    assert "https://example.org/toy/toy.pth" in verdict.reason
    verdict = verify(NAME, download=False)
    assert (verdict.status, verdict.reason) == ("not downloaded", f"the file of {NAME} is not on this machine")


def test_a_source_that_gives_something_else_is_a_failure(publish, monkeypatch):
    publish(card(), None)

    def fetch(*_, **__):
        raise FetchError(NAME, "the server answers 404")

    monkeypatch.setattr(module, "fetch", fetch)
    assert verify(NAME).status == "failed"


def test_weights_that_no_network_takes_are_called_that(publish):
    publish(card(missing="no text encoder"), None)
    verdict = verify(NAME)
    assert (verdict.status, verdict.reason) == ("no network", "no text encoder")


def test_an_error_of_our_own_is_a_failed_card_and_not_the_end(publish, monkeypatch):
    publish(card(), official())

    def broken(model):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(module, "golden_output", broken)
    assert verify(NAME).reason == "ZeroDivisionError: division by zero"


def test_the_golden_clip_is_the_same_everywhere_and_has_the_spread_of_pixels():
    clip = golden_clip(replace(CLIP, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    assert clip.shape == (1, 3, 4, 16, 16)
    # Multiples of 2654435769, modulo 2**32, worked out by hand.
    assert clip.flatten()[:3].tolist() == pytest.approx([0.0, 0.6180339886341244, 0.23606797726824880])
    assert (clip.mean().item(), clip.std().item()) == pytest.approx((0.5, 12**-0.5), abs=0.01)
    assert 0 <= clip.min() < clip.max() < 1


def test_the_golden_clip_is_normalised_by_the_protocol():
    plain = golden_clip(replace(CLIP, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    other = golden_clip(replace(CLIP, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2)))
    expected = (plain - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1, 1)) / torch.tensor([0.5, 0.25, 0.2]).view(
        3, 1, 1, 1
    )
    torch.testing.assert_close(other, expected)


def test_a_model_without_a_protocol_is_refused():
    model = zoo.create_model("vit_pico")
    model.spec = None
    with pytest.raises(ValueError, match="does not say how it was made"):
        golden_output(model)
