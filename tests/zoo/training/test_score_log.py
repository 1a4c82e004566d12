from dataclasses import replace

import torch

from tests.benchmarks.protocols.clips import tiny_data, tiny_model
from zoo.batch import Unread
from zoo.training import score_log
from zoo.training.predictions import ViewScores
from zoo.training.score_log import ScoreLog, clear_scores, read_scores, score_key

KEY = {"weights": "abc", "views": [1, 2]}


def scored(row, targets=None, failed=()):
    rows = torch.tensor([row, row])
    return ViewScores(torch.rand(2, 3), rows % 3, rows, torch.arange(2), targets, failed)


def same(first, second):
    assert first.failed == second.failed
    for one, other in zip(first[:5], second[:5], strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def test_scores_come_back_to_the_last_bit_with_targets_and_failures(tmp_path):
    parts = {
        0: scored(0),
        7: scored(7, targets=torch.rand(2)),
        3: scored(3, failed=(Unread(9, "a b.mp4", "torn"),)),
        4: ViewScores(torch.empty(0, 3), *[torch.empty(0, dtype=torch.int64)] * 3, None, (Unread(1, "x", "y"),)),
    }
    log = ScoreLog(tmp_path / "new", KEY)
    assert log.known == {}
    for number, part in parts.items():
        log.add(number, part)
    again = ScoreLog(tmp_path / "new", KEY)
    assert again.done == set(parts)
    for number, part in parts.items():
        same(again.known[number], part)


def test_files_of_several_processes_are_read_together_and_those_of_other_runs_are_not(tmp_path):
    first, second, other = ScoreLog(tmp_path, KEY), ScoreLog(tmp_path, KEY), ScoreLog(tmp_path, {**KEY, "weights": "x"})
    first.add(0, scored(0))
    second.add(1, scored(1))
    other.add(2, scored(2))
    assert ScoreLog(tmp_path, KEY).done == {0, 1}
    clear_scores(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_is_read_up_to_where_a_kill_tore_it(tmp_path):
    log = ScoreLog(tmp_path, KEY)
    for number in range(3):
        log.add(number, scored(number))
    whole = log.path.read_bytes()
    lengths = {len(read_scores(_cut(log.path, whole, size), KEY)) for size in range(0, len(whole) - 1, 37)}
    assert lengths == {0, 1, 2}
    assert len(read_scores(_cut(log.path, whole, len(whole)), KEY)) == 3
    assert len(read_scores(_cut(log.path, whole, len(whole) - 1), KEY)) == 3  # only the end of the line is gone


def _cut(path, content, size):
    path.write_bytes(content[:size])
    return path


def test_everything_that_changes_a_score_or_a_batch_is_in_the_key(tmp_path, monkeypatch):
    data, model = tiny_data(tmp_path), tiny_model()

    def key(**options):
        return score_key(model, data, {"precision": "32-true", **options})

    keys = [key(), key(precision="bf16-mixed")]
    data.batch_size = 4
    keys.append(key())
    data.test_records = data.test_records[1:]
    keys.append(key())
    with torch.no_grad():
        model.head.linear.bias += 1
    keys.append(key())
    data.spec = replace(data.spec, clips=1)
    keys.append(key())
    model.odd = torch.nn.ReLU()  # no weights
    keys.append(key())
    for place, name, value in ((score_log, "decoder_version", lambda _: "0"), (torch, "__version__", "0")):
        monkeypatch.setattr(place, name, value)
        keys.append(key())
    assert all(one != other for place, one in enumerate(keys) for other in keys[place + 1 :])
