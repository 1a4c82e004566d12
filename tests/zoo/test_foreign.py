import json

import pytest
import timm
import torch

import zoo
from backbones import frozen
from backbones.clip import ClipBackbone
from benchmarks import cli
from benchmarks.efficiency import count_flops
from benchmarks.systems import system
from tests.backbones import hf_models
from zoo import registry
from zoo.foreign import ForeignError, split_objective
from zoo.suggest import UnknownNameError

TIMM = "timm:vit_tiny_patch16_224"


@pytest.fixture
def folder(tmp_path):
    """Writes a tiny network of transformers and gives its name."""

    def write(
        kind: str, *, weights: bool = True, processor: dict | None = None, labels: list[str] | None = None
    ) -> str:
        place = tmp_path / kind
        if labels:
            hf_models.classifier(kind, labels).save_pretrained(place)
        elif weights:
            hf_models.model(kind).save_pretrained(place)
        else:
            hf_models.config(kind).save_pretrained(place)
        if processor is not None:
            (place / "preprocessor_config.json").write_text(json.dumps(processor))
        return f"hf:{place}"

    return write


def clip_for(model: zoo.VideoModel) -> torch.Tensor:
    clip = model.spec.clip
    return torch.randn(2, 3, clip.num_frames, clip.img_size, clip.img_size)


@pytest.mark.parametrize("kind", hf_models.KINDS)
def test_weights_of_a_folder_classify_trained_or_not(kind, folder):
    name = folder(kind)
    model = zoo.create_model(name, pretrained=True, num_classes=5).eval()
    video = clip_for(model)
    assert model(video).shape == (2, 5)
    own = hf_models.model(kind)
    frames = video.transpose(1, 2)
    if kind in ("clip_vision_model", "dinov2"):
        expected = own(frames.flatten(0, 1)).last_hidden_state.unflatten(0, (2, -1))[:, :, 1:].flatten(1, 2)
        ours = model.backbone.forward_intermediates(video, [-1], norm=kind == "dinov2")[0].tokens
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    elif kind in ("vjepa2", "videomae"):
        assert torch.equal(model.forward_features(video).tokens, own(frames).last_hidden_state)
    random = zoo.create_model(name, num_classes=5).eval()
    assert not torch.equal(random(video), model(video))


def test_weights_without_a_classifier_give_features_until_classes_are_asked_for(folder):
    name = folder("dinov2")
    features = zoo.create_model(name, pretrained=True)
    assert (features.num_classes, zoo.create_model(name).num_classes) == (0, 400)
    assert features.eval()(clip_for(features)).shape == (2, features.embed_dim)


def test_a_configuration_alone_gives_random_weights_and_no_trained_ones(folder):
    name = folder("dinov2", weights=False)
    assert zoo.create_model(name).num_classes == 400
    with pytest.raises(ForeignError, match=r"no weights of .* within reach"):
        zoo.create_model(name, pretrained=True)


@pytest.mark.parametrize("kind", ["timesformer", "vivit", "videomae"])
def test_a_linear_classifier_comes_with_its_class_names_and_gives_the_networks_own_scores(kind, folder):
    labels = ["archery", "yoga", "zumba"]
    name = folder(kind, labels=labels)
    model = zoo.create_model(name, pretrained=True).eval()
    assert model.spec.label_names == tuple(labels)
    video = clip_for(model)
    expected = hf_models.classifier(kind, labels)(video.transpose(1, 2)).logits
    torch.testing.assert_close(model(video), expected, rtol=1e-5, atol=1e-6)
    other = zoo.create_model(name, pretrained=True, num_classes=7)
    assert (other.num_classes, other.spec.label_names) == (7, ())


def test_videomae_with_mean_pooling_gives_its_own_scores(tmp_path):
    own = hf_models.classifier("videomae", ["a", "b"], use_mean_pooling=True)
    own.save_pretrained(tmp_path)
    model = zoo.create_model(f"hf:{tmp_path}", pretrained=True).eval()
    video = clip_for(model)
    torch.testing.assert_close(model(video), own(video.transpose(1, 2)).logits, rtol=1e-6, atol=1e-6)
    assert model.head.norm.eps == own.fc_norm.eps


def test_a_linear_classifier_is_kept_in_the_form_that_it_was_trained_in_only(folder):
    name = folder("vivit", labels=["archery", "yoga", "zumba"])
    trained = zoo.create_model(name, pretrained=True)
    dropped = zoo.create_model(name, pretrained=True, drop_rate=0.5)
    pooled = zoo.create_model(name, pretrained=True, num_classes=3, global_pool="mean")
    assert torch.equal(dropped.head.linear.weight, trained.head.linear.weight)
    assert not torch.equal(pooled.head.linear.weight, trained.head.linear.weight)
    assert (len(dropped.spec.label_names), pooled.spec.label_names) == (3, ())


def test_a_classifier_of_another_form_than_the_adapter_knows_is_refused(folder, monkeypatch):
    name = folder("vivit", labels=["archery", "yoga", "zumba"])
    network = frozen.hf_network

    def changed(source, *, pretrained):
        found = network(source, pretrained=pretrained)
        return found._replace(head={**found.head, "norm.weight": torch.ones(2)})

    monkeypatch.setattr(frozen, "hf_network", changed)
    with pytest.raises(ForeignError, match="another form than its adapter knows"):
        zoo.create_model(name, pretrained=True)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (None, {"mean": (0.485, 0.456, 0.406), "short_side": None, "interpolation": "bilinear"}),
        (
            {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.2], "size": {"shortest_edge": 18}, "resample": 3},
            {"mean": (0.4, 0.5, 0.6), "short_side": 18, "interpolation": "bicubic"},
        ),
        # ViViT's own file: (x / 127.5 - 1 - 0.5) / 0.5 of pixels 0-255.
        (
            {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "offset": True, "rescale_factor": 1 / 127.5},
            {"mean": (0.75,) * 3, "std": (0.25,) * 3},
        ),
    ],
)
def test_the_clip_protocol_is_the_processors(processor, expected, folder):
    clip = zoo.get_architecture(folder("vivit", weights=False, processor=processor)).clip
    assert (clip.num_frames, clip.img_size) == (4, 16)
    assert {key: pytest.approx(getattr(clip, key)) for key in expected} == expected


def test_the_clip_of_vivit_is_what_its_own_processor_makes_of_pixels(folder):
    import numpy as np
    from transformers import VivitImageProcessor

    processor = VivitImageProcessor(do_resize=False, do_center_crop=False)
    clip = zoo.get_architecture(folder("vivit", weights=False, processor=processor.to_dict())).clip
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    theirs = torch.as_tensor(np.asarray(processor(list(pixels), return_tensors="np")["pixel_values"]))[0]
    ours = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    ours = (ours - torch.tensor(clip.mean)[:, None, None]) / torch.tensor(clip.std)[:, None, None]
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-5)


def test_networks_of_timm_see_frames_and_keep_its_numbers():
    model = zoo.create_model(TIMM, num_classes=3, img_size=32, num_frames=2).eval()
    clip = model.spec.clip
    config = timm.get_pretrained_cfg("vit_tiny_patch16_224")
    assert (clip.num_frames, clip.img_size, clip.short_side, clip.mean) == (2, 32, 36, config.mean)
    assert model(torch.randn(1, 3, 2, 32, 32)).shape == (1, 3)
    own = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, dynamic_img_size=True).eval()
    own.load_state_dict(model.backbone.state_dict())
    video = torch.randn(1, 3, 2, 32, 32)
    expected = own.forward_features(video[0].transpose(0, 1))[:, 1:].flatten(0, 1)
    torch.testing.assert_close(model.forward_features(video).tokens[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("timm:vit_tiny_patch16_22", UnknownNameError, "did you mean 'vit_tiny_patch16_224"),
        ("timm:vit_small_patch14_dinov2.lvd", UnknownNameError, "did you mean 'vit_small_patch14_dinov2.lvd142m'"),
        ("timm:resnet18", ForeignError, "no plain vision transformer of timm"),
        ("timm:eva02_tiny_patch14_224", ForeignError, "no plain vision transformer of timm"),
        ("timm:", ForeignError, "names no network"),
        ("hf:/no/such/folder", ForeignError, "no configuration of '/no/such/folder' within reach"),
        ("hf:nobody/nothing", ForeignError, "no configuration of 'nobody/nothing' within reach"),
    ],
)
def test_networks_that_cannot_be_had_are_named(name, error, words):
    with pytest.raises(error, match=words):
        zoo.create_model(name)
    assert not zoo.is_model(name) or "resnet" in name or "eva" in name


def test_weights_of_timm_out_of_reach_are_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ForeignError, match="of timm cannot be had"):
        zoo.create_model("timm:vit_tiny_patch16_224.augreg_in21k", pretrained=True)


def test_other_kinds_of_transformers_are_refused(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ForeignError, match="is a 'bert' of transformers, for which there is no adapter"):
        zoo.create_model(f"hf:{tmp_path}")


def test_the_image_encoder_of_a_whole_clip_is_taken(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    vision = hf_models.config("clip_vision_model").to_dict()
    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 99,
    }
    own = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    own.save_pretrained(tmp_path)
    model = zoo.create_model(f"hf:{tmp_path}", pretrained=True, num_classes=0).eval()
    video = clip_for(model)
    expected = own.vision_model(video.transpose(1, 2).flatten(0, 1)).last_hidden_state.unflatten(0, (2, -1))
    ours = model.backbone.forward_intermediates(video, [-1], norm=False)[0].tokens
    torch.testing.assert_close(ours, expected[:, :, 1:].flatten(1, 2), rtol=1e-5, atol=1e-5)
    # One adapter for CLIP, however it is named: that of the clip_visual_* cards.
    assert isinstance(model.backbone, ClipBackbone)
    assert model.pool == "cls"


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("timesformer", {"num_frames": 8}, "made for clips of 4 frames of 16 px, not 8 frames of 16 px"),
        ("dinov2", {"img_size": 32}, "not 8 frames of 32 px"),
        ("dinov2", {"img_sise": 32}, "did you mean 'img_size'"),
    ],
)
def test_options_that_a_network_does_not_have_are_refused(kind, options, words, folder):
    with pytest.raises(ValueError, match=words):
        zoo.create_model(folder(kind, weights=False), **options)


def test_frames_of_an_image_network_are_as_many_as_wished(folder):
    assert zoo.create_model(folder("dinov2", weights=False), num_frames=3).spec.clip.num_frames == 3


def test_a_saved_model_comes_back_from_its_file(folder, tmp_path):
    name = folder("vjepa2")
    model = zoo.create_model(name, pretrained=True, num_classes=3).eval()
    path = tmp_path / "saved.safetensors"
    zoo.save_checkpoint(model, path, label_names=["a", "b", "c"])
    again = zoo.create_model(name, checkpoint_path=path).eval()
    video = clip_for(model)
    assert torch.equal(again(video), model(video))
    assert again.spec.label_names == ("a", "b", "c")


def test_info_and_comparisons_take_foreign_names(folder, capsys):
    name = folder("dinov2", weights=False)
    assert cli.main(["info", name]) == 0
    assert "frame by frame" in capsys.readouterr().out
    assert cli.main(["info", TIMM, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embed_dim"] == 192
    made = system(f"{name}:none", side_px=24, suite="digits")
    assert (made.name, made.objective) == (name, "none")
    network = made(4)
    assert count_flops(lambda: network(torch.randn(1, 3, 4, 16, 16))).flops > 0
    assert cli.main(["info", "hf:/no/such/folder"]) == 2


@pytest.mark.parametrize(
    ("words", "pair"),
    [
        ("vit_pico:mae", ("vit_pico", "mae")),
        ("vit_pico", ("vit_pico", "")),
        ("hf:me/it:none", ("hf:me/it", "none")),
        ("hf:me/it", ("hf:me/it", "")),
        ("timm:vit:umt", ("timm:vit", "umt")),
        ("vit_pico:", ("vit_pico:", "")),
    ],
)
def test_a_prefix_belongs_to_the_name_not_to_the_objective(words, pair):
    assert split_objective(words) == pair


def test_a_dot_in_a_foreign_name_is_no_tag():
    assert not registry.has_tag("timm:vit_small_patch14_dinov2.lvd142m")
    assert registry.has_tag("vit_pico.k400")
