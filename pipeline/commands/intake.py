"""From files to a checked and divided dataset: everything that must hold before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.commands.dataset import Dataset
from pipeline.config.load import Config
from pipeline.config.schema import Settings
from pipeline.config.suggestions import suggestion
from pipeline.data.caching.known_facts import take_facts
from pipeline.data.cases import Case, scan_key
from pipeline.data.cautions import cautions
from pipeline.data.facts import CaseFacts
from pipeline.data.layouts import scattered_patients
from pipeline.data.leakage.leaks import repeated_images
from pipeline.data.splitting.splits import Split, all_folds, split_folds
from pipeline.data.views import View, faults_of_views, views_of
from pipeline.errors import ConfigError, DataError, Fault, raise_all
from pipeline.progress import stage


@dataclass(frozen=True)
class Intake:
    """A dataset whose files were read, found right, and divided.

    Attributes
    ----------
    dataset
        As it was found.
    facts
        One a case, by its id.
    split
        Who trains, who chooses the checkpoint, who is reported; that of the first fold, where there are `folds`.
    fingerprint
        Changes when any image or mask does.
    warnings
        What the config allows, and what a reader of the results should know.
    folds
        Where ``data.fold`` is all: the same dataset divided for each fold, its config that of the fold alone.
    """

    dataset: Dataset
    facts: Mapping[str, CaseFacts]
    split: Split
    fingerprint: str
    warnings: tuple[str, ...]
    folds: tuple[Intake, ...] = ()

    @property
    def settings(self) -> Settings:
        """The config's values."""
        return self.dataset.config.settings

    @property
    def views(self) -> tuple[View, ...]:
        """The ways in which volumes are cut into slices: one, or those of ``data.views``."""
        return views_of(self.dataset.config, self.facts, self.dataset.cases[0].channels_in_file)

    @property
    def parts(self) -> tuple[Intake, ...]:
        """What is trained, one after the other: each fold, or this alone."""
        return self.folds or (self,)

    @property
    def tested(self) -> tuple[Case, ...]:
        """The cases that are reported: those of the test side, of all folds."""
        return tuple(case for part in self.parts for case in part.split.test)

    @property
    def unused(self) -> tuple[Case, ...]:
        """The cases that no side of any fold has."""
        used = {case.id for part in self.parts for cases in part.split.sides().values() for case in cases}
        left_out = {case.id: case for part in self.parts for case in part.split.unused}
        return tuple(case for name, case in left_out.items() if name not in used)

    def split_json(self) -> list[dict[str, list[str]]]:
        """What split.json holds: nnU-Net's splits_final.json with a ``test`` list, one entry a fold."""
        return [fold for part in self.parts for fold in part.split.as_json()]


def take_in(dataset: Dataset) -> Intake:
    """Read and check every file of a dataset, then divide it.

    Raises
    ------
    Fault, Faults
        Everything that is wrong with the files; then what is wrong with the split.
    """
    with stage("check", len(dataset.cases), "cases") as progress:
        facts = take_facts(dataset.config, dataset.cases, progress.advance, progress.write)
    return divide(dataset, {fact.case: fact for fact in facts})


def divide(dataset: Dataset, facts: Mapping[str, CaseFacts]) -> Intake:
    """Divide a dataset that was read, for the fold that its config names, or for all of them.

    Parameters
    ----------
    dataset
        As it was found.
    facts
        By case id. A case without any, as a check of a faulty dataset has them, is left out of its side.

    Raises
    ------
    Fault, Faults
        What is wrong with the split, of any fold.
    """
    raise_all(faults_of_views(dataset.config, facts))
    shows = {name: frozenset(np.flatnonzero(fact.slices_with).tolist()) for name, fact in facts.items()}
    splits = split_folds(dataset.config, dataset.cases, shows)
    _check_shown_case(dataset, splits)
    whole = all_folds(dataset.config)
    parts: list[Intake] = []
    faults: dict[str, Fault] = {}  # by their text: what is wrong with every fold is told once
    for number, split in enumerate(splits):
        of_fold = replace(dataset, config=_config_of(dataset.config, number)) if whole else dataset
        try:
            parts.append(_part(of_fold, facts, split, pooled=whole))
        except Fault as fault:
            faults |= {str(one): one for one in getattr(fault, "faults", (fault,))}
    raise_all(faults.values())
    if not whole:
        return parts[0]
    warnings = (*_warnings_of(parts), *_few_tested(len({case.patient for one in splits for case in one.test})))
    return replace(parts[0], dataset=dataset, warnings=warnings, folds=tuple(parts))


def _part(dataset: Dataset, facts: Mapping[str, CaseFacts], split: Split, *, pooled: bool) -> Intake:
    """One fold, or the whole; `pooled` where the tests of several folds are reported together."""
    train, validation, test = (tuple(case for case in cases if case.id in facts) for cases in split.sides().values())
    judged = len(validation) == len(split.validation)  # else files of it are faulty, which is told already
    split = replace(split, train=train, validation=validation, test=test)
    read = [case for case in dataset.cases if case.id in facts]
    leaks = (*split.leaks, *repeated_images(dataset.config, split, list(facts.values())))
    split = replace(split, unused=(*split.unused, *dataset.unused))
    warnings = (
        *leaks, *cautions(split, facts),
        *scattered_patients(dataset.config, read), *_single_slices(dataset, facts), *_sides_of_layout(dataset),
        *_few_patients(split, pooled=pooled), *_unseen_classes(dataset, split, facts, judged=judged),
    )  # fmt: skip
    return Intake(dataset, facts, split, fingerprint(facts), warnings)


def _config_of(config: Config, fold: int) -> Config:
    data = config.settings.data.model_copy(update={"fold": fold})
    return replace(config, settings=config.settings.model_copy(update={"data": data}))


def _warnings_of(folds: Sequence[Intake]) -> list[str]:
    """The warnings of all folds: once where every fold has it, else with the fold."""
    found: dict[str, list[int]] = {}
    for number, fold in enumerate(folds):
        for warning in fold.warnings:
            found.setdefault(warning, []).append(number)
    return [
        warning if len(numbers) == len(folds) else f"fold {', '.join(map(str, numbers))}: {warning}"
        for warning, numbers in found.items()
    ]


def fingerprint(facts: Mapping[str, CaseFacts]) -> str:
    """A digest of all images and masks with the names of their cases."""
    digest = hashlib.sha256()
    for name, fact in sorted(facts.items()):
        digest.update(f"{name} {fact.digest.hex()} {fact.label_digest.hex()}\n".encode())
    return digest.hexdigest()


def _check_shown_case(dataset: Dataset, splits: Sequence[Split]) -> None:
    shown, known = dataset.config.settings.report.case, [case.id for split in splits for case in split.test]
    if shown is not None and shown not in known:
        raise ConfigError(f"{shown!r} is no test case", where=dataset.config.where("report", "case"),
                          remedy=suggestion(shown, known))  # fmt: skip


def _single_slices(dataset: Dataset, facts: Mapping[str, CaseFacts]) -> list[str]:
    """A word where 2D slices are not pooled to scans although patients have several, or volumes are."""
    flat = [case for case in dataset.cases if case.id in facts and facts[case.id].flat]
    patients, scans = len({case.patient for case in flat}), len({scan_key(case) for case in flat})
    if patients < scans == len(flat):
        return [
            f"each of the {len(flat)} slices of {patients} patients counts as a scan of its own; data.scan would pool "
            "them"
        ]  # fmt: skip
    volumes = [case for case in dataset.cases if case.id in facts and not facts[case.id].flat]
    pooled = len(volumes) - len({scan_key(case) for case in volumes})
    return [f"{pooled} volumes share a scan with another one by data.scan, and are pooled"] if pooled else []


def _sides_of_layout(dataset: Dataset) -> list[str]:
    """A word where test cases that the layout set apart are split like all others."""
    kind, apart = dataset.config.settings.splits.kind, sum(case.split == "test" for case in dataset.cases)
    if kind not in ("holdout", "folds") or not apart:
        return []
    return [f"splits.kind is {kind}: the {apart} cases that the layout puts on its test side are split like all others"]


def _few_patients(split: Split, *, pooled: bool) -> list[str]:
    """What is to be said of sides with one patient or two."""
    patients = {side: len({case.patient for case in cases}) for side, cases in split.sides().items()}
    warnings = [] if pooled else _few_tested(patients["test"])
    if patients["train"] <= 2:
        warnings.append(f"the network learns from {_patients(patients['train'])} only")
    if patients["validation"] <= 2:
        warnings.append(f"the checkpoint is chosen on {_patients(patients['validation'])} only")
    return warnings


def _few_tested(patients: int) -> list[str]:
    said = {1: "1 patient is tested: no interval can be given", 2: "2 patients are tested: intervals say little"}
    return [f"only {said[patients]}"] if patients in said else []


def _patients(number: int) -> str:
    return "1 patient" if number == 1 else f"{number} patients"


def _unseen_classes(
    dataset: Dataset, split: Split, facts: Mapping[str, CaseFacts], *, judged: bool
) -> list[str]:  # fmt: skip
    """What is to be said of classes that a side of the split does not show; `judged` where all of its files were read.

    Raises
    ------
    DataError
        When the validation patients show no class at all: nothing could choose the checkpoint.
    """
    warnings = []
    for side, cases in split.sides().items():
        classes = dataset.config.settings.data.classes
        voxels = sum((facts[case.id].voxels for case in cases), np.zeros(len(classes), dtype=np.int64))
        unseen = [name for name, count in zip(classes, voxels, strict=True) if not count]
        if side == "validation" and judged and not voxels[1:].any():
            raise DataError(
                "the validation patients show no class, so that nothing can choose the checkpoint",
                where=dataset.config.where("splits"), remedy="Use another seed, or a larger splits.validation",
            )  # fmt: skip
        if unseen:
            warnings.append(f"no {side} case shows {', '.join(unseen)}")
    return warnings
