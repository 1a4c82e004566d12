"""The embedded suite: handwritten digits moving over textured backgrounds, in the characters of three benchmarks."""

from dataclasses import replace
from pathlib import Path

from benchmarks.suite import Suite, Task, Videos
from zoo.data import scenes
from zoo.data.digits import SPLITS, Sizes, ensure_digits
from zoo.data.labels import DIGITS

# Both directions of a scene are in the test list, so whoever sees frames without their order gets at most one right.
PAIR_CEILING = 0.5
ORDER_CHANCE = 1 / len(scenes.ORDERS)

SMOKE_SIZES = Sizes(appearance=(120, 60), motion=(120, 60), order=(120, 60))


def prepare(root: Path | None, progress: bool) -> Videos:
    """Render the suite where it is not there yet."""
    return ensure_digits(root, progress=progress)


def prepare_smoke(root: Path | None, progress: bool) -> Videos:
    """Render a twelfth of the suite, to try things out."""
    return ensure_digits(root, sizes=SMOKE_SIZES, progress=progress)


APPEARANCE = Task(
    name="appearance",
    question="Which digit is it? Its motion is random.",
    classes=DIGITS["appearance"].names,
    num_frames=scenes.MOTION_FRAMES,
    sampling="segments",
    flip=False,
)
MOTION = Task(
    name="motion",
    question="Which of ten motions is it, five of which are the other five played backwards? The digit is random.",
    classes=DIGITS["motion"].names,
    num_frames=scenes.MOTION_FRAMES,
    sampling="segments",
    flip=False,
    videos_per_scene=2,
    ceiling=PAIR_CEILING,
    leak_bounds={"bag of frames": PAIR_CEILING, "first frame": PAIR_CEILING},
)
ORDER = Task(
    name="order",
    question="In which order did the same three events come, in 64 frames?",
    classes=DIGITS["order"].names,
    num_frames=scenes.ORDER_FRAMES,
    sampling="segments",
    flip=False,
    videos_per_scene=len(scenes.ORDERS),
    ceiling=ORDER_CHANCE,
    leak_bounds={"bag of frames": ORDER_CHANCE, "first frame": ORDER_CHANCE},
)

_RENDERED = Suite(
    name="digits",
    description=(
        "Handwritten digits moving over textured backgrounds with noise, rendered into H.264 files of 24 x 24 pixels. "
        "It shows whether systems learn appearance, direction of motion and the order of events; it says nothing about "
        "how they rank on natural video."
    ),
    tasks=(APPEARANCE, MOTION, ORDER),
    splits=SPLITS,
    test_split="test",
    licence="digits CC BY 4.0 (UCI optdigits, test set); rendering Apache-2.0",
    source="scikit-learn's load_digits (1,797 images of 8 x 8 pixels), rendered by zoo.data.digits",
    quirks=(
        "Digit images of train and test are disjoint, but the 13 writers are not known and are in both.",
        "Lists keep the clips of one scene together: rows 2k and 2k + 1 of motion are one scene in both directions, "
        "rows 6k to 6k + 5 of order one scene in all orders, so videos of one scene are not independent samples.",
        "motion and order are coded all-intra at a constant quantiser: a scene's clips decode to the same frames, bit "
        "for bit, in another order. appearance is coded with predicted frames.",
        "No flips in training: they turn motions into others and digits into shapes that are none.",
        "Clips of 16 frames take every frame of appearance and motion and every fourth of order; clips of 8 take half "
        "as many, at random within their segments in training.",
        "The bytes depend on the version of x264; the hash of every split is recorded with its results.",
    ),
    prepare=prepare,
    side_px=scenes.SIDE_PX,
)

SMOKE = replace(_RENDERED, name="digits_smoke", prepare=prepare_smoke)
SUITE = replace(_RENDERED, small=SMOKE)
