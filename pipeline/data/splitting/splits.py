"""Who trains, who chooses the checkpoint, who is reported: always whole patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

from pipeline.config.load import Config
from pipeline.data.cases import Case, listing
from pipeline.data.splitting.drawing import draw
from pipeline.data.splitting.splits_file import cases_of_fold, read_folds
from pipeline.errors import ConfigError, DataError, Fault, raise_all

_DRAW_ONE = "set splits.kind to holdout (one draw by patient), to folds (cross-validation), or to file with splits.file"
Shows = Mapping[str, frozenset[int]]


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


@dataclass(frozen=True, eq=False)
class _Dataset:
    """What is split; what all folds have in common is drawn or read once."""

    config: Config
    cases: Sequence[Case]
    shows: Shows

    @cached_property
    def fold_parts(self) -> tuple[frozenset[str], ...]:
        """The patients whom each of as many folds as ``splits.folds`` says tests."""
        folds, count = self.config.settings.splits.folds, len({case.patient for case in self.cases})
        return self.drawn(self.cases, [count // folds + (one < count % folds) for one in range(folds)])

    @cached_property
    def listed_folds(self) -> list[dict[str, list[str]]]:
        """The folds of the splits file."""
        return read_folds(_splits_path(self.config))

    def drawn(self, cases: Sequence[Case], sizes: Sequence[int]) -> tuple[frozenset[str], ...]:
        """The patients of some cases in parts; the background, which every case shows, is nothing to go by."""
        classes: dict[str, frozenset[int]] = {}
        for case in cases:
            shown = self.shows.get(case.id, frozenset()) - {0}
            classes[case.patient] = classes.get(case.patient, frozenset()) | shown
        return draw(classes, Counter(case.patient for case in cases), sizes, self.config.settings.seed)


def all_folds(config: Config) -> bool:
    """Whether every fold is trained, each tested on its own patients."""
    return config.settings.data.fold == "all"


def is_given(config: Config) -> bool:
    """Whether it is known before any file is read which cases the split leaves out: by the layout, or by a file."""
    return config.settings.splits.kind in ("layout", "file") and not all_folds(config)


def fold_count(config: Config) -> int:
    """How many folds the split of a dataset has; 1 where it is no cross-validation.

    Raises
    ------
    DataError
        When the splits file cannot be read.
    """
    splits = config.settings.splits
    if splits.kind == "file":
        return len(read_folds(_splits_path(config)))
    return splits.folds if splits.kind == "folds" else 1


def split_cases(config: Config, cases: Sequence[Case], shows: Shows | None = None, fold: int | None = None) -> Split:
    """Split a dataset as its config says.

    Where patients are drawn, by ``holdout``, for ``folds``, or to choose the checkpoint where the split has nobody for
    it, that is done by `pipeline.data.splitting.drawing.draw`: it follows from the config's seed and the patients, not
    from the order of the cases, and spreads the patients of each class evenly. Of ``folds``, fold k tests the k-th part
    of the patients; their numbers differ by one at most.

    Parameters
    ----------
    config
        Of the dataset.
    cases
        All of them.
    shows
        The classes that each case shows, by its id: what a drawn split is stratified by. Which cases a split that is
        given (see `is_given`) makes use of does not depend on it.
    fold
        Which fold; the config's own where nothing is given, and the first where that is ``all``.

    Raises
    ------
    ConfigError, DataError, Faults
        A split that cannot be made, names cases that are not there, or puts a patient on two sides.
    """
    return _split(_Dataset(config, cases, shows or {}), _number(config, fold))


def _split(dataset: _Dataset, number: int) -> Split:
    """One split, checked."""
    config = dataset.config
    ways = {"layout": _given, "file": _from_file, "folds": _fold_of_patients, "holdout": _holdout}
    split = ways[config.settings.splits.kind](dataset, number)
    raise_all(
        DataError(f"the split has no {side} case", where=config.where("splits"), remedy="Change the split, or add data")
        for side, members in split.sides().items() if not members
    )  # fmt: skip
    return _without_leaks(config, split)


def split_folds(config: Config, cases: Sequence[Case], shows: Shows | None = None) -> tuple[Split, ...]:
    """Every fold that ``data.fold`` asks for: all of them, or the one.

    Raises
    ------
    ConfigError, DataError, Faults
        As `split_cases` does, for any fold; and when two folds would test the same case, or the same patient.
    """
    if not all_folds(config):
        return (split_cases(config, cases, shows),)
    dataset = _Dataset(config, cases, shows or {})
    folds: list[Split] = []
    faults: list[Fault] = []
    for number in range(fold_count(config)):
        try:
            folds.append(_split(dataset, number))
        except Fault as fault:
            faults += [one for one in getattr(fault, "faults", [fault]) if str(one) not in map(str, faults)]
    raise_all([*faults, *_tested_twice(config, folds)])
    return tuple(folds)


def _tested_twice(config: Config, folds: Sequence[Split]) -> list[DataError]:
    """Faults for what two folds test: results are pooled, and it would count twice."""
    cases = Counter(case.id for fold in folds for case in fold.test)
    patients = Counter(name for fold in folds for name in {case.patient for case in fold.test})
    faults = []
    for noun, counts in (("cases", cases), ("patients", patients)):
        twice = [name for name, count in counts.items() if count > 1]
        if twice and (noun == "cases" or not config.settings.splits.allow_leakage):
            faults.append(DataError(
                f"{noun} that more than one fold tests: {listing(twice)}", where=config.where("splits"),
                remedy="Folds are pooled where data.fold is all: each patient is tested in one of them. Mend the "
                "splits file, or choose one fold",
            ))  # fmt: skip
    return faults[:1]  # patients who are tested twice follow from cases that are


def _number(config: Config, fold: int | None) -> int:
    chosen = config.settings.data.fold if fold is None else fold
    return 0 if isinstance(chosen, str) else chosen


def _check_number(config: Config, number: int, count: int) -> None:
    if number >= count:
        raise ConfigError(
            f"fold {number} of {count}: folds are numbered from 0",
            where=config.where("data", "fold"), remedy=f"Choose one of 0 to {count - 1}, or all",
        )  # fmt: skip


def _given(dataset: _Dataset, number: int) -> Split:
    """The sides that the layout gives; where it gives nobody to choose the checkpoint, some of ``train`` do."""
    config, cases = dataset.config, dataset.cases

    def on(side: str | None) -> tuple[Case, ...]:
        return tuple(case for case in cases if case.split == side)

    split = Split(on("train"), on("validation"), on("test"), unused=on(None))
    layout, where = config.settings.data.layout, config.where("splits")
    if len(split.unused) == len(cases):
        raise DataError(f"the {layout} layout gives no split here", where=where,
                        remedy=f"Put cases on its sides, or {_DRAW_ONE}")  # fmt: skip
    if not split.test:
        raise DataError(f"the {layout} layout gives no test case here, so that nothing would be reported", where=where,
                        remedy=f"Put cases on its test side, or {_DRAW_ONE}")  # fmt: skip
    if split.validation or not split.train:
        return split
    if config.settings.splits.validation == 0:
        raise ConfigError(
            f"the {layout} layout gives no validation case, and splits.validation takes none from training: nothing "
            "would choose the checkpoint", where=config.where("splits", "validation"), remedy="Set it above 0",
        )  # fmt: skip
    return _with_choosers(dataset, split, where)


def _holdout(dataset: _Dataset, number: int) -> Split:
    config, cases, splits = dataset.config, dataset.cases, dataset.config.settings.splits
    count = len({case.patient for case in cases})
    _refuse_few(config, count, 3, "training, validation and test need one each at least")
    if splits.test == 0:
        raise ConfigError("no patient would be tested", where=config.where("splits", "test"), remedy="Set it above 0")
    test, validation = _share(splits.test, count), _share(splits.validation, count)
    if test + validation >= count:
        test = validation = 1
    parts = dataset.drawn(cases, (test, validation, count - test - validation))
    return Split(train=_of(cases, parts[2]), validation=_of(cases, parts[1]), test=_of(cases, parts[0]))


def _fold_of_patients(dataset: _Dataset, number: int) -> Split:
    """One fold of as many as ``splits.folds`` says: a part of the patients is tested, and each is in one fold."""
    config, cases = dataset.config, dataset.cases
    folds, count = config.settings.splits.folds, len({case.patient for case in cases})
    least = 4 if folds == 2 else folds
    _refuse_few(config, count, least, f"{folds} folds test one each at least, beside two who learn and choose")
    _check_number(config, number, folds)
    tested = dataset.fold_parts[number]
    rest = tuple(case for case in cases if case.patient not in tested)
    split = Split(train=rest, validation=(), test=_of(cases, tested))
    return _with_choosers(dataset, split, config.where("splits", "folds"))


def _from_file(dataset: _Dataset, number: int) -> Split:
    """One fold of an nnU-Net splits file: its ``val`` is reported, so a part of its ``train`` chooses the checkpoint.

    A fold of this project's own split.json has a ``test`` list as well; it is taken as it stands.
    """
    path, folds = _splits_path(dataset.config), dataset.listed_folds
    _check_number(dataset.config, number, len(folds))
    sides, unused = cases_of_fold(folds[number], dataset.cases, path)
    if sides["test"]:
        return Split(sides["train"], sides["val"], sides["test"], unused)
    return _with_choosers(dataset, Split(sides["train"], (), sides["val"], unused), str(path))


def _splits_path(config: Config) -> Path:
    return config.locate(config.settings.data.root) / Path(str(config.settings.splits.file)).expanduser()


def _refuse_few(config: Config, count: int, least: int, why: str) -> None:
    if count < least:
        raise DataError(
            f"{count} patient{' is' if count == 1 else 's are'} too few: {why}", where=config.where("splits"),
            remedy="Add patients, or check data.patient, which tells them apart",
        )  # fmt: skip


def _with_choosers(dataset: _Dataset, split: Split, where: str) -> Split:
    """A part of the training patients, drawn, choose the checkpoint instead."""
    count = len({case.patient for case in split.train})
    if count < 2:
        raise DataError(f"{count} training patients are too few: one or more learn, and one or more choose the "
                        "checkpoint", where=where, remedy="Give it more patients")  # fmt: skip
    chosen = min(count - 1, _share(dataset.config.settings.splits.validation, count))
    parts = dataset.drawn(split.train, (chosen, count - chosen))
    return replace(split, train=_of(split.train, parts[1]), validation=_of(split.train, parts[0]))


def _share(fraction: float, count: int) -> int:
    return max(1, round(fraction * count))


def _of(cases: Sequence[Case], patients: frozenset[str]) -> tuple[Case, ...]:
    return tuple(case for case in cases if case.patient in patients)


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
