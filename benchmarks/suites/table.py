"""Every suite by name. A new one is one file beside this one and one line here."""

from benchmarks.suite import Suite
from benchmarks.suites import (
    breakfast,
    coin,
    digits,
    diving48,
    ek100,
    finegym288,
    hmdb51,
    in1k,
    k400,
    k600,
    k700,
    k710,
    lvu,
    mit,
    ssv2,
    ucf101,
)
from zoo.suggest import unknown

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        digits.SUITE,
        digits.SMOKE,
        k400.SUITE,
        k600.SUITE,
        k700.SUITE,
        k710.SUITE,
        ssv2.SUITE,
        mit.SUITE,
        in1k.SUITE,
        ucf101.SUITE,
        hmdb51.SUITE,
        finegym288.SUITE,
        breakfast.SUITE,
        coin.SUITE,
        lvu.SUITE,
        lvu.VIS4MER,
        lvu.WHOLE,
        diving48.SUITE,
        ek100.SUITE,
        ek100.ANTICIPATION,
        ek100.RELEASED,
    )
}


def get_suite(name: str) -> Suite:
    """The suite of a name.

    Raises:
        UnknownNameError: naming the closest ones.
    """
    if name not in SUITES:
        raise unknown("suite", name, list(SUITES))
    return SUITES[name]
