"""Training videos of the lists in which recipes count their epochs."""

# MMAction2's copy of Kinetics-400, which VideoMAE's lists follow; VideoMamba's count (arXiv 2403.06977, Table VIII).
K400_TRAIN_VIDEOS = 240_436
SSV2_TRAIN_VIDEOS = 168_913
# Diving48 V2, segments of EPIC-KITCHENS-100, and FineGym288 release 1.0: counts of the official lists, see the suites.
DIVING48_TRAIN_VIDEOS = 15_027
EK100_TRAIN_SEGMENTS = 67_217
FINEGYM288_TRAIN_CLIPS = 22_671
# Union of Kinetics-400, 600 and 700 without duplicates and without any validation or test video: "about 650k" in
# UniFormerV2, whose list UMT uses. The lists are not published in the repository, so the number is not exact.
K710_TRAIN_VIDEOS = 650_000
# MMAction2's copies (benchmarks/suites/k600.py and k700.py).
K600_TRAIN_VIDEOS = 383_393
K700_TRAIN_VIDEOS = 542_357
# Release 1, from memory; the lists in use differ.
MIT_TRAIN_VIDEOS = 802_264
# ILSVRC 2012; UCF101, first split, from memory; COIN's list, from memory.
IN1K_TRAIN_IMAGES = 1_281_167
UCF101_TRAIN_VIDEOS = 9_537
COIN_TRAIN_VIDEOS = 9_030
