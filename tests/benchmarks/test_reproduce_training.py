from dataclasses import replace

import pytest

from benchmarks import cli, paper_tables, reproduce_costs
from benchmarks.evaluation import Request
from benchmarks.layout import Plan
from benchmarks.paper_tables import get_paper
from benchmarks.reproduce import Options, asked_for, plan
from benchmarks.reproduce_text import data_lines, job_lines
from benchmarks.reproduce_training import network_of, plan_of, train, train_words, trained_before
from benchmarks.results import Store
from benchmarks.session import RequestError
from benchmarks.suites import table
from benchmarks.suites.table import get_suite
from benchmarks.synth import write_suite
from tests.benchmarks.tiny_files import SUITE, write_files
from zoo.checkpoints import read_saved
from zoo.recipes.catalogue import get_training
from zoo.training.fit import Hardware

PROBE = "vjepa_large_16_224.videomix2m_probe_ssv2"
ONE_OF_EACH = (
    *("videomamba:in1k:middle_224", "videomamba:breakfast:tiny_f32", "umt:k400:base_f8", "videomae:ssv2:base"),
    *("mae_st:k400:large", "vjepa:frozen_ssv2:large", "vjepa:finetune_ssv2:large", "vjepa2:released_diving48:large"),
)


@pytest.fixture
def request_(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)
    return Request(
        name="vjepa_large_16_224",
        suite=SUITE.name,
        task="shade",
        data=write_files(tmp_path / "videos"),
        hardware=Hardware(accelerator="cpu"),
        out=tmp_path / "out",
    )


def test_a_probe_leaves_a_file_that_knows_its_training_and_is_found_again(request_):
    one = plan_of(get_training(PROBE), request_, shrink=True)
    assert trained_before(one, []) is None
    file = train(one)
    results = Store(request_.out).results()
    assert trained_before(one, results) == file
    saved, network = read_saved(file), network_of(one)
    assert saved.recipe == one.made_by == network.recipe == f"{PROBE} (shrunken)"
    assert (saved.clip, saved.classifier) == (network.clip, replace(network.form, options=saved.classifier.options))
    other = plan_of(get_training(PROBE), replace(request_, seed=1), shrink=True)
    assert trained_before(other, results) is None
    file.unlink()
    assert trained_before(one, results) is None


def test_the_command_is_the_one_that_trains_so(request_):
    one = plan_of(get_training(PROBE), replace(request_, seed=2), shrink=True)
    rest = f"--data {request_.data} --task shade --seed 2 --out {request_.out}"
    assert train_words(one) == f"zoo probe {PROBE} --shrink --suite tiny_files {rest}"
    own = replace(request_, suite="ssv2", task="action", data=None)
    words = f"zoo probe {PROBE} --data DIR --out {request_.out}"
    assert train_words(plan_of(get_training(PROBE), own, shrink=False)) == words


def test_a_row_is_planned_by_its_recipe_or_refused_with_the_reason():
    (job,) = plan(asked_for("vjepa:frozen_ssv2:large"), Options(train=True))
    request, clip = job.request, job.clip
    assert (request.name, request.protocol, request.pretrained) == ("vjepa_large_16_224", "as_is", False)
    assert (clip.num_frames, clip.clips, clip.crops, job.rule) == (16, 2, 3, "segments attended")
    assert (job.training.training.name, job.training.made_by) == (PROBE, PROBE)
    for words, reason in (
        ("timesformer:k400:base", "cannot be run: its optimiser is gradient descent"),
        ("videomamba:mask_type:tube", "e200_tube` is published, and how it was fine-tuned for this table is not"),
        ("videomamba:scan_order:spatial_first", "no published training of it is known"),
    ):
        with pytest.raises(RequestError, match=reason):
            plan(asked_for(words), Options(train=True))
    with pytest.raises(RequestError, match="either --train or --network"):
        plan(asked_for("timesformer:k400:base"), Options(train=True, network="vit_pico"))


def test_rows_on_other_clips_than_those_of_their_weights_are_measured_on_their_recipes():
    words = "vjepa2:diving48:large"
    with pytest.raises(RequestError, match="takes those of its weights, 64 of 256 px; --train makes its weights with"):
        plan(asked_for(words), Options())
    (job,) = plan(asked_for(words), Options(train=True))
    assert (job.clip.num_frames, job.clip.clips, job.clip.crops, job.differs) == (32, 4, 3, "")


def test_a_dry_run_names_the_training_videos_its_cost_and_both_commands(monkeypatch):
    monkeypatch.setattr(reproduce_costs, "gflops_of", lambda *_: 1.0)
    asked = asked_for("umt:k400:base_f8")
    (job,) = plan(asked, Options(train=True))
    assert "train/*.mp4" in data_lines(asked, [job])["needed in ROOT"]
    told = job_lines(job, asked, [])
    assert told["training"].endswith("(the authors')")
    assert told["cost"].endswith("what the training costs is not counted")
    first, second = told["the same as"].splitlines()
    assert first == "zoo finetune umt_base.k710_ft_k400_f8_res224 --data DIR --out runs/eval"
    assert second.startswith("zoo eval umt_base --suite k400 --task action --checkpoint FILE --clips 4 --crops 3")


def reproduce(capsys, *words):
    status = cli.main([str(word) for word in words])
    return status, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("words", ONE_OF_EACH)
def test_a_row_of_each_family_is_trained_by_its_recipe_measured_and_shown_beside_the_printed_one(
    words, tmp_path, capsys
):
    paper, name, row = words.split(":")
    suite, out = get_paper(paper).table(name).suite, tmp_path / "out"
    write_suite(get_suite(suite), tmp_path / "data", Plan(classes=2, videos=2))
    call = (
        "reproduce",
        words,
        "--data",
        tmp_path / "data",
        "--train",
        "--shrink",
        "--out",
        out,
        "--accelerator",
        "cpu",
    )
    status, told = reproduce(capsys, *call)
    assert status == 0, told
    assert "protocol differs (trained here)" in told
    assert "(shrunken)" in told
    before = len(list(out.glob("*.json")))
    status, told = reproduce(capsys, *call)
    assert (status, len(list(out.glob("*.json")))) == (0, before)
    assert f"{words}: measured before" in told
    _, told = reproduce(capsys, "table", f"{paper}:{name}", "--measured", "--results", out)
    (line,) = (it for it in told.splitlines() if it.split("¹")[0].split(" ")[0].rstrip("²³⁴⁵⁶⁷⁸⁹⁰,") == row)
    assert "protocol differs" in line
    assert "(shrunken); num_frames" in told or "(shrunken); img_size" in told


def test_a_table_knows_its_paper():
    assert {it.paper for paper in paper_tables.papers().values() for it in paper.tables.values()} == {
        *paper_tables.papers()
    }
