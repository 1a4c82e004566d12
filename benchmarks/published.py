"""Networks, teachers and objectives of a published training, built."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from backbones.contract import Backbone
from backbones.frozen import ClipTeacher, clip_teacher
from backbones.importance import AdaptiveTokenizer, ImportanceScorer
from backbones.layers import Flavor
from backbones.magvit import Magvit, inflate
from backbones.teacher import Teacher
from backbones.tokenizer import Tokenizer
from backbones.vit import MAE_ST, VIDEOMAE
from benchmarks.class_map import class_map, keep_classes
from benchmarks.session import RequestError
from benchmarks.shrunken_training import TEACHER, TEACHER_WIDTH, small_tokenizer
from heads.linear import LinearHead
from heads.masked_decoder import MaskedDecoder
from zoo.card import Classifier, Source
from zoo.checkpoints import load_checkpoint, read_saved
from zoo.decoder_masks import Budget, DecoderMasking
from zoo.ema import LinearMomentum
from zoo.model import VideoModel
from zoo.objectives.contract import Objective
from zoo.objectives.discriminator import Discriminator
from zoo.objectives.lvmae import lvmae_for
from zoo.objectives.mae import MAE, PixelTarget
from zoo.objectives.perceptual import find_perceptual
from zoo.objectives.self_distillation import Mixing, TeacherWeight, self_distillation_for
from zoo.objectives.tokenizer import TokenizerTraining
from zoo.objectives.umt import umt_for
from zoo.objectives.vjepa import TABLES, PredictorForm, vjepa_for
from zoo.recipes.learned import Alignment, Codes, Distillation, Pixels, Prediction, Reconstruction
from zoo.recipes.recipe import Recipe
from zoo.recipes.training import RANDOM, Training
from zoo.registry import create_model, get_architecture, get_card
from zoo.tokenizers import create_tokenizer, load_tokenizer, save_tokenizer

TOKENIZER_FILE, SCORER_FILE = "tokenizer.safetensors", "scorer.safetensors"
ROTARY = Flavor(positions="rotary", qkv_bias="qkv", start="normal_rescaled")


class Classes(NamedTuple):
    """What a classifier is to tell apart.

    Attributes:
        suite: name of the videos.
        number: outputs; 1 for a value.
        names: of the classes in the order of the labels; empty where nobody knows them.
    """

    suite: str
    number: int
    names: tuple[str, ...]


class Outside(NamedTuple):
    """What a training looks at besides its clips.

    Attributes:
        start: file of weights in place of the row's; None for those.
        teacher: file or folder of the teacher or tokenizer; None for the row's.
        shrunk: teachers are small and random.
    """

    start: Path | None
    teacher: Path | None
    shrunk: bool


def start_model(training: Training, classes: Classes, outside: Outside) -> VideoModel:
    """The classifier that a fine-tuning or a probe begins with.

    Raises:
        FetchError: for weights that cannot be had.
        CheckpointError: for weights that do not fit.
    """
    options: dict[str, Any] = dict(training.options)
    form = training.classifier
    if outside.start is not None:
        return _from_file(training, classes, outside.start)
    if training.start == RANDOM:
        return scaled(
            create_model(training.architecture, num_classes=classes.number, classifier=form, **options), training
        )
    card = get_card(training.start)
    inflate = "center" if card.clip.num_frames == 1 and training.clip.num_frames > 1 else None
    rows = training.head_start == "rows"
    model = create_model(
        card.name,
        pretrained=True,
        num_classes=None if rows else classes.number,
        classifier=form,
        resize_positions=True,
        inflate=inflate,
        **options,
    )
    if not rows:
        return scaled(model, training)
    names = model.spec.label_names if model.spec else ()
    found = class_map(
        classes.names, names, model.num_classes, suite=classes.suite, num_classes=classes.number, order_name=card.labels
    )
    return keep_classes(model, found.rows) if found.rows else model


def _from_file(training: Training, classes: Classes, path: Path) -> VideoModel:
    """A classifier that begins with a file: of a pretraining, or of another classifier, whose rows it may keep."""
    options: dict[str, Any] = dict(training.options)
    saved = read_saved(path)
    if saved is not None and training.head_start == "rows" and saved.num_classes == classes.number:
        return create_model(training.architecture, checkpoint_path=path, resize_positions=True, **options)
    form = training.classifier
    model = scaled(
        create_model(training.architecture, num_classes=classes.number, classifier=form, **options), training
    )
    # Rows of other classes are dropped.
    load_checkpoint(model, path, resize_positions=True)
    return model


@torch.no_grad()
def scaled(model: VideoModel, training: Training) -> VideoModel:
    """The model whose fresh classifier begins as small as the authors' does."""
    if training.head_scale != 1 and isinstance(model.head, LinearHead):
        for parameter in model.head.linear.parameters():
            parameter.mul_(training.head_scale)
    return model


def student_model(training: Training, outside: Outside) -> VideoModel:
    """The backbone that a pretraining begins with, without a classifier."""
    form = Classifier(pool=get_architecture(training.architecture).classifier.pool)
    options: dict[str, Any] = dict(training.options)
    if outside.start is not None or training.start == RANDOM:
        model = create_model(training.architecture, num_classes=0, classifier=form, **options)
        if outside.start is not None:
            load_checkpoint(model, outside.start, resize_positions=True)
        return model
    name = get_card(training.start).name
    return create_model(name, pretrained=True, num_classes=0, classifier=form, resize_positions=True, **options)


class Job(NamedTuple):
    """What an objective is built from.

    Attributes:
        training: the row.
        student: the backbone; a tokenizer's training makes its own.
        classes: number of labels, for objectives that learn from them.
        outside: teachers.
    """

    training: Training
    student: Backbone
    classes: int
    outside: Outside


def build_objective(job: Job) -> Objective:
    """What a pretraining learns.

    Raises:
        RequestError: for a teacher that has to be trained first.
        FetchError: for one that cannot be had.
    """
    makers: dict[type, Callable[[Any, Job], Objective]] = {
        Pixels: _pixels,
        Alignment: _alignment,
        Prediction: _prediction,
        Distillation: _distillation,
        Codes: _codes,
        Reconstruction: _reconstruction,
    }
    chosen = job.training.objective
    return makers[type(chosen)](chosen, job)


def _pixels(chosen: Pixels, job: Job) -> Objective:
    student, clip = job.student, job.training.clip
    target = PixelTarget(
        normalize=chosen.normalize,
        unit_range=chosen.unit_range,
        mean=clip.mean,
        std=clip.std,
        frames_per_token=chosen.frames_per_token,
    )
    mae_st = chosen.decoder_form == "mae_st"
    decoder = MaskedDecoder(
        student.embed_dim,
        target.num_values(student.tubelet),
        student.grid(torch.empty(1, 3, clip.num_frames, clip.img_size, clip.img_size, device="meta")),
        width=chosen.decoder_width,
        depth=chosen.decoder_depth,
        num_heads=chosen.decoder_heads,
        embed_bias=mae_st,
        flavor=MAE_ST if mae_st else VIDEOMAE,
    )
    return MAE(student, decoder, mask_ratio=chosen.mask_ratio, mask=chosen.mask, target=target)


def _alignment(chosen: Alignment, job: Job) -> Objective:
    clip = job.training.clip
    return umt_for(
        job.student,
        alignment_teacher(chosen, job.outside),
        clip.img_size,
        clip.num_frames,
        mask=chosen.mask,
        mask_ratio=chosen.mask_ratio,
        loss=chosen.loss,
        interval=chosen.interval,
        student_target=chosen.student_target,
        norm_eps=chosen.norm_eps,
    )


def alignment_teacher(chosen: Alignment, outside: Outside) -> Teacher:
    """CLIP's image encoder, or a small random one of its kind.

    Raises:
        RequestError: when its weights cannot be had.
    """
    form: dict[str, Any] = {
        "num_layers": chosen.teacher_layers,
        "interval": chosen.teacher_interval,
        "class_token": chosen.teacher_class_token,
        "post_norm": chosen.teacher_post_norm,
        "statistics": chosen.teacher_statistics,
    }
    if outside.shrunk:
        return ClipTeacher(**TEACHER, **form)
    where = str(outside.teacher or source_of(chosen.teacher).hf_repo)
    try:
        return clip_teacher(where, **form)
    except ValueError as error:
        raise RequestError(f"{error}; name it with --teacher") from None


def source_of(card: str) -> Source:
    """Where the weights of a card can be had."""
    return get_card(card).weights.sources[0]


def _prediction(chosen: Prediction, job: Job) -> Objective:
    clip, recipe = job.training.clip, job.training.recipe
    steps = recipe.steps if isinstance(recipe, Recipe) else 1
    return vjepa_for(
        job.student,
        clip.img_size,
        clip.num_frames,
        steps=steps,
        mask=chosen.mask,
        truncation=chosen.truncation,
        tube_ratio=chosen.tube_ratio,
        predictor=PredictorForm(
            width=chosen.predictor_width,
            depth=chosen.predictor_depth,
            num_heads=chosen.predictor_heads,
            num_mask_tokens=chosen.num_mask_tokens,
            flavor=ROTARY if chosen.predictor_form == "rotary" else TABLES,
        ),
        momentum=LinearMomentum(
            start=chosen.momentum, final=chosen.final_momentum, steps=max(1, int(chosen.momentum_stretch * steps))
        ),
        mask_tokens=chosen.mask_tokens,
    )


def _distillation(chosen: Distillation, job: Job) -> Objective:
    recipe = job.training.recipe
    mixing = Mixing()
    if isinstance(recipe, Recipe):
        mixing = Mixing(label_smoothing=recipe.label_smoothing, mixup=recipe.mixup, cutmix=recipe.cutmix)
    return self_distillation_for(
        job.student,
        smaller_teacher(chosen, job),
        num_classes=job.classes,
        mixing=mixing,
        teacher_weight=TeacherWeight(weight=chosen.weight, stop_after=chosen.stop_after),
    )


def smaller_teacher(chosen: Distillation, job: Job) -> Backbone:
    """The trained, smaller network of the student's kind, at the student's size of pictures; random where shrunk."""
    clip, name = job.training.clip, chosen.teacher.partition(".")[0]
    size: dict[str, Any] = {"num_frames": clip.num_frames, "img_size": clip.img_size}
    if job.outside.shrunk:
        small = {**get_architecture(name).shrink, **size, "embed_dim": TEACHER_WIDTH}
        return create_model(name, num_classes=0, **small).backbone
    path = job.outside.teacher
    made = create_model(
        name if path else chosen.teacher,
        pretrained=path is None,
        checkpoint_path=path,
        num_classes=0,
        resize_positions=True,
        **size,
    )
    return made.backbone


def _codes(chosen: Codes, job: Job) -> Objective:
    clip = job.training.clip
    budget = Budget(total=chosen.budget, random_share=chosen.random_share, rounding=chosen.rounding)
    return lvmae_for(
        job.student,
        trained_tokenizer(chosen, job.outside),
        clip.img_size,
        clip.num_frames,
        target=chosen.target,
        mask_ratio=chosen.mask_ratio,
        masking=DecoderMasking(strategy=chosen.strategy, budget=budget, disjoint=chosen.disjoint, exact=True),
        pixels=PixelTarget(mean=clip.mean, std=clip.std),
        decoder={"width": chosen.decoder_width, "depth": chosen.decoder_depth, "num_heads": chosen.decoder_heads},
    )


def trained_tokenizer(chosen: Codes, outside: Outside) -> Tokenizer:
    """The tokenizer whose codes are predicted.

    Raises:
        RequestError: when nobody says where it is: none was released.
    """
    if outside.shrunk:
        return adaptive(create_tokenizer(chosen.tokenizer, **small_tokenizer(chosen.tokenizer)), 1).eval()
    if outside.teacher is None:
        raise RequestError(
            f"no weights of {chosen.tokenizer} were ever released; train it with zoo pretrain {chosen.tokenizer}.k600 "
            "and name the folder of its run with --teacher"
        )
    return read_adaptive(outside.teacher, chosen.tokenizer).eval()


def adaptive(tokenizer: Tokenizer, keep_tokens: int, *, window: int | None = None) -> AdaptiveTokenizer:
    """A tokenizer with a scorer of its codes, of the widths that the zoo chose for LVMAE's.

    Args:
        tokenizer: makes the codes.
        keep_tokens: codes that are kept in training.
        window: frames that are looked at together; None for whole clips.
    """
    return AdaptiveTokenizer(tokenizer, ImportanceScorer(tokenizer.tubelet), keep_tokens=keep_tokens, window=window)


def save_adaptive(made: AdaptiveTokenizer, folder: Path, *, name: str, options: dict[str, Any]) -> Path:
    """Write the tokenizer and, beside it, its scorer; gives the file of the former."""
    save_tokenizer(made.tokenizer, folder / TOKENIZER_FILE, name=name, overrides=options)
    save_file({key: it.contiguous() for key, it in made.scorer.state_dict().items()}, folder / SCORER_FILE)
    return folder / TOKENIZER_FILE


def read_adaptive(folder: Path, name: str) -> AdaptiveTokenizer:
    """Inverse of `save_adaptive`.

    Raises:
        RequestError: for a folder without both files, and a scorer of other sizes.
        CheckpointError: for a tokenizer that does not fit.
    """
    for file in (TOKENIZER_FILE, SCORER_FILE):
        if not (folder / file).is_file():
            raise RequestError(f"--teacher {folder}: there is no {file} in it; name the folder of a tokenizer's run")
    made = adaptive(create_tokenizer(name, checkpoint_path=folder / TOKENIZER_FILE), 1)
    try:
        made.scorer.load_state_dict(load_file(folder / SCORER_FILE))
    except (RuntimeError, SafetensorError) as error:
        raise RequestError(f"{folder / SCORER_FILE} holds no scorer of {name}: {error}") from None
    return made


def _reconstruction(chosen: Reconstruction, job: Job) -> Objective:
    training, clip = job.training, job.training.clip
    try:
        perceptual, _ = find_perceptual(chosen.perceptual)
    except ValueError as error:
        raise RequestError(f"{error}; --set objective.perceptual=none trains without it") from None
    judge = None
    if chosen.discriminator:
        judge = Discriminator(num_frames=clip.num_frames, img_size=clip.img_size, channels=chosen.discriminator)
    made = begun_from(create_tokenizer(training.architecture, **training.options), training.start, job.outside)
    return TokenizerTraining(
        adaptive(made, chosen.keep_tokens, window=clip.num_frames) if chosen.keep_tokens else made,
        judge,
        perceptual=perceptual,
        error=chosen.error,
        weights=chosen.weights,
        momentum=chosen.momentum,
        mean=clip.mean,
        std=clip.std,
    )


def begun_from(made: Tokenizer, start: str, outside: Outside) -> Tokenizer:
    """A tokenizer that begins with the weights of another one: of its own form, or of stills, which are inflated.

    Args:
        made: with random weights.
        start: name of the weights, "random" for none.
        outside: a file in their place.

    Raises:
        RequestError: for a file that does not say what it holds, and a tokenizer of another form.
        FetchError: for weights that cannot be had.
    """
    if outside.start is None and start == RANDOM:
        return made
    source = create_tokenizer(start, pretrained=True) if outside.start is None else load_tokenizer(outside.start)
    where = outside.start or start
    inner = source.tokenizer if isinstance(source, AdaptiveTokenizer) else source
    if not isinstance(made, Magvit) or not isinstance(inner, Magvit):
        raise RequestError(f"a {type(made).__name__} cannot begin with {where}, a {type(inner).__name__}")
    try:
        inflate(made, inner)
    except ValueError as error:
        raise RequestError(f"the training cannot begin with {where}: {error}") from None
    return made
