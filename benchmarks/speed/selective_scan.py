"""The selective scan against the forms that public code falls back to, on one thread of a CPU.

    python -m benchmarks.speed.selective_scan [--rounds 9] [--full] [--out FOLDER]

Times are CPU times of the process, so that other work on the machine counts little; rounds are interleaved, and every
round goes through the candidates in the other order. Ratios are medians over rounds, with their range. Memory is the
peak of a fresh process above what it held with the inputs made. `--full` adds the step-by-step form, forward and
backward, at length 1569, once: its time grows with the square of the length, to minutes.

Baselines, written here after the structure of the public code:
    step by step    mamba-ssm's selective_scan_ref and its copies: exp(delta A) and delta B u for all tokens at once,
                    then a loop over slices of them, all under autograd.
    loop            a loop over tokens, channels last, with one state `[batch, state, dim]` at a time, under autograd.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan, kernel, selective_scan
from benchmarks.provenance import now, processor, provenance

RESULTS = Path(__file__).parents[1] / "results"
STATE = 16
MEMORY_LENGTH = 12545  # tokens of VideoMamba at 64 frames of 224 x 224 px
Scan = Callable[[ScanInputs, Tensor], Tensor]
Times = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        title: what is compared.
        shape: (batch, dim, length).
        candidates: names of scans; the others are divided by the last one.
        backward: time forward and backward, and not forward only.
        views: inputs are transposed views of `[batch, length, dim]`, as VideoMamba's mixer makes them.
        goals: least ratio wanted, per candidate.
        rounds: at most this many rounds.
    """

    title: str
    shape: tuple[int, int, int]
    candidates: tuple[str, ...]
    backward: bool
    goals: dict[str, int]
    views: bool = False
    rounds: int = 1000


def step_by_step(inputs: ScanInputs, z: Tensor) -> Tensor:
    """The fallback of public code: everything per token and state at once, then a loop over slices."""
    u, delta, A, B, C, D, bias = cast(tuple[Tensor, ...], inputs)
    delta = F.softplus(delta + bias[:, None])
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    inflow = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    state = A.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for index in range(u.shape[2]):
        state = decay[:, :, index] * state + inflow[:, :, index]
        outputs.append(torch.einsum("bdn,bn->bd", state, C[:, :, index]))
    return (torch.stack(outputs, dim=2) + u * D[:, None]) * F.silu(z)


def loop(inputs: ScanInputs, z: Tensor) -> Tensor:
    """One state at a time, channels last."""
    A, D, bias = (cast(Tensor, tensor) for tensor in (inputs.A, inputs.D, inputs.delta_bias))
    u, delta, B, C, gate = (t.mT for t in (inputs.u, inputs.delta, inputs.B, inputs.C, z))
    delta = F.softplus(delta + bias)
    inflow, rates = delta * u, A.mT
    state = u.new_zeros(u.shape[0], *rates.shape)
    outputs = []
    for index in range(u.shape[1]):
        decay = torch.exp(delta[:, index, None] * rates)
        state = decay * state + B[:, index, :, None] * inflow[:, index, None]
        outputs.append(torch.bmm(C[:, index, None], state)[:, 0])
    return ((torch.stack(outputs, 1) + u * D) * F.silu(gate)).mT


def both(inputs: ScanInputs, z: Tensor) -> Tensor:
    """Both directions by index; they share their inputs here, which changes nothing of the cost."""
    return bidirectional_scan(inputs, inputs, z, delta_softplus=True, implementation="chunked")


def both_compiled(inputs: ScanInputs, z: Tensor) -> Tensor:
    """Both directions in one call of the kernel."""
    return bidirectional_scan(inputs, inputs, z, delta_softplus=True, implementation="compiled")


def both_flipped(inputs: ScanInputs, z: Tensor) -> Tensor:
    """Both directions the way of code without a reverse scan: flip the sequence, scan, flip the result."""
    flipped = inputs._replace(
        u=inputs.u.flip(-1), delta=inputs.delta.flip(-1), B=inputs.B.flip(-1), C=inputs.C.flip(-1)
    )
    scan = SCANS["chunked"]
    return scan(inputs, z) + scan(flipped, z.flip(-1)).flip(-1)


SCANS: dict[str, Scan] = {
    "step by step": step_by_step,
    "loop": loop,
    "reference": partial(selective_scan, delta_softplus=True, implementation="reference"),
    "chunked": partial(selective_scan, delta_softplus=True, implementation="chunked"),
    "compiled": partial(selective_scan, delta_softplus=True, implementation="compiled"),
    "both directions": both,
    "both, compiled": both_compiled,
    "both, flipped": both_flipped,
}
HEADLINE = (1, 384, 1569)
CASES = [
    Case(
        title="forward",
        shape=HEADLINE,
        candidates=("step by step", "loop", "reference", "chunked"),
        backward=False,
        goals={"step by step": 8},
    ),
    Case(
        title="forward, inputs as the mixer makes them",
        shape=HEADLINE,
        candidates=("step by step", "loop", "chunked"),
        backward=False,
        goals={},
        views=True,
    ),
    Case(
        title="forward + backward",
        shape=HEADLINE,
        candidates=("loop", "reference", "chunked"),
        backward=True,
        goals={"loop": 12},
    ),
    Case(
        title="forward + backward, inputs as the mixer makes them",
        shape=HEADLINE,
        candidates=("loop", "chunked"),
        backward=True,
        goals={"loop": 12},
        views=True,
    ),
    Case(
        title="forward + backward, short",
        shape=(1, 384, 392),
        candidates=("step by step", "chunked"),
        backward=True,
        goals={"step by step": 50},
    ),
    Case(
        title="both directions, forward + backward",
        shape=HEADLINE,
        candidates=("both, flipped", "both directions"),
        backward=True,
        goals={},
        views=True,
    ),
    *(
        Case(
            title=f"embedded suite, {what}",
            shape=(64, 128, 72),
            candidates=("step by step", "loop", "chunked"),
            backward=backward,
            goals={},
            views=True,
        )
        for what, backward in (("forward", False), ("forward + backward", True))
    ),
    *(
        Case(
            title="other sizes, forward + backward",
            shape=shape,
            candidates=("loop", "chunked"),
            backward=True,
            goals={},
            views=True,
            rounds=3,
        )
        for shape in ((1, 64, 1569), (4, 384, 392), (1, 1152, 1569))
    ),
]
AVX2_GOAL = 3
# The kernel against `chunked`, with the goals for AVX-512.
COMPILED = [
    Case(
        title=f"compiled, {what}{', inputs as the mixer makes them' if views else ''}",
        shape=HEADLINE,
        candidates=candidates,
        backward=backward,
        goals={candidates[0]: goal},
        views=views,
    )
    for what, backward, goal in (("forward", False, 5), ("forward + backward", True, 4))
    for views, candidates in (
        (False, ("chunked", "compiled")),
        (True, ("chunked", "compiled")),
        (True, ("both directions", "both, compiled")),
    )
]
FULL = Case(
    title="forward + backward, once",
    shape=HEADLINE,
    candidates=("step by step", "chunked"),
    backward=True,
    goals={"step by step": 300},
    rounds=1,
)


def problem(shape: tuple[int, int, int], *, views: bool) -> tuple[ScanInputs, Tensor]:
    """Inputs with Mamba's initial decay rates -1 ... -16 and steps around 0.02, and a gate."""
    batch, dim, length = shape
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int) -> Tensor:
        tensor = torch.randn(batch, rows, length, generator=generator)
        return tensor.mT.contiguous().mT if views else tensor

    inputs = ScanInputs(
        u=draw(dim),
        delta=0.5 * draw(dim),
        A=-torch.arange(1.0, STATE + 1).repeat(dim, 1),
        B=draw(STATE),
        C=draw(STATE),
        D=torch.ones(dim),
        delta_bias=-4 + 0.5 * torch.randn(dim, generator=generator),
    )
    return inputs, draw(dim)


def run_once(scan: Scan, inputs: ScanInputs, z: Tensor, backward: bool) -> Tensor:
    """One forward, or one forward and backward."""
    if not backward:
        with torch.no_grad():
            return scan(inputs, z)
    tensors = differentiable(inputs, z)
    out = scan(inputs, z)
    torch.autograd.grad(out.sum(), tensors)
    return out


def differentiable(inputs: ScanInputs, z: Tensor) -> list[Tensor]:
    """All tensors, asked for gradients."""
    return [tensor.requires_grad_() for tensor in (*inputs, z) if tensor is not None]


def time_case(case: Case, rounds: int) -> dict[str, Any]:
    """Medians in milliseconds and ratios to the last candidate."""
    inputs, z = problem(case.shape, views=case.views)
    ours = case.candidates[-1]
    expected = run_once(SCANS[ours], inputs, z, case.backward).detach()
    apart = 0.0
    times: Times = {name: [] for name in case.candidates}
    for index in range(min(rounds, case.rounds)):
        for name in case.candidates[:: 1 if index % 2 else -1]:
            start = time.process_time()
            out = run_once(SCANS[name], inputs, z, case.backward)
            times[name].append(1000 * (time.process_time() - start))
            apart = max(apart, (out.detach() - expected).abs().max().item())
    ratios = {
        name: [base / own for base, own in zip(times[name], times[ours], strict=True)] for name in case.candidates[:-1]
    }
    return {
        **asdict(case),
        "rounds": len(times[ours]),
        "median_ms": {name: statistics.median(values) for name, values in times.items()},
        "ratio_median": {name: statistics.median(values) for name, values in ratios.items()},
        "ratio_range": {name: [min(values), max(values)] for name, values in ratios.items()},
        "largest_difference": apart,
        "ms": times,
    }


def memory(shape: tuple[int, int, int]) -> dict[str, float]:
    """Peak of forward + backward above the inputs, in this process, which should be fresh (Linux only)."""
    inputs, z = problem(shape, views=False)
    tensors = differentiable(inputs, z)
    small = problem((1, 8, 64), views=False)
    run_once(SCANS["chunked"], *small, True)  # whatever is loaded at a first use
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    gradients = torch.autograd.grad(SCANS["chunked"](inputs, z).sum(), tensors)
    above = resident("VmHWM") - before
    both_sizes = sum(t.nbytes for t in (*tensors, *gradients)) / 2**20
    return {"peak_above_inputs_mib": above, "inputs_and_gradients_mib": both_sizes, "ratio": above / both_sizes}


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process, in MiB."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status has no field {field}")
    return int(found[1]) / 1024


def memory_in_a_fresh_process(shape: tuple[int, int, int]) -> dict[str, float]:
    """`memory` of another Python."""
    words = [sys.executable, "-m", "benchmarks.speed.selective_scan", "--memory", *map(str, shape)]
    done = subprocess.run(words, cwd=RESULTS.parents[1], capture_output=True, text=True, timeout=600, check=True)  # noqa: S603
    return json.loads(done.stdout)


def show(found: dict[str, Any]) -> bool:
    """Print a case; returns whether its goals are met."""
    print(f"{found['title']}, {tuple(found['shape'])}, {found['rounds']} rounds")
    met = True
    for name, median in found["median_ms"].items():
        line = f"  {name:16}{median:10.1f} ms"
        if name in found["ratio_median"]:
            ratio, (low, high) = found["ratio_median"][name], found["ratio_range"][name]
            line += f"   {ratio:7.1f} x  ({low:.1f} to {high:.1f})"
            if goal := found["goals"].get(name):
                met &= ratio >= goal
                line += f"   goal {goal} x{'' if ratio >= goal else ': MISSED'}"
        print(line)
    return met


def main() -> int:
    """Measure, print, and write one result file; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--full", action="store_true", help="the step-by-step form at length 1569 too (minutes)")
    parser.add_argument("--compiled", action="store_true", help="only the compiled kernel against `chunked`")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--memory", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        print(json.dumps(memory(tuple(options.memory))))
        return 0
    problem_of_kernel = kernel.load(build=True)
    print(f"compiled kernel: {problem_of_kernel or kernel.target().instructions}")
    narrow = kernel.target().instructions == "AVX2"
    compiled = [replace(case, goals=dict.fromkeys(case.goals, AVX2_GOAL)) if narrow else case for case in COMPILED]
    chosen = [*([] if options.compiled else CASES), *([] if problem_of_kernel else compiled)]
    origin = asdict(provenance(threads=1, command=["python", "-m", "benchmarks.speed.selective_scan", *sys.argv[1:]]))
    print(f"Selective scan, float32, state {STATE}, {origin['device']}")
    cases, met = [], True
    for case in [*chosen, *([FULL] if options.full else [])]:
        cases.append(time_case(case, options.rounds))
        met &= show(cases[-1])
    peak = memory_in_a_fresh_process((1, 384, MEMORY_LENGTH))
    met &= peak["ratio"] <= 2.5
    above, sizes = peak["peak_above_inputs_mib"], peak["inputs_and_gradients_mib"]
    print(f"forward + backward at length {MEMORY_LENGTH}: peak {above:.0f} MiB above the inputs,")
    print(f"  {peak['ratio']:.2f} of inputs and gradients ({sizes:.0f} MiB); goal at most 2.5")
    when = now()
    result = {"name": "selective_scan", "when": when, **origin, "state": STATE, "cases": cases, "memory": peak}
    result["instructions"] = kernel.target().instructions
    stamp = when.replace(":", "").replace("+0000", "Z")
    slug = re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
    path = options.out / f"speed-selective-scan-{stamp}-{slug}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"  {path}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
