"""The resampling ceiling beside what was reached: whether the chain or the network is what limits a class."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.reporting.colours import class_colour
from pipeline.reporting.content import ReportContent
from pipeline.reporting.wording import count, plural, rate

__all__ = ["CeilingRow", "ceiling_rows", "ceiling_sentence"]

_NEAR = 0.02  # of Dice between reached and ceiling: another chain would help, more training hardly


@dataclass(frozen=True)
class CeilingRow:
    """One class, or the mean over them.

    Attributes
    ----------
    name, colour
        Of the class; the mean has no colour.
    reached, ceiling
        Dice per scan, as text.
    bar, room
        The same, 0 to 100, for a bar.
    lost
        Scans in which the chain alone loses the class, as text; empty for none and for the mean.
    """

    name: str
    colour: str
    reached: str
    ceiling: str
    bar: float
    room: float
    lost: str = ""


def ceiling_rows(content: ReportContent) -> list[CeilingRow]:
    """A row a class but the background, then the mean; none where no ceiling was measured."""
    found = content.ceiling
    if found is None:
        return []
    scan = content.summary["levels"]["scan"]
    rows = [
        _row(name, class_colour(class_id), scan["classes"][name]["dice"]["mean"], float(found.dice[class_id]),
             int(found.missed[class_id]))
        for class_id, name in list(enumerate(content.classes))[1:]
    ]  # fmt: skip
    known = [float(value) for value in found.dice[1:] if not math.isnan(value)]
    best = sum(known) / len(known) if known else math.nan
    return [*rows, _row(f"mean of {len(known)}", "", scan["foreground"]["dice"]["mean"], best, 0)]


def _row(name: str, colour: str, reached: float | None, ceiling: float, lost: int) -> CeilingRow:
    known = 0.0 if math.isnan(ceiling) else ceiling
    return CeilingRow(
        name, colour, rate(reached), rate(ceiling), round(100 * (reached or 0.0), 1), round(100 * known, 1),
        f"lost in {plural(lost, 'scan')}" if lost else "",
    )  # fmt: skip


def ceiling_sentence(content: ReportContent) -> str:
    """Say what the ceiling was measured on, and what limits the classes: the chain, where it is nearly reached."""
    found = content.ceiling
    if found is None:
        return ""
    scans = content.summary["n_scans"]
    extent = (
        f"Measured on {'all' if found.scans == scans else f'{count(found.scans)} of'} {plural(scans, 'tested scan')}."
    )
    scan = content.summary["levels"]["scan"]["classes"]
    near = [
        name
        for name, ceiling in list(zip(content.classes, found.dice, strict=True))[1:]
        if scan[name]["dice"]["mean"] is not None and ceiling - scan[name]["dice"]["mean"] < _NEAR
    ]
    if near:
        named = ", ".join(near)
        return f"{extent} Nearly reached for {named}: there, a chain that loses less would help, more training hardly."
    return f"{extent} No class comes near it: what is missing is the network's, not the chain's."
