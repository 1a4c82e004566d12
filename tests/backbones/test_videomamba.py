import math

import pytest
import torch
from torch.nn import functional as F

from backbones import videomamba
from backbones.mamba_mixer import SsmOptions
from backbones.meta import meta_device
from backbones.positions import resize_spatial_table, resize_temporal_table, sincos_1d
from backbones.videomamba import VideoMamba, videomamba_pico
from tests.support import assert_parity, load, manifest, part
from zoo.cards.videomamba import IMAGE, PRETRAINED, VIDEO
from zoo.reshape import inflate_kernel

SHAPE = {"img_size": 16, "num_frames": 4, "patch_size": 4, "tubelet_size": 2, "embed_dim": 16, "depth": 3}
CLASSIFIERS = [
    "image_cls",
    "image_layernorm_unfused",
    "image_overlap_stride",
    "image_distill_student",
    "video_k1",
    "video_k2",
]
# Arguments of the authors' constructors that do not change what an evaluated trunk computes.
WITHOUT_EFFECT = {
    "num_classes",
    "fused_add_norm",
    "residual_in_fp32",
    "initializer_cfg",
    "drop_rate",
    "fc_drop_rate",
    "use_checkpoint",
    "checkpoint_num",
    "teacher_embed_dim",
    "model_type",
    "pool_type",
    "add_pool_norm",
}


def from_official(constructor):
    """Our options for the arguments of the authors' `VisionMamba`, image or video."""
    options = {key: value for key, value in constructor.items() if key not in WITHOUT_EFFECT}
    options = {key: value for key, value in options.items() if not key.startswith("clip_")}
    names = {"kernel_size": "tubelet_size", "norm_epsilon": "norm_eps", "bimamba": "bidirectional"}
    ours = {names.get(key, key): value for key, value in options.items()}
    if "num_frames" not in ours and "kernel_size" not in constructor:
        ours |= {"num_frames": 1, "tubelet_size": 1, "stride": ours.get("stride", 16)}  # 16 whatever the patch size
    if not ours.pop("rms_norm", True):
        ours["norm"] = "layer"
    if isinstance(ours.get("img_size"), list):
        ours["img_size"] = tuple(ours["img_size"])
    ssm = ours.pop("ssm_cfg", None) or {}
    ssm_names = {"d_state": "state_dim", "d_conv": "conv_width"}
    return ours | {"ssm": SsmOptions(**{ssm_names.get(key, key): value for key, value in ssm.items()})}


def converter_of(keys):
    (found,) = [converter for converter in (VIDEO, IMAGE, PRETRAINED) if converter.matches(list(keys))]
    return found


def to_ours(state, converter=None):
    """Backbone tensors and head tensors under our names."""
    converted = (converter or converter_of(state)).to_zoo(state)
    assert not converted.unexpected
    return part(converted.state, "backbone."), part(converted.state, "head.linear.")


def built(constructor, state, dtype=torch.float32, **options):
    """Our model with the authors' weights, and the weights of their classifier."""
    model = VideoMamba(**from_official(constructor) | options).eval()
    backbone, head = to_ours(state)
    model.load_state_dict(backbone)
    return model.to(dtype), {key: tensor.to(dtype).requires_grad_() for key, tensor in head.items()}


def as_clip(x):
    """Images are clips of one frame."""
    return x if x.ndim == 5 else x[:, :, None]


def outputs_of(model, head, state, x):
    """What the fixtures hold, from our features."""
    features = model.forward_features(as_clip(x))
    pooled = features.pool("cls")
    outputs = {"features": pooled, "logits": F.linear(pooled, head["weight"], head["bias"])}
    if "distill_head.0.weight" in state:
        norm, weight, bias = (state[f"distill_head.{key}"].to(x.dtype) for key in ("0.weight", "1.weight", "1.bias"))
        tokens = torch.cat([features.prefix, features.tokens], 1)
        outputs["distill_feats"] = F.normalize(
            F.linear(F.rms_norm(tokens, norm.shape, norm, 1e-5), weight, bias), dim=-1
        )
    return outputs


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, "output"), (torch.float64, "output64")])
def test_model_gives_the_authors_outputs(name, dtype, kind):
    side, tensors = load(f"videomamba/{name}")
    state = part(tensors, "state/")
    model, head = built(side["constructor"], state, dtype)
    found = outputs_of(model, head, state, tensors["input/x"].to(dtype))
    for key, expected in part(tensors, f"{kind}/").items():
        tolerance = side["tolerance"][str(dtype).removeprefix("torch.")]
        assert_parity(f"videomamba/{name} {kind}/{key}", found[key], expected, **tolerance)


@pytest.mark.parametrize("name", ["image_cls", "image_distill_student", "video_k1"])
def test_model_gives_the_authors_gradients(name):
    side, tensors = load(f"videomamba/{name}")
    state = part(tensors, "state/")
    model, head = built(side["constructor"], state, torch.float64)
    x = tensors["input/x"].double().requires_grad_()
    outputs = outputs_of(model, head, state, x)
    probes = part(tensors, "input/probe_")
    torch.stack([(outputs[key] * probe).sum() for key, probe in probes.items()]).sum().backward()

    expected = part(tensors, "grad64/")
    input_gradient = expected.pop("input.x")
    trunk, classifier = to_ours(expected, converter_of(state))
    found = {key: parameter.grad for key, parameter in model.named_parameters()}
    unused, _ = to_ours({key: torch.zeros(1) for key in side["params_without_gradient"]}, converter_of(state))
    assert {key for key, gradient in found.items() if not gradient.any()} == set(unused)
    assert set(found) - set(unused) == set(trunk)
    pairs = [(x.grad, input_gradient)] + [(head[key].grad, value) for key, value in classifier.items()]
    pairs += [(found[key], value) for key, value in trunk.items()]
    flat = [torch.cat([gradient.flatten() for gradient in side]) for side in zip(*pairs, strict=True)]
    assert_parity(f"videomamba/{name} grad64", *flat, **side["tolerance"]["float64"])


def test_checkpoint_of_another_grid_and_length_gives_the_authors_outputs():
    side, tensors = load("videomamba/interp_pos")
    model, _ = built(side["constructor_checkpoint"], part(tensors, "state/"))
    tolerance = side["tolerance"]["float32"]
    space = resize_spatial_table(model.pos_embed, (4, 4), (6, 6))
    space = torch.cat([model.cls_pos_embed, space], 1)
    assert_parity("videomamba/interp_pos space", space, tensors["output/pos_embed"], **tolerance)
    time = resize_temporal_table(model.temporal_pos_embed, 8)
    assert_parity("videomamba/interp_pos time", time, tensors["output/temporal_pos_embedding"], **tolerance)
    tokens = model.forward_features(tensors["input/x"]).tokens
    assert_parity("videomamba/interp_pos tokens", tokens, tensors["output/tokens"], **tolerance)


@pytest.mark.parametrize("mode", ["center", "mean"])
def test_inflated_image_weights_give_the_authors_features(mode):
    side, tensors = load(f"videomamba/inflate_k2_{mode}")
    assert side["center"] == (mode == "center")
    model = VideoMamba(**from_official(side["constructor"])).eval()
    image, _ = to_ours(part(tensors, "state/"))
    kernel = inflate_kernel(image["patch_embed.proj.weight"], side["constructor"]["kernel_size"], mode)
    assert torch.equal(kernel, tensors["output/patch_embed.proj.weight"])
    loaded = model.load_state_dict(image | {"patch_embed.proj.weight": kernel}, strict=False)
    assert loaded.missing_keys == ["temporal_pos_embed"]
    assert not loaded.unexpected_keys
    tolerance = side["tolerance"]["float32"]
    assert_parity(f"videomamba/inflate_k2_{mode}", model(tensors["input/x"]), tensors["output/features"], **tolerance)


def test_target_of_masked_pretraining_is_the_stream_before_the_last_block():
    side, tensors = load("videomamba/pretrain_last")
    masked = tensors["input/mask"]
    assert not masked[:, 0].any()
    visible = [row[1:].logical_not().nonzero().flatten() for row in masked]
    model, _ = built(side["constructor"], part(tensors, "state/"), torch.float64)
    (features,) = model.forward_intermediates(tensors["input/x"].double(), [-2], torch.stack(visible), norm=False)
    found = torch.cat([features.prefix, features.tokens], 1)[None]
    expected = tensors["output64/student_layers"]
    assert_parity("videomamba/pretrain_last student", found, expected, **side["tolerance"]["float64"])


MANIFESTS = {
    "videomamba_tiny_image224": ("videomamba_tiny", 1),
    "videomamba_small_image224": ("videomamba_small", 1),
    "videomamba_middle_image224": ("videomamba_middle", 1),
    "videomamba_middle_distill224": ("videomamba_middle", 1),
    "videomamba_base_image224": ("videomamba_base", 1),
    "videomamba_base_distill224": ("videomamba_base", 1),
    "videomamba_tiny_video_f8_224": ("videomamba_tiny", 8),
    "videomamba_small_video_f8_224": ("videomamba_small", 8),
    "videomamba_middle_video_f8_224": ("videomamba_middle", 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFESTS)
def test_released_files_fit_key_by_key_and_convert_back(name):
    facts = manifest(f"videomamba/{name}")
    build, num_frames = MANIFESTS[name]
    state = {key: torch.empty(shape, device="meta") for key, shape in facts["keys"].items()}
    converted = converter_of(state).to_zoo(state)
    assert not converted.unexpected
    assert set(converted.dropped) == {key for key in state if key.startswith("distill_head.")}
    with meta_device():
        model = getattr(videomamba, build)(num_frames=num_frames)
        head = torch.nn.Linear(model.embed_dim, facts["constructor"]["num_classes"])
    model.load_state_dict(part(converted.state, "backbone."), assign=True)
    head.load_state_dict(part(converted.state, "head.linear."), assign=True)
    assert len(converted.state) == len(model.state_dict()) + 2

    back = converter_of(state).to_official(converted.state)
    assert not back.unexpected
    shapes = {key: tuple(tensor.shape) for key, tensor in back.state.items()}
    assert shapes == {key: tuple(tensor.shape) for key, tensor in state.items() if key not in converted.dropped}


# Spec, section 2: without the 1000 and 400 rows of the classifiers.
COUNTS = {
    ("videomamba_tiny", 1): 7_148_008 - 1000 * 193,
    ("videomamba_small", 1): 25_796_584 - 1000 * 385,
    ("videomamba_middle", 1): 74_217_448 - 1000 * 577,
    ("videomamba_base", 1): 97_598_440 - 1000 * 769,
    ("videomamba_tiny", 8): 7_033_744 - 400 * 193,
    ("videomamba_small", 8): 25_568_656 - 400 * 385,
    ("videomamba_middle", 8): 73_875_856 - 400 * 577,
}


@pytest.mark.parametrize(("name", "num_frames"), COUNTS)
def test_published_sizes_have_the_published_number_of_parameters(name, num_frames):
    with meta_device():
        model = getattr(videomamba, name)(num_frames=num_frames)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name, num_frames]


def test_converting_there_and_back_keeps_every_number():
    _, tensors = load("videomamba/image_layernorm_unfused")
    state = part(tensors, "state/")
    back = IMAGE.to_official(IMAGE.to_zoo(state).state).state
    assert set(back) == set(state)
    assert all(torch.equal(back[key], state[key]) for key in state)


def clip_of(model, batch=2):
    return torch.randn(batch, 3, 4, 16, 16, dtype=next(model.parameters()).dtype)


def test_keep_all_equals_no_keep_bit_for_bit():
    model = VideoMamba(**SHAPE).eval()
    torch.nn.init.normal_(model.temporal_pos_embed)
    video = clip_of(model)
    everything = model.forward_features(video, torch.arange(32).repeat(2, 1))
    plain = model.forward_features(video)
    assert torch.equal(everything.tokens, plain.tokens)
    assert torch.equal(everything.prefix, plain.prefix)


def test_dropped_pixels_change_nothing_and_visible_ones_do():
    model = VideoMamba(**SHAPE).eval()
    video, keep = clip_of(model, 1), torch.tensor([[0, 5, 16, 31]])
    other = video.clone()
    other[:, :, :2, :4, 4:8] += 1  # token 1
    before, after = model.forward_features(video, keep), model.forward_features(other, keep)
    assert torch.equal(before.tokens, after.tokens)
    other[:, :, :2, :4, :4] += 1  # token 0
    assert not torch.equal(before.tokens, model.forward_features(other, keep).tokens)


def test_intermediates_without_norm_become_those_with_norm():
    model = VideoMamba(**SHAPE, norm="layer").eval()
    torch.nn.init.normal_(model.norm.weight)
    video = clip_of(model)
    plain = model.forward_intermediates(video, [2, 0], norm=False)
    normed = model.forward_intermediates(video, [2, 0])
    for raw, done in zip(plain, normed, strict=True):
        assert torch.equal(model.norm(raw.tokens), done.tokens)
        assert torch.equal(model.norm(raw.prefix), done.prefix)
    assert torch.equal(normed[0].tokens, model.forward_features(video).tokens)


def test_drop_path_grows_linearly_and_drops_the_branch_of_its_own_block():
    model = VideoMamba(**SHAPE, drop_path_rate=0.4)
    assert [block.drop_path.drop_prob for block in model.blocks] == pytest.approx([0, 0.2, 0.4])
    model.blocks[2].drop_path.drop_prob = 1.0
    video = clip_of(model)
    before, after = model.train().forward_intermediates(video, [1, 2], norm=False)
    assert torch.equal(before.tokens, after.tokens)
    before, after = model.eval().forward_intermediates(video, [1, 2], norm=False)
    assert not torch.equal(before.tokens, after.tokens)


def test_autocast_keeps_the_residual_stream_in_float32():
    model = VideoMamba(**SHAPE)
    video = 30 * clip_of(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.forward_intermediates(video, [0, 1, 2], norm=False)
        loss = model(video).square().mean()
    loss.backward()
    assert {features.tokens.dtype for features in found} == {torch.float32}
    exact = model.forward_intermediates(video, [2], norm=False)[0].tokens
    assert (found[2].tokens - exact).norm() < 0.02 * exact.norm()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_bfloat16_weights_keep_the_residual_stream_in_float32():
    model = VideoMamba(**SHAPE).bfloat16()
    features = model.forward_intermediates(clip_of(model), [2], norm=False)[0]
    assert features.tokens.dtype == torch.float32
    assert model(clip_of(model)).dtype == torch.bfloat16


def test_checkpointing_leaves_gradients_equal():
    model = VideoMamba(**SHAPE, drop_path_rate=0.5).train()
    video, gradients = clip_of(model), []
    for blocks in (0, 2):
        model.set_grad_checkpointing(blocks)
        model.zero_grad()
        torch.manual_seed(1)
        features = model.forward_features(video)
        (features.tokens.square().mean() + features.prefix.square().mean()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(plain, recomputed) for plain, recomputed in zip(*gradients, strict=True))


def test_initial_weights_are_the_authors():
    model = VideoMamba(embed_dim=64, depth=4, img_size=64).requires_grad_(False)
    mixer = model.blocks[1].mixer
    assert mixer.out_proj.weight.abs().max() == pytest.approx(1 / math.sqrt(128 * 4), rel=0.02)
    for direction in (mixer.causal, mixer.anticausal):
        torch.testing.assert_close(direction.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))
        assert (direction.D == 1).all()
        assert not direction.dt_proj.bias.any()
        assert direction.conv.weight.abs().max() == pytest.approx(0.5, rel=0.05)
        for layer in (direction.x_proj, direction.dt_proj):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert mixer.in_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)
    assert not model.cls_token.any()
    assert not model.temporal_pos_embed.any()


def test_the_start_from_scratch_keeps_mambas_own():
    torch.manual_seed(0)
    model = VideoMamba(embed_dim=64, depth=4, img_size=64, init="scratch").requires_grad_(False)
    mixer = model.blocks[1].mixer
    steps = torch.nn.functional.softplus(mixer.causal.dt_proj.bias)
    assert steps.min() > 9e-4
    assert steps.max() < 0.11
    # PyTorch's own start of a linear layer is uniform in +-1 / sqrt(width).
    assert mixer.in_proj.weight.abs().max() == pytest.approx(1 / 8, rel=0.01)
    assert mixer.out_proj.weight.abs().max() == pytest.approx(1 / math.sqrt(128 * 4), rel=0.02)
    assert torch.equal(model.temporal_pos_embed, sincos_1d(8, 64))


def test_an_image_model_starts_from_scratch_without_a_table_over_time():
    assert VideoMamba(num_frames=1, embed_dim=32, depth=1, img_size=32, init="scratch").temporal_pos_embed is None


def test_an_unknown_start_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown init 'mamba'; choose 'authors' or 'scratch'"):
        VideoMamba(**SHAPE, init="mamba")


def test_tables_and_tokens_do_not_decay_but_decay_rates_do():
    names = VideoMamba(**SHAPE).no_weight_decay()
    assert names == {"cls_token", "cls_pos_embed", "pos_embed", "temporal_pos_embed"}


def test_class_token_gets_no_temporal_embedding():
    model = VideoMamba(**SHAPE)
    video = clip_of(model)
    before = model._embed(video, None, model.grid(video))
    torch.nn.init.ones_(model.temporal_pos_embed)
    after = model._embed(video, None, model.grid(video))
    torch.testing.assert_close((after - before)[0, :, 0], torch.tensor([0.0] + [1.0] * 32))


def test_rectangles_tubelets_and_overlap_make_the_grids_of_the_authors():
    rectangle = VideoMamba(img_size=(24, 40), num_frames=6, patch_size=8, tubelet_size=3, embed_dim=16, depth=1)
    assert rectangle.native_grid == (2, 3, 5)
    assert rectangle(torch.randn(1, 3, 6, 24, 40)).shape == (1, 16)
    overlap = VideoMamba(img_size=40, num_frames=1, patch_size=16, stride=8, embed_dim=16, depth=1)
    assert overlap.native_grid == (1, 4, 4)
    assert overlap.grid(torch.empty(1, 3, 1, 48, 40)) == (1, 5, 4)


def test_clips_that_do_not_fit_are_refused_with_their_sizes():
    with pytest.raises(ValueError, match="4 frames of 18 x 16 px"):
        VideoMamba(**SHAPE)(torch.randn(1, 3, 4, 18, 16))
    with pytest.raises(ValueError, match="5 frames"):
        VideoMamba(**SHAPE | {"num_frames": 5})
    image = VideoMamba(**SHAPE | {"num_frames": 1, "tubelet_size": 1})
    with pytest.raises(ValueError, match=r"image model .* got 2"):
        image(torch.randn(1, 3, 2, 16, 16))
    with pytest.raises(ValueError, match="'rms' or 'layer'"):
        VideoMamba(**SHAPE, norm="batch")


def test_pico_is_made_for_the_embedded_clips():
    model = videomamba_pico()
    features = model.forward_features(torch.randn(2, 3, 16, 24, 24))
    assert features.grid == (8, 3, 3)
    assert features.tokens.shape == (2, 72, model.embed_dim)
