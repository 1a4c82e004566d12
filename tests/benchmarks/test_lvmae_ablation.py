import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from benchmarks import lvmae_ablation as ablation
from benchmarks.budgets import budget
from benchmarks.lvmae_ablation import RIVALS, VARIATIONS, Ablation, Found, Variation
from benchmarks.provenance import Provenance
from benchmarks.results import Interval
from benchmarks.table import Cell
from tests.benchmarks.tiny_suite import SUITE, TinyVideos, tiny_budget

TOLD = Provenance(device="a processor", versions={"torch": "2"}, commit="abc", command="python -m x")
TASKS = ("shade", "drift")


def prepared(folder, spent=None, seeds=2) -> Ablation:
    videos = TinyVideos(folder / "videos")
    return Ablation(
        folder=folder / "out",
        suite=SUITE,
        videos=videos,
        cache=videos.cache(),
        spent=spent or tiny_budget(),
        seeds=range(seeds),
        told=TOLD,
        tasks=TASKS,
    )


def cell(share, seeds=2, videos=40):
    hits = np.tile(np.arange(videos) < share * videos, (seeds, 1))
    return Cell(
        accuracy=Interval(share, share, share),
        per_seed=dict.fromkeys(range(seeds), share),
        rows=np.arange(videos),
        scenes=np.arange(videos),
        labels=np.zeros(videos, dtype=np.int64),
        probabilities=np.zeros((seeds, videos, 2)),
        hits=hits,
        failed=[],
        results=[],
    )


def test_variations_of_a_seed_share_tokenizer_and_random_twins_and_nothing_else(tmp_path):
    made = prepared(tmp_path)
    keys = {it: {run.key: run.identity for run in made.runs(it)} for it in VARIATIONS}
    frozen = keys.pop(Variation("learned", "fsq_code", frozen=True))
    first = next(iter(keys.values()))
    shared = set.intersection(*(set(one) for one in keys.values()))
    evaluated = [("evaluate", seed) for seed in (0, 0, 1, 1)]
    assert sorted((first[key].kind, first[key].seed) for key in shared) == [
        *evaluated,
        ("tokenizer", 0),
        ("tokenizer", 1),
    ]
    assert {first[key].init for key in shared} == {"random"}
    assert sorted((frozen[key].kind, frozen[key].seed) for key in shared & frozen.keys()) == evaluated
    own = [key for one in (*keys.values(), frozen) for key in one if key not in shared]
    assert len(own) == len(set(own)) == len(VARIATIONS) * (2 + 2 * 2) + 2


def test_variations_differ_in_strategy_target_and_scorer_alone_at_one_budget():
    spent = budget("quick")
    base = ablation.lvmae_of(spent)
    for strategy, target, frozen in VARIATIONS:
        varied = ablation.lvmae_of(ablation.varied(spent, Variation(strategy, target, frozen)))
        assert (varied.strategy, varied.target, varied.tokenizer.frozen_scorer) == (strategy, target, frozen)
        same = {"strategy": "", "target": "", "tokenizer": base.tokenizer}
        assert replace(varied, **same) == replace(base, **same)
        assert replace(varied.tokenizer, frozen_scorer=False) == base.tokenizer


def test_a_missing_run_is_named_and_no_table_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"random, codes is not finished: lvmae_tokenizer_tiny.*is missing"):
        ablation.write(prepared(tmp_path), tmp_path)
    assert not (tmp_path / "lvmae-ablation.md").exists()


def test_the_table_has_the_mean_and_spread_of_the_seeds_and_tests_against_the_rival(tmp_path, monkeypatch):
    made = prepared(tmp_path)
    found = {None: Found(dict.fromkeys(TASKS, cell(0.2)), ())}
    found |= {it: Found(dict.fromkeys(TASKS, cell(0.5)), ()) for it in VARIATIONS}
    better = Variation("learned", "fsq_code")
    found[better] = Found(dict.fromkeys(TASKS, cell(0.9)), ())
    found[better].cells["shade"].per_seed.update({0: 0.8, 1: 1.0})
    monkeypatch.setattr(
        ablation, "tokenizers", lambda _: [SimpleNamespace(commit="fed", metrics={"psnr": Interval(9, 9, 9)})]
    )
    text = ablation.markdown(made, found, "today")
    assert "| learned | codes | 90.0 ± 14.1 (80.0, 100.0) |" in text
    assert "| random weights | – | 20.0 ± 0.0 (20.0, 20.0) |" in text
    assert "learned, codes against random, codes: +40.0 on shade (+30.0, +50.0), p < 0.001" in text
    assert "| learned, scorer frozen at its start | codes | 50.0" in text
    assert "learned, scorer frozen at its start, codes against learned, codes: −40.0 on shade" in text
    assert "learned, pixels against learned, codes: −40.0 on shade (−30.0, −50.0)" in text
    assert "6 of 12 differences have one sign under all seeds, and by chance 6 would" in text
    assert "below random weights" not in text
    found[None] = Found({"shade": cell(0.95), "drift": cell(0.4)}, ())
    assert "On shade **every pretrained row is below random weights** (95.0 %)" in ablation.markdown(made, found, "")
    assert "Too small to conclude" in text
    assert "a processor" in text
    assert "written at commit abc, runs at fed." in text
    assert len(ablation.tests(found, TASKS)) == len(RIVALS) * len(TASKS)


def test_a_variation_that_was_not_run_is_said_to_be_missing_and_not_compared(tmp_path, monkeypatch):
    made = replace(prepared(tmp_path), tasks=("shade",))
    assert {run.identity.task for run in made.runs(VARIATIONS[0])} == {"", "shade"}
    found = {it: Found({"shade": cell(0.5)}, ()) for it in (None, *VARIATIONS) if it is None or not it.frozen}
    monkeypatch.setattr(
        ablation, "tokenizers", lambda _: [SimpleNamespace(commit="fed", metrics={"psnr": Interval(9, 9, 9)})]
    )
    text = ablation.markdown(made, found, "today")
    assert "Not run: learned, scorer frozen at its start, codes." in text
    assert "of 5 differences" in text
    assert "drift" not in text


@pytest.mark.slow  # 30 runs of seconds
def test_a_stopped_ablation_goes_on_and_leaves_a_table(tmp_path):
    made = prepared(tmp_path, seeds=1)
    text = io.StringIO()
    assert ablation.carry_out(made, Console(file=text, width=200)), text.getvalue()
    store = tmp_path / "out" / "results"
    kept = next(store.glob("pretrain-*.json"))
    lost = {path for path in store.iterdir() if path.name.startswith(kept.stem)}
    for path in lost:
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    assert ablation.carry_out(made, Console(file=text, width=200))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert all(path.exists() for path in lost)
    markdown, values = ablation.write(made, tmp_path)
    rows = json.loads(values.read_text())["rows"]
    assert [(row["strategy"], row["target"], row["frozen_scorer"]) for row in rows] == [
        (None, None, None),
        *map(tuple, VARIATIONS),
    ]
    assert markdown.read_text().count("|---|") == 1
