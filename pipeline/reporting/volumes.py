"""The table of volumes: how large each class is, and how large it was predicted to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.reporting.colours import class_colour
from pipeline.reporting.content import ReportContent
from pipeline.reporting.wording import NONE, count, interval

__all__ = ["VolumeRow", "millilitres", "volume_rows"]


@dataclass(frozen=True)
class VolumeRow:
    """Mean volumes of a class per patient, in ml, as text.

    Attributes
    ----------
    name, colour
        Of the class.
    reference, predicted
        Means over all patients, those without the class too.
    difference, interval
        Mean of predicted minus reference over the patients where either mask has the class, and its interval.
    n
        How many patients those are.
    """

    name: str
    colour: str
    reference: str
    predicted: str
    difference: str
    interval: str
    n: str


def millilitres(value: float | None) -> str:
    """Write a volume with the digits that matter; an en dash for None.

    >>> millilitres(0.1234), millilitres(12.34), millilitres(1234.5), millilitres(-0.02), millilitres(None)
    ('0.12', '12.3', '1,234', '-0.02', '–')
    """
    if value is None:
        return NONE
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"


def volume_rows(content: ReportContent) -> list[VolumeRow]:
    """One row a class but the background; none where the spacing is not known."""
    classes = content.summary["levels"]["patient"]["classes"]
    return [
        _row(name, class_colour(class_id), classes[name]["difference_ml"], *means)
        for class_id, name in list(enumerate(content.classes))[1:]
        if (means := _means(content, name)) is not None
    ]


def _means(content: ReportContent, name: str) -> tuple[float, float] | None:
    """Mean volumes over all patients, reference and prediction; None where some are not known."""
    found = [(row["reference_ml"], row["predicted_ml"]) for row in content.patients if row["class"] == name]
    if not found or any(None in pair for pair in found):
        return None
    reference, predicted = (math.fsum(side) / len(found) for side in zip(*found, strict=True))
    return reference, predicted


def _row(name: str, colour: str, difference: Mapping[str, Any], reference: float, predicted: float) -> VolumeRow:
    sign = "+" if (difference["mean"] or 0) > 0 else ""
    return VolumeRow(
        name, colour, millilitres(reference), millilitres(predicted), sign + millilitres(difference["mean"]),
        interval(difference["interval"], millilitres), count(difference["n"]),
    )  # fmt: skip
