"""The figures that trackers are told, by name: of each epoch, and of the test cases."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["epoch_figures", "final_figures"]

_LEVELS = ("slice", "scan", "patient")
_METRICS = ("dice", "hd95", "surface_dice")
_VALIDATED = "validation_"


def epoch_figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a row of the history: those of training, and of validation where it was validated.

    Parameters
    ----------
    row
        Column to value; what is NaN or infinite is left out.

    Returns
    -------
    dict
        ``training/<column>`` and ``validation/<column>``: ``validation/dice`` is the mean, ``validation/dice_<class>``
        that of a class.

    >>> epoch_figures({"epoch": 1, "train_loss": 0.5, "validation_dice": 0.8, "dice_bone": math.nan})
    {'training/loss': 0.5, 'validation/dice': 0.8}
    """
    figures: dict[str, float] = {}
    for column, value in row.items():
        if column == "epoch" or not math.isfinite(value):
            continue
        if column.startswith((_VALIDATED, "dice_")):
            name = f"validation/{column.removeprefix(_VALIDATED)}"
        else:
            name = f"training/{column.removeprefix('train_')}"
        figures[_told_apart(name, figures)] = float(value)
    return figures


def final_figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The means over the test cases, per slice, scan and patient, of the foreground and of each class in it.

    Parameters
    ----------
    summary
        Of an `pipeline.evaluation.aggregation.Evaluation`.

    Returns
    -------
    dict
        ``test/<metric>_per_<level>`` of the mean over the classes, ``test/<metric>_per_<level>_<class>`` of each.
    """
    figures: dict[str, float] = {}
    for level in _LEVELS:
        there = summary["levels"][level]
        for metric in _METRICS:
            groups = {"": there["foreground"]} | {f"_{name}": there["classes"][name] for name in _foreground(summary)}
            for ending, group in groups.items():
                mean = group[metric]["mean"] if metric in group else None
                if mean is not None:
                    figures[_told_apart(f"test/{metric}_per_{level}{ending}", figures)] = mean
    return figures


def _foreground(summary: Mapping[str, Any]) -> Sequence[str]:
    names: list[str] = summary["classes"][1:]
    return names


def _told_apart(name: str, taken: Mapping[str, float]) -> str:
    """A name in letters that every tracker takes, and that no other figure has."""
    plain = fresh = re.sub(r"[^\w.\- /]", "_", name)
    number = 2
    while fresh in taken:
        fresh, number = f"{plain}_{number}", number + 1
    return fresh
