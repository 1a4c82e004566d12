"""Classification: fine-tuning, or training a head on a frozen backbone; evaluation with several views per video."""

from typing import Any

import torch
from jaxtyping import Float
from timm.data.mixup import Mixup
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from backbones.contract import Backbone
from zoo.batch import Batch
from zoo.mixing import mix_clips, mixer_of
from zoo.model import VideoModel
from zoo.objectives.contract import Loss
from zoo.recipes.recipe import Recipe
from zoo.training.module import TrainingModule
from zoo.training.predictions import Predictions, merge_views

Video = Float[Tensor, "batch 3 frames height width"]


def mixer(recipe: Recipe, num_classes: int) -> Mixup | None:
    """What mixes the clips of a batch and their labels as the recipe says; None for nothing."""
    return mixer_of(mixup=recipe.mixup, cutmix=recipe.cutmix, num_classes=num_classes)


class Classify(TrainingModule):
    """Trains a video model with cross entropy and keeps the predictions of its evaluations.

    Args:
        model: backbone and head.
        recipe: every number of the run.
        seed: of all random draws of the run.
        frozen: train the head alone. The backbone then stays in evaluation mode, without gradient and dropout.
        num_views: views per video in evaluation; None for any equal number.

    Attributes:
        predictions: of the latest evaluation, one line per video; None before the first.
        accuracy: of the latest evaluation: share of videos whose most probable class is right (micro average), 0..1.
    """

    def __init__(
        self,
        model: VideoModel,
        recipe: Recipe,
        *,
        seed: int = 0,
        frozen: bool = False,
        num_views: int | None = None,
    ) -> None:
        super().__init__(recipe, seed=seed)
        self.model = model
        self.frozen = frozen
        self.num_views = num_views
        self.mix = mixer(recipe, model.num_classes)
        self.collected: list[tuple[Tensor, Tensor, Tensor]] = []
        self.predictions: Predictions | None = None
        self.accuracy = float("nan")
        model.backbone.requires_grad_(not frozen)
        model.backbone.set_grad_checkpointing(0 if frozen else recipe.checkpointed_blocks)
        self.train()

    @property
    def backbone(self) -> Backbone:
        """The model's backbone, frozen or not."""
        return self.model.backbone

    def train(self, mode: bool = True) -> "Classify":
        """Switch modes; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.backbone.eval()
        return self

    def forward(self, video: Video) -> Float[Tensor, "batch classes"]:
        """Class scores, before softmax."""
        if not self.frozen:
            return self.model(video)
        with torch.no_grad():
            features = self.model.forward_features(video)
        scores: Tensor = self.model.head(features)
        return scores

    def loss(self, batch: Batch) -> Loss:
        """Cross entropy, and the share of right answers where labels were not mixed.

        Raises:
            ValueError: for labels that are no class of the model.
        """
        self.require_labels(batch)
        if self.mix is None:
            scores = self(batch.video)
            right = (scores.detach().argmax(1) == batch.label).float().mean()
            return Loss(self.cross_entropy(scores, batch.label), {"accuracy": right})
        video, targets = mix_clips(self.mix, batch.video, batch.label)
        return Loss(self.cross_entropy(self(video), targets), {})

    def cross_entropy(self, scores: Tensor, target: Tensor) -> Float[Tensor, ""]:
        """Cross entropy in float32, smoothed as the recipe says."""
        return F.cross_entropy(scores.float(), target, label_smoothing=self.recipe.label_smoothing)

    def require_labels(self, batch: Batch) -> None:
        """Check labels before they reach a kernel that would crash on them.

        Raises:
            ValueError: naming rows and labels.
        """
        wrong = (batch.label < 0) | (batch.label >= self.model.num_classes)
        if wrong.any():
            raise ValueError(
                f"rows {batch.row[wrong].tolist()} have labels {batch.label[wrong].tolist()}; "
                f"the model has classes 0 to {self.model.num_classes - 1}"
            )

    def evaluation_step(self, batch: Batch) -> None:
        """Remember the probabilities of one batch of views."""
        self.require_labels(batch)
        probabilities = self(batch.video).float().softmax(1)
        self.collected.append((probabilities.cpu(), batch.label.cpu(), batch.row.cpu()))

    def evaluation_end(self) -> None:
        """Merge the views of all processes, each video once."""
        parts = self.collected
        self.collected = []
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for rank in gathered for part in rank]
        probabilities, labels, rows = (torch.cat(column) for column in zip(*parts, strict=True))
        self.predictions = merge_views(probabilities, labels, rows, num_views=self.num_views)
        # Averaged over videos; torchmetrics' default would average over classes.
        metric = MulticlassAccuracy(num_classes=self.model.num_classes, average="micro")
        self.accuracy = metric(self.predictions.probabilities, self.predictions.labels).item()
        self.log("accuracy", self.accuracy, prog_bar=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """One batch of validation views."""
        self.evaluation_step(batch)

    def on_validation_epoch_end(self) -> None:
        """Accuracy and predictions of the validation set."""
        self.evaluation_end()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """One batch of test views."""
        self.evaluation_step(batch)

    def on_test_epoch_end(self) -> None:
        """Accuracy and predictions of the test set."""
        self.evaluation_end()
