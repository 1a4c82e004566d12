import json

import pytest
import torch

from benchmarks.views import VIEWS, get_views
from tests.support import find
from zoo.card import ClipSpec
from zoo.data.sampling import eval_index
from zoo.data.transforms import crop_starts, short_side_size
from zoo.suggest import UnknownNameError

NETWORK = ClipSpec(num_frames=8, sampling="dense", stride=2, img_size=224, short_side=256, clips=9, crops=2)


def frames_of(name, num_frames, video_len):
    spec = get_views(name).of(ClipSpec(num_frames=num_frames, sampling="uniform", img_size=224))
    return [eval_index(spec, video_len, clip=clip).tolist() for clip in range(spec.clips)]


@pytest.mark.parametrize(
    ("name", "table", "clips"),
    [
        ("videomamba_k400", "sparse_uniform", 4),
        ("umt_k400", "sparse_uniform", 4),
        ("videomamba_ssv2", "ssv2_segments", 2),
        ("videomae_ssv2", "ssv2_segments", 2),
    ],
)
def test_frames_equal_the_tables_of_videomambas_readers(name, table, clips):
    cases = [
        case
        for case in json.loads(find("videomamba/pipeline.json").read_text())[table]
        if case["mode"] == "test" and case["clips"] == clips and case.get("stride", 4) == 4
    ]
    assert {case["clip"] for case in cases} == set(range(clips))
    for case in cases:
        found = frames_of(name, case["frames"], case["video_len"])
        assert len(found) == clips
        assert found[case["clip"]] == case["index"]


@pytest.mark.parametrize(("name", "clips"), [("umt_k400", 4), ("umt_ssv2", 2)])
def test_frames_equal_the_tables_of_umts_readers(name, clips):
    given = json.loads(find("umt/protocol.json").read_text())
    if name == "umt_k400":
        cases = [(it, it["clip"], it["index"]) for it in given["sparse_test"] if it["segments"] == clips]
    else:
        cases = [(it, int(clip), frames) for it in given["ssv2_test"] for clip, frames in it["index"].items()]
    assert cases
    for case, clip, frames in cases:
        assert frames_of(name, case["frames"], case["video_len"])[clip] == frames


def test_frames_equal_vjepas_own():
    given = json.loads(find("vjepa/v1_clip_indices.json").read_text())["cases"]
    cases = [it for it in given if it["num_clips"] == 8 and it["frame_step"] == 4 and it["allow_overlap"]]
    assert cases
    for case in cases:
        assert frames_of("vjepa_k400", case["frames_per_clip"], case["video_len"]) == case["indices"]


@pytest.mark.parametrize("name", [name for name, views in VIEWS.items() if views.crops == 3])
def test_three_crops_lie_side_by_side_as_umts_do(name):
    spec = get_views(name).of(NETWORK)
    for case in json.loads(find("umt/protocol.json").read_text())["three_crop_start"]:
        if (case["short"], case["crops"]) != (spec.img_size, spec.crops):
            continue
        height, width = short_side_size(case["height"], case["width"], spec.short_side or spec.img_size)
        found = crop_starts(max(height, width), spec.img_size, spec.crops, whole_steps=spec.sampling == "vjepa")
        assert found == case["start"]


# protocols.md section 4, written down a second time: rule, stride, clips, crops.
PUBLISHED = {
    "videomae_k400": ("strided", 4, 5, 3), "videomae_ssv2": ("segments", 1, 2, 3), "mae_st_k400": ("dense", 4, 7, 3),
    "timesformer_k400": ("dense", 32, 1, 3), "timesformer_hr_k400": ("dense", 16, 1, 3),
    "timesformer_large_k400": ("dense", 4, 1, 3), "umt_k400": ("uniform", 1, 4, 3), "umt_ssv2": ("segments", 1, 2, 3),
    "umt_mit": ("uniform", 1, 4, 3), "videomamba_k400": ("uniform", 1, 4, 3),
    "videomamba_ssv2": ("segments", 1, 2, 3), "videomamba_breakfast": ("uniform", 1, 4, 3),
    "videomamba_coin": ("uniform", 1, 10, 3), "vjepa_k400": ("vjepa", 4, 8, 3), "vjepa_ssv2": ("vjepa", 4, 2, 3),
    "vjepa2_coin": ("vjepa", 4, 8, 3), "vjepa2_diving48": ("vjepa", 2, 4, 3),
    "internvideo2_k400": ("uniform", 1, 4, 3),
}  # fmt: skip


def test_views_are_those_of_the_papers():
    found = {name: (it.sampling, it.stride, it.clips, it.crops) for name, it in VIEWS.items()}
    assert found == PUBLISHED
    for name in VIEWS:
        assert (get_views(name).rule == "segments attended") == name.startswith("vjepa")


def test_a_network_keeps_its_frames_size_and_normalisation():
    spec = get_views("timesformer_k400").of(NETWORK)
    assert (spec.num_frames, spec.img_size, spec.mean) == (NETWORK.num_frames, 224, NETWORK.mean)
    assert (spec.stride, spec.short_side) == (32, None)


def test_every_entry_makes_clips_of_any_video():
    for name in VIEWS:
        assert all(torch.tensor(frames).max() < 20 for frames in frames_of(name, 4, 20))


def test_unknown_views_name_the_closest():
    with pytest.raises(UnknownNameError, match="videomae_k400"):
        get_views("videomae_k40")
