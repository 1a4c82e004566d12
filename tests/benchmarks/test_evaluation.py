from dataclasses import replace

import pytest

from benchmarks.evaluation import Evaluation, Request, allowed_failures, known, order_words, resolve, views_of
from benchmarks.session import RequestError
from benchmarks.suite import Task
from benchmarks.suites import table
from tests.benchmarks.tiny_files import SUITE, write_files
from zoo.card import ClipSpec
from zoo.data.labels import LabelOrder
from zoo.suggest import UnknownNameError

ASKED = Request(name="vit_pico", suite="tiny_files", task="shade")
OWN = Task(name="own", question="?", num_outputs=3, sampling=None, clips=None, crops=None)


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)
    return write_files(tmp_path)


def test_numbers_and_shares_of_failures_are_told_apart():
    assert [allowed_failures(text, 150) for text in ("0", "3", "2%", "1.9%", "100%")] == [0, 3, 3, 2, 150]
    for text in ("", "-1", "1.5", "101%", "two", "nan"):
        with pytest.raises(RequestError, match="neither a number"):
            allowed_failures(text, 150)


def test_a_task_without_views_leaves_them_to_the_network():
    network = known(replace(ASKED, name="videomamba_tiny"))
    clip, rule = views_of(ASKED, OWN, network)
    assert (clip.sampling, clip.clips, clip.crops, rule) == ("uniform", 4, 3, "mean of softmax")


def test_views_by_name_come_before_the_tasks_and_numbers_before_both():
    network = known(replace(ASKED, name="videomamba_tiny"))
    task = replace(OWN, sampling="uniform", clips=1, crops=1)
    clip, _ = views_of(replace(ASKED, views="videomae_k400"), task, network)
    assert (clip.sampling, clip.stride, clip.clips, clip.crops, clip.num_frames) == ("strided", 4, 5, 3, 8)
    clip, _ = views_of(replace(ASKED, views="videomae_k400", crops=1), task, network)
    assert (clip.clips, clip.crops) == (5, 1)


def test_released_probes_look_at_all_clips_at_once():
    probe = replace(ASKED, name="vjepa_large_16_224.videomix2m_probe_ssv2", pretrained=True)
    network = known(probe)
    clip, rule = views_of(probe, OWN, network)
    assert (clip.clips, clip.crops, rule) == (2, 3, "segments attended")
    assert views_of(replace(probe, merge="mean-of-softmax"), OWN, network)[1] == "mean of softmax"


def test_vjepas_views_of_a_head_that_sees_one_clip_are_averaged():
    _, rule = views_of(replace(ASKED, views="vjepa_k400"), OWN, known(replace(ASKED, name="videomamba_tiny")))
    assert rule == "mean of softmax"


def test_released_weights_are_known_before_anything_is_fetched():
    network = known(Request(name="videomamba_tiny.k400_f8_res224", suite="k400", pretrained=True))
    assert network.num_rows == 400
    assert network.order_name.startswith("k400")
    assert network.clip.clips == 4


def test_two_kinds_of_weights_are_one_too_many(tmp_path):
    with pytest.raises(RequestError, match="either --pretrained or --checkpoint"):
        known(replace(ASKED, pretrained=True, checkpoint=tmp_path / "x"))


def test_weights_without_a_classifier_are_not_evaluated_as_they_are(videos):
    asked = replace(ASKED, name="videomae_base.k400_pt_f16_res224", pretrained=True, data=videos)
    names = [name for name in _cards() if name.startswith("videomae_base.") and _cards()[name].weights.num_classes == 0]
    with pytest.raises(RequestError, match="--protocol linear"):
        resolve(replace(asked, name=names[0]))


def _cards():
    from zoo.registry import released

    return released()


def test_everything_of_a_request_is_resolved(videos):
    one = resolve(replace(ASKED, data=videos, limit=5))
    assert isinstance(one, Evaluation)
    assert (one.split, one.listed, one.rows, one.num_outputs) == ("test", 20, 5, 2)
    assert one.classes == ("dark", "light")
    values = resolve(replace(ASKED, data=videos, task="level"))
    assert (values.rule, values.num_outputs, values.classes, values.clip.clips) == ("mean", 1, (), 2)


def test_a_limit_counts_videos_not_windows(videos):
    one = resolve(replace(ASKED, data=videos, task="parts", limit=2))
    assert (one.rows, len(one.records)) == (2, 4)


@pytest.mark.parametrize("protocol", ["knn", "low_shot"])
def test_values_cannot_be_probed(videos, protocol):
    with pytest.raises(RequestError, match="use linear, attentive"):
        resolve(replace(ASKED, data=videos, task="level", protocol=protocol))


def test_segments_have_two_clips_at_most():
    with pytest.raises(RequestError, match="1 or 2 clips, not 4"):
        views_of(replace(ASKED, clips=4), replace(OWN, sampling="segments"), known(ASKED))


def test_unknown_budgets_name_the_closest():
    with pytest.raises(UnknownNameError, match="quick"):
        resolve(replace(ASKED, budget="quik"))


def test_the_order_of_labels_is_told_with_its_hash():
    words = order_words(("a", "b", "c", "d"))
    assert words.startswith("0 'a', 1 'b', 2 'c', ... (4, sha256 ")
    assert LabelOrder(("a", "b", "c", "d")).sha256[:12] in words
    assert order_words(()) == "no names"


def test_clips_of_the_network_keep_its_size():
    clip, _ = views_of(ASKED, SUITE.tasks[0], known(ASKED))
    assert isinstance(clip, ClipSpec)
    assert (clip.img_size, clip.num_frames, clip.sampling) == (24, 16, "uniform")
