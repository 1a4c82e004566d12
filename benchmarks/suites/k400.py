"""Kinetics-400. Layout and lists: see `benchmarks.suites.kinetics`."""

from benchmarks.suites import kinetics

# protocols.md section 1: cvdfoundation/kinetics-dataset issue 51; MMAction2's tools/data/kinetics/README, which has the
# sizes of VideoMAE's list too; youngwanLEE/VoV3D issue 3 and facebookresearch/video-nonlocal-net issue 67.
SIZES = {
    "official lists": {"train": 246_535, "val": 19_907, "test": 39_806},
    "CVDF archive": {"train": 241_258, "val": 19_881, "test": 38_685},
    "MMAction2 and VideoMAE": {"train": 240_436, "val": 19_796, "test": 19_796},
    "non-local networks": {"val": 19_761},
}

SUITE = kinetics.suite(
    kinetics.Facts(suite="k400", number=400, num_classes=400, order="k400_alphabetical"),
    sizes=SIZES,
    quirks=(
        "Three class orders are in public use: alphabetical (MMAction2, torchvision, VideoMAE), OpenGVLab's and that "
        "of V-JEPA's probes. A list in another order than a network's scores near chance without any error.",
    ),
)
