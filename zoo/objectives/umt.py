"""Unmasked teacher: at the visible tokens, predict what a frozen image network says of the whole frames.

Sources: UMT (arXiv 2303.16058; OpenGVLab/unmasked_teacher single_modality engine_for_pretraining_umt.py), and the
masked pretraining of VideoMamba (arXiv 2403.06977; OpenGVLab/VideoMamba video_sm), the same with other targets.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Features
from backbones.teacher import Lesson, Teacher, taught_layers
from backbones.tokens import take
from heads.alignment import AlignmentHead
from zoo import masks, pictures
from zoo.batch import Batch
from zoo.objectives.contract import Loss, Objective, Picture, backbone_of, checked_ratio

Vectors = Float[Tensor, "batch tokens dim"]
# Masks that need no teacher, by our names; "attention" is drawn from the teacher's saliency.
BLIND_MASKS: dict[str, Callable[..., Tensor]] = {
    "tube": masks.tube,
    "random": partial(masks.random, rounding="drop"),
    "frame_row": masks.frame_row,
    "clip_row": masks.clip_row,
}
MASKS = ("attention", *BLIND_MASKS)
STUDENT_TARGETS = ("normed", "videomamba_published", "videomamba_unfused")


def unit_distance(prediction: Float[Tensor, "*tokens dim"], target: Float[Tensor, "*tokens dim"]) -> Float[Tensor, ""]:
    """Mean over tokens of 2 - 2 cos for vectors of unit length: their squared distance, summed over channels."""
    return (2 - 2 * (prediction * target).sum(-1)).mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": unit_distance,
    "mse": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
}


class UMT(Objective):
    """Alignment of the visible tokens with a frozen teacher, for any backbone that can drop tokens.

    The teacher sees the whole clip, the student the visible tokens only. The last K layers of the student are aligned
    one to one with the layers that the teacher teaches. Where the student's tubelets are longer than a frame, features
    and saliency of the teacher are averaged over the frames of each (the authors require tubelets of one frame; an
    average of unit vectors is divided by its length again).

    Args:
        student: the backbone.
        head: projects the student's layers; has the teacher's width and number of layers.
        teacher: says what to predict, and where to look. It is part of neither checkpoint nor optimiser.
        mask: "attention" (UMT's semantic mask), "tube", "random", "frame_row" or "clip_row"; see `zoo.masks`. Divided
            TimeSformer needs "tube".
        mask_ratio: fraction of tokens dropped.
        loss: "l2", "mse" or "smooth_l1" (the authors' option clip_loss_type).
        interval: blocks of the student from one aligned layer to the next.
        student_target: which states of the student are aligned. "normed" puts each layer through the final norm (UMT).
            "videomamba_published" is what the released VideoMamba was trained with (its fused code path, video_sm
            models/videomamba_pretrain.py): earlier layers normed, and for the last one the stream as it enters the last
            block, not normed. The last block is then never computed, and neither it nor, with one layer, the final norm
            is trained. "videomamba_unfused" is the other path of that code: the last layer's own output, not normed.

    Raises:
        ValueError: for a student that cannot drop tokens or has too few blocks, unknown names, a head that does not fit
            the teacher, and "l2" with predictions of any length, which could fall without bound.
    """

    def __init__(
        self,
        student: Backbone,
        head: AlignmentHead,
        teacher: Teacher,
        *,
        mask: str = "attention",
        mask_ratio: float = 0.8,
        loss: str = "l2",
        interval: int = 1,
        student_target: str = "normed",
    ) -> None:
        super().__init__({"teacher": teacher})
        if not backbone_of(student, "student").drops_tokens:
            raise ValueError(f"{type(student).__name__} cannot drop tokens, which masked alignment needs")
        for kind, name, known in (
            ("mask", mask, MASKS),
            ("loss", loss, tuple(DISTANCES)),
            ("student_target", student_target, STUDENT_TARGETS),
        ):
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r}; choose from {known}")
        if (head.out_dim, len(head.layers)) != (teacher.out_dim, teacher.num_layers):
            raise ValueError(
                f"the head predicts {len(head.layers)} layers of width {head.out_dim}, but the teacher teaches "
                f"{teacher.num_layers} of width {teacher.out_dim}"
            )
        if loss == "l2" and not head.unit:
            raise ValueError("loss 'l2' is 2 - 2 cos of unit vectors; build the head with unit=True, or take 'mse'")
        self.student, self.head = student, head
        self.mask, self.mask_ratio, self.loss, self.student_target = (
            mask,
            checked_ratio(mask_ratio),
            loss,
            student_target,
        )
        self.layers = taught_layers(student.depth, teacher.num_layers, interval)
        if student_target == "videomamba_published" and student.depth < 2:
            raise ValueError("student_target 'videomamba_published' needs a student of two blocks or more")
        # What gets no gradient says so: distributed training takes it for an error, and it must not decay.
        for parameter in self.untrained():
            parameter.requires_grad_(False)

    def forward(self, batch: Batch) -> Loss:
        """Mean distance over layers, clips and visible tokens of one batch, with freshly drawn masks.

        Logs `blank_loss`, what the best constant vector of each layer would give on this batch: the mean of the
        teacher's features, of unit length where predictions are ("smooth_l1" is not quite at its best there).
        """
        lesson = self.teach(batch.video)
        predictions, targets = self.predict(batch.video, self.draw(batch.video, lesson.saliency), lesson)
        loss = self.distance(predictions, targets)
        return Loss(loss, {"blank_loss": self.distance([self._blank(target) for target in targets], targets)})

    @torch.no_grad()
    def teach(self, video: Float[Tensor, "batch 3 frames height width"]) -> Lesson:
        """What the teacher says of the clips, on the student's grid.

        Raises:
            ValueError: when the grids of teacher and student cannot be laid on each other.
        """
        lesson: Lesson = self.outside["teacher"](video)
        theirs, ours = lesson.features[0].grid, self.student.grid(video)
        if theirs[1:] != ours[1:] or theirs.time % ours.time:
            raise ValueError(
                f"the teacher's grid of {theirs.time} x {theirs.height} x {theirs.width} tokens does not lie on the "
                f"student's of {ours.time} x {ours.height} x {ours.width}; teacher.match(grid) resizes what it sees"
            )
        step = theirs.time // ours.time
        if step == 1:
            return lesson
        area, unit = ours.height * ours.width, self.head.unit
        averaged = []
        for features in lesson.features:
            tokens = features.tokens.unflatten(1, (ours.time, step, area)).mean(2).flatten(1, 2)
            tokens = F.normalize(tokens, dim=-1) if unit else tokens
            averaged.append(Features(tokens, features.prefix, ours, None))
        saliency = lesson.saliency
        return Lesson(averaged, saliency if saliency is None else saliency.unflatten(1, (ours.time, step)).mean(2))

    def draw(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        saliency: Float[Tensor, "batch time positions"] | None,
    ) -> Int64[Tensor, "batch kept"]:
        """Visible tokens of each clip.

        Raises:
            ValueError: for the mask "attention" with a teacher that has no saliency.
        """
        grid = self.student.grid(video)
        if self.mask != "attention":
            return BLIND_MASKS[self.mask](grid, self.mask_ratio, len(video), self.generator).to(video.device)
        if saliency is None:
            raise ValueError("mask 'attention' needs a teacher with saliency; this one has none, so take 'tube'")
        return masks.attention(grid, self.mask_ratio, saliency, self.generator).to(video.device)

    def predict(
        self, video: Float[Tensor, "batch 3 frames height width"], keep: Int64[Tensor, "batch kept"], lesson: Lesson
    ) -> tuple[list[Vectors], list[Vectors]]:
        """Predictions and targets of each layer at the visible tokens, after the class token where that is taught."""
        predictions = [_vectors(it) for it in self.head(self.states(video, keep))]
        num_prefix = int(self.head.class_token)
        targets = [torch.cat([it.prefix[:, :num_prefix], take(it.tokens, keep)], 1) for it in lesson.features]
        return predictions, targets

    def states(
        self, video: Float[Tensor, "batch 3 frames height width"], keep: Int64[Tensor, "batch kept"]
    ) -> list[Features]:
        """The student's aligned layers, ascending, as `student_target` says."""
        if self.student_target == "normed":
            return self.student.forward_intermediates(video, self.layers, keep)
        *earlier, last = self.layers
        last -= self.student_target == "videomamba_published"
        found = self.student.forward_intermediates(video, [*earlier, last], keep, norm=False)
        norm = self.student.norm
        return [*(it._replace(tokens=norm(it.tokens), prefix=norm(it.prefix)) for it in found[:-1]), found[-1]]

    @torch.no_grad()
    def picture(self, batch: Batch, pixels: Float[Tensor, "batch 3 frames height width"]) -> Picture:
        """The visible patches, the teacher's features, and the student's predictions where it saw something."""
        lesson = self.teach(batch.video)
        keep, target = self.draw(batch.video, lesson.saliency), lesson.features[-1]
        predicted = self.head(self.states(batch.video, keep))[-1].tokens
        palette, tubelet = pictures.Palette(target.tokens), self.student.tubelet
        panels = {
            "shown": pictures.visible(pixels, keep, tubelet),
            "teacher's features": pictures.paint(palette(target.tokens), target.grid, tubelet),
            "predicted": pictures.paint(palette(predicted), target.grid, tubelet, keep),
        }
        note = "UMT predicts the teacher's features at the patches it sees; colours are their principal components."
        return Picture(panels, note)

    def untrained(self) -> list[nn.Parameter]:
        """Parameters of the student that its targets leave out."""
        if self.student_target == "normed":
            return []
        last = self.student.blocks[-1].parameters() if self.student_target == "videomamba_published" else ()
        return [*last, *(self.student.norm.parameters() if len(self.layers) == 1 else ())]

    def distance(self, predictions: Sequence[Vectors], targets: Sequence[Vectors]) -> Float[Tensor, ""]:
        """Mean of the loss over layers, in float32 or finer."""
        pairs = [
            (prediction.to(dtype), target.to(dtype))
            for prediction, target in zip(predictions, targets, strict=True)
            for dtype in [torch.promote_types(prediction.dtype, torch.float32)]
        ]
        return torch.stack([DISTANCES[self.loss](*pair) for pair in pairs]).mean()

    def _blank(self, target: Vectors) -> Vectors:
        """The same vector for every token."""
        mean = target.mean((0, 1))
        return (F.normalize(mean, dim=0) if self.head.unit else mean).expand_as(target)


def _vectors(features: Features) -> Vectors:
    return torch.cat([features.prefix, features.tokens], 1)


def umt_for(
    student: Backbone,
    teacher: Teacher,
    img_size: int,
    num_frames: int,
    *,
    mask: str = "attention",
    mask_ratio: float = 0.8,
    loss: str = "l2",
    interval: int = 1,
    student_target: str = "normed",
    norm_eps: float | None = None,
) -> UMT:
    """UMT for any backbone and teacher; the teacher is told to look at frames at the size that fits the student's grid.

    Args:
        student: the backbone.
        teacher: see `backbones.frozen.ClipTeacher` and `backbones.frames.FrameTeacher`.
        img_size: side of the clips in pixels.
        num_frames: frames of the clips.
        mask: see `UMT`.
        mask_ratio: fraction of tokens dropped.
        loss: see `UMT`.
        interval: blocks of the student from one aligned layer to the next.
        student_target: see `UMT`.
        norm_eps: epsilon of the head's norms; None for 1e-6, UMT's, or 1e-5 with the two targets of VideoMamba.
    """
    grid = backbone_of(student, "student").grid(torch.empty(1, 3, num_frames, img_size, img_size, device="meta"))
    teacher.match(grid)
    head = AlignmentHead(
        student.embed_dim,
        teacher.out_dim,
        grid,
        num_layers=teacher.num_layers,
        class_token=teacher.class_token,
        unit=teacher.unit,
        norm_eps=norm_eps or (1e-6 if student_target == "normed" else 1e-5),
    )
    return UMT(
        student,
        head,
        teacher,
        mask=mask,
        mask_ratio=mask_ratio,
        loss=loss,
        interval=interval,
        student_target=student_target,
    )
