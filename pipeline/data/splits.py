"""Who trains, who chooses the checkpoint, who is reported: always whole patients."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from pipeline.config.load import Config
from pipeline.data.cases import Case, listing
from pipeline.errors import ConfigError, DataError, raise_all

_SIDES_OF_A_FOLD = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The cases of each side.

    Attributes
    ----------
    train, validation, test
        Cases; no patient is on two sides, unless ``splits.allow_leakage`` says that it may be.
    unused
        Cases that the split leaves out.
    leaks
        What crosses sides although it should not, where that was allowed.
    """

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    unused: tuple[Case, ...] = ()
    leaks: tuple[str, ...] = ()

    def sides(self) -> dict[str, tuple[Case, ...]]:
        """The three sides by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def as_json(self) -> list[dict[str, list[str]]]:
        """One fold in the form of nnU-Net's splits_final.json, with a ``test`` list of our own."""
        names = {side: [case.id for case in cases] for side, cases in self.sides().items()}
        return [{"train": names["train"], "val": names["validation"], "test": names["test"]}]


def is_given(config: Config) -> bool:
    """Whether the split is known before any file is read: by the layout, or by a file."""
    return config.settings.splits.kind in ("layout", "file")


def split_cases(
    config: Config, cases: Sequence[Case], shows: Mapping[str, frozenset[int]] | None = None, fold: int | None = None
) -> Split:
    """Split a dataset as its config says.

    Parameters
    ----------
    config
        Of the dataset.
    cases
        All of them.
    shows
        The classes that each case shows, by its id: what a drawn split is stratified by.
    fold
        Which fold; the config's own where nothing is given.

    Raises
    ------
    ConfigError, DataError, Faults
        A split that cannot be made, names cases that are not there, or puts a patient on two sides.
    """
    kind = config.settings.splits.kind
    if kind == "layout":
        split = _given(cases)
    elif kind == "file":
        split = _from_file(config, cases)
    else:
        split = _holdout(config, cases)
    raise_all(
        DataError(f"the split has no {side} case", where=config.where("splits"), remedy="Change the split, or add data")
        for side, members in split.sides().items() if not members
    )  # fmt: skip
    return _without_leaks(config, split)


def _given(cases: Sequence[Case]) -> Split:
    def on(side: str | None) -> tuple[Case, ...]:
        return tuple(case for case in cases if case.split == side)

    return Split(on("train"), on("validation"), on("test"), unused=on(None))


def _holdout(config: Config, cases: Sequence[Case]) -> Split:
    splits = config.settings.splits
    patients = sorted({case.patient for case in cases})
    if len(patients) < 3:
        raise DataError(
            f"{len(patients)} patients are too few: training, validation and test need one each at least",
            where=config.where("splits"), remedy="Add patients, or check data.patient, which tells them apart",
        )  # fmt: skip
    if splits.test == 0:
        raise ConfigError("no patient would be tested", where=config.where("splits", "test"), remedy="Set it above 0")
    random.Random(config.settings.seed).shuffle(patients)
    test = _share(splits.test, len(patients))
    validation = _share(splits.validation, len(patients))
    if test + validation >= len(patients):
        test = validation = 1
    return _by_patients(cases, set(patients[:test]), set(patients[test : test + validation]))


def _share(fraction: float, count: int) -> int:
    return max(1, round(fraction * count))


def _by_patients(cases: Sequence[Case], test: set[str], validation: set[str]) -> Split:
    return Split(
        train=tuple(case for case in cases if case.patient not in test | validation),
        validation=tuple(case for case in cases if case.patient in validation),
        test=tuple(case for case in cases if case.patient in test),
    )


def _from_file(config: Config, cases: Sequence[Case]) -> Split:
    """One fold of an nnU-Net splits file: its ``val`` is reported, so a part of its ``train`` chooses the checkpoint.

    A fold of this project's own split.json has a ``test`` list as well; it is taken as it stands.
    """
    settings = config.settings
    path = config.locate(settings.data.root) / Path(str(settings.splits.file)).expanduser()
    folds = _read_folds(path)
    fold_number = 0 if isinstance(settings.data.fold, str) else settings.data.fold
    if fold_number >= len(folds):
        raise ConfigError(
            f"fold {fold_number} of {len(folds)}: folds are numbered from 0",
            where=config.where("data", "fold"), remedy=f"Choose one of 0 to {len(folds) - 1}",
        )  # fmt: skip
    fold = folds[fold_number]
    by_id = {case.id: case for case in cases}
    named = [name for side in _SIDES_OF_A_FOLD for name in fold.get(side, ())]
    raise_all(_wrong_names(named, by_id, path))
    train, val, test = ([by_id[name] for name in fold.get(side, ())] for side in _SIDES_OF_A_FOLD)
    unused = tuple(case for case in cases if case.id not in set(named))
    if test:
        return Split(tuple(train), tuple(val), tuple(test), unused)
    chosen = _choosers(config, train, path)
    return Split(
        train=tuple(case for case in train if case.patient not in chosen),
        validation=tuple(case for case in train if case.patient in chosen),
        test=tuple(val),
        unused=unused,
    )


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


def _choosers(config: Config, train: Sequence[Case], path: Path) -> set[str]:
    """The patients of a fold's ``train`` that choose the checkpoint."""
    patients = sorted({case.patient for case in train})
    if len(patients) < 2:
        raise DataError(f"{len(patients)} training patients are too few: one or more learn, and one or more choose the "
                        "checkpoint", where=str(path), remedy="Give a fold with more patients")  # fmt: skip
    random.Random(config.settings.seed).shuffle(patients)
    return set(patients[: min(len(patients) - 1, _share(config.settings.splits.validation, len(patients)))])


def _read_folds(path: Path) -> list[dict[str, list[str]]]:
    remedy = 'It is a list of {"train": [case ids], "val": [case ids]}'
    try:
        folds: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the splits file ({error.strerror})", where=str(path), remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(folds, list) or not folds or not all(_is_fold(fold) for fold in folds):
        raise DataError("not a list of folds", where=str(path), remedy=remedy)
    return folds


def _is_fold(fold: Any) -> bool:
    if not isinstance(fold, dict) or not {"train", "val"} <= fold.keys():
        return False
    sides = [fold[side] for side in _SIDES_OF_A_FOLD if side in fold]
    return all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in sides)


def _without_leaks(config: Config, split: Split) -> Split:
    leaks = []
    for (side, members), (other, others) in combinations(split.sides().items(), 2):
        shared = {case.patient for case in members} & {case.patient for case in others}
        if shared:
            leaks.append(f"patients on both sides, {side} and {other}: {listing(shared)}")
    if not config.settings.splits.allow_leakage:
        raise_all(DataError(what, where=config.where("splits"), remedy="Split by patient (data.patient tells patients "
                            "apart); splits.allow_leakage: true says so in the report") for what in leaks)  # fmt: skip
    return replace(split, leaks=tuple(leaks))
