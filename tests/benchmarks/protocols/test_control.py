from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from benchmarks.protocols import control
from benchmarks.protocols.control import FrameBag, first_frame_probe, first_frames
from tests.benchmarks.protocols.clips import tiny_data
from zoo.data.datamodule import FailurePolicy
from zoo.data.records import Span
from zoo.data.transforms import eval_clips


def test_a_bag_of_frames_does_not_see_the_order_of_frames():
    bag = FrameBag(img_size=24).eval()
    video = torch.randn(3, 3, 16, 24, 24)
    shuffled = video[:, :, torch.randperm(16)]
    torch.testing.assert_close(bag(video), bag(shuffled), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(bag(video), bag(video.flip(2)), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(bag(video), bag(video.roll(1, 4)), atol=1e-3)


def test_a_bag_of_frames_keeps_the_contract_of_a_backbone():
    bag = FrameBag(img_size=24)
    video = torch.randn(2, 3, 5, 24, 24)
    features = bag.forward_features(video)
    assert features.tokens.shape == (2, 5, bag.embed_dim)
    assert tuple(features.grid) == (5, 1, 1)
    torch.testing.assert_close(bag(video), features.tokens.mean(1))
    bag(video).sum().backward()
    assert all(parameter.grad is not None for parameter in bag.parameters())
    assert {bag.layer_of(name) for name, _ in bag.named_parameters()} == {1, 2, 3, 4}
    with pytest.raises(ValueError, match="drop tokens"):
        bag.forward_features(video, torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="last stage"):
        bag.forward_intermediates(video, [0])


def test_a_bag_of_frames_can_learn_what_single_frames_show():
    generator = torch.Generator().manual_seed(0)
    video = 0.3 * torch.randn(64, 3, 4, 24, 24, generator=generator)
    label = torch.arange(64) % 2
    video[label == 1, :, :, 6:14, 6:14] += 1.0
    bag, head = FrameBag(img_size=24), torch.nn.Linear(96, 2)
    optimizer = torch.optim.AdamW([*bag.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(12):
        loss = F.cross_entropy(head(bag(video)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head(bag(video)).argmax(1) == label).float().mean() > 0.95


def frames(num: int, seed: int, *, signal: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(num) % 3
    pixels = torch.randn(num, 60, generator=generator)
    pixels[torch.arange(num), label] += signal
    return pixels, label


def test_the_probe_finds_what_is_linear_in_the_first_frame_and_nothing_in_noise():
    for signal, low, high in ((3.0, 0.85, 1.0), (0.0, 0.2, 0.46)):
        (train, labels), (test, truth) = frames(400, 0, signal=signal), frames(300, 1, signal=signal)
        probe = first_frame_probe(train, labels, test, num_classes=3)
        assert low <= (probe.probabilities.argmax(1) == truth).float().mean() <= high
        torch.testing.assert_close(probe.probabilities.sum(1), torch.ones(300))


def test_the_probe_penalises_more_when_pixels_are_noise():
    (train, labels), (noise, _) = frames(200, 0, signal=3.0), frames(200, 1, signal=0.0)
    clear = first_frame_probe(train, labels, train, num_classes=3).penalty
    assert first_frame_probe(noise, labels, noise, num_classes=3).penalty > clear


def test_the_penalty_is_chosen_on_held_out_videos_and_all_train_the_probe(monkeypatch):
    train, labels = frames(30, 0, signal=1.0)
    fitted = []
    monkeypatch.setattr(control, "_fit", lambda given, *_: fitted.append(len(given)) or torch.zeros(61, 3))
    first_frame_probe(train, labels, train, num_classes=3)
    assert fitted == [24] * len(control.PENALTIES) + [30]


def test_the_probe_repeats_itself():
    (train, labels), (test, _) = frames(120, 0, signal=1.0), frames(50, 1, signal=1.0)
    runs = [first_frame_probe(train, labels, test, num_classes=3) for _ in range(2)]
    assert torch.equal(runs[0].probabilities, runs[1].probabilities)


def test_a_row_of_windows_has_one_first_frame_and_an_unreadable_video_is_listed(tmp_path):
    data = tiny_data(tmp_path, train=4, test=4, unreadable=(6,), failures=FailurePolicy(in_evaluation="report"))
    late = [record._replace(row=0, span=Span(3, 7, "frames")) for record in data.test_records[:1]]
    found = first_frames([*late, *data.test_records], data.spec, data.reader)
    assert found.rows.tolist() == [0, 1, 3]
    assert [(failure.row, failure.reason) for failure in found.unread] == [(2, "damaged")]
    whole = first_frames(data.test_records, data.spec, data.reader)
    assert not torch.equal(found.pixels[0], whole.pixels[0])  # the first window begins at frame 3
    assert torch.equal(found.pixels[1:], whole.pixels[1:])
    record = data.test_records[1]
    first = data.reader(record.path, lambda _: torch.tensor([0]))
    assert torch.equal(whole.pixels[1], eval_clips(first, replace(data.spec, num_frames=1), crops=1).flatten())
    assert first_frames(data.test_records[:2], data.spec, data.reader).labels.tolist() == [1, 2]
