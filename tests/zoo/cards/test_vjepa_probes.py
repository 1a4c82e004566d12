"""Probes of V-JEPA through the public door: the encoder's file, then the probe's, give the authors' answers."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from backbones.vjepa import VJEPA2
from heads.views import join
from tests.support import assert_parity, load, manifest, part
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


HF_SIZES = {
    "img_size": "crop_size",
    "num_frames": "frames_per_clip",
    "patch_size": "patch_size",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
}


def of_transformers(config: dict[str, Any], **head: Any) -> VideoModel:
    """A classifier of transformers' form, whose pooler has as many heads as the encoder."""
    heads, depth = config["num_attention_heads"], config["num_pooler_layers"] + 1
    values = {"num_heads": heads, "depth": depth, "attention_eps": 1e-6, **head}
    options = {ours: config[theirs] for ours, theirs in HF_SIZES.items()}
    classifier = Classifier(pool="mean", kind="attentive", **values)
    return zoo.create_model("vjepa2_large_16_256", num_classes=6, classifier=classifier, **options).eval()


@torch.no_grad()
def test_a_classifier_of_transformers_gives_its_own_logits_with_the_heads_of_its_encoder():
    side, tensors = load("vjepa/hf_vjepa2_classifier")
    config, file = side["constructor"]["config"], part(tensors, "sd/model/")
    model = of_transformers(config)
    report = zoo.load_checkpoint(model, file)
    assert not report.missing
    assert all("predictor" in key for key in report.dropped)
    logits = model(tensors["in.video"].transpose(1, 2))
    assert_parity("vjepa/hf_vjepa2_classifier", logits, tensors["out.logits"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("field", "value"), [("num_heads", 16), ("attention_eps", 1e-5)])
def test_a_classifier_of_transformers_does_not_go_into_a_head_of_the_authors_form(field, value):
    side, tensors = load("vjepa/hf_vjepa2_classifier")
    model = of_transformers(side["constructor"]["config"], **{field: value})
    before = model.head.query.clone()
    with pytest.raises(
        zoo.CheckpointError, match=f"its head has {field}=.*, the model's has {value}: pass a Classifier"
    ):
        zoo.load_checkpoint(model, part(tensors, "sd/model/"))
    assert torch.equal(model.head.query, before)


@pytest.mark.parametrize("kind", ["VJEPA2Model", "VJEPA2ForVideoClassification"])
def test_transformers_5_writes_the_names_of_the_published_files(kind, tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5")
    sizes = {"patch_size": 8, "crop_size": 16, "frames_per_clip": 4, "hidden_size": 32, "num_attention_heads": 4}
    predictor = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    config = transformers.VJEPA2Config(**sizes, **predictor, num_hidden_layers=1, num_labels=6)
    getattr(transformers, kind)(config).save_pretrained(tmp_path)
    written = set(load_file(tmp_path / "model.safetensors"))
    classifier = kind != "VJEPA2Model"
    listed = manifest(f"vjepa/hf_vjepa2-{'vitl-fpc16-256-ssv2' if classifier else 'vitl-fpc64-256'}")["state_dict"]
    # Published networks have more blocks; the pooler has as many.
    assert written == {key for key in listed if not re.search(r"\.layer\.[1-9]\d*\.", key)}


def test_a_probe_alone_is_no_model(tmp_path):
    side, tensors = load("vjepa/v2_frozen_aggregation")
    given = side["constructor"]
    torch.save({"classifiers": [part(tensors, "sd/classifier/")]}, tmp_path / "probe.pt")
    options = {key: given["encoder"][key] for key in SIZES}
    with pytest.raises(zoo.CheckpointError, match=r"tensors of the model are not in it \(backbone\."):
        zoo.create_model(
            "vjepa2_large_16_256",
            num_classes=given["classifier"]["num_classes"],
            classifier=form(given),
            checkpoint_path=tmp_path / "probe.pt",
            **options,
        )


def test_a_list_of_several_probes_asks_which_one():
    side, tensors = load("vjepa/v2_frozen_aggregation")
    probe = part(tensors, "sd/classifier/")
    others = [{key: it + 1 for key, it in probe.items()}, probe]
    given = side["constructor"]
    options = {key: given["encoder"][key] for key in SIZES}
    model = zoo.create_model(
        "vjepa2_large_16_256", num_classes=given["classifier"]["num_classes"], classifier=form(given), **options
    )
    with pytest.raises(zoo.CheckpointError, match=r"a list of 2 state dicts; name the entry"):
        zoo.load_checkpoint(model, {"classifiers": others})
    zoo.load_checkpoint(model, {"classifiers": others}, entry="classifiers.1")
    assert torch.equal(model.head.query, probe["module.pooler.query_tokens"])
    with pytest.raises(
        zoo.CheckpointError, match=r"no entry 'classifiers.2': '2' is not there; entries there are '0', '1'"
    ):
        zoo.load_checkpoint(model, {"classifiers": others}, entry="classifiers.2")


@pytest.mark.slow  # saves a predictor of full size; test_released_pairs fills one fast
@torch.no_grad()
def test_a_model_that_looks_ahead_is_made_again_from_its_own_file(tiny, tmp_path):
    side, tensors = load("vjepa/v2_action_anticipation")
    given = side["constructor"]
    questions = {name: given["classifier"][f"{name}s"] for name in ("verb", "noun", "action")}
    model = tiny("vjepa2_large_16_256", given, form(given, questions=questions, fps=8, seconds=0.5))
    fill(model, tensors, second=True)
    zoo.save_checkpoint(model, tmp_path / "whole.safetensors")
    again = zoo.create_model("tiny", checkpoint_path=tmp_path / "whole.safetensors").eval()
    assert again.spec.classifier == model.spec.classifier
    for question, scores in again(tensors["in.video"]).items():
        assert torch.equal(scores, model(tensors["in.video"])[question])
    assert set(again.get_classifier()) == {"verb", "noun", "action"}
    with pytest.raises(ValueError, match="answers"):
        again.reset_classifier(5)
    with pytest.raises(ValueError, match="19 classes together, not 5"):
        zoo.create_model("tiny", num_classes=5, classifier=model.spec.classifier)
