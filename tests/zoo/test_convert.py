import json
import stat
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.support import load, part
from zoo.card import Classifier
from zoo.checkpoints import read_saved
from zoo.convert import ConvertError, convert
from zoo.registry import get_architecture
from zoo.weight_files import CheckpointError, read_metadata

HF_HEAD = Classifier(pool="mean", kind="attentive", num_heads=4, depth=2, attention_eps=1e-6)
NO_HEAD = Classifier(pool="mean")
# One file per family and spelling: name, where to, layout, head of the model; None for the family's own.
CASES = [
    ("videomae_base", "official", "VideoMAE fine-tuned", None),
    ("videomae_base", "hf", "VideoMAE classifier, transformers 4 spelling", None),
    ("videomae_base", "hf", "VideoMAE classifier, transformers 5 spelling", None),
    ("videomamba_tiny", "official", "VideoMamba video classifier", None),
    ("umt_base", "official", "UMT fine-tuned", None),
    ("timesformer_base", "official", "TimeSformer official", None),
    ("timesformer_base", "hf", "TimeSformer transformers", None),
    ("vjepa_large_16_224", "official", "V-JEPA encoder", NO_HEAD),
    ("vjepa2_large_16_256", "official", "V-JEPA 2 encoder", NO_HEAD),
    ("vjepa2_large_16_256", "hf", "V-JEPA 2 classifier, transformers", HF_HEAD),
]


def small(name, classifier=None, num_classes=3):
    torch.manual_seed(0)
    options = get_architecture(name).shrink
    model = zoo.create_model(name, num_classes=num_classes, classifier=classifier, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


FAST = {
    "VideoMAE fine-tuned",
    "VideoMamba video classifier",
    "TimeSformer official",
    "V-JEPA encoder",
}  # one per family


@pytest.mark.parametrize(
    ("name", "to", "layout", "classifier"),
    [pytest.param(*case, id=case[2], marks=() if case[2] in FAST else pytest.mark.slow) for case in CASES],
)
def test_there_and_back_again_nothing_is_lost(name, to, layout, classifier, tmp_path):
    model, options = small(name, classifier, 0 if classifier is NO_HEAD else 3), get_architecture(name).shrink
    first, theirs, ours, again = (tmp_path / f"{it}.safetensors" for it in ("first", "theirs", "ours", "again"))
    zoo.save_checkpoint(model, first)
    there = convert(first, theirs, to=to, layout=layout)
    assert there.target == layout
    assert set(there.dropped) <= {"backbone.pos_embed"}
    assert set(load_file(theirs)) != set(load_file(first))
    convert(theirs, ours, to="zoo", name=name, options=options)
    made = zoo.create_model(name, checkpoint_path=ours)
    assert_same(made.state_dict(), model.state_dict())
    assert made.spec.classifier == model.spec.classifier
    convert(ours, again, to=to, layout=layout)
    assert_same(load_file(again), load_file(theirs))


@pytest.mark.parametrize("name", ["v1_attentive_classifier", "v2_attentive_classifier"])
def test_a_probe_alone_goes_there_and_back_and_says_what_its_authors_never_used(name, tmp_path):
    tensors = part(load(f"vjepa/{name}")[1], "sd/classifier/")
    network = f"vjepa{'2' if name.startswith('v2') else ''}_large_16_{256 if name.startswith('v2') else 224}"
    torch.save({"classifiers": [tensors]} if name.startswith("v2") else {"classifier": tensors}, tmp_path / "probe.pt")
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    result = convert(tmp_path / "probe.pt", ours, to="zoo", name=network)
    unused = sorted(key.removeprefix("module.") for key in tensors if "xattn.proj" in key)
    assert sorted(result.dropped) == unused
    assert bool(unused) == name.startswith("v1")
    assert all(key.startswith("head.") for key in load_file(ours))
    if name.startswith("v2"):
        convert(ours, theirs, to="official", name=network)
        assert_same(load_file(theirs), part(tensors, "module."))
    else:
        # Without the unused layer it is a probe of the second form; no numbers are made up for it.
        with pytest.raises(ConvertError, match=r"needs 'pooler.cross_attention_block.xattn.proj.weight'"):
            convert(ours, theirs, to="official", name=network)
        assert not theirs.exists()


def test_encoder_and_predictor_of_a_training_file_become_one_of_transformers_and_go_back(tmp_path):
    _, tensors = load("vjepa/v2_to_hf_conversion")
    published = {name: part(tensors, f"sd/{name}/") for name in ("encoder", "predictor")}
    published["predictor"] = {key: it for key, it in published["predictor"].items() if "mask_tokens" not in key} | {
        f"module.backbone.mask_tokens.{index}": torch.full((1, 1, 24), float(index)) for index in range(10)
    }
    torch.save({**published, "epoch": 1}, tmp_path / "vitl.pt")
    name, hf = "vjepa2_large_16_256", tmp_path / "hf.safetensors"
    result = convert(tmp_path / "vitl.pt", hf, to="hf", name=name)
    assert (result.target, result.dropped) == ("V-JEPA 2, transformers", {})
    written = load_file(hf)
    assert written["predictor.embeddings.mask_tokens"].shape == (10, 1, 1, 24)
    expected = {key.removeprefix("vjepa2."): it for key, it in part(tensors, "hf/").items() if "vjepa2." in key}
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[key], it) for key, it in expected.items() if "mask_tokens" not in key)
    for layout, network in (("V-JEPA 2 encoder", "encoder"), ("V-JEPA predictor", "predictor")):
        result = convert(hf, tmp_path / f"{network}.safetensors", to="official", name=name, layout=layout)
        assert_same(load_file(tmp_path / f"{network}.safetensors"), part(published[network], "module.backbone."))
        assert all(key.startswith("decoder." if network == "encoder" else "backbone.") for key in result.dropped)
        assert result.dropped


def test_where_several_layouts_would_do_they_are_listed(tmp_path):
    zoo.save_checkpoint(small("videomae_base"), tmp_path / "a.safetensors")
    with pytest.raises(ConvertError, match=r"choose with layout.*transformers 4 spelling.*transformers 5 spelling"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="hf")
    with pytest.raises(ValueError, match=r"unknown layout 'VideoMAE'; did you mean .*there are 'VideoMAE pretraining'"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="official", layout="VideoMAE")
    with pytest.raises(ValueError, match="unknown target 'torch'; choose 'official', 'hf', 'zoo'"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="torch")
    assert [it.name for it in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path):
    zoo.save_checkpoint(small("videomae_base"), tmp_path / "a.safetensors")
    target = tmp_path / "b.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(ConvertError, match="is there already; nothing was written"):
        convert(tmp_path / "a.safetensors", target, to="official")
    assert target.read_bytes() == b"precious"
    convert(tmp_path / "a.safetensors", target, to="official", force=True)
    assert "patch_embed.proj.weight" in load_file(target)
    assert stat.S_ISREG(target.stat().st_mode)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_does_not_say_its_network_needs_a_name(tmp_path):
    save_file({"blocks.0.x": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="does not say which network it holds; name it"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="zoo")
    with pytest.raises(ConvertError, match="have no layout known"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="zoo", name="videomae_base")


def test_broken_values_are_told_with_the_file_that_has_them(tmp_path):
    model = small("vit_pico")
    state = {**model.state_dict(), "head.linear.bias": torch.full((3,), torch.nan)}
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match=r"nan\.safetensors': 'head\.linear\.bias' holds NaN or infinity"):
        convert(tmp_path / "nan.safetensors", tmp_path / "out.safetensors", to="zoo", name="vit_pico")


def test_a_description_that_asks_for_more_than_the_file_holds_is_refused_at_once(tmp_path):
    path = tmp_path / "a.safetensors"
    zoo.save_checkpoint(small("vit_pico"), path)
    text = json.loads(read_metadata(path)["zoo"])
    save_file(load_file(path), path, {"zoo": json.dumps({**text, "overrides": {"depth": 10**9}})})
    with pytest.raises(CheckpointError, match=r"a\.safetensors.* asks for 1000000000 blocks, and the file has"):
        convert(path, tmp_path / "out.safetensors", to="zoo")


def test_keys_that_nobody_knows_are_not_lost_silently(tmp_path):
    zoo.save_checkpoint(small("videomae_base"), tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", to="official")
    save_file({**load_file(tmp_path / "b.safetensors"), "extra.bias": torch.ones(1)}, tmp_path / "c.safetensors")
    with pytest.raises(ConvertError, match=r"1 keys are not known \(extra.bias"):
        convert(tmp_path / "c.safetensors", tmp_path / "d.safetensors", to="zoo", name="videomae_base")


def test_a_head_is_not_written_for_networks_that_compute_something_else_with_it(tmp_path):
    sixteen = Classifier(pool="mean", kind="attentive", num_heads=8, depth=2, attention_eps=1e-6)
    zoo.save_checkpoint(small("vjepa2_large_16_256", sixteen), tmp_path / "a.safetensors")
    with pytest.raises(ConvertError, match="transformers' have num_heads=4, this head has 8"):
        convert(
            tmp_path / "a.safetensors",
            tmp_path / "b.safetensors",
            to="hf",
            layout="V-JEPA 2 classifier, transformers",
        )


def test_a_file_of_ours_keeps_its_class_names_and_its_clips(tmp_path):
    model = small("videomae_base")
    clip = replace(model.spec.clip, clips=7, mean=(0.1, 0.2, 0.3))
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    zoo.save_checkpoint(model, first, label_names=("a", "b", "c"), clip=clip)
    convert(first, second, to="zoo")
    saved = read_saved(second)
    assert saved == read_saved(first)
    assert (saved.label_names, saved.clip) == (("a", "b", "c"), clip)


def test_what_has_no_place_in_a_layout_is_refused_unless_the_layout_is_chosen(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    zoo.save_checkpoint(small("vjepa_large_16_224", Classifier(pool="mean")), first)
    with pytest.raises(ConvertError, match=r"no layout fits.*has no place for 'head\.linear\."):
        convert(first, second, to="official")
    assert not second.exists()
    result = convert(first, second, to="official", layout="V-JEPA encoder")
    assert {"head.linear.weight", "head.linear.bias"} <= set(result.dropped)


def test_a_decoder_that_a_file_of_ours_cannot_keep_is_told(tmp_path):
    model = small("videomae_base")
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_file({**model.state_dict(), "decoder.embed.weight": torch.ones(2, 2)}, first)
    options = get_architecture("videomae_base").shrink
    result = convert(first, second, to="zoo", name="videomae_base", options=options)
    assert list(result.dropped) == ["decoder.embed.weight"]
