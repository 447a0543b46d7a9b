"""From files to a checked and divided dataset: everything that must hold before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.commands.dataset import Dataset
from pipeline.config.schema import Settings
from pipeline.config.suggestions import suggestion
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import inspect_cases
from pipeline.data.leaks import repeated_images
from pipeline.data.splits import Split, split_cases
from pipeline.errors import ConfigError, DataError
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
        Who trains, who chooses the checkpoint, who is reported.
    fingerprint
        Changes when any image or mask does.
    warnings
        What the config allows, and what a reader of the results should know.
    """

    dataset: Dataset
    facts: Mapping[str, CaseFacts]
    split: Split
    fingerprint: str
    warnings: tuple[str, ...]

    @property
    def settings(self) -> Settings:
        """The config's values."""
        return self.dataset.config.settings


def take_in(dataset: Dataset) -> Intake:
    """Read and check every file of a dataset, then divide it.

    Raises
    ------
    Fault, Faults
        Everything that is wrong with the files; then what is wrong with the split.
    """
    with stage("check", len(dataset.cases), "cases") as progress:
        facts = inspect_cases(dataset.config, dataset.cases, progress.advance)
    return divide(dataset, {fact.case: fact for fact in facts})


def divide(dataset: Dataset, facts: Mapping[str, CaseFacts], fold: int | None = None) -> Intake:
    """Divide a dataset that was read; `fold` in place of the config's own, where it is given."""
    shows = {name: frozenset(np.flatnonzero(fact.slices_with).tolist()) for name, fact in facts.items()}
    split = split_cases(dataset.config, dataset.cases, shows, fold)
    _check_shown_case(dataset, split)
    leaks = (*split.leaks, *repeated_images(dataset.config, split, list(facts.values())))
    split = replace(split, unused=(*split.unused, *dataset.unused))
    warnings = (*leaks, *_zeroed(facts), *_single_slices(dataset), *_unseen_classes(dataset, split, facts))
    return Intake(dataset, facts, split, fingerprint(facts), warnings)


def fingerprint(facts: Mapping[str, CaseFacts]) -> str:
    """A digest of all images and masks with the names of their cases."""
    digest = hashlib.sha256()
    for name, fact in sorted(facts.items()):
        digest.update(f"{name} {fact.digest.hex()} {fact.label_digest.hex()}\n".encode())
    return digest.hexdigest()


def _check_shown_case(dataset: Dataset, split: Split) -> None:
    shown, known = dataset.config.settings.report.case, [case.id for case in split.test]
    if shown is not None and shown not in known:
        raise ConfigError(f"{shown!r} is no test case", where=dataset.config.where("report", "case"),
                          remedy=suggestion(shown, known))  # fmt: skip


def _zeroed(facts: Mapping[str, CaseFacts]) -> list[str]:
    return [
        f"{fact.zeroed} voxels of {name} were NaN or infinite, and are read as 0"
        for name, fact in facts.items() if fact.zeroed
    ]  # fmt: skip


def _single_slices(dataset: Dataset) -> list[str]:
    data, cases = dataset.config.settings.data, dataset.cases
    if data.layout != "folders" or data.patient is None or data.scan is not None:
        return []
    patients = len({case.patient for case in cases})
    if patients == len(cases):
        return []
    return [
        f"each of the {len(cases)} files of {patients} patients counts as a scan of its own; data.scan would pool them"
    ]


def _unseen_classes(dataset: Dataset, split: Split, facts: Mapping[str, CaseFacts]) -> list[str]:
    """What is to be said of classes that a side of the split does not show.

    Raises
    ------
    DataError
        When the validation patients show no class at all: nothing could choose the checkpoint.
    """
    warnings = []
    for side, cases in split.sides().items():
        voxels = np.sum([facts[case.id].voxels for case in cases], axis=0)
        unseen = [name for name, count in zip(dataset.config.settings.data.classes, voxels, strict=True) if not count]
        if side == "validation" and not voxels[1:].any():
            raise DataError(
                "the validation patients show no class, so that nothing can choose the checkpoint",
                where=dataset.config.where("splits"), remedy="Use another seed, or a larger splits.validation",
            )  # fmt: skip
        if unseen:
            warnings.append(f"no {side} case shows {', '.join(unseen)}")
    return warnings
