import json
from pathlib import Path

import pytest
import torch

from tests.zoo.test_export import clips_for, small
from zoo import onnx_program
from zoo.export import METADATA, ExportError, export

needs_packages = pytest.mark.skipif(bool(onnx_program.missing()), reason=onnx_program.missing())


def test_what_is_missing_is_named_together_with_the_extra(monkeypatch):
    monkeypatch.setattr(onnx_program, "PACKAGES", ("torch", "onnx_of_nobody", "runtime_of_nobody"))
    expected = "ONNX needs onnx_of_nobody, runtime_of_nobody: pip install 'video-backbone-zoo[export]'"
    assert onnx_program.missing() == expected
    monkeypatch.setattr(onnx_program, "PACKAGES", ("torch",))
    assert onnx_program.missing() == ""


def test_weights_lie_beside_the_file_under_its_name():
    assert onnx_program.weights_beside(Path("a/it.onnx")) == Path("a/it.onnx.data")


@needs_packages
@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("largest", [onnx_program.LARGEST_BYTES, 1000])
def test_a_file_says_what_it_holds_and_runs_with_its_weights_inside_or_beside_it(tmp_path, monkeypatch, largest):
    import onnxruntime

    monkeypatch.setattr(onnx_program, "LARGEST_BYTES", largest)
    model = small("vit_pico")
    report = export(model, tmp_path / "it.onnx", to="onnx")
    beside = {"it.onnx.data"} if largest == 1000 else set()
    assert set(report.files) == {it.name for it in tmp_path.iterdir()} == {"it.onnx", *beside}
    video = clips_for(model, 4)
    (found,) = onnx_program.run(report.path, [video])
    torch.testing.assert_close(found["scores"], model(video), rtol=1e-4, atol=1e-5)
    told = json.loads(onnxruntime.InferenceSession(str(report.path)).get_modelmeta().custom_metadata_map[METADATA])
    assert told["clip"]["std"] == list(model.spec.clip.std)
    assert report.opset >= 18
    (tmp_path / "it.onnx").unlink()
    if beside:
        with pytest.raises(ExportError, match=r"it\.onnx\.data' is there already"):
            export(model, tmp_path / "it.onnx", to="onnx")


@needs_packages
@pytest.mark.slow
@pytest.mark.compiled
def test_a_kernel_of_ours_cannot_go_into_an_onnx_file(tmp_path):
    with pytest.raises(ExportError, match=r"'chunked' is the operator zoo\.chunked_scan.*ONNX does not have"):
        export(small("videomamba_tiny"), tmp_path / "it.onnx", to="onnx", scan="chunked")
    assert not list(tmp_path.iterdir())
