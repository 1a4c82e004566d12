"""Classification: fine-tuning, or training a head on a frozen backbone; evaluation with several views per video."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from timm.data.mixup import Mixup
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from backbones.contract import Backbone
from heads.verb_noun import VerbNounHead
from heads.views import first_of_segments, join_segments
from zoo import masks
from zoo.batch import Batch
from zoo.mixing import mix_clips, mixer_of
from zoo.model import VideoModel
from zoo.objectives.contract import Loss
from zoo.recipes.recipe import Recipe
from zoo.training.module import TrainingModule
from zoo.training.predictions import (
    ATTENDED,
    MEAN,
    SOFTMAX,
    Predictions,
    ViewScores,
    as_rule,
    count_views,
    join,
    merge,
)
from zoo.training.score_log import ScoreLog

Video = Float[Tensor, "batch 3 frames height width"]


def mixer(recipe: Recipe, num_classes: int) -> Mixup | None:
    """What mixes the clips of a batch and their labels as the recipe says; None for nothing."""
    return mixer_of(mixup=recipe.mixup, cutmix=recipe.cutmix, num_classes=num_classes)


class Classify(TrainingModule):
    """Trains a video model with cross entropy and keeps what it says in evaluations, view by view and merged.

    A model with one output on clips with targets is a regression: it is trained with the mean squared error.

    Args:
        model: backbone and head.
        recipe: every number of the run.
        seed: of all random draws of the run.
        frozen: train the head alone. The backbone then stays in evaluation mode, without gradient and dropout.
        num_views: views per record in evaluation, clips x crops; None for any equal number.
        rule: how the views of a video become one answer, see `zoo.training.predictions.MERGE_RULES`.
        clips: temporal clips per record, which "segments attended" shows the head at once.
        question: which of a head's questions is evaluated; "" for a head with one.

    Attributes:
        scores: of the latest evaluation, one line per view; None before the first.
        predictions: likewise, one line per video.
        accuracy: of the latest evaluation: share of videos whose most probable class is right (micro average), 0..1;
            NaN for a regression, and when no video could be read.
        score_log: keeps the scores of every batch while an evaluation runs; None where nobody does. Set
            likewise, as is the number of batches that an interrupted run scored, `batches_read`.
        windows: row -> number of its records, for every row of the list to evaluate; None where nobody says. Set by
            `zoo.training.fit.evaluate`.

    Raises:
        ValueError: for a rule that needs to know the numbers of views, for a model that answers several questions and
            not this one, and for tokens to drop from a backbone that is frozen or computes every token.
    """

    def __init__(
        self,
        model: VideoModel,
        recipe: Recipe,
        *,
        seed: int = 0,
        frozen: bool = False,
        num_views: int | None = None,
        rule: str = SOFTMAX,
        clips: int = 1,
        question: str = "",
    ) -> None:
        super().__init__(recipe, seed=seed)
        if isinstance(model.head, VerbNounHead) and question not in model.head.linears:
            questions = ", ".join(model.head.linears)
            raise ValueError(f"the model answers several questions ({questions}); name one of them, not {question!r}")
        if recipe.token_drop and (frozen or not model.backbone.drops_tokens):
            reason = "is frozen" if frozen else "computes every token"
            raise ValueError(f"the backbone {reason}, so token_drop must be 0, not {recipe.token_drop}")
        self.model = model
        self.generator = torch.Generator()
        self.frozen = frozen
        self.num_views, self.clips, self.question = num_views, clips, question
        # The softmax of a single value is 1 whatever it is.
        self.rule = MEAN if model.num_classes == 1 and as_rule(rule) == SOFTMAX else as_rule(rule)
        if self.attends and (num_views is None or num_views % clips):
            raise ValueError(f"rule {rule!r} needs num_views, a multiple of the {clips} clips, not {num_views}")
        self.mix = mixer(recipe, model.num_classes)
        self.collected: list[ViewScores] = []
        self.score_log: ScoreLog | None = None
        self.batches_read = 0
        self.windows: Mapping[int, int] | None = None
        self.scores: ViewScores | None = None
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
        """Class scores, before softmax; in training of what `Recipe.token_drop` leaves visible."""
        keep = self.draw(video)
        if keep is None and not self.frozen:
            return self.model(video)
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            features = self.model.forward_features(video, keep)
        scores: Tensor = self.model.head(features)
        return scores

    def reseed(self, seed: int) -> None:
        """Seed the generator of dropped tokens."""
        self.generator.manual_seed(seed)

    def draw(self, video: Video) -> Int64[Tensor, "batch kept"] | None:
        """Tokens that the backbone sees; None for all."""
        share = self.recipe.token_drop
        if not share or not self.training:
            return None
        return masks.tube(self.backbone.grid(video), share, len(video), self.generator).to(video.device)

    def loss(self, batch: Batch) -> Loss:
        """Cross entropy, and the share of right answers where labels were not mixed; of values the squared error.

        Raises:
            ValueError: for labels that are no class of the model.
        """
        if self.is_regression(batch) and batch.target is not None:
            error = F.mse_loss(self(batch.video).float()[:, 0], batch.target.float())
            return Loss(error, {"mse": error.detach()})
        self.require_labels(batch, self.model.num_classes)
        if self.mix is None:
            scores = self(batch.video)
            right = (scores.detach().argmax(1) == batch.label).float().mean()
            return Loss(self.cross_entropy(scores, batch.label), {"accuracy": right})
        video, targets = mix_clips(self.mix, batch.video, batch.label)
        return Loss(self.cross_entropy(self(video), targets), {})

    def cross_entropy(self, scores: Tensor, target: Tensor) -> Float[Tensor, ""]:
        """Cross entropy in float32, smoothed as the recipe says."""
        return F.cross_entropy(scores.float(), target, label_smoothing=self.recipe.label_smoothing)

    def is_regression(self, batch: Batch) -> bool:
        """Whether a batch asks for values: the model has one output and the clips have targets."""
        return batch.target is not None and self.model.num_classes == 1

    def require_labels(self, batch: Batch, num_classes: int) -> None:
        """Check labels before they reach a kernel that would crash on them.

        Raises:
            ValueError: naming rows and labels.
        """
        wrong = (batch.label < 0) | (batch.label >= num_classes)
        if wrong.any():
            raise ValueError(
                f"rows {batch.row[wrong].tolist()} have labels {batch.label[wrong].tolist()}; "
                f"the model has classes 0 to {num_classes - 1}"
            )

    @property
    def attends(self) -> bool:
        """Whether the head looks at several clips at once."""
        return self.rule == ATTENDED and self.clips > 1

    def answers(self, video: Video) -> Float[Tensor, "answers outputs"]:
        """Scores of views, or of crops where the head looks at all clips of a crop at once."""
        if self.attends:
            crops = (self.num_views or self.clips) // self.clips
            features = self.model.forward_features(video)
            found = self.model.forward_head(join_segments(features, clips=self.clips, crops=crops))
        else:
            found = self.model(video)
        if isinstance(found, dict):
            if self.question not in found:
                raise ValueError(f"the head answers {list(found)}; say which, not {self.question!r}")
            found = found[self.question]
        return found.float()

    def evaluation_step(self, batch: Batch) -> ViewScores:
        """The scores of one batch of views, and what could not be read; both are remembered.

        Raises:
            ValueError: for labels that are no class of the model.
        """
        scored = self.score(batch) if len(batch.row) else self.nothing()
        self.collected.append(scored._replace(failed=batch.failed))
        return self.collected[-1]

    def nothing(self) -> ViewScores:
        """The scores of no views."""
        empty = torch.empty(0, dtype=torch.int64)
        targets = torch.empty(0) if self.rule == MEAN else None
        return ViewScores(torch.empty(0, self.model.num_classes), empty, empty, empty, targets)

    def score(self, batch: Batch) -> ViewScores:
        """The scores of a batch, on the CPU.

        Raises:
            ValueError: for labels that are no class of the model.
        """
        scores = self.answers(batch.video)
        if not self.is_regression(batch):
            self.require_labels(batch, scores.shape[1])
        target = batch.target if self.is_regression(batch) else None
        answered = ViewScores(scores, batch.label, batch.row, self.numbers(batch), target)
        if self.attends:
            answered = self.of_crops(answered)
        return ViewScores(*(None if it is None else it.cpu() for it in answered[:5]))  # type: ignore[arg-type]  # of each column its own type

    def numbers(self, batch: Batch) -> Int64[Tensor, "batch"]:
        """Number of each view in its row; -1 where nobody counted and a video may go on in the next batch."""
        if batch.view is not None:
            return batch.view
        return count_views(batch.row).to(batch.row.device) if self.attends else torch.full_like(batch.row, -1)

    def of_crops(self, answered: ViewScores) -> ViewScores:
        """The scores with labels, rows and numbers of crops in place of those of their clips."""
        clips, crops = self.clips, (self.num_views or self.clips) // self.clips
        labels, rows, views = (first_of_segments(it, clips=clips, crops=crops) for it in answered[1:4])
        targets = None if answered.targets is None else first_of_segments(answered.targets, clips=clips, crops=crops)
        return ViewScores(answered.scores, labels, rows, views // (clips * crops) * crops + views % crops, targets)

    def evaluation_end(self) -> None:
        """Join the scores of all processes and merge the views, each video once."""
        parts, self.collected = [self.nothing(), *self.collected], []
        known = self.score_log.known if self.score_log else {}
        kept = set(known)
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, (parts, kept))
            parts = [part for rank, _ in gathered for part in rank]
            kept = set.intersection(*(numbers for _, numbers in gathered))
        # What no process scored again.
        parts += [known[number] for number in kept]
        self.scores = join(parts)
        per_record = self.num_views // self.clips if self.attends and self.num_views else self.num_views
        self.predictions = merge(self.scores, rule=self.rule, num_views=per_record, windows=self.windows)
        self.accuracy = float("nan")
        if self.rule == MEAN or not len(self.predictions.rows):
            return
        # Averaged over videos; torchmetrics' default would average over classes.
        metric = MulticlassAccuracy(num_classes=self.predictions.probabilities.shape[1], average="micro")
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
        scored = self.evaluation_step(batch)
        if self.score_log is not None:
            number = self.test_batches()[batch_idx]
            self.score_log.known.pop(number, None)
            self.score_log.add(number, scored)

    def test_batches(self) -> list[int]:
        """Number of each batch of this process among those of the whole test list."""
        loader: Any = self.trainer.test_dataloaders
        return list(loader.batch_sampler.numbers)

    def on_test_epoch_end(self) -> None:
        """Accuracy and predictions of the test set."""
        self.evaluation_end()
