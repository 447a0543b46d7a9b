"""A request to stop, noticed between steps."""

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


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM, SIGINT and SIGUSR1 into a flag; a second SIGINT interrupts at once.

    Works in the main thread only, as Python's signals do; the handlers from before come back at the end.
    """
    request = StopRequest()
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.name = signal.Signals(number).name

    try:
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            before[wanted] = signal.signal(wanted, note)
        yield request
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python, and cannot be set again from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
