"""Figures of papers that show costs: measured again as their authors did it, and as a fair comparison would be.

`zoo efficiency --paper NAME`. A figure is two networks under several procedures; each procedure is a request of
`benchmarks.efficiency_runs` like any other, with a report of its own, and a verdict on the paper's claims stands above.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.efficiency_report import points_of, write
from benchmarks.efficiency_runs import Plan, Request, Tell, measure
from benchmarks.lvmae_report import NAME as LVMAE_MEMORY
from benchmarks.report import replace_file
from benchmarks.session import RequestError
from zoo.suggest import unknown


class Claim(NamedTuple):
    """What a figure says about its network.

    Attributes:
        words: the claim, as the paper makes it.
        cost: name of the cost in a point.
        factor: how many times the baseline's cost the network's is at most.
    """

    words: str
    cost: str
    factor: float


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """How a figure is measured.

    Attributes:
        title: a few words.
        note: what it is, and where it departs from its source.
        batches: network -> clips per call, one for each length of the figure.
        attention: see `Request`; so are the others.
        rounds: likewise.
        warm_up_s: likewise.
        timed_s: likewise.
    """

    title: str
    note: str
    batches: Mapping[str, tuple[int, ...]]
    attention: str = "sdpa"
    rounds: int = 10
    warm_up_s: float = 0.0
    timed_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CostFigure:
    """A figure.

    Attributes:
        title: what it shows.
        source: paper and figure, and what its authors measured on.
        network: whose costs are claimed to be small.
        baseline: what they are compared with.
        frames: clip lengths.
        resolution: side of the clips in pixels.
        dtype: of all procedures.
        claims: what it says at its longest clip.
        procedures: the authors' first.
    """

    title: str
    source: str
    network: str
    baseline: str
    frames: tuple[int, ...]
    resolution: int
    dtype: str
    claims: tuple[Claim, ...]
    procedures: tuple[Procedure, ...] = field(repr=False)


MAMBA, JOINT = "videomamba_tiny", "timesformer_joint_tiny"
_JOINT_BATCHES = (128, 128, 64, 32, 32, 24, 16, 12)  # spec-videomamba section 13: the script's batch at each length
FIGURES = {
    "videomamba:figure1": CostFigure(
        title="VideoMamba-Ti against TimeSformer-Ti with joint attention",
        source="VideoMamba (arXiv 2403.06977) figure 1; A100 80 GB, PyTorch 2.1, CUDA 11.8",
        network=MAMBA,
        baseline=JOINT,
        frames=(8, 16, 24, 32, 40, 48, 56, 64),
        resolution=224,
        dtype="bf16",
        claims=(
            Claim("6x the speed", "ms_per_clip", 1 / 6),
            Claim("1/40 of the memory", "peak_mib_per_clip", 1 / 40),
        ),
        procedures=(
            Procedure(
                title="the authors' procedure",
                note="Attention that stores its map; the batch of the baseline falls with the length while the "
                "network's stays; 10 s of calls to warm up, whose peak is the memory, then 60 s that are timed. Not "
                "done here: tracing the models. Costs are those of a clip, since the batches differ.",
                batches={MAMBA: (128,) * 8, JOINT: _JOINT_BATCHES},
                attention="math",
                rounds=1,
                warm_up_s=10.0,
                timed_s=60.0,
            ),
            Procedure(
                title="equal batches, fused attention",
                note="What a user gets today: attention by the kernel that PyTorch chooses, as many clips per call on "
                "both sides, calls of both in turns.",
                batches={MAMBA: _JOINT_BATCHES, JOINT: _JOINT_BATCHES},
            ),
        ),
    )
}
# What the procedures of a figure differ in, so that nobody can set it for all of them.
_FIXED = {"attention": "--attention", "mode": "--mode", "compiled": "--compile", "memory_mib": "--memory"}


def figure_of(name: str) -> CostFigure:
    """A figure by its name.

    Raises:
        UnknownNameError: with the closest names.
    """
    if name not in FIGURES:
        raise unknown("figure", name, (*FIGURES, LVMAE_MEMORY))
    return FIGURES[name]


def requests_of(figure: CostFigure, given: Mapping[str, Any]) -> list[tuple[Procedure, Request]]:
    """One request for each procedure.

    Args:
        figure: what is measured again.
        given: fields of `Request` that a person asks to be otherwise than in the paper.

    Raises:
        RequestError: for networks beside the figure's, what its procedures differ in, and a length without a batch.
    """
    if given.get("names"):
        raise RequestError(f"--paper measures {figure.network} and {figure.baseline}; leave the names out")
    if fixed := [option for word, option in _FIXED.items() if word in given]:
        raise RequestError(f"--paper sets {fixed[0]} itself, otherwise in each of its procedures; leave it out")
    frames = given.get("frames", figure.frames)
    if "batch" in given and given["batch"] is None:
        raise RequestError("--paper states the batch of each point, which auto would not be; say --batch N or nothing")
    if "batch" not in given and (strange := sorted(set(frames) - set(figure.frames))):
        raise RequestError(
            f"the paper has no batch for {strange[0]} frames; choose from {figure.frames} or say --batch"
        )
    return [(procedure, _request(figure, procedure, given)) for procedure in figure.procedures]


def _request(figure: CostFigure, procedure: Procedure, given: Mapping[str, Any]) -> Request:
    asked = Request(
        names=(figure.network, figure.baseline),
        frames=figure.frames,
        resolution=figure.resolution,
        batches={name: dict(zip(figure.frames, each, strict=True)) for name, each in procedure.batches.items()},
        dtype=figure.dtype,
        attention=procedure.attention,
        rounds=procedure.rounds,
        warm_up_s=procedure.warm_up_s,
        timed_s=procedure.timed_s,
    )
    changed: dict[str, Any] = {word: value for word, value in given.items() if word != "names"}
    return replace(asked, **changed | ({"batches": {}} if "batch" in given else {}))


class Verdict(NamedTuple):
    """A claim beside what was measured.

    Attributes:
        claim: what the paper says.
        frames: length of the clips.
        batches: clips per call of the network and of the baseline.
        measured: the baseline's cost over the network's, in words.
        judgement: whether the claim holds.
    """

    claim: str
    frames: int
    batches: str
    measured: str
    judgement: str


def verdicts(figure: CostFigure, plan: Plan) -> list[Verdict]:
    """The claims at the longest clip that was measured on both sides."""
    stored = {name: {point["frames"]: point for point in points_of(it)} for name, it in plan.stored().items()}
    network, baseline = stored[figure.network], stored[figure.baseline]
    both = [length for length in plan.request.frames if length in network and length in baseline]
    if not both:
        return []
    length = max(both)
    asked = plan.request
    same = {
        "frames": length == figure.frames[-1],
        "resolution": asked.resolution == figure.resolution,
        "dtype": asked.dtype == figure.dtype,
        "batch": bool(asked.batches),
    }
    odd = ", ".join(word for word, it in same.items() if not it)
    return [_verdict(figure, claim, odd, network[length], baseline[length]) for claim in figure.claims]


def _verdict(
    figure: CostFigure, claim: Claim, odd: str, network: Mapping[str, Any], baseline: Mapping[str, Any]
) -> Verdict:
    frames = network["frames"]
    batches = f"{network['batch']} and {baseline['batch']}"
    own, theirs = network[claim.cost], baseline[claim.cost]
    if not own or not theirs:
        side, point = (figure.network, network) if not own else (figure.baseline, baseline)
        return Verdict(claim.words, frames, batches, f"{side}: {point['note'] or 'no number'}", "not measured")
    judgement = "holds" if own <= claim.factor * theirs else "does not hold"
    if odd:
        judgement = f"no verdict: other {odd} than the claim's"
    words = f"{theirs / own:.2f}x" if claim.cost.startswith("ms") else f"1/{theirs / own:.2f}"
    return Verdict(claim.words, frames, batches, words, judgement)


HEAD = ("Procedure", "Claim", "Frames", "Clips per call", "Measured", "Verdict")
Found = Sequence[tuple[Procedure, Plan, Sequence[Path]]]


def rows(figure: CostFigure, found: Found) -> list[list[str]]:
    """The verdicts of all procedures as text."""
    return [
        [procedure.title, one.claim, str(one.frames), one.batches, one.measured, one.judgement]
        for procedure, plan, _ in found
        for one in verdicts(figure, plan)
    ]


def markdown(figure: CostFigure, found: Found, given: Mapping[str, Any]) -> str:
    """Claims, verdicts, and which reports the numbers are in."""
    changed = {word: value for word, value in given.items() if word not in ("names", "out", "device", "timeout_s")}
    lines = [f"# {figure.title}, measured again", "", f"Claims of {figure.source}.", ""]
    if devices := sorted({one.device for _, plan, _ in found for each in plan.stored().values() for one in each}):
        lines += [f"Measured on: {'; '.join(devices)}.", ""]
    if changed:
        lines += [f"Not as in the paper: {', '.join(f'{word} = {value}' for word, value in changed.items())}.", ""]
    lines += ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows(figure, found)] + [""]
    for procedure, _, files in found:
        lines += [f"- **{procedure.title}**: {procedure.note} Points: {', '.join(file.name for file in files)}."]
    return "\n".join([*lines, ""])


def run_figure(name: str, plans: Sequence[tuple[Procedure, Plan]], given: Mapping[str, Any], tell: Tell) -> Found:
    """Measure what is missing of a figure and write its reports, also of what there is when somebody stops it."""
    figure, found = figure_of(name), []
    try:
        for _, plan in plans:
            measure(plan, plan.missing(), tell)
    finally:
        for procedure, plan in plans:
            if any(plan.stored().values()):
                found.append((procedure, plan, write(plan, plan.request.out)))
        if found:
            out = plans[0][1].request.out
            replace_file(out / f"{name.replace(':', '-')}.md", markdown(figure, found, given))
    return found
