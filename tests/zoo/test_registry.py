import fnmatch
import inspect
import re
from dataclasses import replace

import pytest
import torch

import zoo
from backbones import vit
from backbones.meta import meta_device
from tests.support import manifest
from zoo import registry
from zoo.card import Card, Classifier, ClipSpec, Source, Weights
from zoo.cards import ARCHITECTURES
from zoo.data.labels import ORDERS

NAMES = [architecture.name for architecture in ARCHITECTURES]
PICO = "vit_pico"
# Parameters of the published classifiers with 400 classes. VideoMAE: manifests (index.json); VideoMamba: its factories
# built by the authors' code (spec-videomamba, section 2), images with 1000 classes.
PUBLISHED = [
    ("videomae_small", {}, 400, 22_033_936),
    ("videomae_base", {}, 400, 86_534_800),
    ("videomae_base", {}, 174, 86_361_006),
    ("videomae_large", {}, 400, 304_270_736),
    ("videomamba_tiny", {}, 400, 7_033_744),
    ("videomamba_small", {}, 400, 25_568_656),
    ("videomamba_middle", {}, 400, 73_875_856),
    ("videomamba_tiny", {"num_frames": 1}, 1000, 7_148_008),
    ("videomamba_small", {"num_frames": 1}, 1000, 25_796_584),
    ("videomamba_middle", {"num_frames": 1}, 1000, 74_217_448),
    ("videomamba_base", {}, 1000, 97_598_440),
]


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_builds_at_its_published_size(name):
    with meta_device():
        model = zoo.create_model(name)
    print(f"{name}: {parameters(model) / 1e6:.2f} M parameters with 400 classes")
    assert parameters(model.get_classifier()) == 400 * model.num_features + 400
    assert parameters(model.backbone) == registry.get_architecture(name).parameters
    assert model.spec.architecture.name == name
    assert model.pretrained_cfg["num_classes"] == 400


@pytest.mark.parametrize(("name", "overrides", "num_classes", "expected"), PUBLISHED)
def test_published_sizes_have_the_published_number_of_parameters(name, overrides, num_classes, expected):
    with meta_device():
        model = zoo.create_model(name, num_classes=num_classes, **overrides)
    assert parameters(model) == expected


@pytest.mark.parametrize(
    ("name", "file"),
    [("mae_st_large", "maest_finetune_large_k400"), ("videomae_huge", "finetune_huge_k400_f16_res224")],
)
def test_large_classifiers_have_as_many_parameters_as_the_authors_files(name, file):
    with meta_device():
        model = zoo.create_model(name)
    assert parameters(model) == sum(torch.Size(shape).numel() for shape in manifest(f"videomae/{file}").values())


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda it: it.name)
def test_the_clip_of_an_architecture_is_the_clip_its_builder_expects(architecture):
    options = registry.builder_options(architecture)
    assert (architecture.clip.num_frames, architecture.clip.img_size) == (options["num_frames"], options["img_size"])
    assert set(architecture.shrink) | set(architecture.classifier.options) <= set(options)
    assert all(
        it.kind is inspect.Parameter.KEYWORD_ONLY for it in inspect.signature(architecture.build).parameters.values()
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda it: it.name)
def test_shrunken_members_classify(architecture):
    model = zoo.create_model(architecture.name, num_classes=3, **architecture.shrink).eval()
    clip = model.spec.clip
    video = torch.randn(2, 3, clip.num_frames, clip.img_size, clip.img_size)
    assert model(video).shape == (2, 3)
    assert torch.isfinite(model(video)).all()


def test_names_are_listed_in_natural_order_by_wildcards():
    everything = zoo.list_models()
    assert set(everything) == set(NAMES)
    assert zoo.list_models("videomamba_*") == sorted(fnmatch.filter(NAMES, "videomamba_*"))
    assert zoo.list_models(["videomamba_pico", "timesformer_*pico", "videomae_base"], exclude_filters="*joint*") == [
        "timesformer_pico",
        "videomae_base",
        "videomamba_pico",
    ]
    assert zoo.list_models("no_such_*") == []
    assert zoo.list_models(family="mae_st") == ["mae_st_huge", "mae_st_large"]
    assert sorted(["m_f16", "m_f8"], key=registry.natural) == ["m_f8", "m_f16"]


def test_is_model_knows_names_but_not_wrong_tags():
    assert zoo.is_model("videomae_base")
    assert not zoo.is_model("videomae_bas")
    assert not zoo.is_model("videomae_base.nothing")


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_a_misspelt_name_gets_the_three_closest(error):
    with pytest.raises(error) as caught:
        zoo.create_model("videomea_base")
    message = str(caught.value)
    assert message.startswith("unknown model 'videomea_base'; did you mean 'videomae_base'")
    assert message.count("'") == 8


@pytest.mark.parametrize("create", [zoo.create_model, zoo.create_backbone])
def test_a_misspelt_option_gets_the_closest(create):
    with pytest.raises(ValueError, match="unknown option of vit_pico 'img_sise'; did you mean 'img_size'"):
        create(PICO, img_sise=32)


def test_options_that_are_none_leave_the_default():
    assert zoo.create_model(PICO, img_size=None).spec.clip.img_size == 24


def test_overrides_change_network_and_clip_together():
    model = zoo.create_model(PICO, num_classes=5, img_size=32, num_frames=8, embed_dim=32, depth=2, num_heads=2)
    assert (model.spec.clip.num_frames, model.spec.clip.img_size) == (8, 32)
    assert (model.embed_dim, model.backbone.depth, model.num_classes) == (32, 2, 5)
    assert model(torch.randn(1, 3, 8, 32, 32)).shape == (1, 5)


def test_the_short_side_keeps_its_ratio_to_the_crop():
    clip = ClipSpec(num_frames=8, sampling="uniform", img_size=224, short_side=256)
    assert registry._clip_for(clip, {"img_size": 448}).short_side == 512
    assert registry._clip_for(clip, {"img_size": (320, 112)}).img_size == 112


def test_no_classes_gives_the_vector_that_the_classifier_would_see():
    model = zoo.create_model(PICO, num_classes=4).eval()
    features = zoo.create_model(PICO, num_classes=0).eval()
    features.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head.linear")})
    video = torch.randn(2, 3, 16, 24, 24)
    expected = model.forward_head(model.forward_features(video), pre_logits=True)
    assert torch.equal(features(video), expected)


def test_classifiers_end_in_one_norm_wherever_they_pool():
    def norms(model):
        return [type(part).__name__ for part in (model.backbone.norm, model.head.norm)]

    assert norms(zoo.create_model(PICO)) == ["Identity", "LayerNorm"]
    assert norms(zoo.create_model(PICO, global_pool="first")) == ["LayerNorm", "Identity"]
    assert norms(zoo.create_model("timesformer_pico")) == ["LayerNorm", "Identity"]
    assert isinstance(zoo.create_backbone(PICO).norm, torch.nn.LayerNorm)


def test_dropout_and_attentive_heads_on_demand():
    assert zoo.create_model(PICO, drop_rate=0.3).head.dropout.p == 0.3
    model = zoo.create_model(PICO, num_classes=6, classifier=Classifier(pool="mean", kind="attentive", num_heads=4))
    assert model(torch.randn(1, 3, 16, 24, 24)).shape == (1, 6)


def test_weights_that_are_not_known_are_refused_with_the_way_out():
    for name in ("vit_pico", "vit_pico.k400_f16"):
        with pytest.raises(ValueError, match=r"no released weights of 'vit_pico'.*checkpoint_path"):
            zoo.create_model(name, pretrained=True)
    assert zoo.list_models("vit_pico*", pretrained=True) == []
    assert zoo.list_models(pretrained=True) == zoo.list_pretrained()


def test_an_architecture_with_several_weights_asks_for_a_tag():
    valid = ", ".join(zoo.list_pretrained("videomamba_tiny.*"))
    with pytest.raises(KeyError, match=f"'videomamba_tiny' has several released weights; .*: {re.escape(valid)}$"):
        zoo.create_model("videomamba_tiny", pretrained=True)


def test_a_pushed_model_is_no_architecture():
    with pytest.raises(KeyError, match=r"'local-dir:mine' is one model and no architecture: .* as the checkpoint"):
        zoo.get_architecture("local-dir:mine")


def test_cards_of_networks_that_do_not_exist_yet_are_listed_and_refused_with_their_reason():
    name = "vjepa2_ac_giant_16_256.droid"
    assert name in zoo.list_pretrained()
    assert "vjepa_large_16_224.videomix2m" in zoo.list_models(pretrained=True, family="vjepa")
    for refused in (name, "vjepa2_ac_giant_16_256"):
        with pytest.raises(ValueError, match=r"vjepa2_ac_giant_16_256\.droid' cannot be built: the action-cond"):
            zoo.create_model(refused)


@pytest.fixture
def a_card(monkeypatch):
    card = Card(
        architecture=PICO,
        tag="toy_f8",
        weights=Weights(sources=(Source(url="https://example.org/toy.pth"),), num_classes=7),
        clip=ClipSpec(num_frames=8, sampling="uniform", img_size=32),
        overrides={"num_frames": 8, "img_size": 32},
    )
    monkeypatch.setattr("zoo.cards.CARDS", (card,))
    return card


def test_a_tag_brings_options_classes_and_clip_of_its_card(a_card):
    model = zoo.create_model("vit_pico.toy_f8")
    assert model.num_classes == 7
    assert model.spec.clip == a_card.clip
    assert model.backbone.grid(torch.zeros(1, 3, 8, 32, 32)) == (4, 4, 4)
    assert zoo.list_pretrained("vit_*") == zoo.list_models(pretrained=True) == ["vit_pico.toy_f8"]
    assert zoo.is_model("vit_pico.toy_f8")


def test_a_backbone_with_a_tag_has_the_options_of_its_card(a_card):
    backbone = zoo.create_backbone("vit_pico.toy_f8")
    assert backbone.table_grid == (4, 4, 4)


def test_a_wrong_tag_gets_the_closest(a_card):
    with pytest.raises(KeyError, match=r"unknown weights 'vit_pico\.toy_f16'; did you mean 'vit_pico\.toy_f8'"):
        zoo.create_model("vit_pico.toy_f16")


def test_an_architecture_of_ones_own_works_like_the_others(monkeypatch):
    monkeypatch.setattr(registry, "_added", {})
    mine = replace(registry.get_architecture(PICO), name="vit_nano", build=vit.vit_pico, family="mine")
    zoo.register(mine)
    assert zoo.list_models(family="mine") == ["vit_nano"]
    assert zoo.create_model("vit_nano", num_classes=2).num_classes == 2
    with pytest.raises(ValueError, match="already an architecture called 'vit_nano'"):
        zoo.register(mine)


def test_a_misspelt_argument_of_create_model_itself_gets_it_suggested():
    with pytest.raises(zoo.registry.UnknownNameError, match="did you mean 'num_classes'"):
        zoo.create_model("vit_pico", num_clases=3)


def test_an_unknown_pooling_is_refused_at_once():
    with pytest.raises(ValueError, match="unknown pooling 'foo'; choose from 'mean', 'cls', 'first'"):
        zoo.create_model("vit_pico", global_pool="foo")
    with pytest.raises(ValueError, match="unknown pooling 'foo'"):
        zoo.create_model("vit_pico").reset_classifier(3, "foo")


@pytest.mark.parametrize(("labels", "first"), [("k400_opengvlab", "riding a bike"), ("k400_vjepa", ""), ("", "")])
def test_a_card_names_its_classes_where_their_order_is_known(labels, first, monkeypatch):
    monkeypatch.delenv("ZOO_LABELS", raising=False)
    spec = zoo.get_architecture(PICO).clip
    card = Card(architecture=PICO, tag="toy", weights=Weights(sources=(), num_classes=400), clip=spec, labels=labels)
    monkeypatch.setattr("zoo.cards.CARDS", (card,))
    names = zoo.create_model(f"{PICO}.toy").spec.label_names
    assert (names[0] if names else "") == first
    assert zoo.create_model(f"{PICO}.toy", num_classes=7).spec.label_names == ()


@pytest.mark.parametrize("card", registry.released().values(), ids=lambda it: it.name)
def test_every_card_names_a_class_order_that_there_is_with_as_many_classes(card):
    if card.labels:
        assert ORDERS[card.labels].num_classes == card.weights.num_classes
