"""Figures as a reader meets them, on the terminal as in a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["NONE", "count", "distance", "interval", "plural", "rate", "signed", "signed_interval"]

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


def signed(value: float | None, metric: str = "dice") -> str:
    """A difference with its sign; an en dash for none.

    >>> signed(0.0213), signed(-1.5, "hd95"), signed(15.2, "hd95"), signed(None), signed(-0.0001)
    ('+0.021', '−1.50', '+15.2', '–', '0.000')
    >>> signed(-9.999, "hd95")
    '−10.0'
    """
    if value is None:
        return NONE
    digits = 3 if metric != "hd95" else 2 if round(abs(value), 2) < 10 else 1
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def signed_interval(bounds: Sequence[float] | None, metric: str = "dice") -> str:
    """Two bounds of a difference; an en dash for none.

    >>> signed_interval((-0.01, 0.02)), signed_interval(None)
    ('−0.010 to +0.020', '–')
    """
    return NONE if bounds is None else " to ".join(signed(bound, metric) for bound in bounds)
