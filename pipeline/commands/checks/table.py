"""The dataset's table of a check: sizes, spacings, intensities, and each class on each side of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.commands.checks.findings import aligned
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.statistics import SideStatistics, side_statistics, span_text


def dataset_statistics(sides: Mapping[str, Sequence[Case]], facts: Mapping[str, CaseFacts]) -> list[SideStatistics]:
    """Statistics of each side that has cases whose files could be read."""
    readable = {side: [case for case in cases if case.id in facts] for side, cases in sides.items()}
    return [side_statistics(side, cases, facts) for side, cases in readable.items() if cases]


def table_lines(sides: Sequence[SideStatistics], classes: Sequence[str], *, known_spacing: bool) -> list[str]:
    """The table for the terminal: one column a side.

    Parameters
    ----------
    sides
        At least one.
    classes
        K names.
    known_spacing
        Whether spacings are to be believed; else they are left out.
    """
    rows = [
        ("", *(one.side for one in sides)),
        *((name, *(f"{getattr(one, name):,}" for one in sides)) for name in ("patients", "scans", "cases", "slices")),
        ("size", *(one.sizes for one in sides)),
        *([("spacing, mm", *(one.spacing_mm for one in sides))] if known_spacing else []),
        *([("orientation", *(" ".join(one.orientations) for one in sides))] if sides[0].orientations else []),
        ("intensity", *(f"{one.low:.4g} to {one.high:.4g}" for one in sides)),
        ("mean of an image", *(span_text(one.mean_low, one.mean_high) for one in sides)),
    ]
    return [*aligned(rows), "", *_class_lines(sides, classes)]


def _class_lines(sides: Sequence[SideStatistics], classes: Sequence[str]) -> list[str]:
    """Share of the voxels, and in how many slices and patients a class is seen: a group of columns a figure."""
    groups = {
        "voxels, %": [[f"{100 * count / max(1, one.voxels.sum()):.2f}" for count in one.voxels] for one in sides],
        "slices with it": [[f"{count:,}" for count in one.slices_with] for one in sides],
        "patients with it": [[f"{count:,}" for count in one.patients_with] for one in sides],
    }
    body = [(name, *(side[index] for group in groups.values() for side in group)) for index, name in enumerate(classes)]
    if len(sides) == 1:
        return aligned([("class", *groups), *body])
    head = [column for name in groups for column in (name, *[""] * (len(sides) - 1))]
    rows = [("class", *(one.side for _ in groups for one in sides)), *body]
    return _grouped(head, aligned(rows), rows, len(sides))


def _grouped(head: Sequence[str], lines: list[str], rows: Sequence[Sequence[str]], group: int) -> list[str]:
    """Lines of `aligned` rows under the names of their groups of columns, each of which begins where its group does."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    title = " " * widths[0]
    for start in range(0, len(head), group):
        width = sum(widths[1 + start : 1 + start + group]) + 2 * (group - 1)
        title += "  " + head[start][:width].center(width)
    return [title.rstrip(), *lines]


def table_values(sides: Sequence[SideStatistics], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The table for machines: plain values."""
    return [
        {
            "side": one.side, "patients": one.patients, "scans": one.scans, "cases": one.cases, "slices": one.slices,
            "sizes": one.sizes, "spacing_mm": one.spacing_mm, "orientations": list(one.orientations),
            "intensity": {"low": one.low, "high": one.high, "mean_low": one.mean_low, "mean_high": one.mean_high},
            "classes": {
                name: {
                    "voxels": int(one.voxels[index]), "slices": int(one.slices_with[index]),
                    "cases": int(one.cases_with[index]), "patients": int(one.patients_with[index]),
                }
                for index, name in enumerate(classes)
            },
        }
        for one in sides
    ]  # fmt: skip
