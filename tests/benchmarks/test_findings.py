import copy
from dataclasses import replace

import pytest

from benchmarks.findings import exponent, findings
from benchmarks.formats import percent, signed
from benchmarks.results import Interval
from tests.benchmarks.synthetic import story


def said(table):
    return {finding.title: finding for finding in findings(table, budget="quick")}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return story(tmp_path_factory.mktemp("findings")).table


def test_the_best_system_of_each_task_is_named_with_its_number(table):
    for task in table.tasks:
        finding = said(table)[f"Best on {task.name}"]
        best = max(
            (row for row in table.cells if not row.control),
            key=lambda row, name=task.name: table.cells[row][name].accuracy.value,
        )
        assert f"`{best.system}`" in finding.text
        assert percent(table.cells[best][task.name].accuracy.value) in finding.text


def test_every_gain_is_said_once_and_where_its_test_puts_it(table):
    titles = {
        "pays": "Where pretraining pays",
        "open": "Where pretraining does not pay",
        "costs": "Where pretraining costs accuracy",
    }
    texts = {name: said(table)[title].text if title in said(table) else "" for name, title in titles.items()}
    for row, tasks in table.gains.items():
        for task, gain in tasks.items():
            verdict = "open" if gain.p_value >= 0.05 else "pays" if gain.difference.value > 0 else "costs"
            clause = next(part for part in texts[verdict].split("; ") if f"`{row.name}`" in part)
            assert f"{task} ({signed(gain.difference.value)})" in clause
    assert texts["pays"]
    assert texts["open"]


def test_a_leak_comes_first_and_alarms(tmp_path):
    first = findings(story(tmp_path, control=0.95).table, budget="quick")[0]
    assert first.tone == "alarm"
    assert first.title == "The suite leaks"
    assert "bag of frames" in first.text


def test_a_control_that_beats_every_system_is_said_beside_the_best(table, tmp_path):
    beaten = story(tmp_path, systems=("a",), control=0.95).table
    text = said(beaten)["Best on appearance"].text
    control = next(row for row in beaten.cells if row.control)
    value = percent(beaten.cells[control]["appearance"].accuracy.value)
    assert f"The control `bag of frames` does better: **{value} %**" in text
    assert "does better" not in said(table)["Best on appearance"].text


@pytest.mark.parametrize(
    ("explained", "title", "tone"),
    [(0.004, "Pretraining hardly began", "bad"), (0.05, "How far pretraining came", "plain")],
)
def test_pretraining_is_told_by_the_variance_it_explains(tmp_path, explained, title, tone):
    finding = said(story(tmp_path, systems=("a",), explained=explained).table)[title]
    assert finding.tone == tone
    assert f"`a:mae` {percent(explained)} %" in finding.text


def test_a_pretraining_that_hardly_began_is_not_hidden_by_another_that_did(tmp_path):
    table = story(tmp_path, systems=("a",), objectives=("mae", "umt")).table
    for row, (result,) in table.pretraining.items():
        share = 0.01 if row.init == "mae" else 0.5
        result.metrics["explained"] = Interval(share, share, share)
    found = said(table)
    assert "`a:mae` 1.0 %" in found["Pretraining hardly began"].text
    assert "`a:umt` 50.0 %" in found["How far pretraining came"].text


def test_every_teacher_of_an_objective_is_named_with_its_accuracy(table):
    some = next(iter(table.cells.values()))["motion"].results[0]
    teachers = [
        replace(
            some,
            identity=replace(some.identity, kind="teacher", system=name),
            metrics={"top1": Interval(share, share, share)},
            details={"role": "self-distillation", "words": "Somebody.", "classes": 20},
        )
        for name, share in (("a", 0.9), ("b", 0.2))
    ]
    text = said(replace(table, teachers=teachers))["Teacher of self-distillation"].text
    assert "`a` 90.0 % and `b` 20.0 %" in text
    assert text.startswith("Somebody.")
    assert "chance 5.0 %" in text


def test_the_tokenizers_of_an_objective_are_said_with_means_over_seeds_and_their_hashes(table):
    some = next(iter(table.cells.values()))["motion"].results[0]
    numbers = {
        "blank_psnr": 17.0, "ssim": 0.5, "bits_per_pixel": 0.141, "codebook_usage": 0.02, "entropy_bits": 9.0,
        "bits_per_code": 18.0,
    }  # fmt: skip
    tokenizers = [
        replace(
            some,
            identity=replace(some.identity, kind="tokenizer", system="small", seed=seed),
            metrics={name: Interval(it, it, it) for name, it in {"psnr": psnr, **numbers}.items()},
            details={"role": "LVMAE", "hash": f"Adaptive {seed}abc", "codebook_size": 2**18},
        )
        for seed, psnr in enumerate((18.0, 19.0))
    ]
    text = said(replace(table, tokenizers=tokenizers))["Tokenizer of LVMAE"].text
    for words in ("`small`", "PSNR 18.5 dB", "mean frame: 17.0 dB", "2.0 % of 262,144", "`0abc` and `1abc`"):
        assert words in text


def test_longer_clips_in_pretraining_are_said_and_equal_ones_are_not(table):
    assert "Longer clips in pretraining" not in said(table)
    row, results = next(iter(table.pretraining.items()))
    longer = copy.deepcopy(results)
    for it in longer:
        it.settings["clip"]["num_frames"] = 32
    text = said(replace(table, pretraining={**table.pretraining, row: longer}))["Longer clips in pretraining"].text
    assert f"`{row.name}` was pretrained on clips of 32 frames and is evaluated on 16" in text


def test_controls_in_order_are_said_with_their_limits(table):
    text = said(table)["Order is needed"].text
    assert "50.0" in text
    assert "16.7" in text


def test_one_seed_is_a_caveat_and_three_are_not(table, tmp_path):
    assert "One training seed" in said(table)
    assert "One training seed" not in said(story(tmp_path, systems=("a",), seeds=(0, 1, 2)).table)


def test_growth_is_the_slope_of_the_longer_half():
    points = [{"frames": frames, "gflops": 5 + frames**2} for frames in (8, 16, 1024, 2048)]
    assert exponent(points, "gflops") == pytest.approx(2, abs=0.01)
    assert exponent([{"frames": 8, "gflops": None}], "gflops") is None


def test_costs_at_one_length_say_nothing_of_growth(table):
    costs = {system: copy.deepcopy(cost) for system, cost in table.costs.items()}
    for cost in costs.values():
        del cost.details["points"][1:]
    text = said(replace(table, costs=costs))["Longer clips"].text
    assert "At 8 frames" in text
    assert "grow" not in text
    assert text.endswith(".")
