"""Time spent on something, without the time for which the whole machine stood still."""

import time

# A longer step between two looks is taken for a pause of the machine (SIGSTOP, a closed laptop) and counts as this.
LONGEST_STEP_S = 10.0


class Watch:
    """Seconds since it was made, by a clock that pauses with the machine.

    No clock of the system leaves out the time of a stopped process, but whoever works looks at the watch often. A
    single step that truly takes longer counts too little, so a limit on this time ends the work after the step.
    """

    def __init__(self) -> None:
        self._spent, self._seen = 0.0, time.monotonic()

    def seconds(self) -> float:
        """Time until now."""
        now = time.monotonic()
        self._spent += min(now - self._seen, LONGEST_STEP_S)
        self._seen = now
        return self._spent
