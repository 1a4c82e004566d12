"""Released weights by name: the whole network of the card, or an error and no model."""

import logging
from dataclasses import replace

import pytest
import torch

import zoo
from tests.zoo.made_up import CLIP, PROBE, SMALL, card, official, values
from tests.zoo.weights import assert_equal, snapshot
from zoo import registry
from zoo.card import Classifier
from zoo.fetch import FetchError
from zoo.pretrained import load_pretrained
from zoo.weight_cache import read_record
from zoo.weight_files import CheckpointError

ATTENTIVE = Classifier(pool="mean", kind="attentive", num_heads=2)
NEVER = "has never been loaded before"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path / "files"))
    return tmp_path / "files"


@pytest.fixture
def publish(monkeypatch, folder):
    """Make cards known, each with its file in the folder."""

    def publish(*entries):
        monkeypatch.setattr("zoo.cards.CARDS", tuple(it for it, _ in entries))
        for it, value in entries:
            (folder / it.name).mkdir(exist_ok=True)
            if value is not None:
                torch.save(value, folder / it.name / "toy.pth")

    return publish


def test_a_name_gives_the_network_with_the_values_of_the_file(publish, caplog):
    state = official()
    publish((card(), {"model": state}))
    with caplog.at_level(logging.INFO):
        model = zoo.create_model("vit_pico.toy", pretrained=True)
    assert_equal(model.state_dict(), state)
    assert (model.num_classes, model.spec.tag, model.spec.clip) == (5, "toy", CLIP)
    assert (len(model.load_report.matched), model.load_report.missing) == (len(state), [])
    assert "matched" in caplog.text
    assert model.pretrained_cfg["tag"] == "toy"


def test_without_pretrained_the_form_of_the_card_has_random_values_and_no_tag(publish):
    publish((card(), None))
    model = zoo.create_model("vit_pico.toy")
    assert (model.num_classes, model.spec.tag, model.load_report) == (5, "", None)


def test_the_hash_is_recorded_after_the_strict_load_and_not_before(publish, folder):
    wrong, right = official(), official()
    del wrong["backbone.blocks.0.attn.qkv.weight"]
    publish((card(), wrong))
    with pytest.raises(CheckpointError, match=rf"toy\.pth.*1 tensors of the model are not in it.*{NEVER}"):
        zoo.create_model("vit_pico.toy", pretrained=True)
    assert read_record("vit_pico.toy") is None
    publish((card(), right))
    zoo.create_model("vit_pico.toy", pretrained=True)
    assert read_record("vit_pico.toy")["file"] == "toy.pth"
    publish((card(), official(seed=8)))
    with pytest.raises(FetchError, match=r"toy\.pth' is refused: its sha256 is .*verified\.json says"):
        zoo.create_model("vit_pico.toy", pretrained=True)


def test_other_classes_replace_the_head_and_the_report_says_so(publish, caplog):
    state = official()
    publish((card(), state))
    zoo.create_model("vit_pico.toy", pretrained=True)
    assert caplog.text == ""
    model = zoo.create_model("vit_pico.toy", pretrained=True, num_classes=3)
    assert model.load_report.missing == ["head.linear.weight", "head.linear.bias"]
    assert str(model.load_report) in caplog.text
    assert "5 classes in the file, 3 in the model" in caplog.text
    assert torch.equal(model.head.norm.weight, state["head.norm.weight"])
    assert zoo.create_model("vit_pico.toy", pretrained=True, num_classes=0).num_classes == 0


@pytest.mark.parametrize("num_classes", [None, 5, 3])
def test_a_card_that_states_other_classes_than_its_file_is_an_error(publish, num_classes):
    publish((card(weights={"num_classes": 5}), official(num_classes=4)))
    with pytest.raises(CheckpointError, match="its classifier has 4 classes, not 5"):
        zoo.create_model("vit_pico.toy", pretrained=True, num_classes=num_classes)
    publish((card(), {name: it for name, it in official().items() if not name.startswith("head.")}))
    with pytest.raises(CheckpointError, match="its classifier has 0 classes, not 5"):
        zoo.create_model("vit_pico.toy", pretrained=True, num_classes=num_classes)


def pretraining_form(seed=7):
    return values(zoo.create_backbone("vit_pico", **SMALL), seed)


def test_a_file_without_a_classifier_is_of_the_pretraining_form(publish):
    state = pretraining_form()
    publish((card(weights={"num_classes": 0}), state))
    model = zoo.create_model("vit_pico.toy", pretrained=True)
    assert model.num_classes == 0
    assert_equal(model.state_dict(), {f"backbone.{name}": it for name, it in state.items()})
    assert model.load_report.missing == []


def test_a_file_without_a_classifier_gets_the_familys_own_on_demand(publish):
    publish((card(weights={"num_classes": 0}), pretraining_form()))
    model = zoo.create_model("vit_pico.toy", pretrained=True, num_classes=3)
    assert model.load_report.missing == [name for name in model.state_dict() if name.startswith("head.")]
    assert isinstance(model.head.norm, torch.nn.LayerNorm)


def test_the_entry_of_the_card_is_the_one_that_is_read(publish):
    first, second = official(1), official(2)
    publish((card(weights={"entry": "nets.1"}), {"nets": [first, second], "epoch": 3}))
    assert_equal(zoo.create_model("vit_pico.toy", pretrained=True).state_dict(), second)
    publish((card("other", weights={"entry": "target"}), {"encoder": first}))
    with pytest.raises(CheckpointError, match=r"no entry 'target': 'target' is not there; entries there are 'encoder'"):
        zoo.create_model("vit_pico.other", pretrained=True)


def test_the_layout_of_the_card_is_the_one_that_must_be_recognised(publish):
    publish((card(weights={"layout": "zoo"}), official()))
    zoo.create_model("vit_pico.toy", pretrained=True)
    publish((card("other", weights={"layout": "VideoMAE fine-tuned"}), official()))
    with pytest.raises(CheckpointError, match="it has the layout 'zoo', not 'VideoMAE fine-tuned'"):
        zoo.create_model("vit_pico.other", pretrained=True)


def test_a_file_of_another_network_is_not_said_to_have_a_layout_of_ours(publish):
    foreign = {"patch_embed.proj.weight": torch.ones(1), **{f"blocks.{n}.mixer.A": torch.ones(1) for n in range(9)}}
    publish((card(weights={"layout": "VideoMAE fine-tuned"}), foreign))
    with pytest.raises(CheckpointError, match="only 1 of its 10 tensors have a place in the model") as raised:
        zoo.create_model("vit_pico.toy", pretrained=True)
    assert "'zoo backbone'" not in str(raised.value)


@pytest.fixture
def with_a_table(monkeypatch):
    """A tiny architecture whose position table is learned."""
    mine = replace(registry.get_architecture("videomamba_pico"), name="mamba_nano")
    monkeypatch.setattr(registry, "_added", {"mamba_nano": mine})
    return {"embed_dim": 16, "depth": 1, "num_frames": 4, "img_size": 16}


@pytest.mark.parametrize("stated", [True, False])
def test_positions_are_resized_when_the_card_says_so_or_when_asked_for(publish, with_a_table, stated):
    state = values(zoo.create_model("mamba_nano", num_classes=5, **with_a_table), 1)
    larger = {**with_a_table, "img_size": 32}
    toy = card(architecture="mamba_nano", overrides=larger, resize_positions=stated)
    publish((toy, state))
    if not stated:
        with pytest.raises(CheckpointError, match="resize_positions=True"):
            zoo.create_model(toy.name, pretrained=True)
    model = zoo.create_model(toy.name, pretrained=True, resize_positions=not stated)
    assert list(model.load_report.resized) == ["backbone.pos_embed"]


def test_image_weights_are_inflated_on_demand_only(publish, with_a_table):
    options = {**with_a_table, "tubelet_size": 1}
    image = values(zoo.create_model("mamba_nano", num_classes=5, **{**options, "num_frames": 1}), 1)
    toy = card(architecture="mamba_nano", overrides=options)
    publish((toy, image))
    with pytest.raises(CheckpointError, match="inflate"):
        zoo.create_model(toy.name, pretrained=True)
    model = zoo.create_model(toy.name, pretrained=True, inflate="center")
    assert "backbone.temporal_pos_embed" in model.load_report.resized
    with pytest.raises(ValueError, match="unknown way to inflate 'centre'; choose 'center', 'mean' or None"):
        zoo.create_model(toy.name, pretrained=True, inflate="centre")


def test_a_local_file_or_folder_stands_for_the_download(publish, folder, tmp_path, monkeypatch):
    state = official()
    publish((card(weights={"entry": "target"}), {"target": state, "encoder": official(8)}))
    monkeypatch.delenv("ZOO_WEIGHTS")
    for local in (folder, folder / "vit_pico.toy" / "toy.pth", str(folder)):
        assert_equal(zoo.create_model("vit_pico.toy", pretrained=True, checkpoint_path=local).state_dict(), state)
        assert read_record("vit_pico.toy") is None, "a copy of the user's own must not vouch for later downloads"
    with pytest.raises(FetchError, match=r"has none of vit_pico\.toy/toy\.pth"):
        zoo.create_model("vit_pico.toy", pretrained=True, checkpoint_path=tmp_path)


def test_without_pretrained_any_file_of_the_form_may_be_loaded(publish, folder):
    state = official(9)
    publish((card(weights={"sha256": "0" * 64}), state))
    model = zoo.create_model("vit_pico.toy", checkpoint_path=folder / "vit_pico.toy" / "toy.pth")
    assert_equal(model.state_dict(), state)
    assert (model.spec.tag, read_record("vit_pico.toy")) == ("", None)


def test_weights_that_are_nowhere_are_told_offline(publish, monkeypatch):
    publish((card(), None))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"HF_HUB_OFFLINE=1 forbids(?s:.*)https://example\.org/toy/toy\.pth"):
        zoo.create_model("vit_pico.toy", pretrained=True)


# A probe: the backbone comes from another card's file.


@pytest.fixture
def probe(publish, monkeypatch):
    """Publish a probe and its backbone, with the files that a test gives or takes away."""
    mine = registry.get_architecture("vit_pico")
    mine = replace(mine, name="nano", converters=(*mine.converters, PROBE))
    monkeypatch.setattr(registry, "_added", {"nano": mine})
    whole = values(zoo.create_model("nano", num_classes=5, classifier=ATTENTIVE, **SMALL), 3)
    pooler = {name.replace("head.", "module.pooler."): it for name, it in whole.items() if name.startswith("head.")}

    def make(backbone=None, classifiers=None, weights=None):
        theirs = {name.removeprefix("backbone."): it for name, it in whole.items() if name.startswith("backbone.")}
        base = card("base", architecture="nano", weights={"num_classes": 0, "entry": "target_encoder"})
        settings = {"num_classes": 5, "entry": "classifiers.0", "layout": "toy probe", **(weights or {})}
        top = card("probe", architecture="nano", backbone="nano.base", classifier=ATTENTIVE, weights=settings)
        file = {"target_encoder": backbone or theirs, "encoder": official(1)}
        publish((base, file), (top, {"classifiers": classifiers or [pooler], "opt": {}}))
        return whole, pooler

    return make


def test_a_probe_is_filled_from_two_files_with_one_report(probe):
    whole, _ = probe()
    model = zoo.create_model("nano.probe", pretrained=True)
    assert_equal(model.state_dict(), whole)
    report = model.load_report
    assert sorted(report.matched) == sorted(whole)
    assert report.missing == []
    assert report.source.count("toy.pth") == 2
    assert report.layout == "zoo backbone + toy probe"
    assert report.parameters == sum(it.numel() for it in whole.values())
    assert read_record("nano.base")["sha256"] != read_record("nano.probe")["sha256"]


def test_a_probe_with_other_classes_keeps_its_pooling(probe):
    whole, _ = probe()
    model = zoo.create_model("nano.probe", pretrained=True, num_classes=2)
    assert model.load_report.missing == ["head.linear.weight", "head.linear.bias"]
    assert torch.equal(model.head.query, whole["head.query"])


def test_the_head_in_a_backbones_file_gives_way_to_the_probe(probe):
    whole, _ = probe()
    probe(backbone={**{name: it for name, it in whole.items() if name.startswith("backbone.")}, **_other_head(whole)})
    model = zoo.create_model("nano.probe", pretrained=True)
    assert_equal(model.state_dict(), whole)
    assert set(model.load_report.dropped.values()) == {"another file brings it"}


def _other_head(whole):
    return {name: it + 1 for name, it in whole.items() if name.startswith("head.")}


@pytest.mark.parametrize("which", ["backbone", "probe"])
def test_one_wrong_file_of_two_leaves_the_whole_model_untouched(probe, which):
    whole, pooler = probe()
    broken = dict(list(pooler.items())[1:])
    theirs = {name.removeprefix("backbone."): it for name, it in whole.items() if name.startswith("backbone.")}
    del theirs["blocks.1.mlp.fc1.weight"]
    probe(**({"backbone": theirs} if which == "backbone" else {"classifiers": [broken]}))
    model = zoo.create_model("nano.probe")
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=rf"nano\.{'base' if which == 'backbone' else 'probe'}.*toy\.pth"):
        load_pretrained(model, registry.get_card("nano.probe"), registry.get_card("nano.base"))
    assert_equal(model.state_dict(), before)
    assert model.load_report is None
    assert read_record("nano.base") is None
    assert read_record("nano.probe") is None


# Cards whose network does not exist.

REASON = "its text encoder is not part of the zoo"


@pytest.mark.parametrize("architecture", ["vit_pico", "umt_multimodal_large"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_weights_that_no_network_takes_are_refused_with_the_reason(publish, architecture, pretrained):
    toy = card("mm", architecture=architecture, missing=REASON)
    publish((toy, None))
    with pytest.raises(ValueError, match=rf"'{toy.name}' cannot be built: {REASON}"):
        zoo.create_model(toy.name, pretrained=pretrained)
    with pytest.raises(KeyError, match=REASON):
        zoo.create_backbone(toy.name)
    assert zoo.get_card(toy.name) is toy
    assert not zoo.is_model(toy.name)
    assert zoo.list_models(pretrained=True) == [toy.name]


def test_an_architecture_that_only_such_cards_name_is_told_with_their_reason(publish):
    publish((card("mm", architecture="umt_multimodal_large", missing=REASON), None))
    with pytest.raises(registry.UnknownNameError, match=f"cannot be built: {REASON}"):
        zoo.get_architecture("umt_multimodal_large")
    with pytest.raises(registry.UnknownNameError, match=f"cannot be built: {REASON}"):
        zoo.create_model("umt_multimodal_large")
    assert zoo.list_models(pretrained=True, family="umt") == ["umt_multimodal_large.mm"]
    assert zoo.list_models(pretrained=True, family="vit") == []
