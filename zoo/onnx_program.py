"""ONNX files, written by torch and run by onnxruntime: the one place that needs the optional packages of `export`."""

import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

# A protobuf, which an ONNX file is, holds less than 2 GiB; the weights of larger ones lie beside it.
LARGEST_BYTES = 2**31 - 2**27
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def missing() -> str:
    """Which packages are missing and how to get them, or ""."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"ONNX needs {', '.join(absent)}: pip install 'video-backbone-zoo[export]'" if absent else ""


def weights_beside(path: Path) -> Path:
    """Where the weights of an ONNX file lie that does not hold them itself."""
    return path.with_name(f"{path.name}.data")


def write(
    program: torch.export.ExportedProgram, path: Path, *, outputs: Sequence[str], metadata: Mapping[str, str]
) -> int:
    """Write a traced program, and `PATH.data` beside it where the weights do not fit one file.

    Args:
        program: what torch.export traced.
        path: the file.
        outputs: names of its outputs.
        metadata: texts that the file carries.

    Returns:
        The version of the operator set.
    """
    size = sum(t.numel() * t.element_size() for t in (*program.state_dict.values(), *program.constants.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the converter about itself
        # The optimiser takes most of the time, and what runs a file optimises it once more.
        optimize = _has_bare_convolution(program)
        converted = torch.onnx.export(
            program, (), dynamo=True, verbose=False, optimize=optimize, output_names=list(outputs)
        )
    if converted is None:
        raise RuntimeError("torch.onnx.export returned no program")
    converted.model.metadata_props.update(metadata)
    converted.save(os.fspath(path), external_data=size > LARGEST_BYTES)
    return int(converted.model.opset_imports[""])


def _has_bare_convolution(program: torch.export.ExportedProgram) -> bool:
    """Whether a 3-D convolution has no bias; onnxscript 0.7 invents one of a wrong shape; its optimiser drops it."""
    convolutions = [node for node in program.graph.nodes if node.target is torch.ops.aten.conv3d.default]
    return any(len(node.args) < 3 or node.args[2] is None for node in convolutions)


def run(path: Path, videos: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """The outputs by name for every clip, by onnxruntime on a CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: its warnings are about its own optimiser
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (entry,) = session.get_inputs()
    return [
        dict(zip(names, map(torch.from_numpy, session.run(names, {entry.name: video.numpy()})), strict=True))
        for video in videos
    ]
