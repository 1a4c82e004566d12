from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.plan import plain
from benchmarks.reproduce import Asked, Options, plan
from benchmarks.reproduce_costs import cost_words, num_videos, time_words
from tests.benchmarks.tiny_paper import tiny_paper


@pytest.fixture
def paper(tmp_path):
    return tiny_paper(tmp_path)


def job(paper, table, row, **options):
    asked = Asked(paper, paper.table(table), (paper.table(table).row(row),), True)
    (one,) = plan(asked, replace(Options(), **options))
    return one


def test_the_largest_list_in_use_counts_and_of_it_no_more_than_asked_for(paper):
    assert num_videos(job(paper, "moments", "mamba")) == 24_777
    assert num_videos(job(paper, "moments", "mamba", limit=50)) == 50


def test_printed_costs_are_taken_as_printed_and_others_counted(paper):
    one = job(paper, "moments", "mamba")
    printed = replace(one, row=replace(one.row, values={"top1": 65.1, "gflops_per_view": 9}))
    assert cost_words(printed) == "9 GFLOPs a view (as printed) x 6 views x 24,777 videos = 1,338 TFLOPs"
    # Half of the FLOPs of torch's counter are multiply-adds: 16 tokens of 32 pixels through three small blocks.
    small = job(paper, "moments", "mamba", shrink=True)
    small = replace(small, row=printed.row)
    assert "counted here) x 6 views" in cost_words(small)
    assert float(cost_words(small).split()[0]) < 0.01
    assert cost_words(replace(small, suite=replace(small.suite, sizes={}))).endswith("GFLOPs a video")


def test_training_is_named_where_its_cost_is_not_counted(paper):
    one = job(paper, "moments", "mamba")
    trained = replace(
        one, request=replace(one.request, protocol="linear"), row=replace(one.row, values={"gflops_per_view": 9})
    )
    assert cost_words(trained).endswith("; what the training costs is not counted")


def test_time_is_told_only_after_a_measurement_of_the_same_clips_that_was_whole(paper):
    one = job(paper, "moments", "mamba")

    def result(created="1", seconds=20.0, read=0, **clip):
        who = SimpleNamespace(system=one.request.name, suite="ssv2", protocol="as_is")
        return SimpleNamespace(
            identity=who,
            settings={"clip": {**plain(one.clip.to_dict()), **clip}},
            n_evaluated=10,
            seconds=seconds,
            device="1 x CPU",
            created=created,
            details={"batches_read": read},
        )

    told = "about 13.8 h at 2 s a video, as measured on 1 x CPU"
    assert time_words(one, [result("2"), result("1", seconds=1.0)]) == told
    for other in ([], [result(crops=1)], [result(read=3)]):
        assert time_words(one, other).startswith("not known: a run with --limit")
