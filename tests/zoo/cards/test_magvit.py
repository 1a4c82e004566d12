"""Open-MAGVIT2's networks against the authors' outputs (a tiny model), its layout against the released files' keys."""

import json
import zlib

import pytest
import torch

from backbones import magvit
from backbones.meta import meta_device
from tests.support import assert_parity, find
from zoo.cards import magvit as card

FILES = {
    "video_128_262144": "open_magvit2_video_128",
    "imagenet_128_L": "open_magvit2_image_128",
    "imagenet_256_L": "open_magvit2_image_256",
    "pretrain256_16384": "open_magvit2_pretrain_16384",
    "pretrain256_262144": "open_magvit2_pretrain_262144",
}
ARCHITECTURES = {it.name: it for it in card.ARCHITECTURES}


def tiny_layout(video: bool = True) -> card.LightningLayout:
    return card.layout("tiny", levels=4, depth=1, video=video)


def recipe(shapes: dict[str, torch.Size], video: bool = True) -> dict[str, torch.Tensor]:
    """Weights under our names, filled by the fixture's recipe under the authors' names."""
    layout = tiny_layout(video)
    theirs = {}
    for key, tensor in layout.to_official({name: torch.empty(shape) for name, shape in shapes.items()}).state.items():
        if "norm" in key:
            theirs[key] = torch.full(tensor.shape, 1.0 if key.endswith("weight") else 0.0)
            continue
        wave = torch.sin(0.37 * torch.arange(tensor.numel(), dtype=torch.float64) + zlib.crc32(key.encode()) % 1000)
        scale = 1.5 / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.1
        theirs[key] = (wave * scale).float().view(tensor.shape)
    found = layout.to_zoo(theirs)
    assert not found.dropped
    assert not found.unexpected
    return found.state


def shapes_of(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: it.shape for name, it in module.state_dict().items()}


def test_the_tiny_video_model_gives_the_authors_latents_indices_and_pixels():
    parity = json.loads(find("magvit/open_magvit2_tiny_parity.json").read_text())
    tokenizer = magvit.open_magvit2_video_128(levels=6, channels=32, depth=1).eval()
    tokenizer.load_state_dict(recipe(shapes_of(tokenizer)))
    for case in parity["cases"]:
        shape = (1, 3, case["T"], 32, 32)
        wave = torch.sin(0.11 * torch.arange(torch.Size(shape).numel(), dtype=torch.float32)).view(shape)
        with torch.no_grad():
            latents = tokenizer.latents((wave + 1) / 2)
            codes = tokenizer.quantize(latents)
            pixels = 2 * tokenizer.reconstruct(codes.codes) - 1
        expected = torch.tensor(case["z"]).view(case["z_shape"]).movedim(1, -1)
        assert_parity(f"latents, {case['T']} frames", latents, expected, rtol=1e-4, atol=2e-5)
        assert codes.indices.flatten().tolist() == case["indices"]
        assert list(pixels.shape) == case["y_shape"]
        head = torch.tensor(case["y_head"])
        # Which pixels the sample holds is not said; every 97th fits all three cases.
        sample = pixels.flatten()[::97][: len(head)]
        assert_parity(f"pixels, {case['T']} frames", sample, head, rtol=1e-4, atol=2e-5)
        assert float(pixels.mean()) == pytest.approx(case["y_mean"], rel=1e-4)
        assert float(pixels.std()) == pytest.approx(case["y_std"], rel=1e-4)


def official(architecture: str) -> dict[str, torch.Tensor]:
    """The released file's tensors on the meta device, as the manifest lists them."""
    manifest = json.loads(find("magvit/open_magvit2_state_manifest.json").read_text())
    file = next(file for file, name in FILES.items() if name == architecture)
    return {key: torch.empty(shape, device="meta") for key, shape in manifest[file]["keys"].items()}


@pytest.mark.parametrize(
    "architecture", [pytest.param(it, marks=() if "video" in it else pytest.mark.slow) for it in FILES.values()]
)
def test_released_files_have_exactly_the_tensors_of_our_networks(architecture):
    theirs = official(architecture)
    with meta_device():
        own = shapes_of(ARCHITECTURES[architecture].tokenizer())
    matching = [it for it in (card.VIDEO, card.IMAGE_8, card.IMAGE_16) if it.matches(list(theirs))]
    assert matching == list(ARCHITECTURES[architecture].converters)
    found = matching[0].to_zoo(theirs)
    assert {name: it.shape for name, it in found.state.items()} == own
    assert (found.dropped, found.unexpected) == ([], [])
    back = matching[0].to_official(found.state)
    assert {key: it.shape for key, it in back.state.items()} == {key: it.shape for key, it in theirs.items()}
    encoder = {name for name in own if name.startswith("backbone.")}
    with meta_device():
        assert {f"backbone.{name}" for name in shapes_of(ARCHITECTURES[architecture].build())} == encoder


def lightning_file(video: bool = True) -> dict[str, torch.Tensor]:
    """A file as the authors' trainer writes it: weights, averages under names without dots, discriminator."""
    build = magvit.open_magvit2_video_128 if video else magvit.open_magvit2_image_128
    own = build(levels=4, channels=8, depth=1).state_dict()
    weights = tiny_layout(video).to_official(own).state
    averages = {f"model_ema.{key.replace('.', '')}": it + 1 for key, it in weights.items()}
    extras = ("loss.discriminator.main.0.weight", "model_ema.lossdiscriminatormain0weight", "model_ema.decay")
    return {**weights, **averages, **{key: torch.zeros(2) for key in extras}, "model_ema.num_updates": torch.zeros(())}


@pytest.mark.parametrize("video", [True, False])
def test_running_averages_are_taken_and_the_rest_of_a_training_file_is_dropped(video):
    file, layout = lightning_file(video), tiny_layout(video)
    found = layout.to_zoo(file)
    plain = layout.to_zoo({key: it for key, it in file.items() if key.startswith(("encoder.", "decoder."))})
    assert found.state.keys() == plain.state.keys()
    assert all(torch.equal(it, plain.state[name] + 1) for name, it in found.state.items())
    weights = {key for key in file if key.startswith(("encoder.", "decoder."))}
    assert set(found.dropped) == weights | {key for key in file if "loss" in key} | {
        "model_ema.decay",
        "model_ema.num_updates",
    }
    assert not found.unexpected


def test_a_file_that_lacks_one_running_average_is_refused():
    file = lightning_file()
    del file["model_ema.decoderadaptive0gammaweight"]
    with pytest.raises(ValueError, match=r"'decoder\.adaptive\.0\.gamma\.weight' is there but its running average"):
        tiny_layout().to_zoo(file)


def test_averages_that_two_weights_could_claim_are_refused():
    file = lightning_file()
    file["encoder.conv.in.conv_1.weight"] = file["encoder.convin.conv_1.weight"] = torch.zeros(1)
    file["model_ema.encoderconvinconv_1weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="two weights have the same name without dots"):
        tiny_layout().to_zoo(file)


def test_every_card_names_a_file_of_its_own_and_a_layout_of_its_architecture():
    assert {it.architecture for it in card.CARDS} == set(FILES.values())
    for it in card.CARDS:
        assert it.weights.sources[0].hf_file.removesuffix(".ckpt") in FILES
        assert FILES[it.weights.sources[0].hf_file.removesuffix(".ckpt")] == it.architecture
        assert it.weights.layout == ARCHITECTURES[it.architecture].converters[0].name


@pytest.mark.parametrize("architecture", card.ARCHITECTURES, ids=lambda it: it.name)
def test_the_tokenizer_of_a_name_has_the_encoder_of_that_name(architecture):
    with meta_device():
        tokenizer, encoder = architecture.tokenizer(), architecture.build()
    assert shapes_of(tokenizer.backbone) == shapes_of(encoder)
    assert tokenizer.form == encoder.form


@pytest.mark.parametrize(
    ("name", "codes", "grid"),
    [
        ("open_magvit2_video_128", 2**18, (5, 16, 16)),
        ("magvit2_causal", 2**18, (5, 16, 16)),
        ("open_magvit2_image_128", 2**18, (1, 16, 16)),
        ("open_magvit2_image_256", 2**18, (1, 16, 16)),
        ("open_magvit2_pretrain_16384", 2**14, (1, 16, 16)),
        ("lvmae_tokenizer_base", 2**18, (8, 14, 14)),
        ("lvmae_tokenizer_small", 2**18, (8, 14, 14)),
        ("lvmae_tokenizer_tiny", 2**18, (8, 3, 3)),
    ],
)
def test_codebooks_and_grids_are_the_papers(name, codes, grid):
    architecture = ARCHITECTURES[name]
    with meta_device():
        tokenizer = architecture.tokenizer()
        video = torch.empty(1, 3, architecture.clip.num_frames, architecture.clip.img_size, architecture.clip.img_size)
    assert tokenizer.codebook_size == codes
    assert tuple(tokenizer.grid(video)) == grid


@pytest.mark.slow  # 20 s on the meta device
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # Open-MAGVIT2's: encoder and decoder as the specification counts them (B.3); the others are ours.
        ("open_magvit2_video_128", 144.9 + 225.7),
        ("open_magvit2_image_128", 48.4 + 63.6),
        ("open_magvit2_image_256", 49.8 + 65.4),
        ("open_magvit2_pretrain_16384", 49.8 + 65.4),
        ("open_magvit2_pretrain_262144", 49.8 + 65.4),
        ("magvit2_causal", 144.9 + 225.7),
        ("lvmae_tokenizer_base", None),
        ("lvmae_tokenizer_small", None),
    ],
)
def test_a_published_size_gives_back_the_clips_it_took_and_has_the_papers_parameters(name, millions):
    architecture = ARCHITECTURES[name]
    with meta_device():
        tokenizer = architecture.tokenizer().eval()
        video = torch.empty(1, 3, architecture.clip.num_frames, architecture.clip.img_size, architecture.clip.img_size)
    with torch.no_grad():
        codes = tokenizer.quantize(tokenizer.latents(video))
        made = tokenizer.reconstruct(codes.codes)
    assert codes.indices.shape[1:] == tuple(tokenizer.grid(video))
    assert made.shape == video.shape
    if millions is not None:
        assert sum(it.numel() for it in tokenizer.parameters()) == pytest.approx(millions * 1e6, rel=1e-3)
