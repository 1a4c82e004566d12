"""Every card's file, by the list of its keys and shapes: consumed key by key into its network, and written back."""

import pytest
import torch

import zoo
from backbones.meta import meta_device
from tests.support import manifest
from tests.zoo.cards.facts import BUILDABLE, entries
from zoo.card import Card
from zoo.registry import architectures

PATCH = 16
# One per layout.
FAST = {
    ("videomamba_tiny.in1k_res224to448to576", "image"),
    ("videomamba_base.in1k_res224", "distill"),
    ("videomamba_tiny.k400_f64_res224to384", "video"),
    ("videomamba_middle.breakfast_mask_ft_f64_res224", "video"),
    ("videomamba_middle_pretrain.k400_mask_pt_f8_res224", "pretrain"),
    ("umt_base.k710_pt_f8_res224", "manifest"),
    ("umt_base.k710_ft_k400_ft_mitv1_f8_res384", "manifest"),
    ("umt_base.k710_ft_ava22_f8_res224", "manifest"),
    ("videomae_base.k400_pt_e800", "manifest"),
    ("videomae_base.k400_pt_e800", "hf_manifest"),
    ("videomae_small.ssv2_pt_e2400_ssv2_ft", "manifest"),
    ("videomae_small.ssv2_pt_e2400_ssv2_ft", "hf_manifest"),
    ("mae_st_huge.k400_pt", "manifest"),
    ("clip_visual_base_patch16.openai", "manifest"),
}


def forms() -> list:
    """Every card with every form that its file may have."""
    found = []
    for name, card in BUILDABLE.items():
        kinds = ["manifest"]
        if any(source.hf_repo.startswith("MCG-NJU/") for source in card.weights.sources):
            kinds = ["manifest", "hf_manifest"]
        elif name.startswith("videomamba_"):
            kinds = ["image"] if card.dataset == "in1k" else ["pretrain"] if card.task == "pretraining" else ["video"]
            if kinds == ["image"] and card.architecture in ("videomamba_middle", "videomamba_base"):
                kinds = ["image", "distill"]
        found += [
            pytest.param(name, kind, marks=() if (name, kind) in FAST else pytest.mark.slow, id=f"{name}-{kind}")
            for kind in kinds
        ]
    return found


def shapes_of(name: str, kind: str) -> dict[str, list[int]]:
    """Key -> shape of the file."""
    if kind in ("manifest", "hf_manifest"):
        family, _, file = entries()[name][kind].removeprefix("manifests/").rpartition("/")
        return manifest(f"{family.removesuffix('/manifests')}/{file.removesuffix('.json')}")
    return videomamba_shapes(BUILDABLE[name], kind)


def videomamba_shapes(card: Card, kind: str) -> dict[str, list[int]]:
    """The list of one size and clip, for this card's clip and classes."""
    size = card.architecture.split("_")[1]
    file = {"image": "image224", "distill": "distill224", "video": "video_f8_224", "pretrain": "pretrain_f8_224"}[kind]
    shapes = {key: list(shape) for key, shape in manifest(f"videomamba/videomamba_{size}_{file}")["keys"].items()}
    shapes["pos_embed"][1] = (card.clip.img_size // PATCH) ** 2 + 1
    if kind in ("video", "pretrain"):
        # The one file whose table is for half of its frames (thread 97).
        shapes["temporal_pos_embedding"][1] = card.clip.num_frames // (2 if card.resize_positions else 1)
    for key in shapes.keys() & {"head.weight", "head.bias"}:
        shapes[key][0] = card.weights.num_classes
    return shapes


@pytest.mark.parametrize(("name", "kind"), forms())
def test_every_key_is_consumed_once_and_comes_back(name, kind):
    card, shapes = BUILDABLE[name], shapes_of(name, kind)
    official = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    known = architectures()[card.architecture].converters
    (converter,) = [it for it in known if it.matches(list(official))]
    # The lists of CLIP are of what UMT reads, the cards of what the hub holds.
    assert card.weights.layout in ("", converter.name) or card.task == "teacher"

    converted = converter.to_zoo(official)
    assert converted.unexpected == []
    assert all(key.startswith("distill_head.") for key in converted.dropped)
    back = converter.to_official(converted.state)
    assert back.unexpected == []
    kept = {key: shape for key, shape in shapes.items() if key not in converted.dropped}
    assert {key: list(tensor.shape) for key, tensor in back.state.items()} == kept

    with meta_device():
        model = zoo.create_model(name)
    # One of the dictionaries that DeepSpeed and the authors' trainers put around the weights.
    report = zoo.load_checkpoint(model, {"module": official}, resize_positions=card.resize_positions)
    assert (report.layout, report.missing, report.unexpected) == (converter.name, [], [])
    left_out = {key for key in report.dropped if not key.startswith("distill_head.")}
    assert all(key.startswith("decoder.") for key in left_out)
    assert bool(left_out) == (card.task in ("pretraining", "teacher"))
    assert set(report.matched) == set(converted.state) - left_out
    # What no file holds is the sine and cosine table that the network has computed.
    assert (
        set(model.state_dict()) - set(report.matched) <= {"backbone.pos_embed"} - dict(model.named_parameters()).keys()
    )
    assert set(report.resized) == ({"backbone.temporal_pos_embed"} if card.resize_positions else set())


def test_every_layout_of_a_released_file_has_a_fast_case():
    layouts = {
        (name.split("_")[0], next(it.name for it in known if it.matches(list(shapes_of(name, kind)))))
        for name, kind in FAST
        for known in [architectures()[BUILDABLE[name].architecture].converters]
    }
    used = {(name.split("_")[0], card.weights.layout) for name, card in BUILDABLE.items() if card.weights.layout}
    # No list of transformers' CLIP is at hand; `test_clip` takes one of its models.
    assert used - layouts == {("clip", "CLIP transformers")}
