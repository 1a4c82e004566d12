"""Probes of V-JEPA through the public door: the encoder's file, then the probe's, give the authors' answers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import zoo
from backbones.vjepa import VJEPA2
from heads.views import join
from tests.support import assert_parity, load, part
from zoo import registry
from zoo.card import Classifier
from zoo.model import VideoModel

SIZES = ("img_size", "num_frames", "patch_size", "tubelet_size", "embed_dim", "depth", "num_heads")
# The fixtures' README allows 1e-5 for another attention kernel.
TOLERANCE = 1e-5


@pytest.fixture
def tiny(monkeypatch) -> Callable[..., VideoModel]:
    """Makes the network of a fixture, with the head and the predictor that its sidecar describes."""
    monkeypatch.setattr(registry, "_added", {})

    def make(name: str, given: dict[str, Any], classifier: Classifier) -> VideoModel:
        whole, predictor = zoo.get_architecture(name), given.get("predictor")
        if predictor:
            form = {"width": predictor["predictor_embed_dim"], "num_mask_tokens": predictor["num_mask_tokens"]}
            form |= {key: predictor[key] for key in ("depth", "num_heads")}
            whole = replace(whole, name="tiny", predictor={**whole.predictor, **form, "flavor": VJEPA2})
            registry.register(whole)
            name = "tiny"
        options = {key: given["encoder"][key] for key in SIZES}
        classes = None if classifier.questions else given["classifier"]["num_classes"]
        return zoo.create_model(name, num_classes=classes, classifier=classifier, **options).eval()

    return make


def form(given: dict[str, Any], **others: Any) -> Classifier:
    head = given["classifier"]
    return Classifier(pool="mean", kind="attentive", num_heads=head["num_heads"], depth=head["depth"], **others)


def fill(model: VideoModel, tensors: dict[str, torch.Tensor], *, second: bool) -> tuple[Any, Any]:
    """Load the files as their authors write them: encoders and predictor beside each other, then the probe."""
    file = {name: part(tensors, f"sd/{name}/") for name in ("encoder", "predictor")}
    encoder = zoo.load_checkpoint(model, {name: it for name, it in file.items() if it})
    probe = part(tensors, "sd/classifier/")
    return encoder, zoo.load_checkpoint(model, {"classifiers": [probe]} if second else {"classifier": probe})


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("v1_frozen_aggregation", "vjepa_large_16_224"),
        ("v2_frozen_aggregation", "vjepa2_large_16_256"),
        ("v2_frozen_aggregation_multilevel", "vjepa2_large_16_256"),
    ],
)
@torch.no_grad()
def test_encoder_and_probe_files_give_the_authors_logits(name, architecture, tiny):
    side, tensors = load(f"vjepa/{name}")
    given = side["constructor"]
    layers = tuple(given["encoder"].get("out_layers") or ())
    model = tiny(architecture, given, form(given, layers=layers))
    encoder, probe = fill(model, tensors, second=name.startswith("v2"))
    assert all(key.startswith("head.") for key in encoder.missing)
    assert all(key.startswith("backbone.") for key in probe.missing)
    unused = ["pooler.cross_attention_block.xattn.proj." + kind for kind in ("weight", "bias")]
    assert sorted(probe.dropped) == (sorted(unused) if name.startswith("v1") else [])
    segments = sorted({key.split(".")[2] for key in tensors if key.startswith("in.clips.")})
    for view in sorted({key.split(".")[3] for key in tensors if key.startswith("in.clips.")}):
        clips = [model.forward_features(tensors[f"in.clips.{it}.{view}"]) for it in segments]
        logits = model.forward_head(join(clips))
        assert_parity(f"vjepa/{name} {view}", logits, tensors[f"out.logits.{view}"], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_anticipation_gives_verb_noun_and_action_of_the_authors(tiny):
    side, tensors = load("vjepa/v2_action_anticipation")
    given = side["constructor"]
    questions = {name: given["classifier"][f"{name}s"] for name in ("verb", "noun", "action")}
    for index, seconds in enumerate(tensors["in.anticipation_times"].tolist()):
        registry._added.clear()
        head = form(given, questions=questions, fps=given["wrapper"]["frames_per_second"], seconds=seconds)
        model = tiny("vjepa2_large_16_256", given, head)
        fill(model, tensors, second=True)
        scores = model(tensors["in.video"][index : index + 1])
        assert list(scores) == ["verb", "noun", "action"]
        for question, it in scores.items():
            expected = tensors[f"out.{question}"][index : index + 1]
            assert_parity(f"vjepa/v2_action_anticipation {question}", it, expected, rtol=0, atol=TOLERANCE)
