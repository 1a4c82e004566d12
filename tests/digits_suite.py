"""A small rendering of the embedded suite that several tests read.

Rendering and decoding run in a process of their own, without the run-time shape checks, which make the many small calls
of a decoder six times slower.
"""

import subprocess
import sys
from pathlib import Path

from zoo.data.cache import FrameCache
from zoo.data.digits import Digits, Sizes, ensure_digits

PROGRAM = """
import pathlib, sys, torch
from zoo.data.digits import Sizes, ensure_digits
torch.set_num_threads(1)
sizes = Sizes(**eval(sys.argv[2]))
ensure_digits(pathlib.Path(sys.argv[1]), sizes=sizes, progress=False).cache(progress=False)
"""


def rendered(root: Path, sizes: Sizes) -> tuple[Digits, FrameCache]:
    """The suite and its decoded clips under `root`."""
    arguments = [str(root), repr(vars(sizes))]
    subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, cwd=Path(__file__).parents[1])
    suite = ensure_digits(root, sizes=sizes, progress=False)
    return suite, suite.cache(progress=False)
