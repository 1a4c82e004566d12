"""What a published pretraining learns, in plain values: one frozen dataclass per objective, without defaults."""

from dataclasses import dataclass

from zoo.objectives.tokenizer import LossWeights


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Masked autoencoding (`zoo.objectives.mae`).

    Attributes:
        mask: "tube" or "random".
        mask_ratio: share of tokens that are dropped.
        normalize: see `zoo.objectives.mae.PixelTarget`, likewise the next two.
        unit_range: targets begin with pixels in 0-1.
        frames_per_token: frames of a tubelet that are predicted; None for all.
        decoder_width: of its tokens.
        decoder_depth: its blocks.
        decoder_heads: its heads.
        decoder_form: "videomae", or "mae_st" with a class token and learned tables.
    """

    mask: str
    mask_ratio: float
    normalize: str
    unit_range: bool
    frames_per_token: int | None
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    decoder_form: str


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Alignment of visible tokens with CLIP's (`zoo.objectives.umt`, `backbones.frozen.ClipTeacher`).

    Attributes:
        teacher: card of the teacher.
        teacher_layers: taught layers, counted from the last.
        teacher_interval: blocks from one to the next.
        teacher_class_token: its class token is taught too.
        teacher_post_norm: features go through its last norm.
        teacher_statistics: "student" shows it clips as they are normalised for the student.
        mask: "attention", "tube", "random", "frame_row" or "clip_row".
        mask_ratio: share of tokens that are dropped.
        loss: "l2", "mse" or "smooth_l1".
        interval: blocks of the student from one aligned layer to the next.
        student_target: see `zoo.objectives.umt.UMT`.
        norm_eps: of the norms of the projections.
    """

    teacher: str
    teacher_layers: int
    teacher_interval: int
    teacher_class_token: bool
    teacher_post_norm: bool
    teacher_statistics: str
    mask: str
    mask_ratio: float
    loss: str
    interval: int
    student_target: str
    norm_eps: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction of a slow copy's features (`zoo.objectives.vjepa`).

    Attributes:
        mask: "multiblock" or "tube".
        truncation: how masks of a batch get equal lengths.
        tube_ratio: share of positions that a tube mask hides.
        predictor_width: of its tokens.
        predictor_depth: its blocks.
        predictor_heads: its heads.
        predictor_form: "tables" (V-JEPA) or "rotary" (V-JEPA 2).
        num_mask_tokens: learned tokens for the queries.
        mask_tokens: which of them each mask takes.
        momentum: of the copy at the first step.
        final_momentum: where its line ends.
        momentum_stretch: length of that line over the steps of the run.
    """

    mask: str
    truncation: str
    tube_ratio: float
    predictor_width: int
    predictor_depth: int
    predictor_heads: int
    predictor_form: str
    num_mask_tokens: int
    mask_tokens: tuple[int, ...]
    momentum: float
    final_momentum: float
    momentum_stretch: float


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Labels and a smaller teacher's tokens (`zoo.objectives.self_distillation`); mixing is the recipe's.

    Attributes:
        teacher: card of the teacher.
        weight: of the teacher's part of the loss.
        stop_after: steps after which it is not asked any more; None for never.
    """

    teacher: str
    weight: float
    stop_after: int | None


@dataclass(frozen=True, kw_only=True)
class Codes:
    """A tokenizer's latents at chosen tokens (`zoo.objectives.lvmae`).

    Attributes:
        tokenizer: architecture of the tokenizer, which must have been trained.
        target: what is predicted.
        mask: of the encoder.
        mask_ratio: share of tokens that the encoder does not see.
        strategy: how decoded tokens are chosen, see `zoo.decoder_masks`.
        budget: share of tokens that are decoded.
        random_share: share of these that are drawn at random.
        rounding: of the budget.
        disjoint: choose among tokens that the encoder does not see.
        decoder_width: of its tokens.
        decoder_depth: its blocks.
        decoder_heads: its heads.
    """

    tokenizer: str
    target: str
    mask: str
    mask_ratio: float
    strategy: str
    budget: float
    random_share: float
    rounding: str
    disjoint: bool
    decoder_width: int
    decoder_depth: int
    decoder_heads: int


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """A tokenizer's training (`zoo.objectives.tokenizer`).

    Attributes:
        perceptual: "resnet_logits", "lpips" or "none".
        error: "l2" or "l1".
        weights: of all terms.
        discriminator: channels of the discriminator; 0 for none.
        momentum: of the averaged weights.
        keep_tokens: codes of a clip that are kept in training, chosen by a scorer that is learned along
            (`backbones.importance`); 0 for a tokenizer without one.
    """

    perceptual: str
    error: str
    weights: LossWeights
    discriminator: int
    momentum: float
    keep_tokens: int


Learned = Pixels | Alignment | Prediction | Distillation | Codes | Reconstruction
