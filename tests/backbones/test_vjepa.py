import pytest
import torch

from backbones import vjepa
from tests.support import assert_parity, load
from tests.vjepa import STEMS, encoder, loaded_encoder, official, use_stem


@pytest.fixture(params=STEMS)
def parity(request, monkeypatch):
    tolerance = use_stem(request.param, monkeypatch)

    def check(name: str, side: dict, actual: torch.Tensor, expected: torch.Tensor) -> None:
        assert_parity(f"vjepa/{name} ({request.param})", actual, expected, rtol=0, atol=tolerance or side["tolerance"])

    return check


@pytest.mark.parametrize("name", ["v1_encoder_unmasked", "v1_encoder_masked", "v1_encoder_image"])
def test_the_table_is_that_of_the_authors_files(name):
    side, tensors = load(f"vjepa/{name}")
    table = official(tensors, "encoder")["pos_embed"]
    own = encoder(side["constructor"]["encoder"]).pos_embed
    assert_parity(f"vjepa/{name} pos_embed", own, table, rtol=0, atol=side["tolerance"])


@pytest.mark.parametrize("name", ["v1_encoder_unmasked", "v1_encoder_image"])
@torch.no_grad()
def test_tokens_of_the_first_v_jepa_equal_the_authors_at_both_sizes(name, parity):
    side, tensors = load(f"vjepa/{name}")
    network = loaded_encoder(side["constructor"]["encoder"], tensors)
    for size in ("", "_other_size"):
        video = tensors[f"in.video{size}"]
        video = video if video.ndim == 5 else video[:, :, None]
        actual = network.forward_features(video).tokens
        parity(f"{name} tokens{size}", side, actual, tensors[f"out.tokens{size}"])


@torch.no_grad()
def test_masked_tokens_of_the_first_v_jepa_equal_the_authors(parity):
    side, tensors = load("vjepa/v1_encoder_masked")
    network, video = loaded_encoder(side["constructor"]["encoder"], tensors), tensors["in.video"]
    parity("v1_encoder_masked tokens", side, network.forward_features(video).tokens, tensors["out.tokens"])
    for index in range(2):
        actual = network.forward_features(video, tensors[f"in.masks.{index}"]).tokens
        parity(f"v1_encoder_masked masked {index}", side, actual, tensors[f"out.masked.{index}"])
    both = [network.forward_features(video, tensors[f"in.equal_masks.{index}"]).tokens for index in range(2)]
    parity("v1_encoder_masked concatenated", side, torch.cat(both), tensors["out.masked_concat"])


@torch.no_grad()
def test_tokens_of_v_jepa_2_equal_the_authors_with_and_without_masks(parity):
    side, tensors = load("vjepa/v2_encoder_rope")
    network = loaded_encoder(side["constructor"]["encoder"], tensors)
    for group in range(2):
        video = tensors[f"in.videos.{group}"]
        actual = network.forward_features(video).tokens
        parity(f"v2_encoder_rope tokens {group}", side, actual, tensors[f"out.tokens.{group}"])
        for index in range(2):
            actual = network.forward_features(video, tensors[f"in.masks.{group}.{index}"]).tokens
            expected = tensors[f"out.masked.{group}.{index}"]
            parity(f"v2_encoder_rope masked {group}.{index}", side, actual, expected)


@torch.no_grad()
def test_tokens_of_v_jepa_2_equal_the_authors_at_other_sizes(parity):
    side, tensors = load("vjepa/v2_encoder_rope_othersize")
    network = loaded_encoder(side["constructor"]["encoder"], tensors)
    for group in range(2):
        actual = network.forward_features(tensors[f"in.videos.{group}"]).tokens
        parity(f"v2_encoder_rope_othersize {group}", side, actual, tensors[f"out.tokens.{group}"])


# Parameters of the encoders [spec-vjepa, 1.1 and 3.1], in millions; the first V-JEPA's include the table.
@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("vjepa_large", {}, 305.49),
        ("vjepa_huge", {}, 633.66),
        ("vjepa_huge", {"img_size": 384}, 637.55),
        ("vjepa2_large", {}, 303.9),
        ("vjepa2_huge", {}, 631.6),
        ("vjepa2_giant", {}, 1012.2),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(name, options, millions):
    with torch.device("meta"):
        network = getattr(vjepa, name)(**options)
    count = sum(it.numel() for it in network.state_dict().values()) / 1e6
    assert count == pytest.approx(millions, abs=0.05 if name.startswith("vjepa2") else 0.005)


def test_branch_outputs_start_smaller_in_deeper_blocks_of_the_second_v_jepa_only():
    def spread(network: torch.nn.Module) -> list[float]:
        return [block.mlp.fc2.weight.std().item() for block in network.blocks]

    options = {"img_size": 16, "num_frames": 2, "embed_dim": 192, "depth": 3, "num_heads": 3}
    first, second = spread(vjepa.vjepa_tiny(**options)), spread(vjepa.vjepa2_large(**options))
    assert first == pytest.approx([0.02] * 3, rel=0.02)
    assert second == pytest.approx([0.02 / (2 * index) ** 0.5 for index in (1, 2, 3)], rel=0.02)


def test_positions_of_the_second_v_jepa_are_in_attention_only():
    network = vjepa.vjepa2_pico()
    assert network.pos_embed is None
    assert "pos_embed" not in network.state_dict()
    assert "pos_embed" in vjepa.vjepa_pico().state_dict()
