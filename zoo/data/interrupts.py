"""Signals that wait while a foreign library calls Python back, where an exception could be swallowed."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

HELD = (signal.SIGTERM, signal.SIGINT)


class HeldSignals:
    """Notes signals that Python handles, and hands them to their handlers later: at `deliver`, and when it is left.

    Python runs a handler at the next instruction, which may be the first one of a callback. What the handler raises
    there goes to the library, and PyAV drops all that is no `Exception`: a Ctrl-C would be lost. No `try` in the
    callback can help, for it comes after the first instruction. Handlers only run in the main thread; elsewhere, and
    where a signal is ignored or left to the system, nothing is held.
    """

    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._heard: list[int] = []

    def __enter__(self) -> "HeldSignals":
        if threading.current_thread() is threading.main_thread():
            for number in HELD:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:  # a handler may have put another one in its place
                signal.signal(number, handler)
        self.deliver()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._heard.append(number)

    def deliver(self) -> None:
        """Call the handlers of the signals that came meanwhile; what they raise is raised here."""
        while self._heard:
            number = self._heard.pop(0)
            self._before[number](number, None)
