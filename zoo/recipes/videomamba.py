"""VideoMamba on video: masked pretraining, Kinetics-400, Something-Something V2, Breakfast, COIN, LVU.

Sources: arXiv 2403.06977v2; OpenGVLab/VideoMamba, video_sm/exp (scripts), optim_factory.py and MODEL_ZOO.md;
spec-videomamba.md sections 8, 11 and 12. Where paper and scripts disagree the row has the script's value and a note.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier, ClipSpec, Reported
from zoo.data.transforms import Augment
from zoo.recipes.learned import Alignment
from zoo.recipes.lists import K400_TRAIN_VIDEOS, SSV2_TRAIN_VIDEOS
from zoo.recipes.parts import CARDS, FINETUNE, MULTISCALE, NOT_SAID, accuracies, square, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training, Views

SOURCE = "arXiv 2403.06977v2; OpenGVLab/VideoMamba, video_sm/exp"
PAPER, SCRIPT, ZOO = "paper", "script", "video_sm/MODEL_ZOO.md"
HEAD = Classifier(pool="cls", norm=False, dropout=0.0)
TINY_POLICY = "rand-m5-n2-mstd0.25-inc1"
MASKED = "middle_masked"
# Breakfast, COIN: paper, Table VIII. LVU: likewise, per task.
BREAKFAST_VIDEOS, COIN_VIDEOS = 1577, 9026
STEM_DECAY = (
    "layer decay as published holds back the stem alone: the branch for the blocks is commented out, so that patch "
    "embedding, position table and class token get decay^(depth + 1) of the rate and all else the whole rate (issue "
    "109); recipe.layer_rule=videomamba decays all blocks, which the authors tried and saw no gain from"
)
REPEATS = "rates are multiplied by the batch and by both copies of a video over 256 (run_class_finetuning.py)"
LAST_BLOCK = (
    "the last block, and with one aligned layer the final norm, get no gradient: the target is the stream before the "
    "last block"
)
TEACHER_STATISTICS = "CLIP sees frames with ImageNet's statistics"
POLICY_NOTE = "RandAugment: magnitude 7, tiny 5, in the scripts; 9 and 7 in the paper"
# Our sources have the policy of the scripts' program once, as its default, and none of a long-video script.
LONG_POLICY_NOTE = f"{POLICY_NOTE}; both are said of all lists, and neither of this one alone"


class Size(NamedTuple):
    """What a size has on every list.

    Attributes:
        architecture: name of the network.
        weight_decay: of its runs at 224 px.
        policy: RandAugment's.
        layer_decay: of its runs at 224 px.
        devices: GPUs of its runs.
        clips: videos on each with 8 frames; half as many with twice the frames.
        said: frames for which the sources say so.
    """

    architecture: str
    weight_decay: float
    policy: str
    layer_decay: float
    devices: int
    clips: dict[int, int]
    said: tuple[int, ...]


SIZES = {
    "tiny": Size("videomamba_tiny", 0.1, TINY_POLICY, 0.75, 8, {8: 64, 16: 64, 32: 32, 64: 16}, (8, 16)),
    "small": Size("videomamba_small", 0.05, FINETUNE.policy, 0.75, 8, {8: 64, 16: 32, 32: 16, 64: 8}, (8,)),
    "middle": Size("videomamba_middle", 0.05, FINETUNE.policy, 0.75, 16, {8: 32, 16: 16, 32: 8, 64: 4}, (8, 16, 64)),
    MASKED: Size("videomamba_middle", 0.05, FINETUNE.policy, 0.8, 16, {8: 32, 16: 16, 32: 8, 64: 4}, (8, 16, 64)),
}


class Row(NamedTuple):
    """A fine-tuning.

    Attributes:
        size: key of `SIZES`.
        suite: list.
        frames: of a clip.
        img_size: in pixels.
        start: weights to begin with.
        lr: base rate for 256 clips.
        epochs: passes over the list.
        drop_path: rate of the backbone.
        notes: what the sources disagree on.
        warmup: epochs.
        weight_decay: None for the size's.
        layer_decay: likewise.
    """

    size: str
    suite: str
    frames: int
    img_size: int
    start: str
    lr: float
    epochs: int
    drop_path: float
    notes: tuple[str, ...] = ()
    warmup: int = 5
    weight_decay: float | None = None
    layer_decay: float | None = None


LISTS = {
    "k400": ("Kinetics-400, MMAction2's copy", K400_TRAIN_VIDEOS),
    "ssv2": ("Something-Something V2, official train list", SSV2_TRAIN_VIDEOS),
    "breakfast": ("Breakfast as ViS4mer has it (paper, Table VIII)", BREAKFAST_VIDEOS),
    "coin": ("COIN (paper, Table VIII)", COIN_VIDEOS),
}
LONG = ("breakfast", "coin")
# size -> base rate at 8 frames, likewise at more, epochs, drop path.
K400 = {
    "tiny": (2e-4, 2e-4, 70, 0.1),
    "small": (2e-4, 2e-4, 50, 0.35),
    "middle": (2e-4, 1e-4, 50, 0.8),
    MASKED: (1e-4, 1e-4, 45, 0.4),
}
SSV2 = {"tiny": (4e-4, 35, 0.1), "small": (4e-4, 30, 0.35), "middle": (4e-4, 30, 0.8), MASKED: (1e-4, 30, 0.4)}
BREAKFAST = {"tiny": (70, 0.1), "small": (50, 0.4), "middle": (50, 0.8), MASKED: (45, 0.4)}
COIN = {"tiny": (40, 0.1), "small": (35, 0.4), "middle": (30, 0.8), MASKED: (30, 0.4)}
LVU = {  # task -> videos of the training list (paper, Table VIII), metric, printed number (the paper's table of LVU)
    "relationship": (138, "top1", 62.50),
    "way_speaking": (871, "top1", 40.43),
    "scene": (514, "top1", 70.37),
    "director": (680, "top1", 67.29),
    "genre": (2807, "top1", 65.24),
    "writer": (748, "top1", 52.98),
    "year": (725, "top1", 48.23),
    "like_ratio": (658, "mse", 0.26),
    "view_count": (478, "mse", 2.90),
}
# SSv2, 200 epochs, VideoMamba-M, top-1 after fine-tuning with 8 frames (paper, Table 5): what differs from the last
# column, whose tag is "attention".
ABLATIONS: tuple[tuple[str, dict[str, str | int | float], float, float], ...] = (
    ("random", {"mask": "random"}, 0.4, 67.4),
    ("tube", {"mask": "tube"}, 0.4, 66.3),
    ("clip_row", {"mask": "clip_row"}, 0.4, 68.2),
    ("frame_row", {"mask": "frame_row"}, 0.4, 67.8),
    ("attention", {}, 0.4, 68.5),
    ("last2", {"teacher_layers": 2}, 0.4, 68.4),
    ("last6", {"teacher_layers": 6}, 0.4, 68.2),
    ("last6_stride2", {"teacher_layers": 6, "teacher_interval": 2, "interval": 2}, 0.4, 67.7),
    ("ratio50", {"mask_ratio": 0.5}, 0.4, 68.1),
    ("ratio65", {"mask_ratio": 0.65}, 0.4, 68.4),
    ("ratio90", {"mask_ratio": 0.9}, 0.4, 68.2),
    ("drop_path10", {}, 0.1, 68.0),
    ("drop_path20", {}, 0.2, 68.2),
    ("drop_path30", {}, 0.3, 68.4),
)
CLIP_TEACHER = Alignment(
    teacher="clip_visual_base_patch16.openai",
    teacher_layers=1,
    teacher_interval=1,
    teacher_class_token=True,
    teacher_post_norm=False,
    teacher_statistics="student",
    mask="attention",
    mask_ratio=0.8,
    loss="l2",
    interval=1,
    student_target="videomamba_published",
    norm_eps=1e-5,
)


def rows() -> Iterator[Training]:
    """Every published training of VideoMamba on video."""
    yield from pretrainings()
    for row in (*kinetics(), *something(), *long_videos()):
        yield finetune(row)
    yield corrected()
    for task in LVU:
        yield lvu(task)
    yield from multimodal()


def pretrainings() -> Iterator[Training]:
    """Masked pretraining of the middle size, and the ablations of it on SSv2."""
    for suite, expected, notes in (
        ("k400", "82.0 top-1 with 8 frames, 4 x 3 views", ("the script says 801 epochs, the paper 800",)),
        (
            "ssv2",
            "70.2 top-1 with 8 frames, 2 x 3 views",
            (
                "800 epochs by paper and script; the model zoo's table says 200, as in the ablations",
                "no flips, as the paper says; the script passes them (--set augment.flip=0.5 clip.flip=True)",
            ),
        ),
    ):
        name = f"videomamba_middle_pretrain.{suite}_mask_pt_f8_res224"
        yield pretrain(name, suite, epochs=800, produces=name, notes=(f"after fine-tuning: {expected}", *notes))
    for tag, changes, drop_path, top1 in ABLATIONS:
        made = pretrain(
            f"videomamba_middle_pretrain.ssv2_mask_pt_e200_{tag}",
            "ssv2",
            epochs=200,
            produces="",
            notes=("an ablation: paper, Table 5; no weights were released",),
        )
        yield replace(
            made,
            objective=replace(CLIP_TEACHER, **changes),  # type: ignore[arg-type]  # names of its own fields
            options={**made.options, "drop_path_rate": drop_path},
            expected=(Reported("ssv2", "top1 after fine-tuning", top1, "arXiv 2403.06977v2, Table 5"),),
            unknown=("warmup_epochs",),
        )


def pretrain_recipe(*, videos: int, epochs: int) -> Recipe:
    """Table II of the paper and the scripts agree on these."""
    return Recipe(
        steps=steps_of(epochs, videos=videos, global_batch=2048),
        global_batch=2048,
        base_lr=1.5e-4,
        repeats=1,
        repeats_scale_lr=True,
        base_final_lr=1e-5,
        base_warmup_lr=0.0,
        warmup_steps=steps_of(40, videos=videos, global_batch=2048),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.05,
        final_weight_decay=None,
        layer_decay=1.0,
        layer_rule="all",
        gradient_clip=None,
        clip_parts=False,
        clip_after=0,
        accumulate=1,
        precision="bf16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        token_drop=0.0,
    )


def pretrain(name: str, suite: str, *, epochs: int, produces: str, notes: tuple[str, ...]) -> Training:
    """Table II of the paper and the scripts agree on these."""
    data, videos = LISTS[suite]
    clip = CARDS[f"videomamba_middle_pretrain.{suite}_mask_pt_f8_res224"].clip
    return Training(
        name=name,
        family="videomamba",
        kind="pretrain",
        architecture="videomamba_middle_pretrain",
        options={"num_frames": 8, "img_size": 224, "drop_path_rate": 0.4},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=CLIP_TEACHER,
        suite=suite,
        task="",
        data=f"{data}, without labels",
        videos=videos,
        clip=clip,
        views=views_of(clip, "not evaluated by itself"),
        augment=replace(MULTISCALE, flip=0.5 if clip.flip else 0.0),
        recipe=pretrain_recipe(videos=videos, epochs=epochs),
        epochs=epochs,
        warmup_epochs=40,
        original=Original(devices=32, clips=64, name="GPU"),
        cost=f"{epochs} epochs on 32 GPUs",
        expected=(),
        source="arXiv 2403.06977v2, Table II; OpenGVLab/VideoMamba, video_sm/exp",
        produces=produces,
        unknown=(),
        lacks=(),
        notes=(
            *notes,
            LAST_BLOCK,
            TEACHER_STATISTICS,
        ),
        obstacle="",
    )


def kinetics() -> Iterator[Row]:
    """Kinetics-400: every size with 8 to 64 frames at 224 px, then 64 at 384 px."""
    for size, (lr, more, epochs, drop_path) in K400.items():
        stem, tag = SIZES[size].architecture, "mask_ft_" if size == MASKED else ""
        begin = "videomamba_middle_pretrain.k400_mask_pt_f8_res224" if tag else f"{stem}.in1k_res224"
        for frames in (8, 16, 32, 64):
            rate = lr if frames == 8 else more
            notes = (
                ("the paper's Table IV says 4e-4, its text and the scripts 2e-4",) if size in ("tiny", "small") else ()
            )
            if size == MASKED and frames == 16:
                notes = ("the model zoo's link leads to the supervised file",)
            yield Row(size, "k400", frames, 224, begin, rate, epochs, drop_path, notes)
        short = (10, 2) if size == "tiny" else (6, 1)
        notes = (
            ("the script builds the small model",) if size == "tiny" else ("the paper says 10 epochs, 2 of warm-up",)
        )
        before = f"{stem}.k400_{tag}f64_res224"
        yield Row(size, "k400", 64, 384, before, 5e-6, short[0], drop_path, notes, short[1], 1e-8)


def something() -> Iterator[Row]:
    """SSv2: every size with 8 and 16 frames at 224 px, then 16 at 288 px."""
    for size, (lr, epochs, drop_path) in SSV2.items():
        stem, tag = SIZES[size].architecture, "mask_ft_" if size == MASKED else ""
        begin = "videomamba_middle_pretrain.ssv2_mask_pt_f8_res224" if tag else f"{stem}.in1k_res224"
        for frames in (8, 16):
            link = ("the model zoo's link leads to the supervised file",) if (size, frames) == (MASKED, 16) else ()
            yield Row(size, "ssv2", frames, 224, begin, lr, epochs, drop_path, link)
        notes = {
            "tiny": ("the script builds the small model and says 64 frames",),
            MASKED: ("the script takes the Kinetics list class, and so flips",),
        }.get(size, ())
        yield Row(size, "ssv2", 16, 288, f"{stem}.ssv2_{tag}f16_res224", 5e-6, 10, drop_path, notes, 2, 1e-8)


def long_videos() -> Iterator[Row]:
    """Breakfast and COIN with 32 and 64 frames, from the Kinetics-400 model of as many, tiny from that of 32."""
    unattainable = "six of the eight numbers cannot come from 355 test videos: another list (issues 76, 110)"
    for suite, table in (("breakfast", BREAKFAST), ("coin", COIN)):
        for size, (epochs, drop_path) in table.items():
            stem, tag = SIZES[size].architecture, "mask_ft_" if size == MASKED else ""
            decay = 0.8 if size == "middle" else None
            for frames in (32, 64):
                notes = (unattainable,) if suite == "breakfast" else ()
                if (size, frames) == ("tiny", 64):
                    notes = (
                        *notes,
                        "the script names this start and a length of 64, which do not fit; interpolated here",
                    )
                if (suite, size, frames) == ("breakfast", MASKED, 64):
                    notes = (*notes, "the released file holds a table of 32 frames (issue 97)")
                start = f"{stem}.k400_{tag}f{32 if size == 'tiny' else frames}_res224"
                yield Row(size, suite, frames, 224, start, 2e-4, epochs, drop_path, notes, layer_decay=decay)


def finetune(row: Row) -> Training:
    """A row as a training."""
    size, (data, videos) = SIZES[row.size], LISTS[row.suite]
    tag = "mask_ft_" if row.size == MASKED else ""
    high = f"to{row.img_size}" if row.img_size > 224 else ""
    name = f"{size.architecture}.{row.suite}_{tag}f{row.frames}_res224{high}"
    card, clips = CARDS[name], size.clips[row.frames]
    said = row.suite == "k400" and row.img_size == 224 and row.frames in size.said
    batch = size.devices * clips
    recipe = optimisation(row.lr, videos=videos, batch=batch, epochs=row.epochs, warmup=row.warmup)
    return Training(
        name=name,
        family="videomamba",
        kind="finetune",
        architecture=size.architecture,
        options={**card.overrides, "drop_path_rate": row.drop_path},
        classifier=HEAD,
        head_scale=1.0,
        head_start="rows" if row.img_size > 224 else "fresh",
        start=row.start,
        objective=None,
        suite=row.suite,
        task="",
        data=data,
        videos=videos,
        clip=card.clip,
        views=views(row, card.clip),
        augment=replace(FINETUNE, policy=size.policy, flip=0.5 if card.clip.flip else 0.0),
        recipe=replace(
            recipe,
            weight_decay=size.weight_decay if row.weight_decay is None else row.weight_decay,
            layer_decay=row.layer_decay or size.layer_decay,
        ),
        epochs=row.epochs,
        warmup_epochs=row.warmup,
        original=Original(devices=size.devices, clips=clips, name="GPU") if said else NOT_SAID,
        cost=f"{row.epochs} epochs" + (f" on {size.devices} GPUs, two augmented clips per video" if said else ""),
        expected=accuracies(name),
        source=SOURCE,
        produces=name,
        unknown=(
            *(() if said else ("recipe.global_batch",)),
            *(("options.drop_path_rate", "recipe.layer_decay") if high else ()),
        ),
        lacks=(),
        notes=(*row.notes, STEM_DECAY, REPEATS, LONG_POLICY_NOTE if row.suite in LONG else POLICY_NOTE),
        obstacle="",
    )


def optimisation(lr: float, *, videos: int, batch: int, epochs: int, warmup: int) -> Recipe:
    """What all fine-tuning scripts share; decay as for VideoMamba-M on Kinetics-400."""
    return Recipe(
        steps=steps_of(epochs, videos=videos, global_batch=batch),
        global_batch=batch,
        base_lr=lr,
        repeats=2,
        repeats_scale_lr=True,
        base_final_lr=1e-6,
        base_warmup_lr=1e-6,
        warmup_steps=steps_of(warmup, videos=videos, global_batch=batch),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.05,
        final_weight_decay=None,
        layer_decay=0.75,
        layer_rule="videomamba_published",
        gradient_clip=None,
        clip_parts=False,
        clip_after=0,
        accumulate=1,
        precision="bf16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        token_drop=0.0,
    )


def views(row: Row, clip: ClipSpec) -> tuple[Views, ...]:
    """The test views as each source has them."""
    if row.suite == "ssv2":
        paper = 4 if row.size == "middle" else 2
        return (Views(2, 3, SCRIPT), Views(4, 3, ZOO), Views(paper, 3, f"{PAPER}, Table 4"))
    if (row.suite, row.size, row.frames) == ("coin", MASKED, 64):
        return (Views(clip.clips, clip.crops, ZOO), Views(4, 3, SCRIPT))
    return (Views(clip.clips, clip.crops, f"{SCRIPT} and {ZOO}"),)


def corrected() -> Training:
    """VideoMamba-M on Kinetics-400 with layer decay over all blocks, as it was meant."""
    published = finetune(next(row for row in kinetics() if (row.size, row.frames) == ("middle", 8)))
    return replace(
        published,
        name=f"{published.name}_corrected",
        recipe=replace(published.optimisation, layer_rule="videomamba"),
        expected=(),
        produces="",
        source="OpenGVLab/VideoMamba, issue 109",
        notes=("layer decay over all blocks; the authors saw no gain on this size (issue 109)", REPEATS, POLICY_NOTE),
    )


def lvu(task: str) -> Training:
    """VideoMamba-Ti with 32 frames on a task of LVU."""
    videos, metric, value = LVU[task]
    regression, source = metric == "mse", "arXiv 2403.06977v2, LVU table"
    clip = square(32, 224, sampling="uniform", stride=1, views=(4, 3), flip=True)
    recipe = replace(optimisation(4e-4, videos=videos, batch=64, epochs=70, warmup=5), weight_decay=0.1)
    if regression:
        recipe = replace(recipe, mixup=0.0, cutmix=0.0, label_smoothing=0.0)
    return Training(
        name=f"videomamba_tiny.lvu_{task}_f32_res224",
        family="videomamba",
        kind="finetune",
        architecture="videomamba_tiny",
        options={"num_frames": 32, "img_size": 224, "drop_path_rate": 0.15},
        classifier=HEAD,
        head_scale=1.0,
        head_start="fresh",
        start="videomamba_tiny.k400_f32_res224",
        objective=None,
        suite="lvu",
        task=task,
        data="LVU (paper, Table VIII), windows of 60 s every 16 s",
        videos=videos,
        clip=clip,
        views=views_of(clip, SCRIPT),
        augment=replace(FINETUNE, policy=TINY_POLICY),
        recipe=recipe,
        epochs=70,
        warmup_epochs=5,
        original=Original(devices=8, clips=8, name="GPU"),
        cost="70 epochs on 8 GPUs",
        expected=(Reported("lvu", f"{metric}, {task}", value, source),),
        source=SOURCE,
        produces="",
        unknown=("suite",),
        lacks=(),
        notes=(
            "scripts exist for whole videos (suite lvu_whole) and for windows; the paper does not say which it prints",
            "few videos: no weights were released, the author calls the set too noisy (issue 67); take several seeds",
            *(("the two scripts of the regressions have each other's list class",) if regression else ()),
            STEM_DECAY,
            REPEATS,
            LONG_POLICY_NOTE,
        ),
        obstacle="",
    )


def multimodal() -> Iterator[Training]:
    """The stage with texts, which the zoo has no objective for."""
    for corpus in ("5m", "17m", "25m"):
        name = f"videomamba_middle_mm.{corpus}_f8_res224"
        batch, videos = 128 * 32, int(corpus[:-1]) * 1_000_000
        made = pretrain(name, "k400", epochs=800, produces=name, notes=())
        # Rates of this stage are those of the whole batch.
        recipe = replace(
            optimisation(4e-4 * 256 / batch, videos=videos, batch=batch, epochs=10, warmup=1),
            repeats=1,
            base_final_lr=4e-6 * 256 / batch,
            base_warmup_lr=0.0,
            layer_decay=1.0,
            layer_rule="all",
            label_smoothing=0.0,
            mixup=0.0,
            cutmix=0.0,
        )
        yield replace(
            made,
            architecture="videomamba_middle_mm",
            options={"num_frames": 8, "img_size": 224, "drop_path_rate": 0.25},
            start="videomamba_middle_pretrain.k400_mask_pt_f8_res224",
            objective=None,
            suite="",
            data=f"{corpus.upper()} pairs of videos or images with texts",
            videos=videos,
            augment=_texts_augment(),
            recipe=recipe,
            epochs=10,
            warmup_epochs=1,
            original=Original(devices=32, clips=128, name="GPU"),
            cost="10 masked epochs and 1 unmasked on 32 GPUs",
            expected=accuracies(name) if name in CARDS else (),
            source="OpenGVLab/VideoMamba, video_mm; spec-videomamba section 11b",
            produces=name if name in CARDS else "",
            unknown=("recipe.base_warmup_lr",),
            notes=("10 masked epochs, then 1 unmasked at 8e-5", TEACHER_STATISTICS),
            obstacle="the zoo has no text encoder and no contrastive, matching or language objective",
        )


def _texts_augment() -> Augment:
    return replace(FINETUNE, area=(0.5, 1.0), policy="", erase=0.0)
