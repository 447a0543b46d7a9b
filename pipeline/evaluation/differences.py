"""What a comparison of two evaluations consists of: paired differences, counts, falls and families of tests."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FOREGROUND", "METRICS", "Counts", "Family", "Regression", "Row"]

METRICS = {"dice": 1, "hd95": -1, "surface_dice": 1}  # whether more is better, or less
FOREGROUND = "foreground"  # the mean over the classes


@dataclass(frozen=True)
class Row:
    """One metric of one class, or of the mean over the classes, in two evaluations.

    Attributes
    ----------
    metric
        Of `METRICS`.
    name, place
        Of the class, and its index; `place` is None for the mean over the classes.
    n_patients
        Who have the figure in both.
    first, other, difference
        Means over these patients; other minus first. None where there are no patients.
    interval
        Of the difference, bootstrapped over patients; None for fewer than two.
    p, p_holm
        Of the signed-rank test, and after Holm's correction.
    leaning
        1 where the ranks of the differences favour the other evaluation, -1 the first, 0 neither.
    wins, losses, ties
        Patients for whom the other evaluation is better, worse, or the same.
    """

    metric: str
    name: str
    place: int | None
    n_patients: int
    first: float | None
    other: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    leaning: int
    wins: int
    losses: int
    ties: int

    def shown(self, alpha: float) -> str:
        """What is shown: better, worse, "unclear" where the mean says otherwise than the ranks; empty for nothing."""
        if self.p_holm is None or self.p_holm > alpha or self.difference is None:
            return ""
        if self.difference * METRICS[self.metric] * self.leaning <= 0:
            return "unclear"
        return "better" if self.leaning > 0 else "worse"


@dataclass(frozen=True)
class Counts:
    """In how many cases a class was missed, and predicted where the reference has none; (first, other)."""

    name: str
    missed: tuple[int, int]
    spurious: tuple[int, int]


@dataclass(frozen=True)
class Regression:
    """A class of a case whose Dice fell.

    Attributes
    ----------
    case, name, place
        The case, the class and its index.
    first, other, difference
        Dice of the case.
    hd95
        Of the first and the other; None where not measured.
    voxels
        Of the class in the reference.
    """

    case: str
    name: str
    place: int
    first: float
    other: float
    difference: float
    hd95: tuple[float, float] | None
    voxels: int


@dataclass(frozen=True)
class Family:
    """Tests that are corrected together.

    Attributes
    ----------
    tests
        How many there are.
    patients
        The most that any of them has.
    least_p
        The smallest p after Holm's correction that any of them can reach.
    needed
        How many patients it takes for a p that shows a difference.
    """

    tests: int
    patients: int
    least_p: float
    needed: int

    def can_tell(self, alpha: float) -> bool:
        """Whether any difference, however consistent, can be shown."""
        return self.tests > 0 and self.least_p <= alpha
