"""A signal is a flag, until it comes twice."""

from __future__ import annotations

import os
import signal

import pytest

from pipeline.training.signals import StopRequest, hold_signals, interrupt_on_signals, stop_on_signals


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM", "SIGINT"])
def test_a_signal_sets_the_flag(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop
        assert signal.getsignal(number) is not before
        os.kill(os.getpid(), number)
        assert stop
        assert stop.name == name
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait() -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_request_of_the_scheduler_waits() -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.name == "SIGTERM"


def test_handlers_come_back_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with pytest.raises(ZeroDivisionError), stop_on_signals():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


def test_a_request_is_false_at_first() -> None:
    request = StopRequest()
    assert not request
    request.name = "SIGTERM"
    assert request


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_elsewhere_a_signal_interrupts_at_once(name: str) -> None:
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(KeyboardInterrupt, match=name), interrupt_on_signals():
        os.kill(os.getpid(), getattr(signal, name))
        signal.pause()
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_held_signal_comes_when_it_is_let_go() -> None:
    held = False
    with pytest.raises(KeyboardInterrupt, match="SIGUSR1"), interrupt_on_signals():
        with hold_signals():
            os.kill(os.getpid(), signal.SIGUSR1)
            held = True
        pytest.fail("the signal was lost")
    assert held
