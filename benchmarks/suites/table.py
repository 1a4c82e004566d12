"""Every suite by name. A new one is one file beside this one and one line here."""

from benchmarks.suite import Suite
from benchmarks.suites import breakfast, coin, digits, diving48, ek100, lvu
from zoo.suggest import unknown

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        digits.SUITE,
        digits.SMOKE,
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
