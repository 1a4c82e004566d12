"""Parity fixtures: the authors' inputs, weights and outputs at tiny sizes.

A clone carries the smaller ones in tests/golden; the environment variable ZOO_FIXTURES names a folder with all of them.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

GOLDEN = Path(__file__).parent / "golden"


def folders() -> list[Path]:
    """Places to look for fixtures, the complete one first."""
    complete = os.environ.get("ZOO_FIXTURES")
    return [Path(complete), GOLDEN] if complete else [GOLDEN]


def find(relative: str) -> Path:
    """Path of a fixture file such as "videomae/pretrain_f16_r32.json"; skips the test where nobody has it."""
    for folder in folders():
        if (folder / relative).exists():
            return folder / relative
    pytest.skip(f"{relative} is not in tests/golden; set ZOO_FIXTURES to the folder with all fixtures")


def load(relative: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Sidecar and tensors of a fixture, such as load("videomae/pretrain_f16_r32")."""
    side = json.loads(find(f"{relative}.json").read_text())
    return side, load_file(find(f"{relative}.safetensors"))


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Tensors under a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def manifest(relative: str) -> dict[str, list[int]]:
    """Key -> shape of a released file, such as manifest("videomae/pretrain_base_f16_res224")."""
    for folder in folders():
        path = folder.parent / "manifests" / f"{relative}.json"
        if path.exists():
            return json.loads(path.read_text())
    pytest.skip(f"manifest {relative} is not here; set ZOO_FIXTURES to shared/fixtures (manifests lie beside it)")


# Of the largest value. Fixtures name the tolerance that held on the processor which made them; another one's kernels
# add float32 numbers up in another order (an AMD EPYC differs by 1.5e-6 where an Intel Xeon stays below 1e-6).
ROUNDING = 2e-6


def assert_parity(name: str, actual: torch.Tensor, expected: torch.Tensor, *, rtol: float, atol: float) -> None:
    """Assert closeness within a fixture's tolerance and print the largest error seen (shown by pytest -rP)."""
    atol = max(atol, ROUNDING * expected.abs().max().item())
    error = (actual - expected).abs().max().item()
    print(f"parity {name}: largest error {error:.2e} (atol {atol:g}, rtol {rtol:g})")
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
