"""Where the marks of a forest plot go: differences with their intervals, one below the other.

Places across are percentages of the width and places down are pixels, so that the drawing fills a telephone and a
desk's screen alike, with letters of one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.evaluation.differences import METRICS, Row
from pipeline.evaluation.wording import signed, signed_interval

__all__ = ["Forest", "Mark", "forest"]

_HEAD, _STEP, _FOOT = 26, 50, 26  # pixels: above the rows, a row, the axis
_MARGIN = 3.0  # percent at either side
_PAD = 0.06  # of the range, beyond the outermost bound
_TICKS = 7
_NARROWEST = {"dice": 0.01, "surface_dice": 0.01, "hd95": 0.1}  # of the axis to either side of zero


@dataclass(frozen=True)
class Mark:
    """One row: its text, and where its mean and interval are.

    Attributes
    ----------
    name, text
        At the left and at the right.
    state
        better, worse, unclear, or empty where nothing is shown.
    is_mean
        Whether it is the mean over the classes.
    top
        Of the row, pixels.
    x, low, high
        Of the difference and its interval, percent; None where there is none.
    """

    name: str
    text: str
    state: str
    is_mean: bool
    top: int
    x: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Forest:
    """A forest plot.

    Attributes
    ----------
    marks
        Of the rows, from above; the mean over the classes last.
    zero
        Where no difference is, percent.
    ticks
        Of the axis: place in percent, and what it says.
    left, right
        What a difference to the left and to the right of zero means.
    body, height
        Where the rows end, and the whole, in pixels.
    """

    marks: tuple[Mark, ...]
    zero: float
    ticks: tuple[tuple[float, str], ...]
    left: str
    right: str
    body: int
    height: int


def forest(rows: Sequence[Row], metric: str, alpha: float, names: tuple[str, str]) -> Forest:
    """Lay out the rows of one metric.

    Parameters
    ----------
    rows
        As in `Pair.rows`.
    metric
        Of `METRICS`.
    alpha
        The most that a corrected p may be for a difference to be shown.
    names
        Of the first evaluation and of the other, short.
    """
    bounds = [bound for row in rows for bound in (row.difference, *(row.interval or ())) if bound is not None]
    least = _NARROWEST[metric]
    low, high = min([-least, *bounds]), max([least, *bounds])
    pad = _PAD * (high - low)
    place = _scale(low - pad, high + pad)
    marks = tuple(_mark(row, number, alpha, place) for number, row in enumerate([*rows[1:], rows[0]]))
    body = _HEAD + _STEP * len(rows)
    better = f"{names[1]} better"
    worse = f"{names[0]} better"
    left, right = (worse, better) if METRICS[metric] > 0 else (better, worse)
    ticks = tuple((place(value), _tick(value, step)) for value, step in _ticks(low - pad, high + pad))
    return Forest(marks, place(0.0), ticks, left, right, body, body + _FOOT)


def _scale(low: float, high: float) -> Callable[[float], float]:
    """From a difference to percent of the width."""
    return lambda value: round(_MARGIN + (100 - 2 * _MARGIN) * (value - low) / (high - low), 3)


def _mark(row: Row, number: int, alpha: float, place: Callable[[float], float]) -> Mark:
    low, high = (None, None) if row.interval is None else (place(bound) for bound in row.interval)
    text = signed(row.difference, row.metric)
    if row.interval is not None:
        text = f"{text} ({signed_interval(row.interval, row.metric)})"
    return Mark(
        row.name, text, row.shown(alpha), row.place is None, _HEAD + number * _STEP,
        None if row.difference is None else place(row.difference), low, high,
    )  # fmt: skip


def _ticks(low: float, high: float) -> list[tuple[float, float]]:
    """Round values on the axis, zero among them, with the step between them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one for one in (power, 2 * power, 5 * power, 10 * power) if one >= rough * 0.999)
    return [(number * step, step) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:+.{digits}f}".replace("-", "−") if value else "0"
