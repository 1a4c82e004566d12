"""The cards of V-JEPA against the registry of released files, and every file's keys against its network."""

import json
import os
from pathlib import Path

import pytest
import torch

import zoo
from backbones.meta import meta_device
from heads.attentive import AttentiveHead
from heads.verb_noun import VerbNounHead
from tests.support import part
from zoo.card import Card, Converter
from zoo.cards import vjepa_weights
from zoo.layouts import recognise
from zoo.model import VideoModel
from zoo.registry import get_architecture

CARDS = {card.name: card for card in vjepa_weights.CARDS}
BUILT = [name for name, card in CARDS.items() if not card.missing]
PROBES = [name for name in BUILT if CARDS[name].task == "probe"]
# One per layout; the others differ in sizes only.
FAST = {
    "vjepa_large_16_224.videomix2m",
    "vjepa_large_16_224.videomix2m_probe_ssv2",
    "vjepa2_large_16_256.videomix22m",
    "vjepa2_large_16_256.videomix22m_hf",
    "vjepa2_large_16_256.videomix22m_probe_diving48",
    "vjepa2_large_16_256.videomix22m_probe_ek100",
    "vjepa2_large_16_256.videomix22m_ssv2_hf",
}
EACH = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in BUILT]
# How the registry calls what our cards call otherwise.
METRICS = {
    "ek100_recall5": "ek100",
    "ek100_action_recall5": "ek100 actions",
    "verb": "ek100 verbs",
    "noun": "ek100 nouns",
}
SYMBOLS = {"num_verbs": "verb", "num_nouns": "noun", "num_actions": "action"}


def shared(relative: str) -> dict:
    folder = os.environ.get("ZOO_FIXTURES")
    path = Path(folder).parent / relative if folder else None
    if path is None or not path.exists():
        pytest.skip(f"{relative} is not here; set ZOO_FIXTURES to shared/fixtures (it lies beside it)")
    return json.loads(path.read_text())


def entries() -> dict[str, dict]:
    return {entry["name"]: entry for entry in shared("registry/registry-vjepa.json")["entries"]}


def numbers(card: Card) -> dict[str, float]:
    """Printed numbers under the registry's names, without AVA's."""
    found = {}
    for it in card.reported:
        several = it.dataset == "ek100" and it.metric.startswith("recall@5 of") and card.task == "probe"
        found[f"ek100 {it.metric.split()[-1]}" if several else it.dataset] = it.value
    return {name: value for name, value in found.items() if name != "ava"}


def test_every_entry_of_the_registry_has_one_card_and_no_card_lacks_an_entry():
    assert len(vjepa_weights.CARDS) == len(CARDS) == 41
    assert set(CARDS) == set(entries())
    assert len(BUILT) == 36


def test_files_entries_licences_and_backbones_are_the_registrys():
    for name, entry in entries().items():
        card, [source] = CARDS[name], CARDS[name].weights.sources
        url = f"hf-hub:{source.hf_repo}" if source.hf_repo else source.url
        assert url == entry["url"], name
        assert bool(source.hf_repo) == (source.hf_file == "model.safetensors"), name
        expected = entry.get("default_key", "").replace("[", ".").replace("]", "")
        assert card.weights.entry == expected, name
        assert (card.architecture, card.tag) == (entry["arch"], entry["tag"])
        assert card.weights.weight_licence == entry["licence"], name
        assert card.backbone == entry.get("backbone", ""), name
        assert card.task == {"classifier": "classification", "probe": "probe"}.get(entry["kind"], "pretraining"), name


def test_numbers_are_the_registrys_and_name_their_source():
    for name, entry in entries().items():
        expected = {METRICS.get(key, key): value for key, value in entry["metrics"].items()}
        assert numbers(CARDS[name]) == expected, name
        assert all(it.source for it in CARDS[name].reported)
        ava = [it.value for it in CARDS[name].reported if it.dataset == "ava"]
        assert ava == ([entry["ava_map"]] if "ava_map" in entry else []), name


def test_clips_views_and_heads_are_the_registrys():
    for name, entry in entries().items():
        card, given, probe = CARDS[name], entry.get("eval") or entry.get("input", {}), entry.get("probe_kwargs", {})
        clip = card.clip
        if "frames" in given:
            assert clip.num_frames == given["frames"], name
            assert clip.img_size == given["resolution"], name
        if "views" in given:
            assert (clip.stride, clip.clips, clip.crops) == (given["frame_step"], given["segments"], given["views"])
        if "image_repeated_frames" in given:
            assert (clip.num_frames, clip.clips, clip.crops) == (given["image_repeated_frames"], 1, 1)
        if "dataset" in given:
            assert card.dataset == given["dataset"], name
        if probe:
            form = card.classifier
            depth = probe.get("depth") or probe["num_pooler_layers"] + 1
            assert (form.num_heads, form.depth, form.attention_eps) == (probe["num_heads"], depth, probe["norm_eps"])
            assert card.weights.num_classes == probe.get("num_classes", sum(vjepa_weights.EK100.values()))
            assert list(form.layers) == entry.get("out_layers", []), name
        if "fps" in given and entry["kind"] == "probe":
            assert (card.classifier.fps, card.classifier.seconds) == (given["fps"], given["anticipation_sec"])
            assert [f"{it}_classifier" for it in card.classifier.questions] == probe["heads"]


def test_classes_are_in_the_order_of_the_authors_csv_files_where_one_is_known():
    expected = {"ssv2": "ssv2", "k400": "k400_vjepa"}
    for name, card in CARDS.items():
        assert card.labels == (expected.get(card.dataset, "") if card.weights.num_classes else ""), name


def test_left_and_right_are_part_of_something_something():
    assert {card.clip.flip for card in CARDS.values() if card.dataset == "ssv2"} == {False}


def test_known_conflicts_are_in_the_notes():
    for name, entry in entries().items():
        text = " ".join(CARDS[name].notes)
        for warning in entry.get("warnings", []):
            assert ("22 heads" if "22 heads" in warning else "last block only") in text, name
        if "not measured for the HF file" in entry.get("metric_note", ""):
            assert "was not measured for this file" in text
        if "not stated" in entry.get("metric_note", ""):
            assert "is not stated" in text
        if "unused_keys" in entry.get("probe_kwargs", {}):
            assert "xattn.proj" in text
        if "predictor_note" in entry:
            assert "8 mask tokens" in text


def test_what_cannot_be_built_is_refused_with_the_reason():
    for name in set(CARDS) - set(BUILT):
        with pytest.raises(ValueError, match="not part of the zoo yet"):
            zoo.create_model(name)


def test_every_layout_of_a_card_is_one_of_its_architecture_and_no_two_share_a_file():
    for name in BUILT:
        layouts = [it.name for it in get_architecture(name).converters]
        assert CARDS[name].weights.layout in layouts
        assert len(set(layouts)) == len(layouts)
    files = [CARDS[name].weights.sources for name in CARDS]
    assert len(set(files)) == len(files)


def created(name: str) -> VideoModel:
    with meta_device():
        return zoo.create_model(name)


def tensors(shapes: dict[str, list]) -> dict[str, torch.Tensor]:
    counts = {symbol: vjepa_weights.EK100[question] for symbol, question in SYMBOLS.items()}
    return {key: torch.empty([counts.get(it, it) for it in shape], device="meta") for key, shape in shapes.items()}


def networks_of(name: str) -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of the released file, as it names them."""
    listed = shared(entries()[name]["manifest"])
    entry = CARDS[name].weights.entry.partition(".")[0]
    if "state_dict" in listed:
        return {"": tensors(listed["state_dict"])}
    if entry == "target_encoder":
        return {"target_encoder": tensors(listed["encoder"]), "predictor": tensors(listed["predictor"])}
    return {entry: tensors(listed["classifier"])}


def file_of(name: str) -> dict:
    """What the released file holds: its networks beside each other."""
    networks = networks_of(name)
    if "classifiers" in networks:
        return {"classifiers": [networks["classifiers"]], "epoch": 20}
    return networks.get("") or {**networks, "epoch": 20}


def official(name: str) -> Converter:
    return next(it for it in get_architecture(name).converters if it.name == CARDS[name].weights.layout)


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_every_key_of_a_file_is_taken_once_and_strictly(name):
    card, model, file = CARDS[name], created(name), file_of(name)
    report = zoo.load_checkpoint(model, file, entry=card.weights.entry)
    assert report.layout == CARDS[name].weights.layout
    own = set(model.state_dict())
    if card.task == "probe":
        assert set(report.matched) == {key for key in own if key.startswith("head.")}
    elif card.task == "classification":
        assert set(report.matched) == own
    else:
        assert set(report.matched) == {key for key in own if key.startswith("backbone.")}
    state = zoo.weight_files.unwrap(file, name, card.weights.entry).state
    count = len(report.matched) + len(report.dropped)
    split = 2 * sum(".qkv." in key or ".kv." in key for key in report.matched)
    if card.weights.layout == vjepa_weights.HF_CLASSIFIER:
        kv = sum(".kv." in key for key in report.matched)
        assert len(state) == count + split - kv
    elif card.weights.layout != vjepa_weights.HF_MODEL:
        assert len(state) == count


@pytest.mark.parametrize("name", EACH)
def test_the_way_back_gives_the_file_again(name):
    card, layout = CARDS[name], official(name)
    state = zoo.weight_files.unwrap(file_of(name), name, card.weights.entry).state
    prefix = next((it for it in ("module.backbone.", "module.") if all(key.startswith(it) for key in state)), "")
    state = part(state, prefix)
    converted = layout.to_zoo(state)
    assert not converted.unexpected
    assert all(CARDS[name].task == "probe" or "predictor" in key for key in converted.dropped)
    back = layout.to_official(converted.state).state
    assert {key: it.shape for key, it in back.items()} == {
        key: it.shape for key, it in state.items() if key not in converted.dropped
    }


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_has_the_head_that_its_card_says(name):
    card, model = CARDS[name], created(name)
    assert model.num_classes == card.weights.num_classes
    assert model.spec.clip.num_frames == card.clip.num_frames
    kind = VerbNounHead if card.classifier.questions else AttentiveHead
    assert type(model.head) is kind
    assert len(model.head.blocks) == card.classifier.depth - 1
    assert hasattr(model, "decoder") == (card.dataset == "ek100")
    assert card.backbone in CARDS
    assert CARDS[card.backbone].architecture == card.architecture


def test_a_predictor_is_read_with_its_encoder_by_a_model_that_needs_it():
    name = "vjepa2_large_16_256.videomix22m_probe_ek100"
    for backbone in (CARDS[name].backbone, f"{CARDS[name].backbone}_hf"):
        model = created(name)
        report = zoo.load_checkpoint(model, file_of(backbone))
        own = {key for key in model.state_dict() if not key.startswith("head.")}
        assert set(report.matched) == own
        assert any(key.startswith("decoder.") for key in own)


def test_a_layout_is_recognised_by_its_keys_alone():
    for name in FAST:
        model = created(name)
        state = zoo.weight_files.unwrap(file_of(name), name).state
        found = recognise(state, get_architecture(name).converters, model.state_dict())
        assert found.layout.name == CARDS[name].weights.layout
