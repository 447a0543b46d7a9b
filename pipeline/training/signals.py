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
    """Turn SIGTERM, SIGINT and SIGUSR1 into a flag; a second SIGINT interrupts at once."""
    request = StopRequest()
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.name = signal.Signals(number).name

    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
