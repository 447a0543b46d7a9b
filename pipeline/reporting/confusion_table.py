"""The table of what each class was taken for."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.reporting.colours import class_colour
from pipeline.reporting.content import ReportContent
from pipeline.reporting.wording import count, percent

__all__ = ["ConfusionCell", "ConfusionRow", "confusion_rows", "confusion_sentence"]

_NOTABLE = 0.01  # of a class's voxels: a mistake that is worth a word


@dataclass(frozen=True)
class ConfusionCell:
    """Voxels of one class that were predicted to be another.

    Attributes
    ----------
    share
        Of the reference's voxels of the class, as text.
    depth
        0 to 100: how deep the cell is coloured.
    right
        Whether the prediction is right.
    voxels
        How many they are, as text.
    """

    share: str
    depth: int
    right: bool
    voxels: str


@dataclass(frozen=True)
class ConfusionRow:
    """A class of the reference: its colour, its voxels, and what they were predicted to be, class by class."""

    name: str
    colour: str
    voxels: str
    cells: tuple[ConfusionCell, ...]


def confusion_rows(content: ReportContent) -> list[ConfusionRow]:
    """One row a class of the reference, the background first; its cells are the classes of the prediction."""
    rows = []
    for class_id, (name, counts) in enumerate(zip(content.classes, content.summary["confusion"], strict=True)):
        total = sum(counts)
        cells = tuple(
            ConfusionCell(percent(number, total), _depth(number, total), class_id == other, count(number))
            for other, number in enumerate(counts)
        )
        rows.append(ConfusionRow(name, class_colour(class_id), count(total), cells))
    return rows


def _depth(number: int, total: int) -> int:
    """Square root of the share, so that small mistakes are seen: 1 % is a tenth as deep as 100 %."""
    return round(100 * (number / total) ** 0.5) if total else 0


def confusion_sentence(content: ReportContent) -> str:
    """Say which class is most often taken for another one that is not the background; empty where none is, notably."""
    found = [
        (number / sum(counts), name, content.classes[other])
        for name, counts in list(zip(content.classes, content.summary["confusion"], strict=True))[1:]
        for other, number in enumerate(counts)
        if other and content.classes[other] != name and number
    ]
    if not found or max(found)[0] < _NOTABLE:
        return ""
    share, name, other = max(found)
    return f"Most often mixed up: {percent(share, 1.0)} of the voxels of {name} were predicted to be {other}."
