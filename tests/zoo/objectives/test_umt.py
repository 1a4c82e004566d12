import pytest
import torch
from torch.nn import functional as F

from backbones.contract import Features, Grid
from backbones.frames import FrameTeacher, timm_vit_pico
from backbones.frozen import ClipTeacher
from backbones.layers import Flavor
from backbones.teacher import Lesson, Teacher
from backbones.timesformer import timesformer_pico
from backbones.umt import umt, umt_pico
from backbones.videomamba import VideoMamba, videomamba_pico
from backbones.vit import MAE_ST, vit_pico
from heads.alignment import AlignmentHead
from tests.support import assert_parity, load, part
from zoo import masks
from zoo.batch import Batch
from zoo.cards import ARCHITECTURES
from zoo.cards.umt import PRETRAIN
from zoo.cards.videomamba import PRETRAINED
from zoo.objectives.umt import DISTANCES, UMT, umt_for, unit_distance


class Given(Teacher):
    """A teacher that says what it is told to."""

    def __init__(self, features, grid, *, class_token=False, unit=True, saliency=None):
        super().__init__()
        self.features, self.grid, self.saliency = features, grid, saliency
        self.class_token, self.unit = class_token, unit
        self.num_layers, self.out_dim = len(features), features[0].shape[2]

    def forward(self, video):
        layers = [
            Features(*reversed(it.split([int(self.class_token), it.shape[1] - self.class_token], 1)), self.grid, None)
            for it in self.features
        ]
        return Lesson(layers, self.saliency)


def batch_of(video: torch.Tensor) -> Batch:
    return Batch(video, torch.zeros(len(video), dtype=torch.int64), torch.arange(len(video)))


def clips(frames: int = 4, count: int = 2, side: int = 24) -> torch.Tensor:
    return torch.randn(count, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def still_teacher(**options) -> FrameTeacher:
    torch.manual_seed(2)
    backbone = vit_pico(num_frames=1, tubelet_size=1, depth=2, embed_dim=32, flavor=MAE_ST)
    return FrameTeacher(backbone, **options)


def tiny(student=None, teacher=None, frames: int = 4, **options) -> UMT:
    torch.manual_seed(0)
    student = student or umt_pico(num_frames=frames, depth=3)
    return umt_for(student, teacher or still_teacher(num_layers=2), 24, frames, **options)


def in_our_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {name: name.replace("backbone.", "student.", 1).replace("decoder.", "head.", 1) for name in state}
    return {names[name]: tensor for name, tensor in state.items()}


def umts_student(side, tensors) -> tuple[UMT, torch.Tensor]:
    """UMT's PretrainVisionTransformer with the fixture's weights and teacher, and its masks."""
    options = side["constructor"]
    flavor = Flavor(
        positions="joint" if options.get("use_learnable_pos_emb") else "sincos",
        layer_scale=options.get("init_values") or None,
    )
    student = umt(
        img_size=options["img_size"],
        num_frames=options["num_frames"],
        patch_size=options["patch_size"],
        embed_dim=options["encoder_embed_dim"],
        depth=options["encoder_depth"],
        num_heads=options["encoder_num_heads"],
        flavor=flavor,
    )
    unit = options["clip_norm_type"] == "l2"
    teacher = Given(list(tensors["in.teacher"]), student.table_grid, unit=unit)
    interval = options["clip_student_return_interval"]
    objective = umt_for(
        student,
        teacher,
        options["img_size"],
        options["num_frames"],
        loss="l2" if unit else "mse",
        interval=interval,
    )
    converted = PRETRAIN.to_zoo(part(tensors, "sd."))
    assert not converted.unexpected
    objective.load_state_dict(in_our_names(converted.state))
    return objective.eval(), masks.from_dropped(tensors["in.mask"])


@pytest.mark.parametrize("name", ["pretrain_student_f4_r32", "pretrain_student_layerscale_interval2"])
@torch.no_grad()
def test_umt_gives_the_authors_states_predictions_and_losses(name, monkeypatch):
    side, tensors = load(f"umt/{name}")
    objective, keep = umts_student(side, tensors)
    assert objective.layers == sorted(side["return_index"])
    video = tensors["in.video"]
    states = objective.states(video, keep)
    predictions, targets = objective.predict(video, keep, objective.teach(video))
    actual = {
        "encoder_last": objective.student.forward_features(video, keep).tokens,
        "encoder_layers": torch.stack([it.tokens for it in states]),
        "pos_embed": objective.student.pos_embed,
        "clip_pos_embed": objective.head.pos_embed,
        "aligned": torch.stack(predictions),
        "target_visible": torch.stack(targets),
    }
    for kind, distance in DISTANCES.items():
        actual[f"loss_{kind}"] = distance(torch.stack(predictions), torch.stack(targets))
    monkeypatch.setattr(objective, "draw", lambda video, saliency: keep)
    actual[f"loss_{objective.loss}"] = objective(batch_of(video)).total
    bounds = {key: side["tolerance"][key] for key in ("rtol", "atol")}
    for key, value in actual.items():
        assert_parity(f"umt/{name} {key}", value, tensors[f"out.{key}"], **bounds)


def videomambas_student(side, tensors, *, dtype=torch.float32) -> tuple[UMT, torch.Tensor]:
    """VideoMamba's pretraining model with the fixture's weights, and its masks of patch tokens."""
    options = side["constructor"]
    student = VideoMamba(
        img_size=options["img_size"],
        num_frames=options["num_frames"],
        patch_size=options["patch_size"],
        tubelet_size=options["kernel_size"],
        embed_dim=options["embed_dim"],
        depth=options["depth"],
    )
    dropped = tensors["input/mask"]
    keep = masks.from_dropped(dropped.split([1, dropped.shape[1] - 1], 1)[1])
    # The fixture holds targets of the visible tokens only; they are put back where they belong.
    visible = tensors["input/target"].to(dtype)
    whole = visible.new_zeros(*visible.shape[:2], dropped.shape[1], visible.shape[3])
    whole[:, ~dropped] = visible.flatten(1, 2)
    unit = options["clip_norm_type"] == "l2"
    teacher = Given(list(whole), student.native_grid, class_token=True, unit=unit)
    objective = umt_for(
        student,
        teacher,
        options["img_size"],
        options["num_frames"],
        loss="l2" if unit else "mse",
        interval=options["clip_student_return_interval"],
        student_target="videomamba_published" if options.get("fused_add_norm", True) else "videomamba_unfused",
    )
    assert objective.head.layers[0].norm.eps == 1e-5
    converted = PRETRAINED.to_zoo(part(tensors, "state/"))
    assert not converted.unexpected
    assert not converted.dropped
    objective.load_state_dict(in_our_names(converted.state))
    return objective.to(dtype).eval(), keep


def stacked(layers: list[Features]) -> torch.Tensor:
    return torch.stack([torch.cat([it.prefix, it.tokens], 1) for it in layers])


@pytest.mark.parametrize("name", ["pretrain_last", "pretrain_two_layers"])
@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, "output"), (torch.float64, "output64")])
@torch.no_grad()
def test_videomamba_gives_the_authors_states_predictions_and_loss(name, dtype, kind):
    side, tensors = load(f"videomamba/{name}")
    objective, keep = videomambas_student(side, tensors, dtype=dtype)
    video = tensors["input/x"].to(dtype)
    predictions, targets = objective.predict(video, keep, objective.teach(video))
    actual = {
        "student_layers": stacked(objective.states(video, keep)),
        "aligned": torch.stack(predictions),
        "loss": unit_distance(torch.stack(predictions), torch.stack(targets)),
    }
    bounds = side["tolerance"][str(dtype).removeprefix("torch.")]
    for key, value in actual.items():
        assert_parity(f"videomamba/{name} {kind}/{key}", value, tensors[f"{kind}/{key}"], **bounds)
    table = tensors["const/clip_pos_embed"].to(dtype)
    assert_parity(f"videomamba/{name} clip_pos_embed", objective.head.pos_embed, table, rtol=0, atol=1e-7)


def test_videomamba_gives_the_authors_gradients(monkeypatch):
    side, tensors = load("videomamba/pretrain_last")
    objective, keep = videomambas_student(side, tensors, dtype=torch.float64)
    video = tensors["input/x"].double().requires_grad_()
    monkeypatch.setattr(objective, "draw", lambda video, saliency: keep)
    objective(batch_of(video)).total.backward()
    gradients = {name: it.grad for name, it in objective.named_parameters()}
    missing = [name for name, grad in gradients.items() if grad is None]
    expected = part(tensors, "grad64/")
    from_input = expected.pop("input.x")
    ours = in_our_names(PRETRAINED.to_zoo(expected).state)
    assert len(missing) == len(side["params_without_gradient"]) == 18
    assert ours.keys() == gradients.keys() - set(missing)
    bounds = side["tolerance"]["float64"]
    assert_parity("videomamba/pretrain_last grad64/input.x", video.grad, from_input, **bounds)
    for name, grad in ours.items():
        assert_parity(f"videomamba/pretrain_last grad64/{name}", gradients[name], grad, **bounds)


LAST_BLOCK = {
    f"student.blocks.2.{name}"
    for name in (
        "norm.weight",
        "mixer.in_proj.weight",
        "mixer.out_proj.weight",
        *(
            f"mixer.{direction}.{name}"
            for direction in ("causal", "anticausal")
            for name in ("A_log", "D", "conv.weight", "conv.bias", "x_proj.weight", "dt_proj.weight", "dt_proj.bias")
        ),
    )
}


@pytest.mark.parametrize(
    ("student_target", "num_layers", "untrained"),
    [
        ("videomamba_published", 1, LAST_BLOCK | {"student.norm.weight"}),
        ("videomamba_published", 2, LAST_BLOCK),
        ("videomamba_unfused", 1, {"student.norm.weight"}),
        ("videomamba_unfused", 2, set()),
        ("normed", 1, set()),
    ],
)
def test_parameters_that_a_target_leaves_untrained(student_target, num_layers, untrained):
    objective = tiny(
        videomamba_pico(num_frames=4, tubelet_size=1, depth=3, embed_dim=16),
        still_teacher(num_layers=num_layers, class_token=True),
        student_target=student_target,
    )
    objective(batch_of(clips())).total.backward()
    assert {name for name, it in objective.named_parameters() if it.grad is None} == untrained
    if student_target == "videomamba_published":
        assert len(untrained) == {1: 18, 2: 17}[num_layers]


def test_the_published_target_enters_the_last_block_and_never_leaves_it(monkeypatch):
    student = videomamba_pico(num_frames=4, tubelet_size=1, depth=3, embed_dim=16)
    video = clips()
    keep = masks.tube(student.grid(video), 0.5, 2, torch.Generator())
    wanted = student.forward_intermediates(video, [1], keep, norm=False)[0].tokens
    earlier = student.forward_intermediates(video, [1], keep)[0].tokens
    teacher = still_teacher(num_layers=2)
    objective = tiny(student, teacher, student_target="videomamba_published")
    monkeypatch.setattr(student.blocks[-1], "forward", lambda x: pytest.fail("the last block was computed"))
    first, last = objective.states(video, keep)
    assert torch.equal(last.tokens, wanted)
    assert torch.equal(first.tokens, earlier)


@pytest.mark.parametrize("mask", ["attention", "tube", "random", "frame_row", "clip_row"])
def test_every_mask_trains(mask):
    objective = tiny(mask=mask, mask_ratio=0.5)
    loss = objective(batch_of(clips()))
    loss.total.backward()
    assert 0 < loss.total.item() < 4
    assert all(it.grad is not None for it in objective.student.parameters())


MASKABLE = [it for it in ARCHITECTURES if it.name.endswith("_pico")]


@pytest.mark.parametrize("architecture", MASKABLE, ids=lambda it: it.name)
def test_every_backbone_that_drops_tokens_trains(architecture):
    student = architecture.build(num_frames=4)
    if not student.drops_tokens:
        pytest.skip("cannot drop tokens")
    mask = "tube" if architecture.name == "timesformer_pico" else "attention"
    objective = tiny(student, mask=mask, mask_ratio=0.5)
    loss = objective(batch_of(clips()))
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert student.patch_embed.proj.weight.grad.abs().sum() > 0


def test_divided_attention_says_which_mask_it_needs():
    objective = tiny(timesformer_pico(num_frames=4), mask_ratio=0.5)
    with pytest.raises(ValueError, match="use a tube mask"):
        objective(batch_of(clips()))


def test_only_visible_tokens_enter_the_student():
    objective = tiny(mask_ratio=0.7)
    seen = []
    for block in objective.student.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    rows, linear = [], F.linear

    def counting(x, weight, bias=None):
        if weight.shape[1] == 3 * 8 * 8:
            rows.append(x.shape[1])
        return linear(x, weight, bias)

    batch = batch_of(clips())
    lesson = objective.teach(batch.video)
    keep = objective.draw(batch.video, lesson.saliency)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backbones.layers.F.linear", counting)
        objective.predict(batch.video, keep, lesson)
    visible = 4 * (9 - int(9 * 0.7))
    assert keep.shape[1] == visible
    assert seen == [visible] * 3
    assert rows == [visible]


def test_dropped_tokens_change_what_is_taught_but_not_what_is_predicted():
    objective, video = tiny(mask_ratio=0.7), clips()
    keep = masks.tube(Grid(4, 3, 3), 0.7, 2, torch.Generator())
    other = video.clone()
    pixels = other.unflatten(3, (3, 8)).unflatten(5, (3, 8))
    for position in set(range(9)) - set(keep[0, :3].tolist()):
        pixels[0, :, :, position // 3, :, position % 3] += 1.0
    lessons = [objective.teach(it) for it in (video, other)]
    (first, target), (second, moved) = (
        objective.predict(it, keep, lesson) for it, lesson in zip((video, other), lessons, strict=True)
    )
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(target[0][0], moved[0][0])
    assert torch.equal(target[0][1], moved[0][1])


def test_targets_are_the_teachers_features_at_the_visible_tokens():
    objective, video = tiny(), clips()
    lesson = objective.teach(video)
    keep = objective.draw(video, lesson.saliency)
    _, targets = objective.predict(video, keep, lesson)
    for layer, target in zip(lesson.features, targets, strict=True):
        for row in range(2):
            assert torch.equal(target[row], layer.tokens[row, keep[row]])


def test_the_class_token_is_aligned_where_it_is_taught():
    student = vit_pico(num_frames=4, tubelet_size=1, depth=2, flavor=MAE_ST)
    objective = tiny(student, still_teacher(class_token=True), mask_ratio=0.5)
    predictions, targets = objective.predict(
        clips(), masks.tube(Grid(4, 3, 3), 0.5, 2, torch.Generator()), objective.teach(clips())
    )
    assert predictions[0].shape == targets[0].shape == (2, 1 + 4 * 5, 32)
    assert objective.head.pos_embed.shape == (1, 37, 64)
    without = tiny(umt_pico(num_frames=4, depth=2), still_teacher(class_token=True))
    with pytest.raises(ValueError, match="aligns a class token, and this student has none"):
        without(batch_of(clips()))


def test_longer_tubelets_learn_the_average_of_their_frames():
    teacher = still_teacher(num_layers=1)
    objective, video = tiny(vit_pico(num_frames=4, depth=2), teacher), clips()
    lesson, frames = objective.teach(video), teacher(video)
    assert lesson.features[0].grid == Grid(2, 3, 3)
    tokens = frames.features[0].tokens.unflatten(1, (4, 9))
    mean = F.normalize((tokens[:, 0] + tokens[:, 1]) / 2, dim=-1)
    torch.testing.assert_close(lesson.features[0].tokens[:, :9], mean)
    torch.testing.assert_close(lesson.saliency[:, 1], (frames.saliency[:, 2] + frames.saliency[:, 3]) / 2)
    objective(batch_of(video)).total.backward()


def test_a_teacher_with_other_patches_looks_at_another_size():
    clip = ClipTeacher(image_size=16, patch_size=4, width=16, depth=2, num_heads=2, out_dim=8, num_layers=2)
    objective = tiny(teacher=clip)
    assert clip.input_size == (12, 12)
    objective(batch_of(clips())).total.backward()


def test_grids_that_do_not_fit_are_both_named():
    student, teacher = umt_pico(num_frames=4, depth=2), still_teacher()
    teacher.match(Grid(1, 2, 2))
    objective = UMT(student, AlignmentHead(64, 32, Grid(4, 3, 3)), teacher)
    with pytest.raises(ValueError, match="grid of 4 x 2 x 2 tokens does not lie on the student's of 4 x 3 x 3"):
        objective(batch_of(clips()))


@pytest.mark.parametrize("loss", ["l2", "mse", "smooth_l1"])
def test_blank_loss_is_that_of_the_best_constant(loss):
    objective, video = tiny(loss=loss), clips()
    objective.generator.manual_seed(3)
    logged = objective(batch_of(video)).logs["blank_loss"]
    objective.generator.manual_seed(3)
    lesson = objective.teach(video)
    _, targets = objective.predict(video, objective.draw(video, lesson.saliency), lesson)
    guesses = [F.normalize(it.mean((0, 1)), dim=0).expand_as(it) for it in targets]
    torch.testing.assert_close(logged, objective.distance(guesses, targets))
    for seed in range(20):
        noise = 0.06 * torch.randn(32, generator=torch.Generator().manual_seed(seed))
        others = [F.normalize(guess[0, 0] + noise, dim=0).expand_as(guess) for guess in guesses]
        assert objective.distance(others, targets) > logged


def test_the_generator_decides_the_masks():
    objective, batch = tiny(mask_ratio=0.5), batch_of(clips())
    losses = []
    for seed in (5, 5, 6):
        objective.generator.manual_seed(seed)
        losses.append(objective(batch).total.item())
    assert losses[0] == losses[1] != losses[2]


def test_the_teacher_is_neither_trained_nor_saved():
    objective = tiny()
    assert not [name for name in objective.state_dict() if "teacher" in name]
    assert {name.partition(".")[0] for name, _ in objective.named_parameters()} == {"student", "head"}
    before = {name: it.clone() for name, it in objective.outside["teacher"].state_dict().items()}
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    objective.train()(batch_of(clips())).total.backward()
    optimizer.step()
    assert not objective.outside["teacher"].training
    assert all(torch.equal(it, before[name]) for name, it in objective.outside["teacher"].state_dict().items())


def test_the_loss_falls_below_the_blank_guess():
    objective, batch = tiny(mask_ratio=0.5), batch_of(clips(count=2))
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    for _ in range(25):
        loss = objective(batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert loss.total < 0.9 * loss.logs["blank_loss"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "semantic"}, "unknown mask 'semantic'"),
        ({"loss": "l1"}, "unknown loss 'l1'"),
        ({"student_target": "raw"}, "unknown student_target 'raw'"),
        ({"student": timm_vit_pico()}, "FrameBackbone cannot drop tokens"),
        ({"student": umt_pico(depth=1)}, "1 blocks does not have 2 layers"),
        (
            {"student": umt_pico(depth=1), "teacher": still_teacher(), "student_target": "videomamba_published"},
            "two blocks",
        ),
        ({"teacher": Given([torch.ones(2, 36, 8)], Grid(4, 3, 3), unit=False)}, "'l2' is 2 - 2 cos of unit vectors"),
    ],
)
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_a_head_for_another_teacher_is_refused():
    with pytest.raises(ValueError, match="predicts 1 layers of width 16, but the teacher teaches 2 of width 32"):
        UMT(umt_pico(), AlignmentHead(64, 16, Grid(8, 3, 3)), still_teacher(num_layers=2))


def test_a_teacher_without_saliency_needs_another_mask():
    teacher = FrameTeacher(vit_pico(num_frames=1, tubelet_size=1, embed_dim=32))
    with pytest.raises(ValueError, match="this one has none, so take 'tube'"):
        tiny(teacher=teacher)(batch_of(clips()))
    tiny(teacher=teacher, mask="tube")(batch_of(clips()))


def test_half_precision_gives_nearly_the_same_loss():
    objective, batch = tiny(mask="tube"), batch_of(clips())
    losses = []
    for low in (False, True):
        objective.generator.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            losses.append(objective(batch).total)
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(*losses, rtol=0.02, atol=0)
