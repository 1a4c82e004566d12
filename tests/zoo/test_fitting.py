"""Weights that do not fit are refused with a way out, and the model stays as it was."""

import pytest
import torch

import zoo
from tests.zoo.weights import assert_equal, create, snapshot, somebody_elses_weights, torch_file
from zoo.weight_files import CheckpointError


@pytest.fixture
def model():
    return create()


@pytest.fixture
def weights():
    return somebody_elses_weights()


def without(*names):
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def with_value(value):
    def change(state):
        name = "backbone.blocks.1.mlp.fc1.weight"
        tensor = state[name].clone()
        tensor[3, 2] = value
        return {**state, name: tensor}

    return change


def reshaped(name, *shape):
    return lambda state: {**state, name: torch.ones(shape)}


KERNEL, QKV = "backbone.patch_embed.proj.weight", "backbone.blocks.0.attn.qkv.weight"
BAD_STATES = {
    "nan": (with_value(float("nan")), r"'backbone\.blocks\.1\.mlp\.fc1\.weight' holds NaN or infinity"),
    "inf": (with_value(float("inf")), "holds NaN or infinity"),
    "overflow": (
        lambda state: {name: tensor.double() * 1e60 for name, tensor in state.items()},
        r"and \d+ more holds NaN or infinity",
    ),
    "zeros": (lambda state: {name: tensor * 0 for name, tensor in state.items()}, "all its weights are zero"),
    "a missing tensor": (without(QKV), rf"1 tensors of the model are not in it \({QKV}\)"),
    "half a head": (without("head.linear.bias"), r"not in it \(head\.linear\.bias\)"),
    "no norm in the head": (without("head.norm.weight", "head.norm.bias"), r"not in it \(head\.norm\.weight"),
    "a surplus tensor": (lambda s: {**s, "backbone.gate": torch.ones(1)}, r"do not belong \(backbone\.gate\)"),
    "a surplus namespace": (lambda s: {**s, "teacher.gate": torch.ones(1)}, r"do not belong \(teacher\.gate\)"),
    "fewer blocks": (lambda s: {k: v for k, v in s.items() if "blocks.1" not in k}, "build the model with depth=1"),
    "more blocks": (
        lambda s: {**s, **{k.replace("blocks.1", "blocks.2"): v for k, v in s.items() if "blocks.1" in k}},
        "build the model with depth=3",
    ),
    "another tubelet": (reshaped(KERNEL, 32, 3, 4, 8, 8), "build it with tubelet_size=4"),
    "an image kernel": (reshaped(KERNEL, 32, 3, 1, 8, 8), "tubelet_size=1|pass inflate='center'"),
    "another patch": (reshaped(KERNEL, 32, 3, 2, 16, 16), "build it with patch_size=16"),
    "another width": (
        lambda s: {k: torch.ones([2 * n if n == 32 else n for n in v.shape]) for k, v in s.items()},
        "build it with embed_dim=64",
    ),
    "another shape": (reshaped(QKV, 90, 32), r"is \[90, 32\] in the file and \[96, 32\] in the model"),
    "another rank": (reshaped(QKV, 96, 32, 1), "another architecture"),
    "whole numbers": (lambda s: {k: v.to(torch.int8) for k, v in s.items()}, r"holds torch\.int8 in the file"),
    "rows that disagree": (reshaped("head.linear.weight", 9, 32), "num_classes=9"),
    "sparse": (lambda s: {**s, QKV: torch.eye(32).to_sparse()}, "sparse or quantised|neither a tensor"),
    "a foreign network": (
        lambda s: {"conv1.weight": torch.ones(3), "layer1.0.bn.bias": torch.ones(3)},
        "'conv1.weight', 'layer1.0.bn.bias'.*known are 'zoo'.*The closest is 'zoo.*which needs",
    ),
    "an unknown prefix": (lambda s: {f"student.{k}": v for k, v in s.items()}, "have no layout known"),
}


@pytest.mark.parametrize("kind", BAD_STATES)
def test_weights_that_do_not_fit_are_refused_with_a_way_out(model, weights, tmp_path, kind):
    change, reason = BAD_STATES[kind]
    path = torch_file(tmp_path / "bad.pth", change(weights))
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=rf"(?s)bad\.pth.*{reason}"):
        zoo.load_checkpoint(model, path)
    assert_equal(model.state_dict(), before)


@pytest.mark.parametrize("kind", ["nan", "zeros", "another tubelet", "whole numbers", "a foreign network"])
def test_not_strict_still_refuses_what_cannot_be_right(model, weights, kind):
    before = snapshot(model)
    with pytest.raises(CheckpointError, match="<state dict>"):
        zoo.load_checkpoint(model, BAD_STATES[kind][0](weights), strict=False)
    assert_equal(model.state_dict(), before)


def test_a_norm_on_the_other_side_of_pooling_names_the_option(weights):
    first = create(global_pool="first")
    with pytest.raises(CheckpointError, match="build the model with global_pool='mean'"):
        zoo.load_checkpoint(first, weights)
    with pytest.raises(CheckpointError, match="build the model with global_pool='first'"):
        zoo.load_checkpoint(create(), first.state_dict())


def test_weights_cannot_be_copied_to_the_meta_device(weights):
    with torch.device("meta"):
        model = create()
    with pytest.raises(CheckpointError, match="meta device on one side only"):
        zoo.load_checkpoint(model, weights)


def test_position_tables_are_resized_only_when_asked():
    weights = {name: torch.randn_like(it) for name, it in create_mamba(img_size=16, num_frames=4).state_dict().items()}
    model = create_mamba(img_size=32, num_frames=8)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"img_size=16, num_frames=4, or pass resize_positions=True"):
        zoo.load_checkpoint(model, weights)
    assert_equal(model.state_dict(), before)
    report = zoo.load_checkpoint(model, weights, resize_positions=True)
    assert report.resized == {
        "backbone.pos_embed": "[1, 4, 16] to [1, 16, 16], interpolated",
        "backbone.temporal_pos_embed": "[1, 4, 16] to [1, 8, 16], interpolated",
    }


def create_mamba(**options):
    return zoo.create_model("videomamba_tiny", num_classes=4, patch_size=8, embed_dim=16, depth=2, **options)


@pytest.mark.parametrize("mode", ["center", "mean"])
def test_image_weights_become_video_weights_only_when_asked(mode):
    image = create_mamba(img_size=16, num_frames=1)
    weights = {name: torch.randn_like(tensor) for name, tensor in image.state_dict().items()}
    model = create_mamba(img_size=16, num_frames=6, tubelet_size=3)
    with pytest.raises(CheckpointError, match="pass inflate='center'"):
        zoo.load_checkpoint(model, weights)
    report = zoo.load_checkpoint(model, weights, inflate=mode)
    assert set(report.resized) == {"backbone.patch_embed.proj.weight", "backbone.temporal_pos_embed"}
    kernel, flat = model.backbone.patch_embed.proj.weight, weights["backbone.patch_embed.proj.weight"]
    torch.testing.assert_close(kernel.sum(2, keepdim=True), flat)
    assert torch.equal(kernel[:, :, 1:2], flat) == (mode == "center")
    assert not model.backbone.temporal_pos_embed.any()


SMALL = {"num_classes": 5, "img_size": 16, "num_frames": 4, "patch_size": 8, "embed_dim": 16, "depth": 1}
WRONG_SHAPES = {
    "one row more": lambda it: torch.cat([it, it[:1]]),
    "one column less": lambda it: it[..., :-1],
    "a single number": lambda it: it.flatten()[0],
}
FAST_LAYOUTS = {"VideoMAE fine-tuned", "VideoMamba video classifier"}  # of the other families: slow
LAYOUTS = [
    pytest.param(name, converter.name, marks=() if converter.name in FAST_LAYOUTS else pytest.mark.slow)
    for name in ("videomae_base", "mae_st_large", "videomamba_tiny", "timesformer_base")
    for converter in zoo.get_architecture(name).converters
    if "pretrain" not in converter.name and "joint" not in converter.name
]


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_no_wrong_shape_of_any_official_tensor_gets_in_or_out_as_another_error(name, layout):
    options = {**SMALL, **({} if name == "videomamba_tiny" else {"num_heads": 2})}
    if "image" in layout:
        options["num_frames"] = 1
    model = zoo.create_model(name, **options)
    (converter,) = [it for it in model.spec.architecture.converters if it.name == layout]
    weights = {key: torch.randn_like(tensor) for key, tensor in model.state_dict().items()}
    official = converter.to_official(weights).state
    zoo.load_checkpoint(model, official)
    assert_equal(model.state_dict(), weights)
    other = {key: tensor + 1 for key, tensor in official.items()}
    for key, tensor in official.items():
        for change in WRONG_SHAPES.values():
            if tensor.ndim == 0:
                continue
            with pytest.raises(CheckpointError):
                zoo.load_checkpoint(model, {**other, key: change(tensor)})
    assert_equal(model.state_dict(), weights)


def test_tensors_that_claim_more_values_than_they_store_are_refused(model, tmp_path):
    before = snapshot(model)
    bomb = torch.ones(1, 1).expand(100_000, 100_000)
    path = torch_file(tmp_path / "bomb.pth", {**before, **{f"blocks.{i}.attn.q.weight": bomb for i in range(3)}})
    with pytest.raises(CheckpointError, match=r"bomb\.pth.*tensors claim 120,000,\d+,\d+ bytes"):
        zoo.load_checkpoint(model, path)
    assert_equal(model.state_dict(), before)
