import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.benchmarks.protocols.clips import tiny_data, tiny_model
from zoo.data.loading import UnreadableVideoError
from zoo.data.records import Span
from zoo.training import feature_cache
from zoo.training.feature_cache import (
    FEATURES,
    LOCK,
    MANIFEST,
    FeatureCacheError,
    cached_features,
    feature_key,
    folder_of,
    list_hash,
    weights_hash,
)
from zoo.training.features import extract

OPTIONS = [{"pool": None}, {"pool": "mean"}, {"pool": None, "layers": [0, 1]}]


def seeded_model():
    torch.manual_seed(0)
    return tiny_model()


def same(first, second):
    return first.grid == second.grid and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in ("tokens", "prefix", "labels", "rows")
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_features_from_disk_are_those_from_memory(tmp_path, options):
    data, model = tiny_data(tmp_path), seeded_model()
    records = data.train_records
    expected = extract(model.backbone, data.eval_dataloader(records), max_bytes=1 << 30, **options)
    first = cached_features(model, data, records, tmp_path / "bank", **options)
    assert same(first, expected)
    assert same(cached_features(model, data, records, tmp_path / "bank", **options), expected)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in (first.tokens, first.rows))


def test_what_is_there_is_not_computed_again(tmp_path, monkeypatch):
    data, model = tiny_data(tmp_path), seeded_model()
    cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")
    monkeypatch.setattr(feature_cache, "features_of", lambda *_, **__: pytest.fail("computed again"))
    cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")


def interrupted(monkeypatch, batches):
    """Stops, as a kill would, after so many batches; remembers where each call began."""
    began, real = [], feature_cache.features_of

    def stopping(backbone, loader, **options):
        loaded = list(loader)
        began.append(int(loaded[0].row[0]))
        for number, part in enumerate(real(backbone, loaded, **options)):
            if len(began) == 1 and number == batches:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(feature_cache, "features_of", stopping)
    return began


@pytest.mark.parametrize("note_bytes", [1, 1500, 1 << 26])
def test_a_stopped_extraction_goes_on_and_ends_the_same(tmp_path, monkeypatch, note_bytes):
    data, model = tiny_data(tmp_path), seeded_model()
    expected = extract(model.backbone, data.eval_dataloader(data.train_records), pool=None, max_bytes=1 << 30)
    monkeypatch.setattr(feature_cache, "NOTE_BYTES", note_bytes)
    began = interrupted(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        cached_features(model, data, data.train_records, tmp_path / "bank", pool=None)
    place = next((tmp_path / "bank").iterdir())
    assert not (place / MANIFEST).exists()
    assert same(cached_features(model, data, data.train_records, tmp_path / "bank", pool=None), expected)
    assert began[1] == (0 if note_bytes > 1500 else 15)  # three videos of two views per batch
    assert {path.name for path in place.iterdir()} == {FEATURES, MANIFEST, LOCK}


def test_a_kill_between_the_last_two_steps_costs_nothing(tmp_path, monkeypatch):
    data, model, write = tiny_data(tmp_path), seeded_model(), feature_cache.write_json

    def failing(path, values):
        if path.name == MANIFEST:
            raise KeyboardInterrupt
        write(path, values)

    monkeypatch.setattr(feature_cache, "write_json", failing)
    with pytest.raises(KeyboardInterrupt):
        cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")
    monkeypatch.setattr(feature_cache, "write_json", write)
    monkeypatch.setattr(type(data), "eval_dataloader", lambda *_: pytest.fail("computed again"))
    assert len(cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")) == 24


def damage(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage, "the tokens of views 0 to 23 have changed"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "damaged"),
        (lambda path: path.write_bytes(b"hello"), "damaged"),
        (lambda path: path.with_name(MANIFEST).write_text("{"), "damaged"),
        (lambda path: path.with_name(MANIFEST).write_text('{"key": {}}'), "damaged"),
    ],
)
def test_damaged_features_are_refused_by_name(tmp_path, harm, words):
    data, model = tiny_data(tmp_path), seeded_model()
    cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")
    harm(next((tmp_path / "bank").iterdir()) / FEATURES)
    with pytest.raises(FeatureCacheError, match=words) as caught:
        cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")
    assert "bank" in str(caught.value)


def test_everything_that_matters_is_part_of_the_key(tmp_path, monkeypatch):
    data, model = tiny_data(tmp_path), seeded_model()
    records, key = data.test_records, {}

    def place(**options):
        used = {"pool": "mean", "layers": None, **options}
        key.update(feature_key(model, data, records, **used))
        return folder_of(tmp_path, key)

    found = [place(), place(pool=None), place(layers=[0]), place(layers=[1])]
    records = data.train_records
    found.append(place())
    records = [record._replace(label=0) for record in data.test_records]
    found.append(place())
    records = data.test_records
    spec = data.spec
    for change in ({"clips": 1}, {"mean": (0.1, 0.2, 0.3)}, {"interpolation": "bicubic"}):
        data.spec = replace(spec, **change)
        found.append(place())
    data.spec = spec
    with torch.no_grad():
        model.backbone.norm.bias[3] += 1e-6
    found.append(place())
    model.backbone.odd = torch.nn.ReLU()  # no weights
    found.append(place())
    monkeypatch.setattr(feature_cache, "decoder_version", lambda _: "another")
    found.append(place())
    assert len(set(found)) == len(found)
    assert json.loads(json.dumps(key)) == key
    assert {"architecture", "overrides", "decoder", "dtype", "versions"} <= key.keys()


@pytest.mark.parametrize("change", [{"label": 2}, {"row": 99}, {"span": Span(0, 1)}, {"target": 1.0}])
def test_whatever_a_list_says_of_a_video_makes_another_list(tmp_path, change):
    first, *rest = tiny_data(tmp_path).test_records
    assert list_hash([first._replace(**change), *rest]) != list_hash([first, *rest])


def test_a_video_that_changed_is_another_list(tmp_path):
    data = tiny_data(tmp_path)
    before = list_hash(data.test_records)
    data.test_records[0].path.write_bytes(b"new")
    assert list_hash(data.test_records) != before


def test_weights_hashes_see_names_and_shapes():
    first, second = torch.nn.Linear(2, 8), torch.nn.Linear(8, 2)
    assert weights_hash(first) != weights_hash(second)
    assert weights_hash(first) == weights_hash(first)


def test_the_file_is_plain_safetensors_and_is_mapped_not_loaded(tmp_path):
    data, model = tiny_data(tmp_path), seeded_model()
    bank = cached_features(model, data, data.test_records, tmp_path / "bank", pool=None)
    file = next((tmp_path / "bank").iterdir()) / FEATURES
    assert torch.equal(load_file(file)["tokens"], bank.tokens)
    if Path("/proc/self/maps").exists():
        assert FEATURES in Path("/proc/self/maps").read_text()


def test_a_list_without_videos_is_refused(tmp_path):
    data, model = tiny_data(tmp_path), seeded_model()
    with pytest.raises(ValueError, match="no clips"):
        cached_features(model, data, [], tmp_path / "bank", pool="mean")


def test_unreadable_videos_stop_it_and_leave_nothing_behind(tmp_path):
    data, model = tiny_data(tmp_path, unreadable=(31,)), seeded_model()
    for _ in range(2):
        with pytest.raises(UnreadableVideoError, match=r"31\.mp4"):
            cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")
    assert not (tmp_path / "bank").exists()


def reporting(folder, unreadable):
    data = tiny_data(folder, unreadable=unreadable)
    data.policy = replace(data.policy, in_evaluation="report")
    return data


# A single one, a whole batch of three, and the end of the list.
@pytest.mark.parametrize("unreadable", [(4,), (3, 4, 5), (1, 28, 29)])
def test_videos_that_are_reported_are_left_out_and_named_again_from_disk(tmp_path, unreadable):
    data, model = reporting(tmp_path, unreadable), seeded_model()
    records = data.train_records
    expected = extract(model.backbone, data.eval_dataloader(records), pool=None, max_bytes=1 << 30)
    for _ in range(2):
        found = cached_features(model, data, records, tmp_path / "bank", pool=None)
        assert same(found, expected)
        assert [it.row for it in found.failed] == list(unreadable)
        assert found.failed == expected.failed
    assert load_file(next((tmp_path / "bank").iterdir()) / FEATURES)["rows"].shape == (60,)


@pytest.mark.parametrize("batches", [1, 3, 5])
@pytest.mark.parametrize("unreadable", [(3, 4, 5), (10, 27, 28, 29)])
def test_a_stopped_extraction_goes_on_behind_videos_that_could_not_be_read(tmp_path, monkeypatch, batches, unreadable):
    data, model = reporting(tmp_path, unreadable), seeded_model()
    records = data.train_records
    expected = extract(model.backbone, data.eval_dataloader(records), pool=None, max_bytes=1 << 30)
    monkeypatch.setattr(feature_cache, "NOTE_BYTES", 1)
    real, kept = feature_cache.features_of, []

    def stopping(*arguments, **options):
        for number, part in enumerate(real(*arguments, **options)):
            if not kept and number == batches:
                kept.append(number)
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(feature_cache, "features_of", stopping)
    with pytest.raises(KeyboardInterrupt):
        cached_features(model, data, records, tmp_path / "bank", pool=None)
    found = cached_features(model, data, records, tmp_path / "bank", pool=None)
    assert same(found, expected)
    assert found.failed == expected.failed


def test_features_with_gaps_are_refused_where_videos_must_not_fail(tmp_path):
    data, model = reporting(tmp_path, (31,)), seeded_model()
    cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")
    data.policy = replace(data.policy, in_evaluation="raise")
    with pytest.raises(UnreadableVideoError, match=r"31\.mp4"):
        cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")


def test_a_list_of_which_nothing_can_be_read_is_refused(tmp_path):
    data, model = reporting(tmp_path, tuple(range(30, 42))), seeded_model()
    with pytest.raises(ValueError, match="none of the videos could be read"):
        cached_features(model, data, data.test_records, tmp_path / "bank", pool="mean")


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    data, model = tiny_data(tmp_path), seeded_model()
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(FeatureCacheError, match=r"the features of 12 videos take .* GiB are free"):
        cached_features(model, data, data.test_records, tmp_path / "bank", pool=None)
    assert not list((tmp_path / "bank").rglob("*.safetensors"))


def test_banks_say_where_they_were_read_and_carry_the_targets_of_their_list(tmp_path):
    data, model = tiny_data(tmp_path), seeded_model()
    records = [record._replace(target=record.row / 2) for record in data.test_records]
    first, second = (cached_features(model, data, records, tmp_path / "bank", pool="mean") for _ in range(2))
    assert (first.read_from, second.read_from) == (None, next((tmp_path / "bank").iterdir()))
    assert second.targets.tolist() == [row / 2 for row in range(12) for _ in range(2)]
    fresh = extract(model.backbone, data.eval_dataloader(records), pool="mean", max_bytes=1 << 30)
    assert torch.equal(fresh.targets, second.targets)


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(1, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_processes_do_not_write_the_same_features(tmp_path):
    data, model = tiny_data(tmp_path), seeded_model()
    place = folder_of(tmp_path, feature_key(model, data, data.test_records, pool="mean", layers=None))
    place.mkdir()
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(place / LOCK)], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        start = time.monotonic()
        with pytest.raises(FeatureCacheError, match="another process"):
            cached_features(model, data, data.test_records, tmp_path, pool="mean")
        assert time.monotonic() - start < 5
    finally:
        other.kill()
        other.communicate()
    assert len(cached_features(model, data, data.test_records, tmp_path, pool="mean")) == 24
