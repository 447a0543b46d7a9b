"""cases.csv read back: names and counts of each case and class, every damaged row told with its line."""

from __future__ import annotations

import csv
import io
import itertools
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.layouts.text_files import read_text
from pipeline.errors import DataError, raise_all

__all__ = ["MOST_BYTES", "CaseTable", "is_writable", "read_case_table"]

MOST_BYTES = 500_000_000  # of a file of an evaluation: 11,460 cases of 30 classes take 70 MB

_NAMES = ("case", "scan", "patient", "class")
_COUNTS = ("reference_voxels", "predicted_voxels")
_OVERLAP = "dice_with_empty"  # none only where both masks are empty, so that the true positives follow from it
_DISTANCES = ("hd95", "surface_dice")
_MOST_FAULTS = 8
_WHOLE = 0.01  # how far from a whole number the true positives may come out; the figures have ten digits


@dataclass(frozen=True, eq=False)
class CaseTable:
    """What cases.csv says of N cases and K classes; see `pipeline.evaluation.stored.Stored`."""

    cases: tuple[str, ...]
    scans: tuple[str, ...]
    patients: tuple[str, ...]
    reference: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    hd95: np.ndarray
    surface_dice: np.ndarray


def read_case_table(path: Path, classes: Sequence[str], remedy: str) -> CaseTable:
    """Read and check a cases.csv.

    Parameters
    ----------
    path
        Of the file.
    classes
        K class names that each case must have a row for.
    remedy
        What to do where the file is damaged.

    Raises
    ------
    DataError, Faults
        When it cannot be read, is no table of cases, or has damaged rows: the first of them, each with its line.
    """
    rows = _rows(path, remedy)
    faults: list[DataError] = []
    places = {name: index for index, name in enumerate(classes)}
    names: dict[str, tuple[str, str]] = {}
    figures: dict[str, dict[int, tuple[float, ...]]] = {}
    for line, row in rows:
        try:
            case, scan, patient, name = (row[column] for column in _NAMES)
            _check_names(row, places)
            if names.setdefault(case, (scan, patient)) != (scan, patient):
                raise ValueError(f"case {case!r:.60} is of another scan or patient than above")
            of_case = figures.setdefault(case, {})
            if places[name] in of_case:
                raise ValueError(f"case {case!r:.60} and class {name!r:.60} stand twice")
            of_case[places[name]] = _figures(row)
        except ValueError as error:
            faults.append(DataError(str(error), where=f"{path}:{line}", remedy=remedy))
            if len(faults) >= _MOST_FAULTS:
                break
    short = [case for case, known in figures.items() if len(known) < len(classes)]
    if short and not faults:
        faults.append(DataError(f"{len(short)} cases have no row for some class: {', '.join(short[:5])}",
                                where=str(path), remedy=remedy))  # fmt: skip
    raise_all(faults)
    return _table(names, figures, len(classes))


def _table(
    names: Mapping[str, tuple[str, str]], figures: Mapping[str, Mapping[int, tuple[float, ...]]], n_classes: int
) -> CaseTable:
    values = np.array([[figures[case][place] for place in range(n_classes)] for case in names], dtype=np.float64)
    reference, predicted, true = (np.round(values[..., index]).astype(np.int64) for index in range(3))
    scans, patients = zip(*names.values(), strict=True)
    return CaseTable(tuple(names), scans, patients, reference, predicted, true, values[..., 3], values[..., 4])


def _rows(path: Path, remedy: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by its columns, with the line that it ends on."""
    reader = csv.reader(io.StringIO(read_text(path, remedy, MOST_BYTES), newline=""), strict=True)
    try:
        head = next(reader, [])
        missing = [name for name in (*_NAMES, *_COUNTS, _OVERLAP) if head.count(name) != 1]
        if missing:
            raise DataError(f"no table of cases: it lacks the columns {', '.join(missing)}", where=str(path),
                            remedy=remedy)  # fmt: skip
        first = next(reader, None)
        if first is None:
            raise DataError("holds no case", where=str(path), remedy=remedy)
        for row in itertools.chain([first], reader):
            if len(row) != len(head):
                raise DataError(f"{len(row)} fields, the head has {len(head)}: it may be cut off",
                                where=f"{path}:{reader.line_num}", remedy=remedy)  # fmt: skip
            yield reader.line_num, dict(zip(head, row, strict=True))
    except csv.Error as error:
        raise DataError(f"not a CSV table: {error}", where=f"{path}:{reader.line_num}", remedy=remedy) from error


def _check_names(row: Mapping[str, str], places: Mapping[str, int]) -> None:
    empty = [column for column in _NAMES if not row[column]]
    if empty:
        raise ValueError(f"no {' and no '.join(empty)}")
    unwritable = [column for column in _NAMES if not is_writable(row[column])]
    if unwritable:
        raise ValueError(f"control characters in {' and '.join(unwritable)}")
    if row["class"] not in places:
        raise ValueError(f"class {row['class']!r:.60} is not one of summary.json")


def is_writable(name: str) -> bool:
    """Whether a name can be shown: without control characters, and without what UTF-8 has no bytes for.

    Spaces of every kind may be part of a name, such as that which does not break, and that of East Asian scripts.
    """
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def _figures(row: Mapping[str, str]) -> tuple[float, ...]:
    """Reference, predicted and true voxels, HD95, surface Dice; NaN for none.

    Raises
    ------
    ValueError
        For what is no number, or cannot be.
    """
    reference, predicted = (_number(row, column) for column in _COUNTS)
    overlap = _number(row, _OVERLAP)
    if not all(value >= 0 and value.is_integer() for value in (reference, predicted)):  # NaN is neither
        raise ValueError(f"{' and '.join(_COUNTS)} must be whole numbers")
    both = reference + predicted
    if math.isnan(overlap) is not (both == 0) or not 0 <= (overlap if both else 0) <= 1:
        raise ValueError(f"{_OVERLAP} is {row[_OVERLAP] or 'empty'}, which does not fit its voxels")
    true = overlap * both / 2 if both else 0.0
    if abs(true - round(true)) > _WHOLE * max(1.0, both * 1e-8) or round(true) > min(reference, predicted):
        raise ValueError(f"{_OVERLAP} is {row[_OVERLAP]}, which does not fit its voxels")
    distances = [_number(row, column) if column in row else math.nan for column in _DISTANCES]
    if any(value < 0 for value in distances) or distances[1] > 1:
        raise ValueError(f"{' and '.join(_DISTANCES)} are {', '.join(map(str, distances))}: out of range")
    return reference, predicted, true, *distances


def _number(row: Mapping[str, str], column: str) -> float:
    """A finite number; NaN for an empty field."""
    text = row[column]
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is {text!r:.40}, expected a number")
    return value
