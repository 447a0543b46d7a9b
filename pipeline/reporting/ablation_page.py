"""An ablation as one HTML page that opens offline, beside the folders of its runs."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import quote

import jinja2

from pipeline.evaluation.ablation import SIDES, VariantFigures
from pipeline.evaluation.ablation_result import DONE, Ablation, CellOutcome
from pipeline.evaluation.wording import signed, signed_interval
from pipeline.provenance import own_version
from pipeline.reporting.ablation_files import cost_table
from pipeline.reporting.content import PHANTOM
from pipeline.reporting.wording import count, duration, gibibytes, interval, rate, shortened

__all__ = ["ablation_page"]

_LEFT, _RIGHT, _ROW, _TOP = 250.0, 730.0, 46.0, 14.0  # of the chart, in its own units
_LONGEST_NAME = 34  # letters that have room beside it
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # between the ticks
_MOST_TICKS = 7


def ablation_page(ablation: Ablation) -> str:
    """Write the page: nothing is loaded from anywhere, and names are escaped.

    Its links lead to the reports of the runs, in the folders beside it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["parts"] = _parts
    head, rows = cost_table(ablation)
    return environment.get_template("ablation.html.j2").render(
        ablation=ablation,
        phantom=PHANTOM,
        version=own_version(),
        advice=" ".join(ablation.advice),
        done=sum(cell.state == DONE for cell in ablation.cells),
        best=_best(ablation),
        chart=_chart(ablation) if ablation.figures else None,
        scores=[_scores(ablation, one) for one in ablation.figures],
        costs=(head[1:], [row[1:] for row in rows]),
        cells=[_cell(cell) for cell in ablation.cells],
        notes=ablation.notes()[len(ablation.advice) :],
    )


def _parts(name: str) -> list[str]:
    """A name in parts, between which a narrow column may break it.

    >>> _parts("transforms=pad,seed=1")
    ['transforms=', 'pad,', 'seed=', '1']
    """
    return re.split("(?<=[=,])", name)


def _best(ablation: Ablation) -> dict[str, str] | None:
    best = ablation.best
    if best is None:
        return None
    own = {side: best.sides[side].own for side in SIDES}
    return {"name": best.name, "validation": rate(own["validation"].mean), "test": rate(own["test"].mean),
            "interval": interval(own["test"].interval)}  # fmt: skip


def _scores(ablation: Ablation, one: VariantFigures) -> dict[str, Any]:
    """A row of the table of scores: each cell a figure, and what stands under it."""
    cells = []
    for side in one.sides.values():
        own, other = side.own, side.difference
        spread = [] if own.sd is None else [f"sd {rate(own.sd)}"]
        cells.append((rate(own.mean), [*([interval(own.interval)] if own.interval else []), *spread]))
        bounds = [signed_interval(other.interval)] if other is not None and other.interval else []
        bounds += [f"sd {rate(other.sd)}"] if other is not None and other.sd is not None else []
        cells.append((signed(None if other is None else other.mean), bounds))
    return {"number": ablation.number(one.name), "name": one.name, "seeds": len(one.seeds), "cells": cells}


def _cell(cell: CellOutcome) -> dict[str, Any]:
    """A row of the table of runs."""
    done = cell.finished
    test = done.summary["levels"]["scan"]["foreground"]["dice"] if done else {"mean": None, "interval": None}
    return {
        "name": cell.name, "state": cell.state, "reason": cell.reason,
        "link": f"{quote(cell.name)}/report.html" if done else "",
        "figures": [
            rate(done.validation_dice if done else None), rate(test["mean"]), interval(test["interval"]),
            duration(done.training_seconds) if done else duration(None), count(done.steps if done else None),
            gibibytes(done.peak_memory_bytes if done else None),
        ],
    }  # fmt: skip


def _chart(ablation: Ablation) -> dict[str, Any]:
    """Where the marks of the chart stand: a row a variant, a mark a side of the split with its interval."""
    own = [[one.sides[side].own for side in SIDES] for one in ablation.figures]
    known = [
        value
        for figures in own
        for figure in figures
        for value in (figure.mean, *(figure.interval or ()))
        if value is not None
    ]
    low, high, step = _range(known or [0.0, 1.0])
    bottom = _TOP + _ROW * len(own)

    def across(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 1)

    ticks = [round(low + number * step, 3) for number in range(round((high - low) / step) + 1)]
    rows = []
    for number, (one, figures) in enumerate(zip(ablation.figures, own, strict=True)):
        middle = _TOP + _ROW * (number + 0.5)
        marks = [
            {
                "side": side, "y": middle + (-8 if side == "validation" else 8), "x": across(figure.mean),
                "text": rate(figure.mean),
                "line": [across(bound) for bound in figure.interval] if figure.interval else [],
            }
            for side, figure in zip(SIDES, figures, strict=True) if figure.mean is not None
        ]  # fmt: skip
        rows.append({"name": shortened(one.name, _LONGEST_NAME), "y": middle + 5, "marks": marks})
    return {
        "height": bottom + 34, "bottom": bottom, "top": _TOP, "rows": rows, "left": _LEFT,
        "ticks": [{"x": across(tick), "text": f"{tick:.2f}"} for tick in ticks],
    }  # fmt: skip


def _range(values: list[float]) -> tuple[float, float, float]:
    """Round bounds around some shares, and the step between ticks.

    >>> _range([0.713, 0.768])
    (0.71, 0.77, 0.01)
    """
    for step in _STEPS:
        low, high = math.floor(min(values) / step), math.ceil(max(values) / step)
        if high - low < _MOST_TICKS:
            break
    return round(low * step, 3), round(max(high, low + 1) * step, 3), step
