from dataclasses import replace

import numpy as np
import pytest

from benchmarks.metrics import exact_mcnemar
from benchmarks.results import Interval, Result, Store, digest
from benchmarks.table import Row, tabulate
from tests.benchmarks.synthetic import TASKS, VIDEOS, scored, story


def test_rows_stand_in_the_order_of_the_results_pretrained_before_its_twin_and_controls_last(tmp_path):
    table = story(tmp_path, systems=("b", "a")).table
    assert [(row.system, row.init) for row in table.cells] == [
        ("b", "mae"),
        ("b", "random"),
        ("a", "mae"),
        ("a", "random"),
        ("bag of frames", "random"),
    ]
    assert table.systems == ["b", "a"]


def test_a_cell_is_the_mean_of_its_seeds_on_shared_videos(tmp_path):
    table = story(tmp_path, systems=("vit_pico",), seeds=(0, 1, 2)).table
    cell = table.cells[Row("vit_pico", "mae", False)]["motion"]
    assert cell.hits.shape == (3, VIDEOS)
    assert list(cell.per_seed) == [0, 1, 2]
    assert cell.accuracy.value == pytest.approx(np.mean(list(cell.per_seed.values())))
    assert table.seeds == (0, 1, 2)


def test_pairs_compare_systems_of_the_same_start_and_gains_compare_starts_of_the_same_system(tmp_path):
    table = story(tmp_path, systems=("a", "b")).table
    for first, second in table.pairs["motion"]:
        assert first.init == second.init
        assert not first.control
        assert not second.control
    assert len(table.pairs["motion"]) == 2
    assert table.gains.keys() == {Row("a", "mae", False), Row("b", "mae", False)}
    cells = table.cells
    pretrained, random = (cells[Row("a", init, False)]["appearance"] for init in ("mae", "random"))
    gain = table.gains[Row("a", "mae", False)]["appearance"]
    assert gain.difference.value == pytest.approx(pretrained.accuracy.value - random.accuracy.value)
    # Corrected for six comparisons: no smaller than the raw value, at most six times it.
    raw = exact_mcnemar(gain.first_only, gain.second_only)
    assert raw <= gain.p_value <= min(1.0, 6 * raw)


def test_a_control_above_its_ceiling_is_a_leak_and_one_within_is_not(tmp_path):
    honest = story(tmp_path / "honest", control=0.05).table
    assert honest.leaks == []
    leaking = story(tmp_path / "leaking", control=0.95).table
    assert {leak.task for leak in leaking.leaks} == {"motion", "order"}  # appearance has no ceiling
    assert all(leak.accuracy.low > leak.ceiling for leak in leaking.leaks)


def test_a_control_whose_interval_only_touches_the_ceiling_is_no_leak(tmp_path):
    table = story(tmp_path, systems=("a",)).table
    row = next(row for row in table.cells if row.control)
    cell = table.cells[row]["motion"]
    for low, leaks in ((0.499, 0), (0.501, 1)):
        changed = type(cell)(**{**cell.__dict__, "accuracy": Interval(0.55, low, 0.6)})
        table.cells[row]["motion"] = changed
        assert len(table.leaks) == leaks


def test_a_failed_video_takes_the_headline_number_away(tmp_path):
    store = Store(tmp_path)
    scored(store, TASKS[0], "a", "random", 0, 0.5, control=False)
    (whole,) = store.results()
    broken = Result(**{**whole.__dict__, "n_expected": VIDEOS + 1, "failed": ["x.mp4: damaged"]})
    table = tabulate([broken], store, suite="digits", tasks=TASKS)
    cell = table.cells[Row("a", "random", False)]["appearance"]
    assert cell.accuracy is None
    assert table.incomplete == ((Row("a", "random", False), "appearance"),)


def test_other_protocols_or_splits_never_share_a_column(tmp_path):
    store = Store(tmp_path)
    for system in "ab":
        scored(store, TASKS[0], system, "random", 0, 0.5, control=False)
    first, second = store.results()
    settings = {"protocol": {"steps": 7}}
    identity = type(second.identity)(**{**second.identity.__dict__, "settings_hash": digest(settings)})
    other = Result(**{**second.__dict__, "settings": settings, "identity": identity})
    with pytest.raises(ValueError, match="mix"):
        tabulate([first, other], store, suite="digits", tasks=TASKS)
    views = {**second.settings, "clip": {**second.settings["clip"], "clips": 4}}
    identity = type(second.identity)(**{**second.identity.__dict__, "settings_hash": digest(views)})
    more_views = Result(**{**second.__dict__, "settings": views, "identity": identity})
    with pytest.raises(ValueError, match="mix"):
        tabulate([first, more_views], store, suite="digits", tasks=TASKS)
    longer = {**second.settings, "clip": {**second.settings["clip"], "num_frames": 32}}
    identity = type(second.identity)(**{**second.identity.__dict__, "settings_hash": digest(longer)})
    of_its_own_length = Result(**{**second.__dict__, "settings": longer, "identity": identity})
    assert of_its_own_length.protocol_hash == first.protocol_hash
    tabulate([first, of_its_own_length], store, suite="digits", tasks=TASKS[:1])
    moved = type(second.identity)(**{**second.identity.__dict__, "split_hash": "another"})
    with pytest.raises(ValueError, match="another"):
        tabulate([first, Result(**{**second.__dict__, "identity": moved})], store, suite="digits", tasks=TASKS)


def test_a_cell_shows_the_metric_of_its_task(tmp_path):
    store = Store(tmp_path)
    scored(store, TASKS[0], "a", "random", 0, 0.5, control=False)
    table = tabulate(store.results(), store, suite="digits", tasks=[replace(TASKS[0], metric="recall5")])
    cell = table.cells[Row("a", "random", False)]["appearance"]
    right = (np.argsort(-cell.probabilities[0], axis=1)[:, :5] == cell.labels[:, None]).any(1)
    expected = np.mean([right[cell.labels == label].mean() for label in np.unique(cell.labels)])
    assert cell.accuracy.value == pytest.approx(expected)
    assert cell.per_seed == {0: pytest.approx(expected)}
    assert expected > (cell.predicted == cell.labels).mean()
