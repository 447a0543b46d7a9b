"""A program that is measured in tests."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from benchmarks.peers.speak import serve


def nap(seconds: float) -> Callable[[], int]:
    numbers = count(1)

    def once() -> int:
        time.sleep(seconds)
        return next(numbers)

    return once


def talk() -> Callable[[], str]:
    print('{"error": "not this"}')

    def once() -> str:
        print("neither this")
        return "said"

    return once


def fails() -> Callable[[], Any]:
    def once() -> None:
        raise ValueError("no such thing")

    return once


def hold(megabytes: int) -> Callable[[], int]:
    return lambda: len(bytearray(b"1") * megabytes * 1_000_000)


def parent() -> Callable[[], int]:
    return lambda: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


def ahead() -> Callable[[], int]:
    """A thread that goes on counting, a hundred times a second."""
    ticks: list[None] = []

    def tick() -> None:
        while True:
            time.sleep(0.01)
            ticks.append(None)

    threading.Thread(target=tick, daemon=True).start()
    return lambda: len(ticks)


if __name__ == "__main__":
    serve({"nap": nap, "talk": talk, "fails": fails, "hold": hold, "parent": parent, "ahead": ahead,
           "own_time": lambda: lambda: {"seconds": 12.5}})  # fmt: skip
