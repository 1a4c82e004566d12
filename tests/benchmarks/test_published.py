from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backbones.importance import AdaptiveTokenizer
from benchmarks import published
from benchmarks.published import (
    Classes,
    Job,
    Outside,
    adaptive,
    alignment_teacher,
    begun_from,
    build_objective,
    read_adaptive,
    save_adaptive,
    scaled,
    start_model,
    student_model,
    trained_tokenizer,
)
from benchmarks.runners import save_weights
from benchmarks.session import RequestError
from benchmarks.shrunken_training import shrunk
from benchmarks.suites import table
from benchmarks.tokenizer_training import FILE, PICO, Lesson, train_tokenizer
from benchmarks.training_plan import Order, resolve
from benchmarks.training_runs import run
from tests.benchmarks.tiny_suite import SUITE, prepare
from zoo.data.labels import order
from zoo.recipes.catalogue import TRAININGS
from zoo.recipes.training import RANDOM
from zoo.registry import create_model, get_architecture
from zoo.tokenizers import create_tokenizer, load_tokenizer, save_tokenizer
from zoo.training.fit import Hardware

ALONE = Outside(None, None, True)


def objective(name):
    training = shrunk(TRAININGS[name])
    return build_objective(Job(training, student_model(training, ALONE).backbone, 3, ALONE))


def test_an_alignment_has_the_published_targets():
    videomamba = objective("videomamba_middle_pretrain.k400_mask_pt_f8_res224")
    assert (videomamba.mask, videomamba.mask_ratio, videomamba.student_target) == (
        "attention",
        0.8,
        "videomamba_published",
    )
    teacher = videomamba.outside["teacher"]
    assert (teacher.class_token, teacher.post_norm, teacher.num_layers) == (True, False, 1)
    umt = objective("umt_base.k710_pt_f8_res224").outside["teacher"]
    assert (umt.class_token, umt.post_norm, umt.num_layers) == (False, True, 2)


def test_pixels_are_targets_in_the_manner_of_their_paper():
    ours, theirs = objective("videomae_base.k400_pt_e800"), objective("mae_st_large.k400_pt")
    assert (ours.mask, ours.target.normalize, ours.target.unit_range) == ("tube", "channel", True)
    assert (theirs.mask, theirs.target.normalize, theirs.target.frames_per_token) == ("random", "patch", 1)
    assert theirs.target.mean == (0.45, 0.45, 0.45)
    assert ours.decoder.cls_token is None
    assert theirs.decoder.cls_token is not None


def test_v_jepas_copy_follows_the_published_line():
    first, second = objective("vjepa_large_16_224.videomix2m"), objective("vjepa2_large_16_256.videomix22m_phase1")
    assert (first.momentum.start, first.momentum.steps) == (0.998, 5)
    assert (second.momentum(1), second.momentum(4)) == (0.99925, 0.99925)
    assert (first.mask_tokens, second.mask_tokens) == ([0, 1], [0, 0])


def test_distillation_smooths_and_mixes_as_its_recipe_does():
    made = objective("videomamba_middle.in1k_res224")
    assert made.label_smoothing == 0.1
    assert made.mix is not None
    assert made.outside["teacher"].embed_dim < made.student.embed_dim


def test_a_fresh_classifier_begins_as_small_as_the_authors():
    training = shrunk(TRAININGS["umt_base.k710_pt_ssv2_f8_res224"])
    classes = Classes("tiny", 3, ())
    torch.manual_seed(0)
    small = start_model(training, classes, ALONE)
    torch.manual_seed(0)
    whole = start_model(replace(training, head_scale=1.0), classes, ALONE)
    torch.testing.assert_close(small.head.linear.weight, 0.001 * whole.head.linear.weight)
    assert scaled(whole, replace(training, head_scale=1.0)) is whole


@pytest.fixture
def asked(monkeypatch):
    """What is asked of `create_model`, which makes a small random network in place of released ones."""
    calls = []

    def make(name, **options):
        calls.append((name, options))
        classes = 710 if options["num_classes"] is None else options["num_classes"]
        known = get_architecture(name)
        return create_model(known.name, num_classes=classes, **known.shrink)

    monkeypatch.setattr(published, "create_model", make)
    return calls


def test_released_weights_are_asked_for_with_the_options_of_the_recipe(asked):
    real = Outside(None, None, False)
    large = TRAININGS["videomae_large.k400_pt_e1600_k400_ft"]
    start_model(large, Classes("k400", 400, ()), real)
    ((name, options),) = asked
    assert name == "videomae_large.k400_pt_e1600"
    assert (options["pretrained"], options["num_classes"], options["drop_path_rate"]) == (True, 400, 0.2)
    assert (options["inflate"], options["resize_positions"], options["classifier"]) == (None, True, large.classifier)


def test_the_classifier_of_a_part_of_kinetics_710_begins_with_its_rows(asked):
    names = order("k400_opengvlab").names
    parts = Classes("k400", 400, tuple(sorted(names)))
    model = start_model(TRAININGS["umt_base.k710_ft_k400_f8_res224"], parts, Outside(None, None, False))
    assert asked[0][1]["num_classes"] is None
    assert model.num_classes == 400


def test_weights_of_pictures_are_inflated_for_clips(asked):
    start_model(TRAININGS["videomamba_small.k400_f16_res224"], Classes("k400", 400, ()), Outside(None, None, False))
    ((name, options),) = asked
    assert (name, options["inflate"], options["num_frames"]) == ("videomamba_small.in1k_res224", "center", 16)


def test_a_fine_tuning_begins_with_the_file_of_a_pretraining(tmp_path):
    pretrained = student_model(shrunk(TRAININGS["umt_base.k710_pt_f8_res224"]), ALONE)
    save_weights(pretrained.backbone, tmp_path / "student.safetensors")
    training = shrunk(TRAININGS["umt_base.k710_ft_f8_res224"])
    model = start_model(training, Classes("tiny", 3, ()), Outside(tmp_path / "student.safetensors", None, True))
    ours, theirs = model.backbone.state_dict(), pretrained.backbone.state_dict()
    assert torch.equal(ours["blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.qkv.weight"])
    assert model.num_classes == 3
    again = student_model(
        shrunk(TRAININGS["umt_base.k710_pt_f8_res224"]), Outside(tmp_path / "student.safetensors", None, True)
    )
    assert torch.equal(again.backbone.state_dict()["norm.weight"], theirs["norm.weight"])


def test_teachers_that_are_not_here_are_asked_for():
    chosen = TRAININGS["umt_base.k710_pt_f8_res224"].objective
    with pytest.raises(RequestError, match="name it with --teacher"):
        alignment_teacher(chosen, Outside(None, Path("nowhere"), False))
    codes = TRAININGS["lvmae_base.diving48_pt_f128"].objective
    with pytest.raises(RequestError, match=r"zoo pretrain lvmae_tokenizer_base\.k600"):
        trained_tokenizer(codes, Outside(None, None, False))
    with pytest.raises(RequestError, match=r"there is no tokenizer\.safetensors in it"):
        trained_tokenizer(codes, Outside(None, Path("nowhere"), False))


@pytest.mark.slow
def test_an_adaptive_tokenizer_comes_back_with_its_scorer(tmp_path):
    name, options = "lvmae_tokenizer_tiny", {"channels": 4}
    made = adaptive(create_tokenizer(name, **options), 4)
    assert save_adaptive(made, tmp_path, name=name, options=options).name == "tokenizer.safetensors"
    again = read_adaptive(tmp_path, name)
    assert isinstance(again, AdaptiveTokenizer)
    assert all(torch.equal(one, again.state_dict()[key]) for key, one in made.state_dict().items())
    (tmp_path / "scorer.safetensors").write_bytes((tmp_path / "tokenizer.safetensors").read_bytes())
    with pytest.raises(RequestError, match="holds no scorer"):
        read_adaptive(tmp_path, name)


STILLS, MOVING = "open_magvit2_image_128", "open_magvit2_video_128"
SMALL = {"channels": 8, "depth": 1}


def stills(folder, **options) -> Path:
    torch.manual_seed(3)
    file = folder / "stills.safetensors"
    save_tokenizer(create_tokenizer(STILLS, **options), file, name=STILLS, overrides=options)
    return file


def test_a_tokenizer_of_clips_begins_with_one_of_stills_inflated(tmp_path):
    made = begun_from(create_tokenizer(MOVING, **SMALL), RANDOM, Outside(stills(tmp_path, **SMALL), None, True))
    image = load_tokenizer(tmp_path / "stills.safetensors")
    kernel = made.state_dict()["decoder.out.weight"]
    assert torch.equal(kernel[:, :, -1:], image.state_dict()["decoder.out.weight"])
    assert not kernel[:, :, :-1].any()
    frame = torch.rand(1, 3, 1, 16, 16)
    torch.testing.assert_close(made.eval().latents(frame), image.latents(frame), rtol=1e-4, atol=1e-5)


def test_a_start_of_another_form_is_refused_with_the_tensor(tmp_path):
    file = stills(tmp_path, **{**SMALL, "channels": 16})
    with pytest.raises(RequestError, match=r"stills\.safetensors: .* is \[8, 3, 3, 3, 3\]"):
        begun_from(create_tokenizer(MOVING, **SMALL), RANDOM, Outside(file, None, True))


@pytest.mark.slow
def test_a_training_on_clips_goes_on_from_a_training_on_stills(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, "tiny", replace(SUITE, prepare=lambda root, _: prepare(tmp_path / "videos", _)))
    videos = prepare(tmp_path / "videos", False)
    short = replace(PICO, steps=3, global_batch=2, warmup_steps=0)
    still = replace(get_architecture(STILLS).clip, img_size=16)
    lesson = Lesson(name=STILLS, overrides=SMALL, recipe=short)
    train_tokenizer(videos.pretraining(), tmp_path / "stills", lesson, clip=still, cache=videos.cache())
    frozen = tuple(f"recipe.base_{part}=1e-12" for part in ("lr", "final_lr"))
    order = Order(
        kind="pretrain",
        name="open_magvit2_video_128.ucf101",
        out=tmp_path / "out",
        suite="tiny",
        shrink=True,
        steps=2,
        hardware=Hardware(accelerator="cpu"),
        start=tmp_path / "stills" / FILE,
        values=frozen,
    )
    told = run(resolve(order))
    first, then = load_tokenizer(tmp_path / "stills" / FILE).state_dict(), load_tokenizer(told.file).state_dict()
    # At such a rate nothing moves, so the last slices are still those of the stills.
    for name in ("backbone.patch_embed.proj.weight", "decoder.out.weight"):
        torch.testing.assert_close(then[name][:, :, -1:], first[name])
        assert not then[name][:, :, :-1].abs().gt(1e-6).any()
