"""A whole ablation, finished or not: its cells, its figures, and what a reader of them should know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.evaluation.ablation import SIDES, Resampling, Unit, Variant, VariantFigures, compare
from pipeline.evaluation.ablation_cells import FinishedCell, ScanScores
from pipeline.evaluation.bootstrap import FEW_PATIENTS

__all__ = ["CHOOSE", "DONE", "FAILED", "OPEN", "STOPPED", "Ablation", "CellOutcome"]

DONE, FAILED, STOPPED, OPEN = "done", "failed", "stopped", "not run yet"
CHOOSE = (
    "Choose by the validation Dice, and by nothing else: a variant that is chosen for its test Dice has learnt from "
    "the test patients, and its test Dice is too good then."
)


@dataclass(frozen=True)
class CellOutcome:
    """What became of one cell.

    Attributes
    ----------
    name
        Of the cell and its folder.
    variant
        Its name without the seed.
    choices
        Each varied key with its value, as text.
    seed
        The value of the seed where that is varied, else empty.
    state
        ``done``, ``failed``, ``stopped`` or ``not run yet``.
    reason
        Why it failed, or the signal that stopped it; empty else.
    finished
        Its figures, where it is done.
    """

    name: str
    variant: str
    choices: tuple[tuple[str, str], ...]
    seed: str = ""
    state: str = OPEN
    reason: str = ""
    finished: FinishedCell | None = None


@dataclass(frozen=True)
class Ablation:
    """The cells of a grid and what they say together.

    Attributes
    ----------
    title
        Such as ``phantom: 4 variants of transforms``.
    command
        As it was typed.
    cells
        In the order of the grid.
    remarks
        What is to be said beside what the figures tell themselves.
    """

    title: str
    command: str
    cells: tuple[CellOutcome, ...]
    remarks: tuple[str, ...] = field(default=())

    @property
    def done(self) -> list[FinishedCell]:
        """The finished cells."""
        return [cell.finished for cell in self.cells if cell.finished is not None]

    @property
    def keys(self) -> tuple[str, ...]:
        """What is varied."""
        return tuple(key for key, _ in self.cells[0].choices)

    @property
    def pools_seeds(self) -> bool:
        """Whether the seed is varied."""
        return any(cell.seed for cell in self.cells)

    @property
    def synthetic(self) -> bool:
        """Whether images of a finished cell were made by equations."""
        return any(cell.provenance["dataset"]["synthetic"] for cell in self.done)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of all finished cells together, without the background."""
        return tuple(dict.fromkeys(name for cell in self.done for name in cell.test.classes))

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Cells that differ in their seed alone, by the name that they share; also those with nothing finished."""
        names = dict.fromkeys(cell.variant for cell in self.cells)
        return tuple(
            Variant(name, {
                cell.seed: cell.finished for cell in self.cells if cell.variant == name and cell.finished is not None
            })
            for name in names
        )  # fmt: skip

    @cached_property
    def figures(self) -> list[VariantFigures]:
        """Of every variant with a finished cell."""
        return compare(self.variants, self.resampling) if self.done else []

    @property
    def resampling(self) -> Resampling:
        """That of the first finished cell."""
        return Resampling.of_summary(self.done[0].summary)

    def number(self, variant: str) -> int:
        """The place of a variant in the grid, from 1."""
        return [one.name for one in self.variants].index(variant) + 1

    @property
    def best(self) -> VariantFigures | None:
        """The variant with the highest validation Dice; None without two that can be ranked."""
        if self.unranked:
            return None
        known = [(one.sides["validation"].own.mean, one) for one in self.figures]
        ranked = [(mean, one) for mean, one in known if mean is not None]
        return max(ranked, key=lambda pair: pair[0])[1] if len(ranked) > 1 else None

    @property
    def unranked(self) -> str:
        """Why the variants cannot be ranked by their validation Dice; empty where they can be.

        Seeds differ among themselves as much as variants do: one with a seed that failed may lead for that alone. So
        do patients: one that was validated on others may lead for having easy ones.
        """
        if not self.has_same_seeds:
            return "not the same seeds of all variants are done"
        if len({cell.test.classes for cell in self.done}) > 1:
            return "the runs do not have the same classes"
        scans: dict[str, set[frozenset[Unit]]] = {}
        for variant in self.variants:
            for seed, cell in variant.cells.items():
                scans.setdefault(seed, set()).add(frozenset(cell.validation.units))
        if any(len(known) > 1 for known in scans.values()):
            return "they were not validated on the same scans"
        return ""

    @property
    def has_same_seeds(self) -> bool:
        """Whether the same seeds of every variant that has any are finished."""
        return len({one.seeds for one in self.figures}) < 2

    @property
    def advice(self) -> list[str]:
        """How to choose, and why no variant is named where none is."""
        return [CHOOSE, *([f"No variant is named as the best: {self.unranked}."] if self.unranked else [])]

    def notes(self) -> list[str]:
        """What is counted, and how far it can be trusted; the advice to choose by validation comes first.

        Nothing, as long as no cell is finished.
        """
        if not self.done:
            return []
        return [*self.advice, *self._of_figures(), *self._of_sides(), *self._of_runs(), *self.remarks]

    def _of_figures(self) -> Iterator[str]:
        yield (
            "Dice is that of scans on the grid of their own files, of validation patients as of test patients: the "
            "mean over the classes of the mean over scans, the background left out."
        )
        if self.pools_seeds:
            yield (
                "Seeds are pooled: means over the seeds of each scan, sd is the standard deviation between the seeds' "
                "means (larger than a difference, it leaves that in doubt), and intervals are over patients alone, of "
                "the mean over seeds."
            )
        if not self.has_same_seeds:
            yield "Not the same seeds of all variants are done: compare the differences, which are of the same seeds."
        drawn = self.resampling
        counts = {one.sides["test"].own.patients for one in self.figures}
        few = " Rough with so few, and likely too narrow." if min(counts) < FEW_PATIENTS else ""
        yield (
            f"Intervals hold {100 * drawn.confidence:g} % of {drawn.resamples} bootstrap resamples of the "
            f"{_numbers(counts)} test patients.{few}" if max(counts) > 1 else "One test patient: no interval."
        )  # fmt: skip
        chosen = {one.sides["validation"].own.patients for one in self.figures}
        yield f"Validation patients: {_numbers(chosen)}." + (
            " So few choose badly: small differences mean nothing." if min(chosen) < FEW_PATIENTS else ""
        )
        if len(self.variants) > 1:
            yield "Differences are taken scan by scan and seed by seed, over what both variants have."

    def _of_sides(self) -> Iterator[str]:
        """Where the figures are not of the same patients or classes."""
        if len({cell.test.classes for cell in self.done}) > 1:
            yield "The runs do not have the same classes: their means are of different things, without a difference."
        for side in SIDES:
            known = {frozenset(_scores(cell, side).units) for cell in self.done}
            if len(known) > 1:
                yield (
                    f"The {side} scans are not the same in all runs (a split that is drawn follows from the seed): "
                    "means are of different scans, only the differences are of the same ones."
                )

    def _of_runs(self) -> Iterator[str]:
        """Where the runs were not made alike."""
        told = {
            "data files": [cell.provenance["dataset"]["fingerprint"] for cell in self.done],
            "versions of Slicewise": [cell.provenance["git_commit"] for cell in self.done],
            "versions of the libraries": [sorted(cell.provenance["versions"].items()) for cell in self.done],
            "devices": [cell.provenance["device"] for cell in self.done],
        }
        for what, values in told.items():
            if any(value != values[0] for value in values):
                yield f"The runs were not all made with the same {what}: see their provenance.json."
        if any(cell.provenance["resumed"] for cell in self.done):
            yield "A run was stopped and resumed: the memory told is that of its last session."


def _numbers(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _scores(cell: FinishedCell, side: str) -> ScanScores:
    return cell.validation if side == "validation" else cell.test
