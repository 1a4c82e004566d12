import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from backbones.contract import Features
from heads.attentive import AttentiveHead
from heads.verb_noun import VerbNounHead
from tests.zoo.data.clips import break_file, write_set
from tests.zoo.training.synthetic import RECIPE, TinyBackbone, TinyData, tiny_model
from zoo.batch import Batch
from zoo.card import ClipSpec
from zoo.data.datamodule import FailurePolicy, VideoDataModule
from zoo.mixing import mix_clips
from zoo.model import VideoModel
from zoo.training.classify import Classify, mixer
from zoo.training.fit import evaluate, fit
from zoo.training.predictions import join


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


def test_a_model_with_several_questions_is_refused_before_any_step():
    model = tiny_model()
    model.head = VerbNounHead(16, {"verb": 2, "noun": 3}, num_heads=2, depth=1)
    with pytest.raises(ValueError, match=r"several questions \(verb, noun\)"):
        Classify(model, RECIPE)


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
            return Batch(*(column[keep][: -1 if batch.row[-1] != 9 else None] for column in batch[:3]))

    with pytest.raises(ValueError, match="every video must have 3 views"):
        evaluate(Classify(tiny_model(), RECIPE, num_views=3), OneMissing(views=3))


@pytest.mark.parametrize("label", [-1, 4])
def test_labels_that_are_no_class_are_named(label):
    clips = batch()
    clips.label[2] = label
    with pytest.raises(ValueError, match=rf"rows \[2\] have labels \[{label}\]; the model has classes 0 to 3"):
        Classify(tiny_model(), RECIPE).loss(clips)


def test_a_model_with_one_output_learns_values(tmp_path):
    module = Classify(tiny_model(1), RECIPE)
    clips = batch()._replace(target=torch.tensor([0.5, -1.0, 2.0, 0.0]))
    loss = module.eval().loss(clips)
    expected = (module(clips.video)[:, 0] - clips.target).square().mean()
    torch.testing.assert_close(loss.total, expected)
    assert loss.logs["mse"] == loss.total


def test_a_classifier_on_clips_with_targets_still_learns_classes():
    clips = batch()._replace(target=torch.zeros(4))
    assert "accuracy" in Classify(tiny_model(), RECIPE).eval().loss(clips).logs


def test_one_output_without_targets_is_no_regression():
    with pytest.raises(ValueError, match="the model has classes 0 to 0"):
        Classify(tiny_model(1), RECIPE).loss(batch())


def test_values_of_views_are_averaged():
    class Targets(TinyData):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch._replace(target=batch.row / 10)

    module, data = Classify(tiny_model(1), RECIPE, num_views=3), Targets(views=3)
    predictions = evaluate(module, data)
    views = torch.cat([module.eval()(b.video) for b in data.test_dataloader()])
    torch.testing.assert_close(predictions.probabilities, views.view(10, 3, 1).mean(1))
    torch.testing.assert_close(predictions.targets, torch.arange(10) / 10)
    assert math.isnan(module.accuracy)


def test_scores_of_every_view_are_kept_as_the_network_gives_them():
    module, data = Classify(tiny_model(), RECIPE, num_views=3), TinyData(views=3)
    evaluate(module, data)
    views = torch.cat([module.eval()(b.video) for b in data.test_dataloader()])
    torch.testing.assert_close(module.scores.scores, views)
    assert module.scores.views.tolist() == [0, 1, 2] * 10


def test_a_head_that_attends_sees_all_clips_of_a_crop_at_once():
    backbone = tiny_model().backbone
    model = VideoModel(backbone, AttentiveHead(16, 4, num_heads=2))
    # 2 clips x 3 crops of each of 10 videos, in batches of 2 videos.
    module = Classify(model, RECIPE, num_views=6, rule="segments attended", clips=2)
    predictions = evaluate(module, TinyData(views=6, batch_size=12))
    clips = torch.cat([b.video for b in TinyData(views=6, batch_size=12).test_dataloader()])
    with torch.no_grad():
        parts = backbone.eval().forward_features(clips)
        tokens = parts.tokens.unflatten(0, (10, 2, 3))
        joined = torch.cat([tokens[:, 0], tokens[:, 1]], 2).flatten(0, 1)
        grid = parts.grid._replace(time=2 * parts.grid.time)
        scores = model.head(Features(joined, joined[:, :0], grid, None))
    torch.testing.assert_close(module.scores.scores, scores)
    assert module.scores.rows.tolist() == [row for row in range(10) for _ in range(3)]
    assert module.scores.views.tolist() == [0, 1, 2] * 10
    torch.testing.assert_close(predictions.probabilities, scores.softmax(1).unflatten(0, (10, 3)).mean(1))


def test_attending_needs_to_know_the_views():
    with pytest.raises(ValueError, match="needs num_views, a multiple of the 2 clips, not 5"):
        Classify(tiny_model(), RECIPE, num_views=5, rule="segments attended", clips=2)


def test_a_head_with_several_questions_is_asked_one():
    head = VerbNounHead(16, {"verb": 4, "noun": 5}, num_heads=2, depth=1)
    model = VideoModel(TinyBackbone(), head)
    module = Classify(model, RECIPE, question="verb")
    evaluate(module, TinyData())
    clips = next(iter(TinyData().test_dataloader()))
    torch.testing.assert_close(module.scores.scores[:4], model.eval()(clips.video)["verb"])
    with pytest.raises(ValueError, match=r"\(verb, noun\); name one of them, not 'adverb'"):
        Classify(model, RECIPE, question="adverb")


def test_an_evaluation_counts_every_video_as_scored_or_failed(tmp_path):
    records = write_set(tmp_path, num_frames=(8,) * 20)
    for row in (2, 3, 11):
        break_file(records[row])
    spec = ClipSpec(num_frames=4, sampling="uniform", img_size=8, clips=2, crops=1)
    data = VideoDataModule(spec=spec, test=records, batch_size=4, failures=FailurePolicy(in_evaluation="report"))
    predictions = evaluate(Classify(tiny_model(), RECIPE, num_views=2), data)
    assert [failure.row for failure in predictions.failed] == [2, 3, 11]
    assert sorted([*predictions.rows.tolist(), *(failure.row for failure in predictions.failed)]) == list(range(20))


def test_an_evaluation_of_unreadable_videos_ends_with_their_list(tmp_path):
    records = write_set(tmp_path, num_frames=(8,) * 2)
    for record in records:
        break_file(record)
    spec = ClipSpec(num_frames=4, sampling="uniform", img_size=8)
    data = VideoDataModule(spec=spec, test=records, failures=FailurePolicy(in_evaluation="report"))
    predictions = evaluate(Classify(tiny_model(), RECIPE, num_views=1), data)
    assert [failure.row for failure in predictions.failed] == [0, 1]
    assert predictions.probabilities.shape == (0, 4)


def test_shares_of_two_processes_joined_equal_one_process_bit_for_bit(tmp_path):
    records = write_set(tmp_path, num_frames=(8,) * 7)
    break_file(records[4])
    spec = ClipSpec(num_frames=4, sampling="uniform", img_size=8, clips=2, crops=1)
    model = tiny_model().eval()

    def scores(rank, world):
        class Share(VideoDataModule):
            def _process(self):
                return rank, world

        module = Classify(model, RECIPE, num_views=2).eval()
        data = Share(spec=spec, test=records, batch_size=4, failures=FailurePolicy(in_evaluation="report"))
        with torch.no_grad():
            for it in data.test_dataloader():
                module.evaluation_step(it)
        return join(module.collected)

    alone, shared = scores(0, 1), join([scores(1, 2), scores(0, 2)])
    assert all(torch.equal(a, b) for a, b in zip(alone[:4], shared[:4], strict=True))
    assert [failure.row for failure in shared.failed] == [failure.row for failure in alone.failed] == [4]


def test_dropped_tokens_are_tubes_of_training_clips_only(monkeypatch):
    model, kept = tiny_model(), []
    inside = model.backbone.forward_features

    def watched(video, keep=None):
        kept.append(keep)
        return inside(video, keep)

    monkeypatch.setattr(model.backbone, "forward_features", watched)
    module = Classify(model, replace(RECIPE, token_drop=0.5))
    grid = model.backbone.grid(batch().video)
    for seed in (3, 3, 4):
        module.reseed(seed)
        module.loss(batch())
    area = grid.height * grid.width
    visible = area - area // 2
    assert kept[0].shape == (4, grid.time * visible)
    assert torch.equal(kept[0][:, :visible] + area, kept[0][:, visible : 2 * visible])
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])
    module.eval()
    module.answers(batch().video)
    module(batch().video)
    assert kept[3:] == [None, None]


def test_dropping_tokens_of_a_backbone_that_cannot_is_refused(monkeypatch):
    recipe = replace(RECIPE, token_drop=0.5)
    with pytest.raises(ValueError, match=r"the backbone is frozen, so token_drop must be 0, not 0.5"):
        Classify(tiny_model(), recipe, frozen=True)
    model = tiny_model()
    monkeypatch.setattr(model.backbone, "drops_tokens", False)
    with pytest.raises(ValueError, match="the backbone computes every token, so token_drop must be 0"):
        Classify(model, recipe)
    with pytest.raises(ValueError, match=r"token_drop must lie in \[0, 1\), not 1"):
        replace(RECIPE, token_drop=1.0)
