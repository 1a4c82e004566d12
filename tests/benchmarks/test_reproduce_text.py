from dataclasses import replace

import pytest

from benchmarks.measured import INCOMPLETE, OUTSIDE, WITHIN
from benchmarks.paper_tables import Conflict, Paper, Source
from benchmarks.reproduce import Asked, Found, Options, plan
from benchmarks.reproduce_text import (
    NOT_MEASURED,
    REPORTED_ONLY,
    command,
    conflict_lines,
    exit_status,
    file_words,
    job_lines,
    lines_of,
    needed,
    size_words,
    verdict_sheet,
)
from benchmarks.suites import digits, k400, ssv2
from tests.benchmarks.made_up_results import result, row, table
from zoo.registry import get_card

PLAIN = Options()
ONE = Source(kind="paper", where="Table 1")
PAPER = Paper(name="tiny", title="T", reference="R", code="C", sources={"one": ONE}, tables={})


def asked_about(line, **page):
    return Asked(PAPER, table(line, **page), (line,), True)


def told(*, top1=(0.769, 0.763, 0.775), failed=(), options=PLAIN, **changes):
    """The lines that a made-up result gives."""
    line = row(values={"top1": 76.9})
    asked = asked_about(line)
    (job,) = plan(asked, Options())
    made = result(line, asked.table, top1=top1, **changes)
    made = replace(made, failed=list(failed), n_expected=made.n_evaluated + len(failed))
    return lines_of([Found(job, job.request, made)], asked, options)


def test_verdicts_follow_the_interval_and_decide_the_status():
    for top1, scored, verdict, status in (
        ((0.769, 0.763, 0.775), None, WITHIN, 0),
        ((0.75, 0.744, 0.756), None, OUTSIDE, 1),
        ((0.769, 0.763, 0.775), 100, INCOMPLETE, 1),
    ):
        lines = told(top1=top1, scored=scored)
        assert [line.verdict for line in lines] == [verdict]
        assert exit_status(lines, shrink=False) == status


def test_a_row_with_a_number_that_nobody_measured_decides_the_status_and_one_that_is_reported_only_does_not():
    line = row()
    asked = asked_about(line)
    (job,) = plan(asked, Options())
    (torn,) = lines_of([Found(job, trouble="the file is torn")], asked, Options())
    assert (torn.verdict, torn.notes, exit_status([torn], shrink=False)) == (NOT_MEASURED, ("the file is torn",), 1)
    assert exit_status([torn], shrink=True) == 1
    (quoted,) = lines_of([Found(replace(job, refusal="quoted"))], asked, Options())
    assert (quoted.verdict, quoted.notes, exit_status([quoted], shrink=False)) == (REPORTED_ONLY, ("quoted",), 0)
    assert exit_status([quoted, *told()], shrink=False) == 0


def test_shrunken_networks_have_passed_once_all_videos_are_scored():
    lines = told(top1=(0.1, 0.0, 0.2), options=Options(shrink=True))
    assert (lines[0].verdict, lines[0].weights) == (OUTSIDE, "random weights, shrunken network")
    assert (exit_status(lines, shrink=True), exit_status(lines, shrink=False)) == (0, 1)
    assert exit_status(told(options=Options(shrink=True), failed=["0.mp4: torn"]), shrink=True) == 1


def test_every_printed_number_has_a_line_with_reported_measured_difference_and_interval(tmp_path):
    (line,) = told(top1=(0.75, 0.744, 0.756), options=Options(checkpoint=tmp_path / "x"))
    assert line.to_dict() == {
        "row": "tiny:k400:tiny",
        "system": "T",
        "metric": "top1",
        "reported": 76.9,
        "measured": 75.0,
        "difference": pytest.approx(-1.9),
        "low": pytest.approx(74.4),
        "high": pytest.approx(75.6),
        "num_scored": 19907,
        "num_expected": 19907,
        "verdict": "outside",
        "weights": "own weights",
        "notes": ["list of official lists"],
        "result": line.told.result.identity.key,
    }
    sheet = verdict_sheet([line, line], "tiny:k400")
    assert [it.text for it in sheet.rows[0]] == [
        "tiny", "top-1, %", "76.9", "75.00", "74.40 to 75.60", "−1.90", "19907/19907", "outside (own weights)",
    ]  # fmt: skip
    assert (sheet.notes, sheet.rows[1][-1].marks) == (["list of official lists"], (1,))


def test_a_verdict_names_other_values_of_its_number_and_of_the_views_and_a_dry_run_those_of_the_training_too():
    said = [("top1", 77.0), ("top5", 93.0), ("views", "1x3"), ("recipe", "no flip")]
    asked = asked_about(row(conflicts=tuple(Conflict(metric=it, value=value, source="one") for it, value in said)))
    (job,) = plan(asked, Options())
    assert conflict_lines(job, asked, "top1") == ["elsewhere top-1 77.0 (Table 1)", "elsewhere views 1x3 (Table 1)"]
    assert len(conflict_lines(job, asked)) == 4


def test_files_of_the_official_layout_are_named_and_those_of_other_splits_left_out():
    assert needed(k400.SUITE, "val", trained=False)[-2:] == [
        "val/*.mp4",
        "or the lists and folders of one of the copies named below",
    ]
    assert "train/*.mp4" in needed(k400.SUITE, "val", trained=True)
    assert "20bn-something-something-v2/*.webm" in needed(ssv2.SUITE, "validation", trained=False)
    assert needed(digits.SUITE, "test", trained=False) == ["nothing: the videos are rendered here"]
    assert "19,907 (official lists)" in size_words(k400.SUITE, k400.SUITE.tasks[0], "val")


def test_files_are_told_with_size_licence_and_place():
    told = file_words(get_card("videomamba_tiny.k400_f8_res224"))
    assert told.startswith("videomamba_tiny.k400_f8_res224: about 28 MB, from hf:OpenGVLab/VideoMamba/")
    assert "Apache-2.0" in told
    probe = get_card("vjepa_large_16_224.videomix2m_probe_ssv2")
    assert file_words(probe).startswith("vjepa_large_16_224.videomix2m_probe_ssv2: size unknown, from https://")


def test_a_row_of_a_probe_names_the_file_of_its_backbone_too():
    line = row(card="vjepa_large_16_224.videomix2m_probe_ssv2", values={"top1": 69.5, "gflops_per_view": 597})
    asked = asked_about(line, suite="ssv2", views="2x3")
    (job,) = plan(asked, Options())
    lines = job_lines(job, asked, [])
    assert [it.partition(":")[0] for it in lines["weights"].splitlines()] == [
        "vjepa_large_16_224.videomix2m",
        "vjepa_large_16_224.videomix2m_probe_ssv2",
    ]
    assert lines["run"].endswith("16 frames, vjepa, stride 4, 224 px; 2 clips x 3 crops, segments attended")
    assert lines["the same as"] == command(job.request)
    assert "--clips 2 --crops 3" in lines["the same as"]
