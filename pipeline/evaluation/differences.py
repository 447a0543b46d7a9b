"""What a comparison of two evaluations consists of: paired differences, counts, falls and families of tests."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.signed_ranks import fewest_patients, least_holm

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

    What a test of a family can tell hangs on its own patients: pairs of evaluations share other cases, and not every
    patient has every class.

    Attributes
    ----------
    patients
        How many each test has.
    """

    patients: tuple[int, ...]

    @property
    def tests(self) -> int:
        """How many there are."""
        return len(self.patients)

    def least_p(self, patients: int) -> float:
        """The smallest p after Holm's correction that those tests can reach which have so many patients."""
        return least_holm(self.patients)[self.patients.index(patients)]

    def can_tell(self, patients: int, alpha: float) -> bool:
        """Whether a test of so many patients can show any difference, however consistent that is."""
        return self.least_p(patients) <= alpha

    def needed(self, patients: int, alpha: float) -> int:
        """How many patients it takes at least where there are so many, the other tests being as they are."""
        others = list(self.patients)
        others.remove(patients)
        return fewest_patients(others, alpha)
