import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import Identity, Interval, Result, Store, digest, settings_differences, write_new

ROOT = Path(__file__).parents[2]


def make(seed: int = 0, value: float = 0.5, **settings: object) -> Result:
    chosen = {"steps": 3, **settings}
    identity = Identity(
        kind="evaluate",
        system="vit_pico",
        init="random",
        suite="digits",
        task="motion",
        split_hash="ab",
        protocol="finetune",
        settings_hash=digest(chosen),
        seed=seed,
    )
    metrics = {"top1": Interval(value, value - 0.1, value + 0.1)}
    return Result(identity=identity, settings=chosen, metrics=metrics, n_expected=2, n_evaluated=2)


def test_a_result_survives_the_round_trip_with_its_arrays(tmp_path):
    store = Store(tmp_path)
    rows = np.arange(5, dtype=np.int32)
    store.add(make(), {"predictions": {"rows": rows}})
    (found,) = store.results()
    assert found.identity == make().identity
    assert found.metrics == {"top1": Interval(0.5, 0.4, 0.6)}
    np.testing.assert_array_equal(store.arrays(found, "predictions")["rows"], rows)
    assert store.finished()[make().identity.key] == found


def test_a_second_result_of_one_identity_overwrites_nothing_and_is_found_second(tmp_path):
    store = Store(tmp_path)
    first = store.add(make(value=0.25), {"predictions": {"rows": np.zeros(1)}})
    before = first.read_bytes()
    second = store.add(make(value=0.75), {"predictions": {"rows": np.ones(1)}})
    assert second != first
    assert first.read_bytes() == before
    assert sorted(result.metrics["top1"].value for result in store.results()) == [0.25, 0.75]
    assert store.finished()[make().identity.key].metrics["top1"].value == 0.25
    assert [store.arrays(result, "predictions")["rows"][0] for result in store.results()].count(1.0) == 1


def test_the_key_depends_on_settings_and_seed_but_not_on_circumstances():
    assert make().identity.key != make(seed=1).identity.key
    assert make().identity.key != make(rate=1e-3).identity.key
    other = Result(**{**make().__dict__, "commit": "abc", "seconds": 3.0, "device": "elsewhere"})
    assert other.identity.key == make().identity.key


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (make().to_json()[:200], "Expecting|Unterminated|delimiter"),
        ("", "Expecting value"),
        ('{"top1": 3}', "no identity"),
        (json.dumps({**json.loads(make().to_json()), "schema": 99}), "schema 99"),
        (json.dumps({**json.loads(make().to_json()), "extra": 1}), "extra"),
        (json.dumps({**json.loads(make().to_json()), "settings": {"steps": 4}}), "hash"),
        (json.dumps({**json.loads(make().to_json()), "n_expected": 3}), "add up"),
        (make().to_json().replace("0.6", "NaN"), "finite"),
    ],
    ids=["torn", "empty", "foreign", "schema", "field", "edited settings", "edited counts", "NaN"],
)
def test_unreadable_files_are_reported_and_do_not_hide_the_others(tmp_path, content, words):
    store = Store(tmp_path)
    store.add(make())
    (tmp_path / "bad.json").write_text(content)
    assert len(store.results()) == 1
    (problem,) = store.problems
    assert problem.path.name == "bad.json"
    assert re.search(words, problem.reason), problem.reason


def test_a_torn_array_file_raises_an_error_that_names_it(tmp_path):
    store = Store(tmp_path)
    store.add(make(), {"predictions": {"rows": np.arange(100)}})
    (found,) = store.results()
    path = tmp_path / found.arrays["predictions"]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="predictions"):
        store.arrays(found, "predictions")
    with pytest.raises(ValueError, match="no arrays 'curves'"):
        store.arrays(found, "curves")


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="rows"):
        Store(tmp_path).add(make(), {"predictions": {"rows": np.array([{}], dtype=object)}})
    assert not list(tmp_path.glob("*.json"))


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    bad = Result(**{**make().__dict__, "seconds": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        Store(tmp_path).add(bad)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_shows_nothing_and_leaves_nothing(tmp_path, monkeypatch):
    store = Store(tmp_path)

    def full(_descriptor: int) -> None:
        assert not list(tmp_path.glob("*.json"))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.add(make())
    assert not list(tmp_path.iterdir())


def test_a_name_is_claimed_without_hard_links_too(tmp_path, monkeypatch):
    def no_links(*_: object) -> None:
        raise PermissionError("this file system has no hard links")

    monkeypatch.setattr(os, "link", no_links)
    paths = [write_new(tmp_path, "row", ".json", content) for content in (b"first", b"second")]
    assert [path.read_bytes() for path in paths] == [b"first", b"second"]


def test_old_temporary_files_of_killed_writers_are_swept(tmp_path):
    old, fresh = tmp_path / ".1-aa.tmp", tmp_path / ".2-bb.tmp"
    for path in (old, fresh):
        path.write_text("half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    Store(tmp_path)
    assert not old.exists()
    assert fresh.exists()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from benchmarks.results import Identity, Result, Store, digest
store, first, count = Store(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
for seed in range(first, first + count):
    identity = Identity(kind="evaluate", system="s", init="random", suite="x", task="t", split_hash="", protocol="p",
                        settings_hash=digest({}), seed=seed)
    store.add(Result(identity=identity, settings={}, metrics={}), {"predictions": {"rows": np.full(50, seed)}})
    print(seed, flush=True)
"""


def writer(folder: Path, first: int, count: int) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", WRITER, str(folder), str(first), str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_two_writers_lose_and_tear_no_row(tmp_path):
    writers = [writer(tmp_path, 0, 200), writer(tmp_path, 100, 200)]  # seeds 100 to 199 are written by both
    for one in writers:
        one.communicate()
        assert one.returncode == 0
    store = Store(tmp_path)
    assert sorted(result.identity.seed for result in store.results()) == sorted([*range(200), *range(100, 300)])
    assert not store.problems
    assert all(store.arrays(result, "predictions")["rows"][0] == result.identity.seed for result in store.results())


def killed(folder: Path, kills: int) -> None:
    for number in range(kills):
        process = writer(folder, number * 10_000, 10_000)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(3 + number % 7)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.communicate()[0].splitlines()
        store = Store(folder)
        stored = {result.identity.seed for result in store.results()}
        assert not store.problems
        assert stored.issuperset(int(line) for line in acknowledged if line.strip())


def test_kill_9_loses_no_acknowledged_row(tmp_path):
    killed(tmp_path, 4)


@pytest.mark.slow
def test_forty_kills_lose_no_acknowledged_row(tmp_path):
    killed(tmp_path, 40)


def test_differing_settings_are_listed():
    assert settings_differences([make(), make(steps=4), make(steps=4)]) == {"steps": [3, 4]}
    assert settings_differences([make(), make()]) == {}


@pytest.mark.parametrize("damage", ["cut", "flip", "sum", "gone"])
def test_a_result_whose_arrays_are_damaged_counts_as_not_done(tmp_path, damage):
    store = Store(tmp_path)
    path = store.add(make(), {"predictions": {"rows": np.arange(1000)}})
    [arrays] = tmp_path.glob("*.npz")
    content = bytearray(arrays.read_bytes())
    if damage == "sum":  # what is compressed is sound, and not what was written
        with zipfile.ZipFile(arrays) as archive:
            written = archive.infolist()[0].CRC.to_bytes(4, "little")
        content = content.replace(written, bytes(4))
    else:
        content[100] ^= 255
    arrays.unlink() if damage == "gone" else arrays.write_bytes(content[:50] if damage == "cut" else content)
    assert not store.finished()
    [problem] = store.problems
    assert problem.path == path
    assert arrays.name in problem.reason


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": {"steps": 4}},
        {"merge": "mean of logits"},
        {"metric": "mean_class"},
        {"limit": 5},
        *({"clip": {"sampling": "dense", "clips": 1, "crops": 1, name: 2}} for name in ("sampling", "clips", "crops")),
    ],
)
def test_whatever_keeps_two_numbers_out_of_one_column_changes_the_protocol_hash(change):
    plain = {"protocol": {"steps": 3}, "clip": {"sampling": "dense", "clips": 1, "crops": 1}, "merge": "mean"}
    assert make(**{**plain, **change}).protocol_hash != make(**plain).protocol_hash
    same = make(**plain)
    other = Result(**{**same.__dict__, "identity": Identity(**{**same.identity.__dict__, "protocol": "knn"})})
    assert other.protocol_hash != same.protocol_hash


def test_results_of_one_identity_come_in_the_order_in_which_they_were_given(tmp_path):
    store, values = Store(tmp_path), [number / 20 for number in range(11)]
    for value in values:
        store.add(make(value=value))
    assert [result.metrics["top1"].value for result in store.results()] == values
