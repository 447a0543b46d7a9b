"""The resampling ceiling beside what was reached: whether the chain or the network is what limits a class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.reporting.colours import class_colour
from pipeline.reporting.content import ReportContent
from pipeline.reporting.wording import count, plural, rate

if TYPE_CHECKING:
    from pipeline.evaluation.ceiling import Ceiling

__all__ = ["CeilingRow", "ceiling_rows", "ceiling_sentence"]

_LITTLE = 0.01  # of Dice: a loss that is not worth another chain


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
    """A row a class but the background, then the mean; none where no ceiling was measured.

    What was reached is that of the scans that the ceiling was measured on, and the means are over the same classes.
    """
    found = content.ceiling
    if found is None:
        return []
    both = _both(content, found)
    rows = [
        _row(name, class_colour(class_id), *both[name], int(found.missed[class_id]))
        for class_id, name in list(enumerate(content.classes))[1:]
    ]
    known = [pair for pair in both.values() if not any(math.isnan(value) for value in pair)]
    reached, best = (math.fsum(pair[side] for pair in known) / len(known) if known else math.nan for side in (0, 1))
    return [*rows, _row(f"mean of {len(known)}", "", reached, best, 0)]


def _both(content: ReportContent, found: Ceiling) -> dict[str, tuple[float, float]]:
    """Reached Dice and ceiling of each class but the background, NaN where no measured scan shows it."""
    reached: dict[str, list[float]] = {name: [] for name in content.classes[1:]}
    for row in content.scans:
        if row["class"] in reached and row["dice"] is not None and (row["patient"], row["scan"]) in found.keys:
            reached[row["class"]].append(row["dice"])
    return {
        name: (math.fsum(values) / len(values) if values else math.nan, float(found.dice[class_id]))
        for class_id, (name, values) in enumerate(reached.items(), start=1)
    }


def _row(name: str, colour: str, reached: float, ceiling: float, lost: int) -> CeilingRow:
    bar, room = (0.0 if math.isnan(value) else round(100 * value, 1) for value in (reached, ceiling))
    return CeilingRow(
        name, colour, rate(reached), rate(ceiling), bar, room, f"lost in {plural(lost, 'scan')}" if lost else ""
    )


def ceiling_sentence(content: ReportContent) -> str:
    """Say what the ceiling was measured on, and where the chain loses as much as the network, which it should not."""
    found = content.ceiling
    if found is None:
        return ""
    scans = content.summary["n_scans"]
    share = "all" if found.scans == scans else f"{count(found.scans)} of"
    extent = f"Measured on {share} {plural(scans, 'tested scan')}."
    both = _both(content, found)
    known = [name for name, pair in both.items() if not any(math.isnan(value) for value in pair)]
    chain = [name for name in known if 1 - both[name][1] > max(_LITTLE, both[name][1] - both[name][0])]
    if chain:
        return (
            f"{extent} Of {', '.join(chain)} the chain loses more than the network does: one that keeps more of the "
            "resolution would help most."
        )
    if known:
        return f"{extent} What is missing is the network's rather than the chain's, in every class."
    return extent
