"""Kinetics-700 in its release of 2020. Layout and lists: see `benchmarks.suites.kinetics`."""

from benchmarks.suites import kinetics

# protocols.md section 1: MMAction2's tools/data/kinetics/README.
SIZES = {"MMAction2": {"train": 542_357, "val": 34_824}}

SUITE = kinetics.suite(
    kinetics.Facts(suite="k700", number=700, num_classes=700),
    sizes=SIZES,
    quirks=(
        "Class names are not carried: official lists name all 700, and common lists need a file classes.txt beside "
        "them where names are wanted.",
        "Some papers print the mean of top-1 and top-5.",
    ),
)
