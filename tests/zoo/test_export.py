"""Programs written by `zoo.export`, loaded again and compared with the network they were made of."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from backbones.ops.selective_scan import fused
from zoo import export as exporting
from zoo import onnx_program
from zoo.card import Classifier
from zoo.cards import ARCHITECTURES
from zoo.export import METADATA, ExportError, export
from zoo.model import VideoModel
from zoo.registry import create_model, get_architecture

# torch.export cannot see through the run-time shape checks.
pytestmark = pytest.mark.compiled
FAMILIES = {architecture.family: architecture.name for architecture in reversed(ARCHITECTURES)}
TARGETS = ["torch", pytest.param("onnx", marks=pytest.mark.skipif(bool(onnx_program.missing()), reason="no ONNX"))]


def small(name: str, num_classes: int | None = 3, **options) -> VideoModel:
    """A shrunken member with weights behind which no mistake hides."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=num_classes, **{**get_architecture(name).shrink, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def clips_for(model: VideoModel, batch: int) -> torch.Tensor:
    clip = model.spec.clip
    return torch.randn(batch, 3, clip.num_frames, clip.img_size, clip.img_size)


def refused(model, path, match, **options):
    """Nothing may be left of what was refused."""
    before = set(path.parent.iterdir())
    with pytest.raises(ExportError, match=match):
        export(model, path, **{"to": "torch", **options})
    assert set(path.parent.iterdir()) == before


@pytest.fixture(scope="module")
def mamba(tmp_path_factory):
    """A small VideoMamba, exported once."""
    model = small("videomamba_tiny", depth=1)
    return model, export(model, tmp_path_factory.mktemp("mamba") / "it.pt2", to="torch")


def test_a_program_of_videomamba_computes_the_same_for_any_batch_with_torchs_own_operators(mamba):
    model, report = mamba
    program = torch.export.load(report.path)
    called = {node.target.namespace for node in program.graph.nodes if hasattr(node.target, "namespace")}
    assert called == {"aten"}
    assert (report.scan, report.needs, report.video[0]) == ("associative", "", None)
    video = clips_for(model, 5)
    torch.testing.assert_close(program.module()(video)["scores"], model(video), rtol=1e-4, atol=1e-5)


def test_the_file_says_how_clips_are_made_and_what_the_classes_are_called(mamba):
    model, report = mamba
    found = {METADATA: ""}
    torch.export.load(report.path, extra_files=found)
    told = json.loads(found[METADATA])
    assert told["clip"]["mean"] == list(model.spec.clip.mean)
    assert told["clip"]["stride"] == model.spec.clip.stride
    assert told["video"] == [None, 3, model.spec.clip.num_frames, model.spec.clip.img_size, model.spec.clip.img_size]
    assert told["architecture"] == "videomamba_tiny"
    assert report.files == {report.path.name: report.path.stat().st_size}


def test_a_file_that_is_there_stays_unless_replacing_it_is_asked_for(mamba):
    model, report = mamba
    before = report.path.read_bytes()
    refused(model, report.path, "is there already; nothing was written")
    assert report.path.read_bytes() == before


def test_the_tokens_of_a_backbone_can_be_exported_and_the_mode_of_the_model_stays(tmp_path):
    model = small("vit_pico", depth=1).train()
    report = export(model, tmp_path / "it.pt2", to="torch", features=True, batch=2)
    assert model.training
    video = clips_for(model, 2)
    found = torch.export.load(report.path).module()(video)
    features = model.eval().backbone.forward_features(video)
    assert set(found) == set(report.outputs) == {"tokens"}
    torch.testing.assert_close(found["tokens"], features.tokens)
    assert report.outputs["tokens"] == tuple(features.tokens.shape)
    assert (report.video[0], report.checked, report.scan) == (2, (2,), "")


def test_a_program_that_differs_is_told_and_not_kept(tmp_path, monkeypatch):
    model = small("vit_pico", depth=1)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    refused(model, tmp_path / "it.pt2", "differs from the network by .*nothing was written", batch=1)


def test_differences_are_of_the_largest_value_of_their_output_and_nan_is_one(monkeypatch):
    wanted = {"scores": torch.tensor([4.0, 0.0]), "prefix": torch.tensor([0.5])}
    close = {"scores": torch.tensor([4.0, 0.4]), "prefix": torch.tensor([0.6])}
    with pytest.raises(ExportError, match=r"by 0\.2 of its largest value \(0\.4; at most 0\.001"):
        exporting._compared([wanted, close], [wanted, wanted])
    broken = {**wanted, "prefix": torch.tensor([float("nan")])}
    with pytest.raises(ExportError, match="by nan of its largest"):
        exporting._compared([broken, wanted], [wanted, wanted])
    with pytest.raises(ExportError, match=r"lacks 'prefix' of shape \(1,\); it returned \{'scores': \(2,\)\}"):
        exporting._compared([{"scores": wanted["scores"]}], [wanted])
    monkeypatch.setattr(exporting, "TOLERANCE", 0.3)
    assert exporting._compared([wanted, close], [wanted, wanted]) == pytest.approx((0.4, 0.2))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("it.pt2", {"to": "tf"}, "unknown target 'tf'; choose 'torch' or 'onnx'"),
        ("it.onnx", {}, r"ends with \.pt2, not to .*it\.onnx"),
        ("it.pt2", {"batch": 0}, "at least 1 clip, not 0"),
        ("it.pt2", {"scan": "auto"}, "name the scan that the program is to run, such as 'associative'"),
        ("it.pt2", {"scan": "chunkd"}, "did you mean 'chunked'"),
        ("no/it.pt2", {}, "there is no folder"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, name, options, match):
    model = small("vit_pico")
    with pytest.raises(ExportError, match=match):
        export(model, tmp_path / name, **{"to": "torch", **options})


def test_a_scan_for_gpus_is_refused_before_tracing(tmp_path, monkeypatch):
    monkeypatch.setattr(fused, "INSTALLED", True)
    monkeypatch.setattr(fused, "INTERPRETED", True)
    match = "'triton' runs on GPUs only, and programs are traced on a CPU: take 'associative'"
    refused(small("vit_pico"), tmp_path / "it.pt2", match, scan="triton")


def test_a_model_put_together_by_hand_does_not_say_which_clips_it_takes(tmp_path):
    model = small("vit_pico")
    refused(VideoModel(model.backbone, model.head), tmp_path / "it.pt2", "does not say which clips")


def test_a_network_in_half_precision_is_refused(tmp_path):
    refused(small("vit_pico").bfloat16(), tmp_path / "it.pt2", r"in torch\.bfloat16: call float")


def test_without_the_optional_packages_onnx_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_program, "PACKAGES", ("onnx_of_nobody",))
    match = r"needs onnx_of_nobody: pip install 'video-backbone-zoo\[export\]'"
    refused(small("vit_pico"), tmp_path / "it.onnx", match, to="onnx")


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", FAMILIES.values(), ids=FAMILIES)
def test_one_of_every_family_is_the_same_as_a_program_for_any_batch(tmp_path, name, to):
    report = export(small(name), tmp_path / f"it{exporting.ENDINGS[to]}", to=to)
    assert (report.video[0], report.needs) == (None, "")
    assert report.relative < 1e-5


# Every kind that cards have; V-JEPA 2 has them all.
ATTENTIVE = Classifier(pool="mean", kind="attentive", num_heads=2, depth=2)
HEADS = {
    "attentive": ATTENTIVE,
    "attentive to several blocks": replace(ATTENTIVE, layers=(0, 1)),
    "that looks ahead": replace(ATTENTIVE, questions={"verb": 3, "noun": 4, "action": 5}, fps=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_of_head_is_the_same_as_a_program(tmp_path, kind, to):
    classifier = HEADS[kind]
    model = small("vjepa2_large_16_256", None if classifier.questions else 3, classifier=classifier)
    report = export(model, tmp_path / f"it{exporting.ENDINGS[to]}", to=to)
    assert set(report.outputs) == (set(classifier.questions) or {"scores"})
    assert report.relative < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("scan", "alone"), [("associative", True), ("chunked", False)])
def test_a_process_with_torch_alone_runs_a_program_or_what_the_report_says_it_needs(tmp_path, scan, alone):
    model = small("videomamba_tiny")
    report = export(model, tmp_path / "it.pt2", to="torch", scan=scan)
    video = clips_for(model, 3)
    torch.save(video, tmp_path / "video.pt")
    code = """
import sys, torch
exec(sys.argv[2])
found = torch.export.load(sys.argv[1] + "/it.pt2").module()(torch.load(sys.argv[1] + "/video.pt", weights_only=True))
torch.save(found["scores"], sys.argv[1] + "/scores.pt")
print("backbones" in sys.modules)
"""

    def run(needs: str, folder) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", code, str(tmp_path), needs]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True)

    without = run("", tmp_path)
    assert (without.returncode == 0) == alone == (report.needs == "")
    done = run(report.needs, exporting.__file__.rpartition("/zoo/")[0])
    assert done.stdout.strip() == str(not alone), done.stderr
    found = torch.load(tmp_path / "scores.pt", weights_only=True)
    torch.testing.assert_close(found, model(video), rtol=1e-4, atol=1e-5)
