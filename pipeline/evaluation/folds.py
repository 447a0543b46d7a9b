"""Cross-validation: the Dice of each fold beside the pooled figures, and how far the folds lie apart.

The headline is pooled: every patient counts once, predicted by the network that did not see him or her. What the folds
differ by is the luck of the draw, of patients and of training, as nnU-Net's cross-validation shows it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["FOREGROUND", "fold_figures", "fold_table"]

FOREGROUND = "foreground"  # the mean over the classes; beside the classes' own names, so it stands apart from them
_NONE = "–"
_GAP = "  "
_RATE, _NAME = 5, 9  # columns of the terminal for a figure, and for a class's name at most


def fold_figures(summaries: Sequence[Mapping[str, Any]], best_epochs: Sequence[int]) -> dict[str, Any]:
    """What summary.json says of the folds.

    Parameters
    ----------
    summaries
        Of each fold's own evaluation, in the order of the folds; all of the same classes.
    best_epochs
        The epoch whose network was kept, of each fold.

    Returns
    -------
    dict
        Plain values, ready for JSON. "each": one entry a fold with "fold", "best_epoch", "n_cases", "n_scans",
        "n_patients" and "dice". "spread": the same for "dice", but for each figure its "mean", "sd" (of the sample;
        None for fewer than two), "lowest" and "highest" over the folds that have it, and "n", how many those are.
        "dice" is, for each level, "foreground" (the mean over the classes) and "classes" by name; None where no
        reference of the fold shows the class.
    """
    counted = ("n_cases", "n_scans", "n_patients")
    each = [
        {"fold": number, "best_epoch": epoch, **{name: summary[name] for name in counted}, "dice": _dice(summary)}
        for number, (summary, epoch) in enumerate(zip(summaries, best_epochs, strict=True))
    ]
    levels = {
        level: {
            FOREGROUND: _spread([fold["dice"][level][FOREGROUND] for fold in each]),
            "classes": {
                name: _spread([fold["dice"][level]["classes"][name] for fold in each]) for name in first["classes"]
            },
        }
        for level, first in each[0]["dice"].items()
    }
    return {"each": each, "spread": {"dice": levels}}


def _dice(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        level: {
            FOREGROUND: found["foreground"]["dice"]["mean"],
            "classes": {name: one["dice"]["mean"] for name, one in found["classes"].items()},
        }
        for level, found in summary["levels"].items()
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "lowest": min(known, default=None),
        "highest": max(known, default=None),
        "n": len(known),
    }


def fold_table(figures: Mapping[str, Any], classes: Sequence[str], *, width: int = 80, level: str = "scan") -> str:
    """Show the folds at a glance: a line each, plain text, without a line end at the end.

    Parameters
    ----------
    figures
        From `fold_figures`.
    classes
        K class names, the background first.
    width
        Most columns of the terminal; the classes are left out where they do not fit.
    level
        Whose mean Dice is shown.
    """
    names, fixed = list(classes[1:]), ["fold", "patients", "best epoch", " mean"]
    header = [*fixed, *(name if len(name) <= _NAME else f"{name[: _NAME - 1]}…" for name in names)]
    widths = [max(_RATE, len(title)) for title in header]
    if sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        names, header, widths = [], fixed, widths[: len(fixed)]
    rows = [
        [str(fold["fold"]), str(fold["n_patients"]), str(fold["best_epoch"]), *_cells(fold["dice"][level], names)]
        for fold in figures["each"]
    ]
    spread = figures["spread"]["dice"][level]
    of_all = [spread[FOREGROUND], *(spread["classes"][name] for name in names)]
    rows.append(["mean", "", "", *(_rate(one["mean"]) for one in of_all)])
    rows.append(["sd", "", "", *(_rate(one["sd"]) for one in of_all)])
    return "\n".join([f"Dice per {level} of each fold", *(_line(row, widths) for row in [header, *rows])])


def _cells(dice: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [_rate(dice[FOREGROUND]), *(_rate(dice["classes"][name]) for name in names)]


def _rate(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if index else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return _GAP.join([first, *rest]).rstrip()
