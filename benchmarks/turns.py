"""Measure several ways of doing one thing, in turn, so that a machine's drift falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int, units: int) -> dict[str, list[float]]:
    """Seconds a unit of each way, one value a round; a first round, not counted, warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                seconds[name].append((time.perf_counter() - began) / units)
    return seconds


def table(title: str, seconds: Mapping[str, list[float]], unit: str, own: str) -> str:
    """The rates, and how many times faster `own` is than each, as median and range over the rounds."""
    lines = [title, ""]
    for name, values in seconds.items():
        ratios = [peer / mine for peer, mine in zip(values, seconds[own], strict=True)]
        text = "" if name == own else (
            f"   {own} is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        )  # fmt: skip
        lines.append(f"  {name:<34} {1 / statistics.median(values):>9.1f} {unit}/s{text}")
    return "\n".join(lines) + "\n"
