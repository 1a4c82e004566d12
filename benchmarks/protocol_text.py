"""A resolved evaluation as a table for a person: what `zoo eval --dry-run` prints."""

from rich.table import Table

from benchmarks.budgets import budget
from benchmarks.evaluate import features_folder, protocol_settings, settings_of
from benchmarks.evaluation import AS_IS, Evaluation, order_words
from benchmarks.listed import notes_of
from benchmarks.probing import sweep_words
from benchmarks.protocols import low_shot
from benchmarks.views import VIEWS
from zoo.card import ClipSpec
from zoo.catalogue_text import two_columns
from zoo.data.sampling import eval_index
from zoo.data.transforms import crop_starts, short_side_size
from zoo.training.predictions import MERGE_RULES
from zoo.training.probe_recipe import ProbeRecipe

EXAMPLE_FRAMES, EXAMPLE_HEIGHT, EXAMPLE_WIDTH = 300, 240, 320
METRICS = {
    "top1": "top-1 accuracy, averaged over videos",
    "mean_class": "accuracy averaged over classes",
    "recall5": "recall at 5, averaged over classes",
    "mse": "mean squared error",
}


def protocol_table(one: Evaluation) -> Table:
    """Everything that decides a number, one line each."""
    request, clip = one.request, one.clip
    _, identity = settings_of(one)
    stride = f", stride {clip.stride}" if clip.sampling in ("dense", "strided", "vjepa") else ""
    mean, std = (", ".join(f"{it:g}" for it in values) for values in (clip.mean, clip.std))
    trained = "" if request.protocol == AS_IS else f"; trained on {one.suite.train_split!r}, {_budget(one)}"
    lines = {
        "network": f"{request.name}, {one.network.weights} weights",
        "protocol": f"{request.protocol}{trained}",
        "features": "" if request.protocol in (AS_IS, "finetune") else f"kept in {features_folder(one)}",
        "task": f"{one.suite.name}, {one.task.name}: {one.task.question}",
        "frames": f"{clip.num_frames} per clip, {clip.sampling}{stride}",
        f"clips of {EXAMPLE_FRAMES} frames": "\n".join(clip_lines(clip)),
        f"crops of {EXAMPLE_WIDTH} x {EXAMPLE_HEIGHT} px": crop_words(clip),
        "normalisation": f"mean {mean}; std {std}; {clip.channel_order}, {clip.interpolation}",
        "views": f"{clip.clips} clips x {clip.crops} crops per video or window{_whose(request.views)}",
        "merge": f"{one.rule}: {MERGE_RULES[one.rule]}",
        "metric": METRICS[one.task.metric],
        "list": size_words(one),
        "split hash": one.videos.split_hash(one.task.name, one.split),
        "settings hash": identity.settings_hash,
        "label order": "values, no classes" if one.is_regression else order_words(one.classes),
        "classes": one.found.words if one.found else "",
        "failures": f"{one.tolerated} of {one.rows} videos may fail (--tolerate {request.tolerate})",
        "decoder": request.decoder,
        "notes": "\n".join(notes_of(one.videos)),
        "quirks": "\n".join(one.suite.quirks),
    }
    return two_columns(lines)


def _budget(one: Evaluation) -> str:
    settings, few = protocol_settings(one), ""
    if isinstance(settings, low_shot.Settings):
        few = f", {100 * settings.share:g} % of the videos in {len(settings.subsets)} splits"
        settings = settings.probe
    recipe = getattr(settings, "recipe", None)
    words = f", {recipe.steps} steps" if recipe else ""
    sweep = f", {sweep_words(recipe)}" if isinstance(recipe, ProbeRecipe) else ""
    return f"budget {budget(one.request.budget).name}{words}{few}{sweep}"


def _whose(name: str) -> str:
    return f" ({name}: {VIEWS[name].frames} frames in the paper; {VIEWS[name].source})" if name else ""


def clip_lines(clip: ClipSpec, video_len: int = EXAMPLE_FRAMES) -> list[str]:
    """First and last frame of each test clip of a video."""
    found = [eval_index(clip, video_len, clip=number) for number in range(clip.clips)]
    return [f"clip {number}: frames {int(it[0])} to {int(it[-1])}" for number, it in enumerate(found)]


def crop_words(clip: ClipSpec, height: int = EXAMPLE_HEIGHT, width: int = EXAMPLE_WIDTH) -> str:
    """Size after resizing, and where the crops begin."""
    height, width = short_side_size(height, width, clip.short_side or clip.img_size)
    whole = clip.sampling == "vjepa"
    tops = crop_starts(height, clip.img_size, clip.crops if height > width else 1, whole_steps=whole)
    lefts = crop_starts(width, clip.img_size, 1 if height > width else clip.crops, whole_steps=whole)
    starts = ", ".join(str(left) for left in lefts) if height <= width else ", ".join(str(top) for top in tops)
    aside = f"top {tops[0]}, left {starts}" if height <= width else f"top {starts}, left {lefts[0]}"
    return f"resized to {width} x {height} px; {clip.img_size} px crops at {aside}"


def size_words(one: Evaluation) -> str:
    """Length of the list, and whose copy has as many videos."""
    windows = len(one.records) - one.rows
    parts = f" in {len(one.records)} windows" if windows else ""
    limited = f"; the first {one.rows} of them (--limit), which is no headline" if one.rows < one.listed else ""
    copies = one.suite.copies_of(one.task.name, one.split, one.listed)
    whose = (
        f", as many as {', '.join(copies)}" if copies else ", which is no known copy's size" if one.suite.sizes else ""
    )
    return f"{one.split}: {one.listed} videos{parts}{whose}{limited}"
