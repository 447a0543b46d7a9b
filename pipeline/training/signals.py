"""A request to stop: noticed between steps while training, at once elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StopRequest:
    """Whether a signal asked for a stop, and which."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __bool__(self) -> bool:
        return self.name is not None


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM, SIGINT and SIGUSR1 into a flag; a second SIGINT interrupts at once.

    Works in the main thread only, as Python's signals do; the handlers from before come back at the end.
    """
    request = StopRequest()

    def note(number: int, frame: Any) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.name = signal.Signals(number).name

    with _handled_by(note):
        yield request


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, SIGINT and SIGUSR1: where nothing is lost, a stop need not wait."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    with _handled_by(interrupt):
        yield


def ignore_signals() -> None:
    """Let a process that ends anyway come to its end, and say why."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Let signals wait: a library that is interrupted while it is imported may abort the process at its end."""
    # Not by a mask of signals: another thread, of a library, would take them.
    held: list[int] = []
    with _handled_by(lambda number, frame: held.append(number)):
        yield
    if held:
        signal.raise_signal(held[0])


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    before: dict[int, Any] = {}
    try:
        for wanted in _SIGNALS:
            before[wanted] = signal.signal(wanted, handler)
        yield
    finally:
        for number, old in before.items():
            # None stands for a handler that was not set from Python, and cannot be set again from there.
            signal.signal(number, signal.SIG_DFL if old is None else old)
