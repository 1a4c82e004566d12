"""Probes by the name of their card: two files in the authors' layouts, the backbone's and the probe's."""

import pytest
import torch

import zoo
from zoo.weight_files import CheckpointError

SHRINK = {"img_size": 16, "num_frames": 4, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}
PAIRS = ["vjepa2_large_16_256.videomix22m_probe_ssv2", "vjepa2_large_16_256.videomix22m_probe_ek100"]


def official(model, layout, prefix, start):
    """Part of a model under the authors' names."""
    (converter,) = [it for it in model.spec.architecture.converters if it.name == layout]
    part = {name: it.clone() for name, it in model.state_dict().items() if name.startswith(start)}
    return {f"{prefix}{name}": it for name, it in converter.to_official(part).state.items()}


def write(folder, name, content):
    torch.save(content, folder / f"{name}.pt")


@pytest.fixture(params=PAIRS)
def pair(request, tmp_path, monkeypatch):
    """The name of a probe's card, a model with other weights than a fresh one, and a folder with its two files."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    name = request.param
    card = zoo.get_card(name)
    torch.manual_seed(1)
    model = zoo.create_model(name, **SHRINK)
    base = zoo.get_card(card.backbone)
    whole = {"target_encoder": official(model, base.weights.layout, "module.backbone.", "backbone.")}
    if hasattr(model, "decoder"):
        whole["predictor"] = official(model, "V-JEPA predictor", "module.backbone.", "decoder.")
    write(tmp_path, card.backbone, whole)
    write(tmp_path, name, {"classifiers": [official(model, card.weights.layout, "module.", "head.")]})
    return name, model, tmp_path


def test_two_files_fill_one_model(pair):
    name, model, folder = pair
    torch.manual_seed(2)
    again = zoo.create_model(name, pretrained=True, checkpoint_path=folder, **SHRINK)
    state = again.state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert again.load_report.missing == []
    assert again.spec.tag == name.partition(".")[2]


def test_a_probe_without_its_backbones_file_is_refused_with_the_name_of_what_lacks(pair, monkeypatch):
    name, _, folder = pair
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    backbone = zoo.get_card(name).backbone
    (folder / f"{backbone}.pt").unlink()
    with pytest.raises(CheckpointError, match=backbone):
        zoo.create_model(name, pretrained=True, checkpoint_path=folder, **SHRINK)


def test_a_probe_for_other_classes_than_its_card_says_is_refused(pair):
    name, _, folder = pair
    file = folder / f"{name}.pt"
    (probe,) = torch.load(file, weights_only=True)["classifiers"]
    last = next(key for key in reversed(probe) if key.endswith("weight") and "pooler" not in key)
    shorter = {
        **probe,
        last: probe[last][:-1],
        last.replace("weight", "bias"): probe[last.replace("weight", "bias")][:-1],
    }
    torch.save({"classifiers": [shorter]}, file)
    with pytest.raises(CheckpointError, match=r"classes|shape"):
        zoo.create_model(name, pretrained=True, checkpoint_path=folder, **SHRINK)
