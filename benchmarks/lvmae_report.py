"""`zoo efficiency --paper lvmae:memory`: what the decoder budget of LVMAE saves, as a table and as curves.

The figure of the paper (Figure 1 right: memory and GFLOPs against the decoder's mask ratio, ViT-B, 128 frames, batch 1)
is a picture whose numbers could not be read. Its text says that a budget of 50 % takes more than four times the memory
of 15 %; that is the claim that gets a verdict.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from benchmarks.figures import drawing, looks_of, png
from benchmarks.lvmae_memory import BUDGETS, FRAMES, MIB, Row, Setting, decoder_activations, rows
from benchmarks.report import TEMPLATES, number, replace_file
from benchmarks.session import RequestError

NAME = "lvmae:memory"
HEAD = (
    "Frames", "Decoder budget", "Decoder tokens", "Encoder GFLOPs", "Decoder GFLOPs", "Attention maps (MiB)",
    "Kept, math attention (MiB)", "Kept, fused attention (MiB)",
)  # fmt: skip
CLAIM, CLAIM_FRAMES, WIDE, NARROW = 4.0, 128, 0.5, 0.15
NOTES = (
    "ViT-B encoder that sees 10 % of the tokens in tubes, decoder of 4 blocks 384 wide (the paper's width could not be "
    "read), 224 px, one clip. A budget of 100 % decodes every token that the encoder does not see.",
    "GFLOPs by closed forms, 2 per multiply-add. Attention maps: of all blocks and heads of the decoder, 2 bytes each.",
    "Kept: what the decoder's forward pass keeps for its backward, in bfloat16, counted tensor by tensor on PyTorch's "
    "meta device; so it is exact for this code, needs no memory, and leaves out weights, workspaces and the encoder.",
)


class Measured(NamedTuple):
    """A row with what the decoder keeps for its backward pass, in MiB."""

    row: Row
    math_mib: float
    fused_mib: float


def measure(frames: Sequence[int] = FRAMES, budgets: Sequence[float] = BUDGETS) -> list[Measured]:
    """Every length with every budget."""
    found = []
    for row in rows(frames, budgets):
        setting = Setting(frames=row.frames, budget=row.budget)
        math, fused = (decoder_activations(setting, fused=fused) / MIB for fused in (False, True))
        found.append(Measured(row, math, fused))
    return found


def table(found: Sequence[Measured]) -> list[list[str]]:
    """The rows as text, under `HEAD`."""
    return [
        [str(row.frames), f"{row.budget:.0%}", f"{row.num_decoder:,}"]
        + [number(it) for it in (row.encoder_gflops, row.decoder_gflops, row.map_mib, math, fused)]
        for row, math, fused in found
    ]


def verdicts(found: Sequence[Measured]) -> list[str]:
    """The paper's claim under both kinds of attention; none when its length or budgets were not asked for."""
    at = {(one.row.frames, one.row.budget): one for one in found}
    wide, narrow = at.get((CLAIM_FRAMES, WIDE)), at.get((CLAIM_FRAMES, NARROW))
    if wide is None or narrow is None:
        return []
    ratios = {"math": wide.math_mib / narrow.math_mib, "fused": wide.fused_mib / narrow.fused_mib}
    return [
        f"{kind} attention: a budget of {WIDE:.0%} keeps {ratio:.2f}x what {NARROW:.0%} keeps at {CLAIM_FRAMES} "
        f"frames; the paper's more than {CLAIM:g}x {'holds' if ratio > CLAIM else 'does not hold'}"
        for kind, ratio in ratios.items()
    ]


def drawn(found: Sequence[Measured]) -> str:
    """Memory and decoder GFLOPs against frames, a line for each budget, as SVG for a page."""
    label = "Memory and operations of the decoder against the number of frames"
    return drawing("lvmae", 10.0, 3.6, curves(found), label=label)


def curves(found: Sequence[Measured]) -> Callable[[Figure], None]:
    """What paints them."""
    budgets = sorted({one.row.budget for one in found}, reverse=True)
    look = looks_of([f"{budget:.0%}" for budget in budgets])
    panels = (
        ("kept, math attention (MiB)", lambda one: one.math_mib),
        ("kept, fused attention (MiB)", lambda one: one.fused_mib),
        ("decoder GFLOPs", lambda one: one.row.decoder_gflops),
    )

    def paint(figure: Figure) -> None:
        drawn = figure.subplots(1, len(panels))
        for axes, (title, value) in zip(drawn, panels, strict=True):
            for budget in budgets:
                points = [one for one in found if one.row.budget == budget]
                style = look[f"{budget:.0%}"]
                x, y = [one.row.frames for one in points], [value(one) for one in points]
                axes.plot(x, y, marker=style.marker, color=style.color, label=f"{budget:.0%} decoded")
            axes.set_title(title)
            axes.set_xlabel("frames")
            axes.set_ylim(bottom=0)
            axes.set_xticks(sorted({one.row.frames for one in found}))
        figure.legend(*drawn[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(budgets))

    return paint


def write(found: Sequence[Measured], folder: Path) -> list[Path]:
    """Write the report as markdown, JSON and HTML, and its curves as PNG; it is made anew each time."""
    body = table(found)
    lines = ["# LVMAE: what the decoder budget saves", "", "| " + " | ".join(HEAD) + " |", "|--:" * len(HEAD) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body] + [""]
    lines += ["![Memory and GFLOPs against the number of frames](lvmae-memory.png)", ""]
    lines += [f"- {sentence}." for sentence in verdicts(found)] + ["", *NOTES, ""]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("lvmae_memory.html.j2").render(
        plot=Markup(drawn(found)),  # noqa: S704 - our own drawing
        head=HEAD,
        rows=body,
        verdicts=verdicts(found),
        notes=NOTES,
    )
    plain = [{**asdict(one.row), "math_mib": one.math_mib, "fused_mib": one.fused_mib} for one in found]
    texts = {
        "lvmae-memory.md": "\n".join(lines),
        "lvmae-memory.json": json.dumps({"rows": plain, "verdicts": verdicts(found), "notes": NOTES}, indent=1) + "\n",
        "lvmae-memory.html": page,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        replace_file(folder / name, text)
    picture = folder / "lvmae-memory.png"
    picture.write_bytes(png(10.0, 3.6, curves(found)))
    return [*(folder / name for name in texts), picture]


def lengths_of(given: Mapping[str, Any]) -> tuple[int, ...]:
    """The clip lengths that were asked for.

    Raises:
        RequestError: for anything else that was asked for, and for an odd number of frames.
    """
    if other := sorted(word for word in given if word not in ("names", "frames", "out")) + list(given.get("names", ())):
        raise RequestError(f"--paper {NAME} counts on no device; it takes --frames and --out, not {other[0]}")
    if odd := [length for length in given.get("frames", ()) if length % 2]:
        raise RequestError(f"LVMAE's tubelets are 2 frames long: {odd[0]} frames cannot be cut into them")
    return tuple(given.get("frames", FRAMES))
