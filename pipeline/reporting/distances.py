"""What a report says of the distances between surfaces: cells of its tables, and what they mean, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.reporting.wording import count, distance, interval, plural, rate

__all__ = ["DistanceCell", "class_cells", "distance_heads", "distance_sentence", "distance_terms", "mean_cells",
           "unit_of"]  # fmt: skip

_UNITS = {"mm": "mm", "pixels": "px"}


@dataclass(frozen=True)
class DistanceCell:
    """A figure of the surfaces of a class, as text; the interval, n and the misses are empty where there are none."""

    mean: str
    interval: str = ""
    n: str = ""
    missed: str = ""


def unit_of(summary: Mapping[str, Any]) -> str:
    """The unit of the distances, as it is written: mm or px; empty where none was measured."""
    return _UNITS[summary["distances"]["unit"]] if summary["distances"] else ""


def distance_heads(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Heads of the columns of HD95 and surface Dice, two lines each; none where no distance was measured."""
    if not summary["distances"]:
        return []
    unit = unit_of(summary)
    return [(f"HD95, {unit}", "per scan"), ("surface Dice", f"at {summary['distances']['tolerance']:g} {unit}")]


def class_cells(
    summary: Mapping[str, Any], cases: Sequence[Mapping[str, Any]], name: str, *, in_mean: bool
) -> list[DistanceCell]:
    """HD95 and surface Dice of a class, per scan, with the misses that are in them.

    Parameters
    ----------
    summary, cases
        Of the evaluation; its distances were measured.
    name
        Of the class.
    in_mean
        False for the background, which has no distances.
    """
    figures = summary["levels"]["scan"]["classes"][name]
    if not in_mean:
        return [DistanceCell(distance(None)), DistanceCell(rate(None))]
    missed = sum(row["class"] == name and row["outcome"] == "missed" and row["hd95"] is not None for row in cases)
    n = count(figures["hd95"]["n"])
    return [
        DistanceCell(
            distance(figures["hd95"]["mean"]), interval(figures["hd95"]["interval"], distance), n,
            f"{count(missed)} missed" if missed else "",
        ),
        DistanceCell(rate(figures["surface_dice"]["mean"]), interval(figures["surface_dice"]["interval"]), n),
    ]  # fmt: skip


def mean_cells(summary: Mapping[str, Any]) -> list[DistanceCell]:
    """HD95 and surface Dice per scan, the mean over the classes."""
    far, near = (summary["levels"]["scan"]["foreground"][metric] for metric in ("hd95", "surface_dice"))
    return [
        DistanceCell(distance(far["mean"]), interval(far["interval"], distance)),
        DistanceCell(rate(near["mean"]), interval(near["interval"])),
    ]


def _measured(summary: Mapping[str, Any]) -> str:
    """What the distances are those of."""
    found = summary["distances"]
    return "volume" if not found["n_2d"] else "slice" if not found["n_3d"] else "case"


def distance_sentence(summary: Mapping[str, Any]) -> str:
    """The distances in the verdict; empty where there are none."""
    if not summary["distances"] or summary["levels"]["scan"]["foreground"]["hd95"]["mean"] is None:
        return ""
    far, near = mean_cells(summary)
    unit, tolerance = unit_of(summary), summary["distances"]["tolerance"]
    told = f"a mean HD95 of {far.mean} {unit}, and a surface Dice of {near.mean} at {tolerance:g} {unit}"
    return f"The surfaces of the masks have {told}."


def distance_terms(summary: Mapping[str, Any]) -> str:
    """What HD95 and surface Dice are, where they were measured, and what a miss counts as; empty where none was."""
    found = summary["distances"]
    if not found:
        return ""
    unit = "mm" if found["unit"] == "mm" else "pixels (px), for the spacing of the files is not known"
    where = {
        "volume": "They are measured in volumes.",
        "slice": "They are measured in the plane of 2D slices, and a scan has the mean over its slices that show the "
        "class: not to be compared with those of volumes.",
        "case": f"They are measured in {plural(found['n_2d'], '2D slice')}, in their plane, and in "
        f"{plural(found['n_3d'], 'volume')}, which do not compare; a scan has the mean over its files.",
    }[_measured(summary)]
    return (
        "HD95 is the distance within which 95 % of the surface of either mask lies from the other's, the larger of the "
        f"two directions, in {unit}; 0 is perfect. Surface Dice is the share of both surfaces that lies within "
        f"{found['tolerance']:g} {_UNITS[found['unit']]} of the other; 1 is perfect. {where} A class that was missed "
        "altogether counts with the image's diagonal and a surface Dice of 0, so that no miss looks good; below n, the "
        f"number of scans, stands in how many {_measured(summary)}s that was. What is spurious is in neither."
    )
