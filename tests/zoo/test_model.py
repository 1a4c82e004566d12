import re

import pytest
import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn

import zoo
from heads.attentive import AttentiveHead
from heads.linear import LinearHead
from zoo.card import Classifier
from zoo.cards import ARCHITECTURES
from zoo.model import VideoModel, build_head

ONE_PER_FAMILY = ["vit_pico", "mae_st_large", "timesformer_pico", "videomamba_pico"]


def create(name, num_classes=5):
    torch.manual_seed(0)
    shrink = zoo.get_architecture(name).shrink
    model = zoo.create_model(name, num_classes=num_classes, **shrink).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def clip_for(model):
    clip = model.spec.clip
    return torch.randn(2, 3, clip.num_frames, clip.img_size, clip.img_size)


@pytest.fixture(params=ONE_PER_FAMILY)
def model(request):
    return create(request.param)


def test_forward_is_head_after_features(model):
    video = clip_for(model)
    features = model.forward_features(video)
    assert torch.equal(model(video), model.forward_head(features))
    before = model.forward_head(features, pre_logits=True)
    assert before.shape == (2, model.num_features)
    torch.testing.assert_close(model.get_classifier()(before), model(video))


def test_intermediates_are_maps_of_the_blocks_asked_for(model):
    video, depth = clip_for(model), model.backbone.depth
    final, maps = model.forward_intermediates(video, [-1, 0])
    assert torch.equal(final.tokens, model.forward_features(video).tokens)
    assert torch.equal(final.prefix, model.forward_features(video).prefix)
    expected = model.backbone.forward_intermediates(video, [depth - 1, 0], norm=False)
    for found, features in zip(maps, expected, strict=True):
        assert found.shape == (2, model.embed_dim, *features.grid)
        assert torch.equal(found.flatten(2).transpose(1, 2), features.tokens)


def test_intermediates_by_number_are_the_last_and_by_none_are_all(model):
    video, depth = clip_for(model), model.backbone.depth
    every = model.forward_intermediates(video, intermediates_only=True, output_fmt="NLC")
    last_two = model.forward_intermediates(video, 2, intermediates_only=True, output_fmt="NLC")
    assert len(every) == depth
    assert all(torch.equal(one, other) for one, other in zip(last_two, every[-2:], strict=True))


def test_intermediates_with_norm_and_prefix_tokens(model):
    video = clip_for(model)
    final, [(tokens, prefix)] = model.forward_intermediates(
        video, [-1], norm=True, return_prefix_tokens=True, output_fmt="NLC"
    )
    assert torch.equal(tokens, final.tokens)
    assert torch.equal(prefix, final.prefix)
    assert prefix.shape == (2, 0 if "vit" in model.spec.architecture.name else 1, model.embed_dim)


@pytest.mark.parametrize(("indices", "named"), [(99, "99"), (0, "0"), ([7], "7")])
def test_blocks_that_do_not_exist_are_named(indices, named):
    model = create("vit_pico")
    with pytest.raises(ValueError, match=rf"{named}.*4"):
        model.forward_intermediates(clip_for(model), indices)


def test_an_unknown_output_format_is_refused():
    model = create("vit_pico")
    with pytest.raises(Exception, match="NHWC"):
        model.forward_intermediates(clip_for(model), output_fmt="NHWC")


def test_a_reset_classifier_is_fresh_and_the_rest_stays(model):
    video = clip_for(model)
    before = model.forward_head(model.forward_features(video), pre_logits=True)
    rest = {name: tensor.clone() for name, tensor in model.state_dict().items() if "head.linear" not in name}
    model.reset_classifier(3)
    assert model.num_classes == model.pretrained_cfg["num_classes"] == 3
    assert model(video).shape == (2, 3)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in rest.items())
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert torch.equal(model(video), before)
    with pytest.raises(ValueError, match="-1 classes"):
        model.reset_classifier(-1)


def test_a_reset_classifier_has_the_number_format_of_the_model():
    model = create("vit_pico").double()
    model.reset_classifier(2)
    assert model.get_classifier().weight.dtype == torch.float64


def test_resetting_can_change_the_pooling():
    model = create("vit_pico")
    model.reset_classifier(0, global_pool="first")
    features = model.forward_features(clip_for(model))
    assert torch.equal(model.forward_head(features), model.head.norm(features.tokens[:, 0]))


def test_the_models_pooling_is_its_heads():
    assert zoo.create_model("videomamba_tiny", depth=1).pool == "cls"
    assert zoo.create_model("videomamba_tiny", depth=1, global_pool="mean").pool == "mean"
    backbone = zoo.create_backbone("timesformer_pico")
    assert VideoModel(backbone, AttentiveHead(backbone.embed_dim, 3, num_heads=4)).pool == backbone.pool


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(architecture.name, marks=() if architecture.name in ONE_PER_FAMILY else pytest.mark.slow)
        for architecture in ARCHITECTURES
    ],
)
def test_group_matcher_covers_every_parameter_once_in_the_order_of_depth(name):
    with torch.device("meta"):
        model = zoo.create_model(name)
    patterns = model.group_matcher()
    for parameter, _ in model.named_parameters():
        (group,) = [key for key, pattern in patterns.items() if re.match(pattern, parameter)]
        inside = parameter.removeprefix("backbone.")
        layer = model.backbone.depth + 1 if parameter.startswith("head.") else model.backbone.layer_of(inside)
        assert group == ("stem" if layer == 0 else "head" if layer == model.backbone.depth + 1 else "blocks")
        if group == "blocks":
            assert int(re.match(patterns["blocks"], parameter).group(1)) == layer - 1


@pytest.mark.parametrize("head", ["linear", "attentive"])
def test_timms_layer_decay_gives_every_layer_its_scale(model, head):
    if head == "attentive":
        model = VideoModel(model.backbone, AttentiveHead(model.embed_dim, 5, num_heads=4))
    groups = param_groups_layer_decay(model, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5)
    found = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(model.parameters()))
    last = model.backbone.depth + 1
    for name, parameter in model.named_parameters():
        inside = name.removeprefix("backbone.")
        layer = last if name.startswith("head.") else model.backbone.layer_of(inside)
        decays = parameter.ndim > 1 and name not in model.no_weight_decay()
        assert found[id(parameter)] == (0.5 ** (last - layer), 0.05 if decays else 0.0), name


def test_coarse_groups_put_all_blocks_together(model):
    patterns = model.group_matcher(coarse=True)
    for parameter, _ in model.named_parameters():
        matches = [re.match(pattern, parameter) for pattern in patterns.values()]
        assert sum(match is not None for match in matches) == 1
        assert all(match.groups() == () for match in matches if match)


def test_timms_optimizer_factory_takes_the_model(model):
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


def test_tables_and_tokens_do_not_decay(model):
    listed = model.no_weight_decay()
    assert listed == {f"backbone.{name}" for name in model.backbone.no_weight_decay()}
    assert listed <= {name for name, _ in model.named_parameters()}


def test_checkpointing_keeps_outputs_and_gradients(model):
    video = clip_for(model)

    def gradients():
        model.zero_grad()
        model(video).square().sum().backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    model.set_grad_checkpointing()
    assert model.backbone.checkpointed_blocks == model.backbone.depth
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-5, atol=1e-6, msg=name)
    model.set_grad_checkpointing(enable=False)
    assert model.backbone.checkpointed_blocks == 0


def test_facts_under_timms_names(model):
    facts = model.default_cfg
    clip = model.spec.clip
    assert facts == model.pretrained_cfg
    assert facts["architecture"] == model.spec.architecture.name
    assert facts["input_size"] == (3, clip.num_frames, clip.img_size, clip.img_size)
    assert isinstance(model.get_submodule(facts["first_conv"]), nn.Conv3d)
    assert model.get_submodule(facts["classifier"]) is model.get_classifier()
    assert model.num_features == model.embed_dim == model.head_hidden_size == model.get_classifier().in_features


def test_a_model_put_together_by_hand_works_without_a_spec():
    backbone = zoo.create_backbone("vit_pico")
    model = VideoModel(backbone, LinearHead(backbone.embed_dim, 4, pool="mean"))
    assert model(torch.randn(1, 3, 16, 24, 24)).shape == (1, 4)
    assert model.pretrained_cfg == {}


def test_an_attentive_classifier_is_built_as_described():
    form = Classifier(pool="mean", kind="attentive", num_heads=2, depth=3, blocks="query", attention_eps=1e-6)
    head = build_head(form, 16, 4)
    assert (len(head.blocks), head.over_tokens, head.cross.norm1.eps, head.num_classes) == (2, False, 1e-6, 4)
    plain = build_head(Classifier(pool="mean", kind="attentive", num_heads=2), 16, 4)
    assert (len(plain.blocks), plain.over_tokens, plain.cross.norm1.eps) == (0, True, 1e-5)


def test_an_attentive_head_cannot_be_told_how_to_pool():
    backbone = zoo.create_backbone("vit_pico")
    model = VideoModel(backbone, AttentiveHead(backbone.embed_dim, 4, num_heads=4))
    with pytest.raises(ValueError, match="learns its pooling"):
        model.reset_classifier(2, global_pool="mean")
    model.reset_classifier(0)
    assert model(torch.randn(1, 3, 16, 24, 24)).shape == (1, 64)
