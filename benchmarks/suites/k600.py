"""Kinetics-600. Layout and lists: see `benchmarks.suites.kinetics`."""

from benchmarks.suites import kinetics

# protocols.md section 1: MMAction2's tools/data/kinetics/README; OpenGVLab/VideoMAEv2 docs/DATASET.md.
SIZES = {
    "MMAction2": {"train": 383_393, "val": 27_910},
    "VideoMAEv2": {"train": 366_006, "val": 27_935, "test": 27_935},
}

SUITE = kinetics.suite(
    kinetics.Facts(suite="k600", number=600, num_classes=600),
    sizes=SIZES,
    quirks=(
        "Class names are not carried: official lists name all 600, and common lists need a file classes.txt beside "
        "them where names are wanted.",
        "The original list of validation has about 50 videos per class, 30,000 (cvdfoundation/kinetics-dataset issue "
        "11).",
    ),
)
