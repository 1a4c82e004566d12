"""Signals wait for the end of a call, and reach the handler that was there."""

import os
import signal
import threading

import pytest

from zoo.data import interrupts
from zoo.data.interrupts import HeldSignals

pytestmark = pytest.mark.usefixtures("usual_interrupts")


def test_an_interrupt_is_raised_when_it_is_delivered_and_not_before():
    with HeldSignals() as held:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            held.deliver()
        held.deliver()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_nobody_asked_for_is_raised_at_the_end_in_place_of_another_error():
    def read():
        with HeldSignals():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("the file ends early")

    with pytest.raises(KeyboardInterrupt):
        read()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_steps_back_is_not_put_in_place_again(monkeypatch):
    told = []

    def once(number, frame):
        told.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, once)
    try:
        with HeldSignals() as held:
            os.kill(os.getpid(), signal.SIGTERM)
            held.deliver()
        assert told == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ignored_signals_and_other_threads_are_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with HeldSignals():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    seen = []

    def look():
        with HeldSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
    assert signal.SIGINT in interrupts.HELD
