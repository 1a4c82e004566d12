from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks import paper_tables, reproduce
from benchmarks.evaluate import settings_of
from benchmarks.measured import DIFFERS, INCOMPLETE, OUTSIDE, WITHIN
from benchmarks.paper_tables import papers
from benchmarks.reproduce import Options, asked_for, carry_out, judged, look_up, plan, refuse_nothing
from benchmarks.results import Interval, Result, Store
from benchmarks.session import RequestError
from benchmarks.suites import table
from benchmarks.suites.table import get_suite
from tests.benchmarks.tiny_files import SUITE, write_files
from tests.benchmarks.tiny_paper import tiny_paper
from zoo import create_model, save_checkpoint
from zoo.data.labels import LabelError
from zoo.suggest import UnknownNameError
from zoo.training.fit import Hardware
from zoo.training.probe import FewVideosError
from zoo.weight_files import CheckpointError


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("videos"))


@pytest.fixture(autouse=True)
def _tiny(tmp_path, monkeypatch):
    paper = tiny_paper(tmp_path)
    monkeypatch.setattr(paper_tables, "papers", lambda: {"tiny": paper})
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)


@pytest.fixture
def options(videos, tmp_path):
    return Options(data=videos, out=tmp_path / "out", hardware=Hardware(accelerator="cpu"))


@pytest.fixture
def own(tmp_path):
    """Weights of one's own."""
    model = create_model("vit_pico", num_classes=2)
    model.spec = replace(model.spec, label_names=("dark", "light"))
    save_checkpoint(model, tmp_path / "own.safetensors", clip=model.spec.clip)
    return tmp_path / "own.safetensors"


@pytest.fixture
def pretended(monkeypatch):
    """Evaluations that leave a result in the store without any computation: half of the videos are right.

    Names of the systems that were evaluated, in order.
    """
    asked = []

    def evaluate(one, *, progress=False):
        asked.append(one.request.name)
        settings, identity = settings_of(one)
        failed = [it.path.name for it in one.records if not it.path.is_file()]
        told = {"top1": Interval(0.5, 0.3, 0.7)}
        headline = one.rows == one.listed and len(failed) <= one.tolerated
        result = Result(
            identity=identity,
            settings=settings,
            metrics=told if headline else {},
            n_expected=one.rows,
            n_evaluated=one.rows - len(failed),
            failed=failed,
            details={"listed": one.listed, "metrics_of_the_scored": {name: list(it) for name, it in told.items()}},
            created=str(len(asked)),
        )
        Store(one.request.out).add(result)
        return SimpleNamespace(result=result)

    monkeypatch.setattr(reproduce, "evaluate", evaluate)
    return asked


PLAIN = Options()


def job_of(words, options=PLAIN):
    (job,) = plan(asked_for(words), options)
    return job


def found(words, options):
    asked = asked_for(words)
    return [carry_out(it) for it in look_up(plan(asked, options), options, single=asked.single)]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("tny:shade", "tiny"),
        ("tiny:shad", "shade"),
        ("tiny:shade:mambo", "mamba"),
        ("tiny", "the tables are tiny:shade, tiny:moments"),
        ("tiny:", "the tables are tiny:shade"),
        ("tiny:shade:mamba:top1", "is no PAPER:TABLE and no PAPER:TABLE:ROW"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_those_that_do(words, hint):
    with pytest.raises(ValueError, match=hint):
        asked_for(words)


def test_a_row_is_evaluated_as_it_and_its_card_state():
    job = job_of("tiny:shade:umt")
    request, clip = job.request, job.clip
    assert (request.name, request.pretrained, request.protocol) == ("umt_base.k710_ft_k400_f8_res224", True, "as_is")
    assert (request.suite, request.task, request.clips, request.crops) == ("tiny_files", "shade", 1, 3)
    assert (clip.clips, clip.crops, clip.num_frames, clip.img_size) == (1, 3, 8, 224)
    assert (job.rule, job.differs, job.metrics) == ("mean of softmax", "", ["top1"])


def test_views_that_no_reader_has_are_evaluated_as_the_authors_reader_does_and_named():
    job, _ = plan(asked_for("tiny:moments"), Options())
    assert (job.clip.sampling, job.clip.clips, job.clip.crops) == ("segments", 2, 3)
    assert job.differs == "the row prints 4x3 views, and sampling by segments has 2 clips: 2x3 are evaluated"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("tiny:boxes:umt", "AVA asks where persons are"),
        ("tiny:speed:mamba", "costs are measured by `zoo efficiency`"),
        ("tiny:shade:quoted", "it is quoted from elsewhere"),
        ("tiny:shade:sizes", "no evaluation gives its numbers"),
        ("tiny:shade:lost", "its number is not available"),
        (
            "tiny:shade:unreleased",
            "no weights of it were released; --train makes its weights with `zoo finetune vjepa_large_16_224.",
        ),
        ("tiny:shade:pretrained", "the released file has no classifier"),
        ("tiny:shade:missing", "the multimodal network"),
        ("tiny:moments:longer", "it was evaluated on clips of 16 frames"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name_and_passed_over_in_a_table(words, reason):
    asked = asked_for(words)
    with pytest.raises(RequestError, match=f"{words} cannot be measured: {reason}"):
        plan(asked, Options())
    listed = plan(asked_for(words.rpartition(":")[0]), Options())
    assert next(job.refusal for job in listed if job.name == words).startswith(reason)


def test_a_table_of_which_nothing_can_be_measured_is_refused_with_its_reasons():
    boxes, shades = asked_for("tiny:boxes"), asked_for("tiny:shade")
    with pytest.raises(RequestError, match="no row of tiny:boxes can be measured: AVA asks"):
        refuse_nothing(boxes, plan(boxes, Options()))
    refuse_nothing(shades, plan(shades, Options()))


@pytest.mark.parametrize(
    ("words", "given", "hint"),
    [
        ("tiny:shade", {"checkpoint": "x"}, "--checkpoint is for a single row: tiny:shade:ROW"),
        ("tiny:shade", {"network": "vit_pico"}, "--network is for a single row"),
        ("tiny:shade:mamba", {"checkpoint": "x", "shrink": True}, "either --checkpoint or --shrink"),
        ("tiny:shade:unreleased", {"network": "vit_pico"}, "give one of them too"),
        ("tiny:shade:mamba", {"network": "vit_pico", "shrink": True}, "this one has videomamba_tiny.k400"),
        ("tiny:tuned:of_images", {"shrink": True}, "say with --network ARCHITECTURE"),
        ("tiny:shade:unreleased", {"network": "vit_pic", "shrink": True}, "vit_pico"),
        ("tiny:shade:unreleased", {"checkpoint": "no.safetensors"}, "no.safetensors: there is no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(words, given, hint, tmp_path):
    if "checkpoint" in given:
        given = {**given, "checkpoint": tmp_path / given["checkpoint"]}
    with pytest.raises((RequestError, UnknownNameError), match=hint):
        plan(asked_for(words), replace(Options(), **given))


@pytest.mark.slow
def test_a_shrunken_row_is_scored_and_judged(options):
    (one,) = found("tiny:shade:mamba", replace(options, shrink=True))
    told = judged(one, "top1")
    assert (told.n_scored, told.n_expected, told.reported) == (20, 20, 50.0)
    assert told.verdict == (WITHIN if told.value.low <= 50.0 <= told.value.high else OUTSIDE)
    clip = one.result.settings["clip"]
    assert (clip["clips"], clip["crops"], clip["img_size"], clip["num_frames"]) == (2, 1, 32, 4)


def test_own_weights_are_judged_by_the_row(options, own, pretended):
    (one,) = found("tiny:shade:unreleased", replace(options, checkpoint=own))
    told = judged(one, "top1")
    assert (told.verdict, told.value.value, told.difference) == (OUTSIDE, 50.0, -40.0)
    assert one.result.identity.system == "vit_pico"
    assert (one.result.settings["clip"]["clips"], one.result.settings["clip"]["crops"]) == (2, 1)


def test_what_is_stored_is_not_measured_again_after_an_interruption_either(options, pretended):
    options = replace(options, shrink=True)
    asked = asked_for("tiny:shade")
    asked = asked._replace(rows=(asked.table.row("umt"), asked.table.row("pretrained")))

    def keys():
        steps = look_up(plan(asked, options), options, single=False)
        return [carry_out(it).result.identity.key for it in steps]

    first, cards = keys(), [it.card for it in asked.rows]
    assert (keys(), pretended) == (first, cards)
    next(options.out.glob("*umt*.json")).unlink()
    assert (keys(), pretended) == (first, [*cards, cards[0]])


def test_a_part_of_a_list_is_no_verdict_and_gives_way_to_the_whole(options, own, pretended):
    few = replace(options, checkpoint=own, limit=5)
    (part,) = found("tiny:shade:unreleased", few)
    assert (judged(part, "top1").verdict, judged(part, "top1").n_scored) == (INCOMPLETE, 5)
    (whole,) = found("tiny:shade:unreleased", replace(few, limit=None))
    assert (whole.result.n_evaluated, len(pretended)) == (20, 2)
    (again,) = found("tiny:shade:unreleased", few)
    assert (again.result.n_evaluated, len(pretended)) == (20, 2)


def test_more_failures_than_are_tolerated_are_tried_again(options, own, tmp_path, pretended):
    for row in range(1, 20):
        (tmp_path / f"{row}.mp4").touch()
    asked = replace(options, checkpoint=own, data=tmp_path)
    (one,) = found("tiny:shade:unreleased", asked)
    assert (judged(one, "top1").verdict, judged(one, "top1").n_scored) == (INCOMPLETE, 19)
    (tolerant,) = found("tiny:shade:unreleased", replace(asked, tolerate="1"))
    told = judged(tolerant, "top1")
    assert (told.verdict, told.why) == (OUTSIDE, "19 of 20 videos were scored; the others were tolerated")
    (tmp_path / "0.mp4").touch()
    (mended,) = found("tiny:shade:unreleased", asked)
    assert (judged(mended, "top1").verdict, judged(mended, "top1").n_scored) == (OUTSIDE, 20)


def test_another_protocol_than_the_row_prints_is_never_within(options, own, pretended):
    (one,) = found("tiny:shade:unreleased", replace(options, checkpoint=own))
    job = replace(one.job, row=replace(one.job.row, values={"top1": 50.0}))
    assert judged(one._replace(job=job), "top1").verdict == WITHIN
    told = judged(one._replace(job=replace(job, differs="it has other views")), "top1")
    assert (told.verdict, told.why) == (DIFFERS, "it has other views; list of ours")
    model = create_model("vit_pico", num_classes=2)
    save_checkpoint(model, own.with_name("other.safetensors"), clip=model.spec.clip)
    other = one._replace(job=job, request=replace(one.request, checkpoint=own.with_name("other.safetensors")))
    assert (judged(other, "top1").verdict, judged(other, "top1").why) == (DIFFERS, "weights of another file")
    both = other._replace(job=replace(job, differs="it has other views"), request=other.request)
    assert judged(both, "top1").why == "it has other views; weights of another file"


@pytest.mark.parametrize("error", [CheckpointError("x.pth", "it is torn"), FewVideosError("it is torn")])
def test_a_row_that_cannot_be_measured_after_all_leaves_the_others_alone(options, error, monkeypatch):
    def torn(*_, **__):
        raise error

    asked = asked_for("tiny:shade:umt")
    options = replace(options, shrink=True)
    (step,) = look_up(plan(asked, options), options, single=True)
    monkeypatch.setattr(reproduce, "evaluate", torn)
    one = carry_out(step)
    assert (one.result, judged(one, "top1")) == (None, None)
    assert "it is torn" in one.trouble


def test_classes_of_another_data_set_are_an_error_of_a_single_row_and_trouble_in_a_table(options):
    with pytest.raises(LabelError):
        look_up(plan(asked_for("tiny:shade:mamba"), options), options, single=True)
    steps = look_up(plan(asked_for("tiny:shade"), options), options, single=False)
    assert ["classes" in step.trouble for step in steps] == [True, True, *([False] * 6)]
    assert all(step.one is None for step in steps)


def test_the_paths_of_a_wrong_root_are_told_before_anything_else(options, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "evaluate", lambda *_, **__: pytest.fail("nothing is there to evaluate"))
    asked, options = asked_for("tiny:moments"), replace(options, data=tmp_path)
    with pytest.raises(ValueError, match="something-something-v2"):
        look_up(plan(asked, options), options, single=False)


def test_protocols_that_train_do_so(options, pretended):
    (one,) = found("tiny:probe:mamba", replace(options, shrink=True, budget="smoke"))
    told = judged(one, "top1")
    assert (one.result.identity.protocol, told.n_scored) == ("linear", 20)
    assert (told.verdict, told.why) == (DIFFERS, "trained otherwise than by --budget full")
    (full,) = found("tiny:probe:mamba", replace(options, shrink=True))
    assert judged(full, "top1").verdict == OUTSIDE


def test_a_training_begins_with_the_rows_weights_where_they_take_its_clips():
    tuned, of_images = plan(asked_for("tiny:tuned"), Options())
    assert (tuned.request.name, tuned.request.protocol) == ("videomamba_tiny.k400_f8_res224", "finetune")
    assert of_images.refusal == "no weights of it were released"


def test_a_share_of_the_training_videos_is_that_of_the_table():
    (job,) = plan(asked_for("tiny:few"), Options())
    assert (job.request.protocol, job.request.share) == ("low_shot", "5%")


def test_own_weights_for_other_clips_than_the_row_prints_are_no_measurement_of_it(own):
    job = job_of("tiny:tuned:of_images", Options(checkpoint=own))
    assert job.differs == "the row prints 8 frames, and its clips have 16"


def test_what_a_training_left_is_evaluated_as_it_is(own):
    assert job_of("tiny:tuned:of_images", Options(checkpoint=own)).request.protocol == "as_is"
    other = own.with_name("backbone.safetensors")
    model = create_model("vit_pico", num_classes=0)
    save_checkpoint(model, other, clip=model.spec.clip)
    assert job_of("tiny:tuned:of_images", Options(checkpoint=other)).request.protocol == "finetune"


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"{paper.name}:{it}" for paper in papers().values() for it in paper.tables])
def test_every_row_of_every_table_is_planned_or_refused_with_a_reason(name, monkeypatch):
    monkeypatch.undo()
    for job in plan(asked_for(name), Options()):
        assert job.refusal or (job.request is not None and job.metrics and job.suite == get_suite(job.table.suite))
