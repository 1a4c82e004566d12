"""Made-up cards of tiny models, and their files."""

import torch

import zoo
from zoo.card import Card, ClipSpec, Source, Weights, rename
from zoo.card import Converter as Layout

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "num_frames": 4, "img_size": 16}
CLIP = ClipSpec(num_frames=4, sampling="uniform", img_size=16)
# As the authors of V-JEPA name the tensors of a probe.
PROBE = Layout(name="toy probe", needs=("pooler.query",), rules=(rename("pooler.*", "head.*"),))


def card(tag="toy", *, file="toy.pth", **options):
    weights = {"num_classes": 5, **options.pop("weights", {})}
    sources = (Source(url=f"https://example.org/{tag}/{file}"),)
    settings = {"architecture": "vit_pico", "clip": CLIP, "overrides": SMALL, **options}
    return Card(tag=tag, weights=Weights(sources=sources, **weights), **settings)


def values(model, seed):
    """Random values for a model."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tensor.shape, generator=generator) for name, tensor in model.state_dict().items()}


def official(seed=7, **options):
    """What somebody's file holds, under our names."""
    return values(zoo.create_model("vit_pico", **{"num_classes": 5, **SMALL, **options}), seed)
