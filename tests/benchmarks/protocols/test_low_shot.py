import json
import statistics
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.protocols import attentive_probe, linear_probe, low_shot
from benchmarks.protocols.low_shot import settings_for, subset
from benchmarks.results import digest
from tests.benchmarks.protocols.clips import tiny_data, tiny_model
from zoo.data.records import Record
from zoo.training.predictions import merge
from zoo.training.probe import ProbeRecipe

RECIPE = ProbeRecipe(steps=20, batch_size=20, lrs=(3e-2,), weight_decay=0.0)
LINEAR = linear_probe.Settings(recipe=RECIPE)
ATTENTIVE = attentive_probe.Settings(recipe=RECIPE, num_heads=2)


def listed(counts):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [Record(Path(f"{row}.mp4"), label, row) for row, label in enumerate(labels)]


def test_every_class_keeps_its_share_and_at_least_one_video():
    records = listed((100, 40, 3))
    rows = subset(records, 0.1, split=0)
    assert Counter(records[row].label for row in rows) == {0: 10, 1: 4, 2: 1}
    assert rows == sorted(set(rows))


def test_splits_differ_and_come_out_the_same_every_time():
    records = listed((50, 50))
    found = [subset(records, 0.1, split=split) for split in range(3)]
    assert len({tuple(rows) for rows in found}) == 3
    assert found == [subset(records, 0.1, split=split) for split in range(3)]
    # Another list does not change the draw of a class.
    assert [row for row in found[0] if row < 50] == [row for row in subset(listed((50, 9)), 0.1, split=0) if row < 50]


def test_windows_of_a_video_stay_together():
    records = [Record(Path("a.mp4"), row % 2, row) for row in range(8) for _ in range(3)]
    rows = subset(records, 0.25, split=1)
    assert len(rows) == 2


def test_lists_without_classes_are_refused():
    with pytest.raises(ValueError, match="without a class"):
        subset([Record(Path("a.mp4"), 0, 0, target=1.5)], 0.5, split=0)


@pytest.mark.parametrize("probe", [LINEAR, ATTENTIVE], ids=["linear", "attentive"])
def test_the_outcome_is_the_median_split_and_all_are_told(tmp_path, probe):
    data = tiny_data(tmp_path, test=30)
    # So few steps that the splits are of different use.
    short = replace(probe, recipe=replace(RECIPE, steps=3, lrs=(3e-3,)))
    settings = settings_for(data.train_records, 0.2, probe=short)
    outcome = low_shot.run(tiny_model, data, settings, seed=0, run_dir=tmp_path / "run")
    each = [outcome.details[f"accuracy_split_{split}"] for split in range(3)]
    assert len(set(each)) == 3
    assert outcome.accuracy == pytest.approx(statistics.median(each))
    assert outcome.details["accuracy_mean"] == pytest.approx(sum(each) / 3)
    assert outcome.details["accuracy_deviation"] == pytest.approx(np.std(each, ddof=1))
    assert [outcome.details[f"videos_split_{split}"] for split in range(3)] == [6, 6, 6]
    for split in range(3):
        scores = outcome.repeats[split]
        attends = isinstance(probe, attentive_probe.Settings)
        kept = merge(scores, rule="segments attended" if attends else "mean of softmax")
        right = kept.probabilities.argmax(1) == kept.labels
        assert right.float().mean().item() == pytest.approx(each[split])
    assert len(data.train_records) == 30


def test_the_model_that_is_kept_is_that_of_the_outcome(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(low_shot, "keep_model", lambda model, *_: kept.append(model.eval()))
    data = tiny_data(tmp_path, test=30)
    short = linear_probe.Settings(recipe=replace(RECIPE, steps=3, lrs=(3e-3,)))
    settings = settings_for(data.train_records, 0.2, probe=short)
    outcome = low_shot.run(tiny_model, data, settings, seed=0, run_dir=tmp_path / "run")
    assert outcome.details["accuracy_split_0"] != outcome.accuracy
    with torch.no_grad():
        found = torch.cat([kept[0](batch.video) for batch in data.test_dataloader()]).softmax(1)
    torch.testing.assert_close(found.unflatten(0, (30, 2)).mean(1), outcome.probabilities, rtol=1e-4, atol=1e-5)


def test_a_head_sees_its_split_alone(tmp_path):
    """Only with the split's videos and no others is a probe the same."""
    data = tiny_data(tmp_path)
    settings = settings_for(data.train_records, 0.2, probe=LINEAR, splits=1)
    outcome = low_shot.run(tiny_model, data, settings, seed=3, run_dir=tmp_path / "run")
    rows = set(subset(data.train_records, 0.2, split=0))
    data.train_records = [record for record in data.train_records if record.row in rows]
    alone = linear_probe.run(tiny_model, data, LINEAR, seed=3, run_dir=tmp_path / "alone")
    assert np.allclose(outcome.probabilities, alone.probabilities, atol=1e-5)


def test_features_on_disk_give_the_same_and_serve_all_shares(tmp_path):
    data = tiny_data(tmp_path)
    for share in (0.2, 0.5):
        settings = settings_for(data.train_records, share, probe=LINEAR)
        kept = low_shot.run(tiny_model, data, settings, seed=0, run_dir=tmp_path / "a", features=tmp_path / "bank")
        fresh = low_shot.run(tiny_model, data, settings, seed=0, run_dir=tmp_path / "b")
        assert np.allclose(kept.probabilities, fresh.probabilities, atol=1e-5)
    assert len(list((tmp_path / "bank").iterdir())) == 2  # training and test list


def test_subsets_are_part_of_what_is_hashed(tmp_path):
    first, other = (settings_for(listed((count, 20)), 0.5, probe=LINEAR) for count in (20, 21))
    hashes = {digest(json.loads(json.dumps(asdict(it)))) for it in (first, other, replace(first, share=0.4))}
    assert len(hashes) == 3
    with pytest.raises(ValueError, match="another training list"):
        low_shot.run(tiny_model, tiny_data(tmp_path), first, seed=0, run_dir=tmp_path)
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\], got 1.5"):
        replace(first, share=1.5)
