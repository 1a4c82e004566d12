"""From the constructor arguments in the vjepa fixtures to our networks with the authors' weights."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from backbones.contract import Grid
from backbones.layers import Flavor, PatchEmbed3d
from backbones.tokens import take
from backbones.vit import ViT
from backbones.vjepa import VJEPA, VJEPA2, VJEPA_IMAGE
from heads.masked_decoder import MaskedDecoder
from tests.support import part
from zoo.card import Converter
from zoo.cards import vjepa as card

Options = dict[str, Any]
PREFIX = "module.backbone."
# The authors' convolution gives their numbers bit for bit. Our stem, a matrix product over the kept tubelets, rounds
# elsewhere; the fixtures' README allows 1e-5 for another kernel.
STEMS = ("convolution", "product")


def use_stem(stem: str, monkeypatch: Any) -> float | None:
    """Embed tubelets by this kernel; the tolerance is that of the fixture where None is returned."""
    if stem == "product":
        return 1e-5

    def convolve(self: PatchEmbed3d, video: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        return take(self.proj(video).flatten(2).transpose(1, 2), keep)

    monkeypatch.setattr(PatchEmbed3d, "forward", convolve)
    return None


def flavor(options: Options) -> Flavor:
    """Of an encoder or a predictor."""
    if options.get("use_rope"):
        return VJEPA2
    if options["num_frames"] == 1:
        return VJEPA_IMAGE
    return VJEPA if options["uniform_power"] else replace(VJEPA, positions="vjepa_split")


def encoder(options: Options) -> ViT:
    frames = options["num_frames"]
    return ViT(
        img_size=options["img_size"],
        num_frames=frames,
        patch_size=options["patch_size"],
        tubelet_size=min(frames, options["tubelet_size"]),
        embed_dim=options["embed_dim"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        flavor=flavor(options),
    )


def predictor(options: Options) -> MaskedDecoder:
    side = options["img_size"] // options["patch_size"]
    return MaskedDecoder(
        options["embed_dim"],
        options["embed_dim"],
        Grid(options["num_frames"] // options["tubelet_size"], side, side),
        width=options["predictor_embed_dim"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        embed_bias=True,
        num_mask_tokens=options["num_mask_tokens"],
        zero_mask_tokens=True,
        decay_mask_tokens=True,
        flavor=flavor(options),
    )


def official(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """Weights of one network as a released file names them, without the wrappers' prefix."""
    return part(tensors, f"sd/{name}/{PREFIX}")


def zoo_state(state: dict[str, torch.Tensor], converter: Converter) -> dict[str, torch.Tensor]:
    """The authors' weights in our names; every key must be known, and the way back must be exact."""
    assert converter.matches(list(state))
    converted = converter.to_zoo(state)
    assert not converted.unexpected
    assert not converted.dropped
    back = converter.to_official(converted.state)
    assert back.state.keys() == state.keys()
    assert all(torch.equal(back.state[key], tensor) for key, tensor in state.items())
    return converted.state


def layout(options: Options) -> Converter:
    """Of the file of an encoder."""
    if options.get("use_rope"):
        return card.OFFICIAL_2
    return card.OFFICIAL_IMAGE if options["num_frames"] == 1 else card.OFFICIAL


def fill(network: nn.Module, state: dict[str, torch.Tensor], namespace: str) -> None:
    """Load the part of a converted state dict under a namespace, strictly."""
    network.load_state_dict(part(state, f"{namespace}."))


def loaded_encoder(options: Options, tensors: dict[str, torch.Tensor], name: str = "encoder") -> ViT:
    network = encoder(options)
    fill(network, zoo_state(official(tensors, name), layout(options)), "backbone")
    return network.eval()


def loaded_predictor(options: Options, tensors: dict[str, torch.Tensor]) -> MaskedDecoder:
    network = predictor(options)
    fill(network, zoo_state(official(tensors, "predictor"), card.OFFICIAL_PREDICTOR), "decoder")
    return network.eval()
