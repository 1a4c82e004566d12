from dataclasses import replace

import pytest

from benchmarks import plan
from benchmarks.plan import Comparison
from benchmarks.systems import systems
from tests.benchmarks.tiny_suite import SUITE, TinyVideos, tiny_budget


@pytest.fixture
def comparison(tmp_path):
    return Comparison(
        systems=systems(["vit_pico", "timesformer_pico:mae"], side_px=24, suite="tiny"),
        suite=SUITE,
        videos=TinyVideos(tmp_path),
        protocol="finetune",
        budget=tiny_budget(),
        seeds=range(2),
    )


def test_every_system_runs_every_task_from_both_starts_under_every_seed_and_the_controls_once(comparison):
    runs = plan.plan(comparison)
    kinds = [run.identity.kind for run in runs]
    assert kinds.count("pretrain") == 2 * 2
    assert kinds.count("evaluate") == 2 * 2 * 2 * 2
    assert kinds.count("control") == 2 * 2
    assert len({run.key for run in runs}) == len(runs)


def test_an_evaluation_needs_exactly_the_pretraining_of_its_system_and_seed(comparison):
    runs = {run.key: run for run in plan.plan(comparison)}
    for run in runs.values():
        if run.identity.kind == "evaluate" and run.identity.init == "mae":
            (needed,) = (runs[key] for key in run.needs)
            assert needed.identity.kind == "pretrain"
            assert (needed.identity.system, needed.identity.seed) == (run.identity.system, run.identity.seed)
        else:
            assert run.needs == ()


def test_twins_differ_in_their_start_alone(comparison):
    runs = [run for run in plan.plan(comparison) if run.identity.kind == "evaluate"]
    for run in runs:
        if run.identity.init == "random":
            twin = next(
                other
                for other in runs
                if other.identity.init == "mae"
                and (other.identity.system, other.identity.task, other.identity.seed)
                == (run.identity.system, run.identity.task, run.identity.seed)
            )
            assert {**run.settings, "start": ""} == {**twin.settings, "start": ""}


def test_keys_are_the_same_in_every_session_and_follow_what_shapes_the_numbers(comparison):
    keys = [run.key for run in plan.plan(comparison)]
    assert keys == [run.key for run in plan.plan(comparison)]
    longer = replace(comparison, budget=tiny_budget(steps=4))
    assert not set(keys) & {run.key for run in plan.plan(longer) if run.identity.system != "first frame"}


def test_another_pretraining_makes_other_evaluations_but_the_same_random_twins(comparison):
    budget = tiny_budget()
    chosen = budget.pretrain["mae"]
    longer = replace(chosen, recipe=replace(chosen.recipe, steps=9))
    other = replace(comparison, budget=replace(budget, pretrain={**budget.pretrain, "mae": longer}))
    before, after = ({run.key: run for run in plan.plan(one)} for one in (comparison, other))
    shared = {before[key].identity.init for key in before.keys() & after.keys()}
    assert shared == {"random"}
    assert sum(run.identity.init == "random" for run in before.values()) == len(before.keys() & after.keys())


def test_adding_a_system_keeps_the_runs_of_the_others_but_measures_costs_together_again(comparison):
    alone = replace(comparison, systems=comparison.systems[:1])
    assert {run.key for run in plan.plan(alone)} <= {run.key for run in plan.plan(comparison)}
    both = {run.key for run in plan.cost_runs(comparison)}
    assert len(both) == 2
    assert not both & {run.key for run in plan.cost_runs(alone)}


def test_settings_are_plain_values_that_survive_json(comparison):
    for run in [*plan.plan(comparison), *plan.cost_runs(comparison)]:
        assert plan.plain(run.settings) == run.settings


@pytest.mark.parametrize("protocol", ["linear", "attentive", "knn"])
def test_probes_are_planned_without_augmentation(comparison, protocol):
    runs = [run for run in plan.plan(replace(comparison, protocol=protocol)) if run.identity.kind == "evaluate"]
    assert {run.identity.protocol for run in runs} == {protocol}
    assert all("augment" not in run.settings["protocol"] for run in runs)


def under(comparison, *names):
    return replace(comparison, systems=systems(names, side_px=24, suite="tiny"))


def test_two_objectives_of_one_architecture_share_their_random_twins_and_costs(comparison):
    both = under(comparison, "vit_pico:mae", "vit_pico:vjepa")
    runs = plan.plan(both)
    inits = [run.identity.init for run in runs if run.identity.kind == "evaluate"]
    assert {init: inits.count(init) for init in set(inits)} == {"mae": 4, "vjepa": 4, "random": 4}
    assert len(plan.cost_runs(both)) == 1
    assert len({run.key for run in runs}) == len(runs)


def test_a_system_without_an_objective_is_evaluated_from_random_weights_alone(comparison):
    runs = plan.plan(under(comparison, "timesformer_pico:none"))
    assert {run.identity.kind for run in runs} == {"evaluate", "control"}
    assert {run.identity.init for run in runs} == {"random"}


def test_students_of_every_seed_share_one_teacher_which_they_wait_for(comparison):
    runs = {run.key: run for run in plan.plan(under(comparison, "vit_pico:umt", "vit_pico:self_distillation"))}
    teachers = {run.identity.protocol: run for run in runs.values() if run.identity.kind == "teacher"}
    assert {name: run.identity.system for name, run in teachers.items()} == {
        "stills": "vit_still_pico",
        "everything": "vit_pico",
    }
    for run in runs.values():
        if run.identity.kind == "pretrain":
            lessons = "stills" if run.identity.init == "umt" else "everything"
            assert run.needs == (teachers[lessons].key,)
            assert run.settings["teacher"] == teachers[lessons].key


def test_another_training_of_the_teacher_is_another_pretraining(comparison):
    comparison = under(comparison, "vit_pico:umt")
    longer = replace(comparison, budget=tiny_budget(steps=4))
    kept = comparison.budget.pretrain["umt"]
    mixed = replace(
        comparison,
        budget=replace(
            comparison.budget,
            pretrain={
                **comparison.budget.pretrain,
                "umt": replace(kept, options=replace(kept.options, teacher=longer.budget.pretrain["umt"].teacher)),
            },
        ),
    )
    keys = [{run.key for run in plan.plan(one) if run.identity.kind == "pretrain"} for one in (comparison, mixed)]
    assert not keys[0] & keys[1]


def test_what_serves_all_tasks_is_another_run_where_training_videos_are_also_tested_on(
    comparison, tmp_path, monkeypatch
):
    comparison = under(comparison, "vit_pico:umt")
    before = {run.identity.kind: run for run in plan.plan(comparison)}
    shared = TinyVideos(tmp_path).path("shade", "train", 0)
    own = TinyVideos.records

    def records(self, task, split):
        return [
            it._replace(path=shared) if (task, split, it.row) == ("drift", "test", 0) else it
            for it in own(self, task, split)
        ]

    monkeypatch.setattr(TinyVideos, "records", records)
    after = {run.identity.kind: run for run in plan.plan(comparison)}
    assert [run.settings["left_out"]["videos"] for run in (after["teacher"], after["pretrain"])] == [1, 1]
    assert all(before[kind].key != after[kind].key for kind in ("teacher", "pretrain"))
    assert before["control"].key == after["control"].key


def test_systems_of_a_seed_share_one_tokenizer_which_they_wait_for(comparison):
    runs = {run.key: run for run in plan.plan(under(comparison, "vit_pico:lvmae", "videomamba_pico:lvmae"))}
    codes = [run for run in runs.values() if run.identity.kind == "tokenizer"]
    assert sorted(run.identity.seed for run in codes) == [0, 1]
    for run in runs.values():
        if run.identity.kind == "pretrain":
            (needed,) = (runs[key] for key in run.needs)
            assert (needed.identity.kind, needed.identity.seed) == ("tokenizer", run.identity.seed)
            assert run.settings["tokenizer"] == needed.key


def test_lvmae_is_pretrained_on_longer_clips_and_evaluated_on_those_of_its_twin(comparison):
    runs = plan.plan(under(comparison, "vit_pico:lvmae"))
    frames = {run.identity.kind: run.settings["clip"]["num_frames"] for run in runs}
    assert (frames["tokenizer"], frames["pretrain"], frames["evaluate"]) == (16, 32, 16)
    assert {run.settings["architecture"]["num_frames"] for run in runs if run.identity.kind == "pretrain"} == {32}


def test_backbones_of_other_tubelets_get_a_tokenizer_of_their_own(comparison):
    runs = plan.plan(under(comparison, "vit_pico:lvmae", "umt_pico:lvmae"))
    codes = [run.settings for run in runs if run.identity.kind == "tokenizer" and run.identity.seed == 0]
    assert [it["tubelet"] for it in codes] == [[2, 8, 8], [1, 8, 8]]
    assert [it["protocol"]["overrides"]["time_strides"] for it in codes] == [[1, 1, 2], [1, 1, 1]]
