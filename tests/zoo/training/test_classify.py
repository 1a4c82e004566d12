from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.zoo.training.synthetic import RECIPE, TinyData, tiny_model
from zoo.batch import Batch
from zoo.mixing import mix_clips
from zoo.training.classify import Classify, mixer
from zoo.training.fit import evaluate, fit


def batch(size=4, classes=4):
    return Batch(torch.randn(size, 3, 4, 8, 8), torch.arange(size) % classes, torch.arange(size))


def test_a_frozen_backbone_does_not_change_and_stays_in_evaluation_mode(tmp_path):
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = []

    class Watched(Classify):
        def training_step(self, batch, batch_idx):
            modes.append({module.training for module in self.model.backbone.modules()})
            assert self.model.head.training
            return super().training_step(batch, batch_idx)

    module = Watched(model, RECIPE, frozen=True)
    fit(module, TinyData(), run_dir=tmp_path)
    assert modes == [{False}] * RECIPE.steps
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.linear.weight", "head.linear.bias"}
    assert all(p.grad is None for p in model.backbone.parameters())
    assert {place.name for place in module.placements()} == {"model.head.linear.weight", "model.head.linear.bias"}


def test_a_frozen_backbone_is_in_evaluation_mode_whoever_trains_it():
    module = Classify(tiny_model(), RECIPE, frozen=True)
    assert not any(part.training for part in module.model.backbone.modules())
    assert module.model.head.training
    assert not any(part.training for part in module.train().model.backbone.modules())


def test_fine_tuning_changes_everything(tmp_path):
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(Classify(model, RECIPE), TinyData(), run_dir=tmp_path)
    assert all(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_after_an_evaluation_is_training(tmp_path):
    modes = []

    class Watched(Classify):
        def training_step(self, batch, batch_idx):
            modes.append({module.training for module in self.modules()})
            return super().training_step(batch, batch_idx)

    module = Watched(tiny_model(), RECIPE)
    evaluate(module, TinyData())
    fit(module.eval(), TinyData(), run_dir=tmp_path)
    assert modes == [{True}] * RECIPE.steps


def test_a_model_used_frozen_can_be_fine_tuned_later():
    model = tiny_model()
    assert not any(p.requires_grad for p in Classify(model, RECIPE, frozen=True).model.backbone.parameters())
    assert all(p.requires_grad for p in Classify(model, RECIPE).model.backbone.parameters())


def test_loss_is_cross_entropy_with_smoothing():
    module, clips = Classify(tiny_model(), replace(RECIPE, label_smoothing=0.1)).eval(), batch()
    log_probabilities = module(clips.video).log_softmax(1)
    target = F.one_hot(clips.label, 4) * 0.9 + 0.1 / 4
    loss = module.loss(clips)
    torch.testing.assert_close(loss.total, -(target * log_probabilities).sum(1).mean())
    right = (log_probabilities.argmax(1) == clips.label).float().mean()
    assert loss.logs["accuracy"] == right


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixed_clips_share_one_mixture_over_all_frames(mixup, cutmix):
    transform = mixer(replace(RECIPE, mixup=mixup, cutmix=cutmix), num_classes=4)
    clips = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 4, 8, 8)
    shares = set()
    for _ in range(20):
        mixed, targets = mix_clips(transform, clips, torch.arange(4))
        assert torch.equal(mixed, mixed[:, :1, :1].expand_as(mixed))
        # Clip i is mixed with clip 3 - i; targets say by how much.
        share = targets[1, 1].item()
        expected = share * torch.eye(4) + (1 - share) * torch.eye(4).flip(0)
        torch.testing.assert_close(targets, expected)
        assert mixed[1].mean().item() == pytest.approx(share + 2 * (1 - share), abs=1e-5)
        shares.add(share)
    assert len(shares) > 5


def test_both_mixtures_take_turns():
    transform = mixer(replace(RECIPE, mixup=0.8, cutmix=1.0), num_classes=4)
    clips = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 4, 8, 8)
    # CutMix leaves pixels as they were; mixup makes new values.
    blended = [bool((mix_clips(transform, clips, torch.arange(4))[0] % 1).any()) for _ in range(200)]
    assert 70 < sum(blended) < 130


def test_mixing_trains_and_does_not_touch_evaluation(tmp_path):
    module = Classify(tiny_model(), replace(RECIPE, mixup=0.8, cutmix=1.0, label_smoothing=0.1))
    report = fit(module, TinyData(), run_dir=tmp_path)
    assert "accuracy" not in report.curves[0]
    clips = next(iter(TinyData().test_dataloader()))
    expected = module.eval()(clips.video).softmax(1)
    predictions = evaluate(module, TinyData())
    torch.testing.assert_close(predictions.probabilities[: len(expected)], expected)


def test_accuracy_counts_videos_not_classes(tmp_path):
    module = Classify(tiny_model(), RECIPE)
    with torch.no_grad():
        module.model.head.linear.weight.zero_()
        module.model.head.linear.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    # Rows 0 to 9 have labels 0, 1, 2, 3, 0, 1, 2, 3, 0, 1: 3 of 10 videos are right, 1 class of 4.
    evaluate(module, TinyData())
    assert module.accuracy == pytest.approx(0.3)


def test_views_are_averaged_after_softmax():
    module, data = Classify(tiny_model(), RECIPE, num_views=3), TinyData(views=3)
    predictions = evaluate(module, data)
    views = torch.cat([module.eval()(b.video).softmax(1) for b in data.test_dataloader()])
    torch.testing.assert_close(predictions.probabilities, views.view(10, 3, 4).mean(1))


def test_a_lost_view_is_noticed():
    class OneMissing(TinyData):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            keep = batch.row != 9 if batch.row[-1] == 9 else slice(None)
            columns = [column for column in batch if column is not None]
            return Batch(*(column[keep][: -1 if batch.row[-1] != 9 else None] for column in columns))

    with pytest.raises(ValueError, match="every video must have 3 views"):
        evaluate(Classify(tiny_model(), RECIPE, num_views=3), OneMissing(views=3))


@pytest.mark.parametrize("label", [-1, 4])
def test_labels_that_are_no_class_are_named(label):
    clips = batch()
    clips.label[2] = label
    with pytest.raises(ValueError, match=rf"rows \[2\] have labels \[{label}\]; the model has classes 0 to 3"):
        Classify(tiny_model(), RECIPE).loss(clips)
