"""Numbers and names as a reader meets them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["NONE", "count", "distance", "duration", "flat", "gibibytes", "interval", "legend_label", "percent",
           "plural", "rate", "shortened"]  # fmt: skip

NONE = "–"


def rate(value: float | None) -> str:
    """Write a share such as Dice with three decimals; an en dash for None and NaN.

    >>> rate(0.91449), rate(None), rate(math.nan)
    ('0.914', '–', '–')
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:.3f}"


def distance(value: float | None) -> str:
    """Write a distance with the digits that matter; an en dash for None and NaN.

    >>> distance(1.234), distance(12.34), distance(None)
    ('1.23', '12.3', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:.2f}" if round(value, 2) < 10 else f"{value:.1f}"


def interval(bounds: Sequence[float] | None, write: Callable[[float | None], str] = rate) -> str:
    """Write two bounds; an en dash when there are none.

    >>> interval([0.8, 0.9]), interval([0.8, 0.9], distance), interval(None)
    ('0.800–0.900', '0.80–0.90', '–')
    """
    return NONE if bounds is None else "–".join(write(bound) for bound in bounds)


def count(value: float | None) -> str:
    """Write a number of things, with thousands apart; an en dash for None and NaN.

    >>> count(11460), count(None)
    ('11,460', '–')
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:,.0f}"


def plural(number: int, noun: str) -> str:
    """Write a number and its noun.

    >>> plural(1, "scan"), plural(1200, "slice")
    ('1 scan', '1,200 slices')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


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
    """Put a text on one line of at most `length` characters; the middle goes, for names tend to differ at their ends.

    >>> shortened("case_040_week_2_slice_17", 15)
    'case_04…lice_17'
    """
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    head = length // 2
    tail = length - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"


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
