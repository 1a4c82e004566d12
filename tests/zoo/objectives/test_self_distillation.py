import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from backbones.timesformer import TimeSformer
from backbones.videomamba import VideoMamba
from backbones.vit import vit_pico
from heads.linear import LinearHead
from heads.projection import TokenProjection
from tests.backbones.test_videomamba import as_clip, built, converter_of, to_ours
from tests.support import assert_parity, load, part
from tests.zoo.training.synthetic import RECIPE, TinyBackbone, TinyData
from zoo.batch import Batch
from zoo.objectives.self_distillation import Mixing, SelfDistillation, TeacherWeight, self_distillation_for
from zoo.training.fit import fit
from zoo.training.pretrain import Pretrain

MAMBA = {"img_size": 8, "num_frames": 2, "patch_size": 4, "depth": 1}


def mamba(width):
    return VideoMamba(**MAMBA, embed_dim=width).eval()


def batch(labels=(0, 2, 1), seed=0):
    video = torch.randn(len(labels), 3, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Batch(video, torch.tensor(labels), torch.arange(len(labels)))


def objective(**options):
    torch.manual_seed(0)
    made = self_distillation_for(mamba(16), mamba(8), num_classes=3, **options).eval()
    torch.nn.init.normal_(made.projection.linear.weight)
    torch.nn.init.normal_(made.classifier.linear.weight)
    return made


def unit_tokens(features):
    return F.normalize(torch.cat([features.prefix, features.tokens], 1), dim=-1)


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, "output"), (torch.float64, "output64")])
def test_projected_tokens_and_scores_are_the_authors(dtype, kind):
    side, tensors = load("videomamba/image_distill_student")
    learning = from_authors(side, tensors, dtype)
    features = learning.student.forward_features(as_clip(tensors["input/x"].to(dtype)))
    found = {"logits": learning.classifier(features), "distill_feats": learning.align(features, blank(features, 48))[0]}
    for key, expected in part(tensors, f"{kind}/").items():
        tolerance = side["tolerance"][str(dtype).removeprefix("torch.")]
        assert_parity(f"videomamba/image_distill_student {kind}/{key}", found[key], expected, **tolerance)


def test_gradients_of_projection_classifier_and_student_are_the_authors():
    side, tensors = load("videomamba/image_distill_student")
    learning = from_authors(side, tensors, torch.float64)
    features = learning.student.forward_features(as_clip(tensors["input/x"].double()))
    found = {"logits": learning.classifier(features), "distill_feats": learning.align(features, blank(features, 48))[0]}
    sum((found[key] * tensors[f"input/probe_{key}"]).sum() for key in found).backward()
    expected = part(tensors, "grad64/")
    names = {"distill_head.0.weight": "norm.weight", "distill_head.1.weight": "linear.weight"}
    names["distill_head.1.bias"] = "linear.bias"
    pairs = [(learning.projection.get_parameter(ours).grad, expected[theirs]) for theirs, ours in names.items()]
    trunk, head = to_ours({key: value for key, value in expected.items() if key != "input.x"}, converter_of(expected))
    pairs += [(learning.student.get_parameter(key).grad, value) for key, value in trunk.items()]
    pairs += [(learning.classifier.linear.get_parameter(key).grad, value) for key, value in head.items()]
    flat = [torch.cat([gradient.flatten() for gradient in half]) for half in zip(*pairs, strict=True)]
    assert_parity("videomamba/image_distill_student grad64", *flat, **side["tolerance"]["float64"])


def from_authors(side, tensors, dtype):
    """The objective with the authors' student, projection and classifier; its teacher is of no importance."""
    state = part(tensors, "state/")
    student, head = built(side["constructor"], state, dtype)
    learning = self_distillation_for(student, mamba(48), num_classes=6).to(dtype)
    learning.classifier.linear.load_state_dict(head)
    head_state = {"norm.weight": state["distill_head.0.weight"], "linear.weight": state["distill_head.1.weight"]}
    learning.projection.load_state_dict(head_state | {"linear.bias": state["distill_head.1.bias"]})
    return learning


def blank(features, width):
    """Features of a teacher with the student's tokens."""
    return features._replace(tokens=features.tokens[..., :width], prefix=features.prefix[..., :width])


def test_the_loss_is_cross_entropy_plus_the_mean_of_two_minus_two_cosines():
    learning, clips = objective(), batch()
    loss = learning(clips)
    features = learning.student.forward_features(clips.video)
    classification = F.cross_entropy(learning.classifier(features), clips.label)
    projected = learning.projection(torch.cat([features.prefix, features.tokens], 1))
    target = unit_tokens(learning.outside["teacher"].forward_features(clips.video))
    distance = 2 - 2 * (F.normalize(projected, dim=-1) * target).sum(-1).mean()
    torch.testing.assert_close(loss.total, classification + distance)
    torch.testing.assert_close(loss.logs["classification_loss"], classification)
    torch.testing.assert_close(loss.logs["distillation_loss"], distance)
    assert not any(value.requires_grad for value in loss.logs.values())
    accuracy = (learning.classifier(features).argmax(1) == clips.label).float().mean()
    assert loss.logs["accuracy"] == accuracy


def test_blank_loss_is_what_the_best_constants_reach():
    learning, clips = objective(), batch((0, 0, 1, 2))
    target = unit_tokens(learning.outside["teacher"].forward_features(clips.video))
    scores = torch.zeros(3, requires_grad=True)
    constant = torch.randn(8, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores, constant], max_iter=200, line_search_fn="strong_wolfe")

    def guess():
        optimizer.zero_grad()
        distance = (2 - 2 * (F.normalize(constant, dim=0) * target).sum(-1)).mean()
        loss = F.cross_entropy(scores.expand(4, 3), clips.label) + distance
        loss.backward()
        return loss

    optimizer.step(guess)
    torch.testing.assert_close(learning(clips).logs["blank_loss"], guess().detach(), rtol=1e-4, atol=1e-5)


def test_smoothed_and_mixed_labels_give_the_soft_target_cross_entropy():
    learning = objective(mixing=Mixing(label_smoothing=0.1, mixup=0.8, cutmix=1.0)).train()
    learning.generator.manual_seed(5)
    video, shares = learning.mixed(batch((0, 2, 0, 1)))
    assert 0 < shares.max() < 1
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    seen = []
    handles = [
        part.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for part in (learning.student.patch_embed, learning.outside["teacher"].patch_embed)
    ]
    learning.generator.manual_seed(5)
    loss = learning(batch((0, 2, 0, 1)))
    [handle.remove() for handle in handles]
    assert len(seen) == 2
    assert all(torch.equal(clips, video) for clips in seen)
    scores = learning.classifier(learning.student.forward_features(video))
    expected = F.cross_entropy(scores, shares, label_smoothing=0.1)
    torch.testing.assert_close(loss.logs["classification_loss"], expected.detach())
    assert torch.equal(learning.eval().mixed(batch((0, 2, 0, 1)))[0], batch((0, 2, 0, 1)).video)


def test_clips_without_a_label_count_for_the_distance_only():
    learning, some, labelled = objective(mixing=Mixing(label_smoothing=0.1)), batch((2, -1, -1)), batch((2,))
    labelled = labelled._replace(video=some.video[:1])
    found, alone = learning(some).logs, learning(labelled).logs
    torch.testing.assert_close(found["classification_loss"], alone["classification_loss"])
    assert found["accuracy"] == alone["accuracy"]
    nobody = batch((-1, -1, -1))
    none = learning(nobody)
    assert none.logs["classification_loss"] == none.logs["accuracy"] == 0
    torch.testing.assert_close(none.total.detach(), none.logs["distillation_loss"])
    none.total.backward()
    assert not learning.classifier.linear.weight.grad.any()
    assert learning.student.patch_embed.proj.weight.grad.any()


def test_mixing_with_an_unlabelled_clip_keeps_the_labelled_share():
    learning = objective(mixing=Mixing(mixup=0.8)).train()
    learning.generator.manual_seed(1)
    _, shares = learning.mixed(batch((2, -1)))
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
    assert shares[:, :2].sum() == 0
    assert (shares[:, 2] > 0).all()


def test_labels_that_are_no_class_are_named():
    with pytest.raises(ValueError, match=r"rows \[1\] have labels \[3\]; the classes are 0 to 2"):
        objective()(batch((0, 3, -1)))


def test_the_teachers_weight_scales_the_distance_and_can_end():
    assert [TeacherWeight(weight=0.5, stop_after=2)(step) for step in range(4)] == [0.5, 0.5, 0.0, 0.0]
    assert TeacherWeight()(10**6) == 1.0
    learning = objective(teacher_weight=TeacherWeight(weight=0.25, stop_after=3))
    logs = learning(batch()).logs
    total = logs["classification_loss"] + 0.25 * logs["distillation_loss"]
    torch.testing.assert_close(learning(batch()).total.detach(), total)
    learning.after_step(3)

    def refuse(_, given):
        raise AssertionError("the teacher was asked")

    learning.outside["teacher"].patch_embed.register_forward_pre_hook(refuse)
    after = learning(batch())
    torch.testing.assert_close(after.total.detach(), logs["classification_loss"])
    after.total.backward()
    assert all(parameter.grad is not None for parameter in learning.parameters())


def test_a_resumed_run_goes_on_in_its_schedule():
    learning, resumed = objective(), objective()
    learning.after_step(7)
    resumed.load_state_dict(learning.state_dict())
    assert resumed.steps.taken == 7


def test_the_teacher_stays_as_it_is_and_is_in_no_state(tmp_path):
    teacher = TinyBackbone(drop_path=0.9)
    before = copy.deepcopy(teacher.state_dict())
    learning = self_distillation_for(TinyBackbone(), teacher, num_classes=4)
    start = copy.deepcopy(learning.state_dict())
    report = fit(Pretrain(learning, replace(RECIPE, base_lr=0.05)), TinyData(), run_dir=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any("teacher" in name for name in learning.state_dict())
    assert all(not torch.equal(value, start[name]) for name, value in learning.state_dict().items())
    assert learning.steps.taken == RECIPE.steps
    assert {"distillation_loss", "classification_loss", "accuracy", "blank_loss"} <= report.curves[0].keys()
    assert learning.model(torch.randn(1, 3, 4, 8, 8)).shape == (1, 4)


def test_patch_tokens_alone_are_aligned_when_prefix_tokens_differ_in_number():
    student, teacher = TinyBackbone(), VideoMamba(**MAMBA, tubelet_size=2, embed_dim=8)
    learning = self_distillation_for(student, teacher, num_classes=3).eval()
    clips = batch()
    features, taught = student.forward_features(clips.video), learning.teach(clips.video)
    assert features.prefix.shape[1] != taught.prefix.shape[1]
    found, target = learning.align(features, taught)
    assert torch.equal(target, F.normalize(taught.tokens, dim=-1))
    torch.testing.assert_close(found, F.normalize(learning.projection(features.tokens), dim=-1))


@pytest.mark.parametrize("drops_tokens", [True, False])
def test_any_student_learns_from_any_teacher(drops_tokens):
    student = TimeSformer(img_size=8, num_frames=2, patch_size=4, embed_dim=16, depth=1, num_heads=2)
    student.drops_tokens = drops_tokens
    learning = self_distillation_for(student, mamba(8), num_classes=3)
    learning(batch()).total.backward()
    missing = [name for name, p in learning.named_parameters() if p.grad is None]
    assert not missing


def test_images_are_clips_of_one_frame():
    options = {"img_size": 8, "num_frames": 1, "patch_size": 4, "depth": 1}
    student, teacher = (VideoMamba(**options, embed_dim=width) for width in (16, 8))
    learning = self_distillation_for(student, teacher, num_classes=3, mixing=Mixing(mixup=0.8, cutmix=1.0))
    images = batch((0, 2))
    loss = learning(images._replace(video=images.video[:, :, :1]))
    assert loss.total.isfinite()
    assert loss.logs["distillation_loss"] > 0


def test_the_projection_gets_the_students_own_kind_of_norm():
    assert isinstance(objective().projection.norm, torch.nn.RMSNorm)
    assert isinstance(
        self_distillation_for(TinyBackbone(), mamba(8), num_classes=2).projection.norm, torch.nn.LayerNorm
    )
    assert isinstance(objective(norm="layer").projection.norm, torch.nn.LayerNorm)
    assert objective().projection.norm.eps == 1e-5


def test_grids_that_differ_are_both_named():
    coarse = VideoMamba(**MAMBA | {"patch_size": 8}, embed_dim=8)
    learning = self_distillation_for(mamba(16), coarse, num_classes=3)
    with pytest.raises(ValueError, match=r"grid of \(2, 2, 2\) .* teacher one of \(2, 1, 1\)"):
        learning(batch())


def test_networks_that_do_not_fit_are_refused():
    student = mamba(16)
    with pytest.raises(ValueError, match="student and teacher are one network"):
        self_distillation_for(student, student, num_classes=3)
    with pytest.raises(ValueError, match="from width 16 to 12, but the student has 16 and the teacher 8"):
        SelfDistillation(student, mamba(8), LinearHead(16, 3, pool="cls"), TokenProjection(16, 12))
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        TeacherWeight(weight=-1.0)
    with pytest.raises(ValueError, match="stop_after must be a number of steps, got -2"):
        TeacherWeight(stop_after=-2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixing(label_smoothing=2.0), "label_smoothing"),
        (lambda: Mixing(mixup=-1.0), "mixup must not be negative"),
        (lambda: TeacherWeight(weight=float("nan")), "must not be negative"),
        (lambda: self_distillation_for(vit_pico(depth=1), vit_pico(depth=1), num_classes=0), "num_classes"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()
