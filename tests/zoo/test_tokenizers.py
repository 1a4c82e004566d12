"""Tokenizers by name: options, released files, files of ours."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from backbones import magvit
from tests.zoo.weights import assert_equal
from zoo import registry
from zoo.card import Card, Source, Weights
from zoo.cards import magvit as cards
from zoo.folders import weights_folder
from zoo.suggest import UnknownNameError
from zoo.tokenizers import tokenizer_of
from zoo.verify import verify
from zoo.weight_files import CheckpointError

NAME = "open_magvit2_nano"
TINY = {"channels": 8, "depth": 1}
LAYOUT = cards.layout("Open-MAGVIT2 nano", levels=4, depth=1, video=True)


@pytest.fixture
def nano(monkeypatch, tmp_path):
    """Open-MAGVIT2's video model at a tiny size, with a card of released weights; returns what publishes its file."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    known = tokenizer_of("open_magvit2_video_128")
    architecture = replace(
        known,
        name=NAME,
        build=partial(known.build, num_frames=5, img_size=16, **TINY),
        tokenizer=partial(known.tokenizer, levels=4, **TINY),
        clip=replace(known.clip, num_frames=5, img_size=16),
        converters=(LAYOUT,),
        parameters=0,
    )
    monkeypatch.setitem(registry._added, NAME, architecture)
    weights = Weights(sources=(Source(url="https://example.org/nano.ckpt"),), layout=LAYOUT.name)
    card = Card(architecture=NAME, tag="toy", weights=weights, clip=architecture.clip, task="tokenizer")
    monkeypatch.setattr("zoo.cards.CARDS", (card,))

    def publish(state):
        path = weights_folder(card.name) / "nano.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": state, "epoch": 3}, path)
        return path

    return publish


def official() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A training file of the authors, and the running averages in it under our names."""
    torch.manual_seed(0)
    ours = magvit.open_magvit2_video_128(levels=4, **TINY).state_dict()
    averages = LAYOUT.to_official(ours).state
    weights = {key: torch.randn_like(it) for key, it in averages.items()}
    shadows = {f"model_ema.{key.replace('.', '')}": it for key, it in averages.items()}
    rest = {"model_ema.decay": torch.tensor(0.999), "loss.discriminator.main.0.weight": torch.zeros(2)}
    return {**weights, **shadows, **rest}, ours


def test_tokenizers_are_listed_and_are_models_by_their_encoders():
    names = zoo.list_tokenizers()
    assert {"open_magvit2_video_128", "magvit2_causal", "lvmae_tokenizer_tiny"} <= set(names)
    assert set(names) == set(zoo.list_models(family="magvit"))
    assert "vit_pico" not in names


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("magvit2_casual", {}, "unknown tokenizer 'magvit2_casual'; did you mean 'magvit2_causal'"),
        ("vit_pico", {}, "'vit_pico' is the encoder of no tokenizer; tokenizers are .*lvmae_tokenizer_base"),
        (
            "lvmae_tokenizer_tiny",
            {"chanels": 8},
            "unknown option of lvmae_tokenizer_tiny 'chanels'; did you mean 'chan",
        ),
        ("lvmae_tokenizer_tiny", {"channels": 0}, "channels=0 is no channels of lvmae_tokenizer_tiny"),
        ("lvmae_tokenizer_tiny", {"levels": (8, "x")}, "it takes a whole number of at least 1 or a tuple of"),
        ("lvmae_tokenizer_tiny", {"pretrained": True}, "no released weights of 'lvmae_tokenizer_tiny' are known"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, said):
    with pytest.raises((UnknownNameError, ValueError), match=said):
        zoo.create_tokenizer(name, **options)


def test_options_change_the_tokenizer_and_none_leaves_the_default():
    made = zoo.create_tokenizer("lvmae_tokenizer_tiny", levels=(5, 5), channels=8, depth=None)
    assert (made.codebook_size, made.form.channels, made.form.depth) == (25, 8, 1)


def test_a_released_training_file_loads_by_name_with_its_running_averages(nano):
    file, averages = official()
    path = nano(file)
    assert_equal(zoo.create_tokenizer(f"{NAME}.toy", pretrained=True).state_dict(), averages)
    encoder = zoo.create_model(f"{NAME}.toy", pretrained=True).backbone
    assert_equal({f"backbone.{name}": it for name, it in encoder.state_dict().items()}, {
        name: it for name, it in averages.items() if name.startswith("backbone.")
    })  # fmt: skip
    assert_equal(zoo.create_tokenizer(NAME, checkpoint_path=path).state_dict(), averages)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.pop("model_ema.decoderconv_outconv_1bias"), r"decoder\.conv_out\.conv_1\.bias.*running"),
        (lambda file: file.update({"encoder.quant_conv.weight": torch.zeros(1)}), r"encoder\.quant_conv\.weight"),
        (
            lambda file: file.update(
                {"model_ema.decoderconv_outconv_1bias": torch.zeros(4), "decoder.conv_out.conv_1.bias": torch.zeros(4)}
            ),
            r"decoder\.out\.bias",
        ),
    ],
)
def test_a_released_file_is_loaded_whole_or_refused(nano, change, said):
    file, _ = official()
    change(file)
    nano(file)
    with pytest.raises(CheckpointError, match=said):
        zoo.create_tokenizer(f"{NAME}.toy", pretrained=True)


def test_a_file_with_more_levels_than_the_tokenizer_is_refused(nano):
    file, _ = official()
    plain = {key: it for key, it in file.items() if key.startswith(("encoder.", "decoder."))}
    plain["decoder.up.3.block.7.norm1.weight"] = torch.ones(32)
    path = nano(plain)
    with pytest.raises(CheckpointError, match=r"decoder\.levels\.0\.blocks\.7\.norm1\.weight"):
        zoo.create_tokenizer(NAME, checkpoint_path=path)


@pytest.mark.slow
def test_verify_checks_the_whole_tokenizer(nano):
    file, _ = official()
    nano(file)
    assert [verify(f"{NAME}.toy", record=it).golden for it in (True, False)] == ["recorded", "matches"]
    golden = json.loads((weights_folder(f"{NAME}.toy") / "golden.json").read_text())
    # 2 x 2 x 2 latents of 4 numbers, 3 channels of 5 frames.
    assert len(golden["output"]) == 8 * 4 + 15


def test_a_tokenizer_of_ours_comes_back_from_its_file_with_its_options(tmp_path):
    made = zoo.create_tokenizer("lvmae_tokenizer_tiny", levels=(5, 5), channels=8)
    path = tmp_path / "mine.safetensors"
    zoo.save_tokenizer(made, path, name="lvmae_tokenizer_tiny", overrides={"levels": (5, 5), "channels": 8})
    for found in (zoo.load_tokenizer(path), zoo.create_tokenizer("lvmae_tokenizer_tiny", checkpoint_path=path)):
        assert_equal(found.state_dict(), made.state_dict())
        assert (found.quantizer.levels, found.training) == ((5, 5), False)
    with pytest.raises(CheckpointError, match="it holds a lvmae_tokenizer_tiny, not a magvit2_causal"):
        zoo.create_tokenizer("magvit2_causal", checkpoint_path=path)


def test_the_encoder_of_a_tokenizer_of_ours_can_be_classified_with(tmp_path):
    made = zoo.create_tokenizer("lvmae_tokenizer_tiny", channels=8)
    path = tmp_path / "mine.safetensors"
    zoo.save_tokenizer(made, path, name="lvmae_tokenizer_tiny", overrides={"channels": 8})
    model = zoo.create_model("lvmae_tokenizer_tiny", num_classes=3, channels=8, checkpoint_path=path)
    assert_equal(model.backbone.state_dict(), made.backbone.state_dict())


def test_a_tokenizer_is_not_saved_under_options_that_it_was_not_made_with(tmp_path):
    made = zoo.create_tokenizer("lvmae_tokenizer_tiny", channels=8)
    with pytest.raises(ValueError, match=r"with the options \{\} has another tensor"):
        zoo.save_tokenizer(made, tmp_path / "mine.safetensors", name="lvmae_tokenizer_tiny")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (None, "does not say which tokenizer it holds"),
        ("{", "is damaged"),
        ('{"architecture": "lvmae_tokenizer_tiny"}', "is damaged"),
        ('{"architecture": "nothing", "overrides": {}}', "unknown tokenizer 'nothing'"),
        (
            '{"architecture": "lvmae_tokenizer_tiny", "overrides": {"channels": 80000}}',
            "of [0-9,]* bytes, and the file",
        ),
        (
            '{"architecture": "lvmae_tokenizer_tiny", "overrides": {"depth": 800000}}',
            "asks for 800000 blocks per level",
        ),
    ],
)
def test_a_damaged_or_hostile_description_is_refused(tmp_path, description, said):
    path = tmp_path / "mine.safetensors"
    save_file({"backbone.x": torch.zeros(3)}, path, {"zoo_tokenizer": description} if description else None)
    with pytest.raises(CheckpointError, match=said):
        zoo.load_tokenizer(path)


def test_a_file_of_ours_that_lacks_a_tensor_is_refused_and_nothing_is_filled(tmp_path):
    made = zoo.create_tokenizer("lvmae_tokenizer_tiny")
    path = tmp_path / "mine.safetensors"
    zoo.save_tokenizer(made, path, name="lvmae_tokenizer_tiny")
    state = load_file(path)
    del state["latent.proj.bias"]
    save_file(state, path, {"zoo_tokenizer": '{"architecture": "lvmae_tokenizer_tiny", "overrides": {}}'})
    with pytest.raises(CheckpointError, match=r"latent\.proj\.bias"):
        zoo.load_tokenizer(path)
