import json

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData
from zoo.training.fit import fit
from zoo.training.log import read_log
from zoo.training.pretrain import Pretrain


def test_a_torn_last_line_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}]


def test_a_run_without_a_log_has_no_steps(tmp_path):
    assert read_log(tmp_path) == []


def test_a_run_that_starts_anew_drops_the_lines_of_an_earlier_attempt(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": -1}\n{"step": 99, "loss": -1}\n{"st')
    fit(Pretrain(MeanColour(), RECIPE), TinyData(), run_dir=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row["loss"] >= 0 for row in rows)
    assert rows[0].keys() == {"step", "loss", "error", "answer", "grad_norm", "lr"}
