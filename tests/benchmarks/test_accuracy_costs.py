from dataclasses import replace

import pytest

from benchmarks.accuracy_costs import drawn, spots
from benchmarks.figures import looks_of
from benchmarks.results import Identity, Interval, Result, digest

COST = Identity(
    kind="cost", system="vit_pico", init="random", suite="", task="8_frames", split_hash="", protocol="efficiency",
    settings_hash="", seed=0,
)  # fmt: skip


def point(frames, gflops, ms):
    settings = {"resolution": 24, "frames": frames}
    details = {"point": {"frames": frames, "gflops": gflops, "ms_per_clip": ms}}
    return Result(
        identity=replace(COST, settings_hash=digest(settings)), settings=settings, metrics={}, details=details
    )


def scored(frames, accuracy, *, kind="evaluate", img_size=24, init="mae", steps=1, clips=1, crops=1):
    clip = {"num_frames": frames, "img_size": img_size, "clips": clips, "crops": crops}
    settings = {"clip": clip, "protocol": {"steps": steps}}
    who = replace(
        COST, kind=kind, init=init, suite="digits", task="motion", protocol="finetune", settings_hash=digest(settings)
    )
    metrics = {"top1": Interval(accuracy, accuracy - 0.1, accuracy + 0.1)} if accuracy else {}
    return Result(identity=who, settings=settings, metrics=metrics)


STORED = {"vit_pico": [point(8, 2.0, 3.0), point(16, 4.0, None)]}


def test_a_result_costs_all_views_of_its_video():
    panels = spots(STORED, [scored(8, 0.5, clips=2, crops=3), scored(16, 0.7, clips=2, crops=3, init="random")])
    ((title, (short, long)),) = panels.items()
    assert title == "digits motion, finetune: top1"
    assert (short.costs, short.pretrained) == ({"gflops": 12.0, "ms_per_clip": 18.0}, True)
    assert (long.costs, long.pretrained) == ({"gflops": 24.0}, False)
    assert short.accuracy == (0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    "result",
    [scored(32, 0.5), scored(8, 0.5, img_size=32), scored(8, 0.5, kind="control"), scored(8, None)],
    ids=["length", "size", "control", "no score"],
)
def test_what_was_not_measured_has_no_place(result):
    assert spots(STORED, [result]) == {}


def test_what_was_not_scored_alike_shares_no_panel():
    titles = list(spots(STORED, [scored(8, 0.5), scored(8, 0.6, steps=2)]))
    assert len(titles) == 2
    assert all(title.startswith("digits motion, finetune: top1 (") for title in titles)


def test_spots_are_drawn_in_the_colour_of_their_system():
    panels = spots(STORED, [scored(8, 0.5), scored(16, 0.7)])
    svg = drawn(panels, looks_of(["vit_pico"]))
    assert svg.startswith("<svg")
    assert "var(--c0)" in svg
    assert "GFLOPs per video" in svg
