"""Self-distillation: a classifier whose tokens follow those of a smaller, trained network of its kind.

Source: Li et al., "VideoMamba" (arXiv 2403.06977), section 3.3 and Figure 6, and OpenGVLab/VideoMamba, image_sm
(models/videomamba_distill.py, engine_distill.py): VideoMamba-M and -B learn from VideoMamba-S on ImageNet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backbones.contract import Backbone, Features
from heads.linear import LinearHead
from heads.projection import TokenProjection
from zoo import pictures
from zoo.batch import Batch
from zoo.mixing import mix_clips, mixer_of
from zoo.model import VideoModel
from zoo.objectives.contract import Loss, Objective, Picture, Steps, backbone_of

Tokens = Float[Tensor, "batch tokens dim"]
Shares = Float[Tensor, "batch classes"]


@dataclass(frozen=True, kw_only=True)
class TeacherWeight:
    """Weight of the teacher's part of the loss, by optimiser step.

    Attributes:
        weight: until then (1 in the authors' code).
        stop_after: steps after which the teacher is not asked any more; None for never. The authors tried to stop
            early, which did not help (Figure 6b).
    """

    weight: float = 1.0
    stop_after: int | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0:  # NaN is neither
            raise ValueError(f"the teacher's weight must not be negative, got {self.weight:g}")
        if self.stop_after is not None and self.stop_after < 0:
            raise ValueError(f"stop_after must be a number of steps, got {self.stop_after}")

    def __call__(self, step: int) -> float:
        """Weight of the step, counted from 0."""
        return 0.0 if self.stop_after is not None and step >= self.stop_after else self.weight


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How labels are softened and clips mixed; the defaults change nothing. See the fields of `Recipe` of these names.

    Attributes:
        label_smoothing: share of the target that is spread over all classes.
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of CutMix; 0 for none. With both, each batch gets one of them with equal chance.
    """

    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing}")
        for name in ("mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


class SelfDistillation(Objective):
    """Cross entropy of the student's classifier, plus the distance of its tokens from the teacher's.

    The distance is the mean of 2 - 2 cos over batch and tokens, after the final norm of either network and the
    projection of the student's. Prefix tokens take part where student and teacher have equally many; otherwise patch
    tokens alone are aligned. Both networks see the same clips, after mixing; in evaluation mode nothing is mixed.
    Clips with label -1 count for the distance only.

    Args:
        student: the backbone that learns.
        teacher: trained backbone; it must have learned from clips normalised like the student's.
        classifier: class scores from the student's features.
        projection: from the student's width to the teacher's.
        mixing: of clips and labels.
        teacher_weight: weight of the distance by step, from 0; 1 throughout when None. Where it gives 0, the teacher
            is not run.

    Raises:
        ValueError: for widths that do not fit together, and for a student that is its own teacher.
    """

    def __init__(
        self,
        student: Backbone,
        teacher: Backbone,
        classifier: LinearHead,
        projection: TokenProjection,
        *,
        mixing: Mixing = Mixing(),
        teacher_weight: Callable[[int], float] | None = None,
    ) -> None:
        if classifier.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {classifier.num_classes}")
        if backbone_of(student, "student") is backbone_of(teacher, "teacher"):
            raise ValueError("student and teacher are one network; the teacher must be a trained one of its own")
        widths = (projection.linear.in_features, projection.linear.out_features)
        if widths != (student.embed_dim, teacher.embed_dim):
            raise ValueError(
                f"the projection goes from width {widths[0]} to {widths[1]}, but the student has {student.embed_dim} "
                f"and the teacher {teacher.embed_dim}"
            )
        super().__init__({"teacher": teacher})
        self.student, self.classifier, self.projection = student, classifier, projection
        self.num_classes = classifier.num_classes
        self.label_smoothing = mixing.label_smoothing
        # Clips without a label are a class of their own while they are mixed.
        self.mix = mixer_of(mixup=mixing.mixup, cutmix=mixing.cutmix, num_classes=self.num_classes + 1)
        self.teacher_weight = teacher_weight or TeacherWeight()
        self.steps = Steps()

    @property
    def model(self) -> VideoModel:
        """The student with its classifier, to be evaluated; the projection is of no use any more."""
        return VideoModel(self.student, self.classifier)

    def forward(self, batch: Batch) -> Loss:
        """Classification loss plus weighted distance of one batch.

        Logs `classification_loss`, `distillation_loss` (0 where the teacher is not asked), `accuracy`, the share of
        labelled clips whose largest class is right (0 without labels), and `blank_loss`: every clip gets the frequency
        of the classes in this batch, and every token the unit vector that lies closest to all of the teacher's.

        Raises:
            ValueError: for labels that are no class, and when the grids of student and teacher differ.
        """
        video, shares = self.mixed(batch)
        features = self.student.forward_features(video)
        scores = self.classifier(features)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        classification = self.classification_loss(scores.log_softmax(1), shares)
        # A constant answer leaves the entropy of the classes in the batch.
        blank = self.classification_loss(self.frequencies(shares).clamp(min=1e-12).log().expand_as(shares), shares)
        distance, blank_distance = scores.new_zeros(()), scores.new_zeros(())
        weight = self.teacher_weight(self.steps.taken)
        if weight:
            found, target = self.align(features, self.teach(video))
            distance = (2 - 2 * (found * target).sum(-1)).mean()
            blank_distance = 2 - 2 * torch.linalg.vector_norm(target.mean((0, 1)))
        else:
            # Distributed training wants a gradient for every parameter in every step.
            distance = distance + sum(0 * parameter.sum() for parameter in self.projection.parameters())
        logs = {
            "classification_loss": classification.detach(),
            "distillation_loss": distance.detach(),
            "accuracy": self.accuracy(scores.detach(), shares),
            "blank_loss": blank + weight * blank_distance,
        }
        return Loss(classification + weight * distance, logs)

    def mixed(self, batch: Batch) -> tuple[Float[Tensor, "batch 3 frames height width"], Shares]:
        """Clips that both networks see, and the share of every class in them; rows sum to 0 where there is no label.

        Raises:
            ValueError: naming rows and labels that are no class.
        """
        wrong = (batch.label < -1) | (batch.label >= self.num_classes)
        if wrong.any():
            raise ValueError(
                f"rows {batch.row[wrong].tolist()} have labels {batch.label[wrong].tolist()}; the classes are 0 to "
                f"{self.num_classes - 1}, and -1 means none"
            )
        label = torch.where(batch.label < 0, self.num_classes, batch.label)
        if self.mix is not None and self.training:
            video, shares = mix_clips(self.mix, batch.video, label, generator=self.generator)
        else:
            video, shares = batch.video, F.one_hot(label, self.num_classes + 1).to(torch.float32)
        return video, shares[:, : self.num_classes]

    def classification_loss(self, log_probabilities: Shares, shares: Shares) -> Float[Tensor, ""]:
        """Cross entropy with smoothed targets, the mean over labelled clips (a mixed one counts by its labelled part).

        At least one clip is divided by, so that a sliver of a labelled clip does not become the whole loss.
        """
        labelled = shares.sum(1, keepdim=True)
        target = (1 - self.label_smoothing) * shares + self.label_smoothing / self.num_classes * labelled
        return -(target * log_probabilities).sum() / labelled.sum().clamp(min=1)

    def frequencies(self, shares: Shares) -> Float[Tensor, "1 classes"]:
        """Smoothed shares of the classes among the labelled clips."""
        total = shares.sum().clamp(min=1e-12)
        return ((1 - self.label_smoothing) * shares.sum(0) / total + self.label_smoothing / self.num_classes)[None]

    def accuracy(self, scores: Shares, shares: Shares) -> Float[Tensor, ""]:
        """Share of labelled clips for which the class with the largest share has the highest score."""
        labelled = shares.sum(1) > 0
        right = (scores.argmax(1) == shares.argmax(1)) & labelled
        return right.float().sum() / labelled.sum().clamp(min=1)

    @torch.no_grad()
    def teach(self, video: Float[Tensor, "batch 3 frames height width"]) -> Features:
        """The teacher's features."""
        return cast(Backbone, self.outside["teacher"]).forward_features(video)

    def align(self, features: Features, taught: Features) -> tuple[Tokens, Tokens]:
        """Unit vectors of the student, projected, and of the teacher, token by token.

        Raises:
            ValueError: when the grids differ.
        """
        if features.grid != taught.grid:
            raise ValueError(
                f"the student has a grid of {tuple(features.grid)} tokens (time, height, width) and the teacher one of "
                f"{tuple(taught.grid)}; tokens are aligned one by one, so both must cut clips alike"
            )
        found, target = features.tokens, taught.tokens
        if features.prefix.shape[1] == taught.prefix.shape[1]:
            found = torch.cat([features.prefix, found], 1)
            target = torch.cat([taught.prefix, target], 1)
        return self.unit(self.projection(found)), self.unit(target)

    @torch.no_grad()
    def picture(self, batch: Batch, pixels: Float[Tensor, "batch 3 frames height width"]) -> Picture:
        """The teacher's and the student's projected features in the colours of the teacher's."""
        features, taught = self.student.forward_features(batch.video), self.teach(batch.video)
        patches = Features(features.tokens, features.tokens[:, :0], features.grid, None)
        found, target = self.align(patches, taught._replace(prefix=taught.tokens[:, :0]))
        palette = pictures.Palette(target)
        panels = {
            name: pictures.paint(palette(tokens), features.grid, self.student.tubelet)
            for name, tokens in {"teacher's features": target, "student's, projected": found}.items()
        }
        return Picture(panels, "Self-distillation masks nothing; colours are principal components of the teacher's.")

    def unit(self, tokens: Tokens) -> Tokens:
        """Vectors of length 1, in float32 or finer."""
        return F.normalize(tokens.to(torch.promote_types(tokens.dtype, torch.float32)), dim=-1)

    def after_step(self, step: int) -> None:
        """Move on in the schedule of the teacher's weight."""
        self.steps.taken = step


def self_distillation_for(
    student: Backbone,
    teacher: Backbone,
    *,
    num_classes: int,
    mixing: Mixing = Mixing(),
    teacher_weight: Callable[[int], float] | None = None,
    norm: str | None = None,
) -> SelfDistillation:
    """Self-distillation for any backbone, with the classifier of its own family: one linear layer on its own pooling.

    Args:
        student: the backbone that learns.
        teacher: a trained backbone with the same grid, smaller in the paper.
        num_classes: number of classes.
        mixing: of clips and labels.
        teacher_weight: see `SelfDistillation`.
        norm: norm before the projection, "rms" or "layer"; the kind of the student's own final norm when None, which
            gives VideoMamba the authors' RMS norm.
    """
    backbone_of(teacher, "teacher")
    own = {name for name, _ in backbone_of(student, "student").named_parameters() if name.startswith("norm.")}
    kind = norm or ("rms" if own == {"norm.weight"} else "layer")
    return SelfDistillation(
        student,
        teacher,
        LinearHead(student.embed_dim, num_classes, pool=student.pool),
        TokenProjection(student.embed_dim, teacher.embed_dim, norm=kind),
        mixing=mixing,
        teacher_weight=teacher_weight,
    )
