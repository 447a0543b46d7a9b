"""nnU-Net's splits_final.json; and this project's split.json, which has a ``test`` list as well."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.cases import Case, listing
from pipeline.data.layouts.pairing import composed
from pipeline.errors import DataError, raise_all

SIDES_OF_A_FOLD = ("train", "val", "test")


def read_folds(path: Path) -> list[dict[str, list[str]]]:
    """The folds of a splits file: case ids under ``train``, ``val`` and, perhaps, ``test``.

    Raises
    ------
    DataError
        When it cannot be read, or is something else.
    """
    remedy = 'It is a list of {"train": [case ids], "val": [case ids]}'
    try:
        folds: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the splits file ({error.strerror})", where=str(path), remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(folds, list) or not folds or not all(_is_fold(fold) for fold in folds):
        raise DataError("not a list of folds", where=str(path), remedy=remedy)
    # Case ids are in Unicode's form NFC; a list that was made on macOS may have taken its accents apart.
    return [
        {side: [composed(name) for name in fold[side]] for side in SIDES_OF_A_FOLD if side in fold} for fold in folds
    ]


def cases_of_fold(
    fold: Mapping[str, Sequence[str]], cases: Sequence[Case], path: Path
) -> tuple[dict[str, tuple[Case, ...]], tuple[Case, ...]]:
    """The cases of a fold's sides, and those that it leaves out.

    Raises
    ------
    DataError, Faults
        When it names cases that are not there, or one twice.
    """
    by_id = {case.id: case for case in cases}
    named = [name for side in SIDES_OF_A_FOLD for name in fold.get(side, ())]
    raise_all(_wrong_names(named, by_id, path))
    sides = {side: tuple(by_id[name] for name in fold.get(side, ())) for side in SIDES_OF_A_FOLD}
    used = set(named)
    return sides, tuple(case for case in cases if case.id not in used)


def absent_names(folds: Sequence[Mapping[str, Sequence[str]]], cases: Sequence[Case]) -> list[str]:
    """The names in any fold that no case has, sorted."""
    named = {name for fold in folds for side in SIDES_OF_A_FOLD for name in fold.get(side, ())}
    return sorted(named - {case.id for case in cases})


def _wrong_names(named: Sequence[str], known: Mapping[str, Case], path: Path) -> list[DataError]:
    faults = []
    missing = {name for name in named if name not in known}
    if missing:
        faults.append(DataError(f"names cases that the data lack: {listing(missing)}", where=str(path),
                                remedy="Add their files, or mend the splits file"))  # fmt: skip
    repeated = {name for name, count in Counter(named).items() if count > 1}
    if repeated:
        faults.append(DataError(f"names cases more than once in a fold: {listing(repeated)}", where=str(path),
                                remedy="Each case is on one side, once"))  # fmt: skip
    return faults


def _is_fold(fold: Any) -> bool:
    if not isinstance(fold, dict) or not {"train", "val"} <= fold.keys():
        return False
    sides = [fold[side] for side in SIDES_OF_A_FOLD if side in fold]
    return all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in sides)
