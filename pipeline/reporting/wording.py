"""Numbers and names as a reader meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.wording import NONE, count, distance, interval, plural, rate
from pipeline.terminal import width_of

__all__ = ["NONE", "count", "distance", "duration", "flat", "gibibytes", "interval", "legend_label", "percent",
           "plural", "rate", "shortened"]  # fmt: skip


def percent(part: float | None, whole: float | None) -> str:
    """Write a part of a whole in percent; small parts keep two digits.

    >>> percent(1, 2), percent(1, 1000), percent(0, 3), percent(1, 0)
    ('50 %', '0.10 %', '0 %', '–')
    """
    if part is None or not whole or not math.isfinite(part):
        return NONE
    share = 100 * part / whole
    digits = 0 if share == 0 or share >= 10 else 1 if share >= 1 else 2
    return f"{share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """Write a time.

    >>> duration(59.4), duration(75), duration(7322)
    ('59 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def gibibytes(size: float | None) -> str:
    """Write an amount of memory.

    >>> gibibytes(2**30 * 1.5)
    '1.50 GiB'
    """
    return NONE if size is None else f"{size / 2**30:.2f} GiB"


def shortened(text: str, length: int) -> str:
    """Put a text on one line of at most `length` columns; the middle goes, for names tend to differ at their ends.

    East Asian wide characters take two columns, as in `pipeline.terminal.width_of`.

    >>> shortened("case_040_week_2_slice_17", 15), shortened("胆嚢と肝臓と脾臓", 9)
    ('case_04…lice_17', '胆嚢…脾臓')
    """
    text = " ".join(text.split())
    if width_of(text) <= length:
        return text
    head, tail = length // 2, length - 1 - length // 2
    begin = max(place for place in range(len(text)) if width_of(text[:place]) <= head)
    end = min(place for place in range(len(text) + 1) if width_of(text[place:]) <= tail)
    return f"{text[:begin]}…{text[end:]}"


def legend_label(text: str, length: int) -> str:
    """Shorten a name for a legend; matplotlib leaves labels out that begin with an underscore, so such a one is moved.

    >>> legend_label("_left", 20)
    ' _left'
    """
    short = shortened(text, length)
    return f" {short}" if short.startswith("_") else short


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Name every leaf of nested mappings, such as ("versions: torch", "2.13").

    >>> flat({"seed": 1, "versions": {"torch": "2.13"}})
    [('seed', 1), ('versions: torch', '2.13')]
    """
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        found += flat(value, f"{name}: ") if isinstance(value, Mapping) else [(name, value)]
    return found
