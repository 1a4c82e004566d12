"""A generated data set without its pictures: readers of annotations never open a video."""

from pathlib import Path

from benchmarks.layout import Plan
from benchmarks.suite import Suite, Videos
from benchmarks.synth import layout_of


def lay_out(suite: Suite, folder: Path, plan: Plan) -> Path:
    """The annotation files of a plan, and empty video files."""
    layout = layout_of(suite, plan)
    for name, content in [*layout.files.items(), *((video.name, "") for video in layout.videos)]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return folder


def prepared(suite: Suite, folder: Path, plan: Plan) -> Videos:
    """What the suite's reader makes of them."""
    return suite.prepare(lay_out(suite, folder, plan), False)


def change(path: Path, old: str, new: str) -> None:
    """Replace a piece of a file that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, (old, text)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
