"""What a phantom holds, in numbers: of the 2D slices in HipMRI's layout, or of volumes in two folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pipeline.data.phantom.solids import SCAN_SLICES
from pipeline.errors import ConfigError

__all__ = ["PhantomSpec", "VolumeSpec"]

_SCAN_BOUNDS = {"weeks": (1, 99), "slices": (1, SCAN_SLICES), "seed": (0, 2**32 - 1)}
_BOUNDS = {"train": (1, 900), "validate": (1, 45), "test": (1, 45), **_SCAN_BOUNDS}  # patients have three digits
_VOLUME_BOUNDS = {"patients": (1, 999), **_SCAN_BOUNDS}


def _check(values: Mapping[str, object], bounds: Mapping[str, tuple[int, int]]) -> None:
    for name, (low, high) in bounds.items():
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(
                f"{name} is {value!r}, expected a whole number from {low} to {high}", where=f"phantom: {name}"
            )


@dataclass(frozen=True)
class PhantomSpec:
    """What a phantom of 2D slices holds, in the layout of HipMRI.

    Attributes
    ----------
    train, validate, test
        Patients in each split.
    weeks
        Scans of each patient.
    slices
        Slices written of each scan's 60, evenly spread, with their true numbers.
    seed
        What all is drawn from.

    Raises
    ------
    ConfigError
        When a value is not a whole number or out of range.
    """

    train: int = 31
    validate: int = 4
    test: int = 3
    weeks: int = 3
    slices: int = SCAN_SLICES
    seed: int = 0

    def __post_init__(self) -> None:
        _check(asdict(self), _BOUNDS)

    @property
    def scans(self) -> int:
        """How many scans that makes."""
        return (self.train + self.validate + self.test) * self.weeks


@dataclass(frozen=True)
class VolumeSpec:
    """What a phantom of volumes holds: a folder of images and one of labels.

    Attributes
    ----------
    patients
        How many; nothing says who trains.
    weeks
        Scans of each patient, a volume each.
    slices
        Coronal slices of each volume, evenly spread over the scan's 60; a divisor of 60, so that they lie evenly.
    seed
        What all is drawn from.

    Raises
    ------
    ConfigError
        When a value is not a whole number or out of range.
    """

    patients: int = 8
    weeks: int = 1
    slices: int = SCAN_SLICES
    seed: int = 0

    def __post_init__(self) -> None:
        _check(asdict(self), _VOLUME_BOUNDS)
        if SCAN_SLICES % self.slices:
            raise ConfigError(
                f"slices is {self.slices}, which does not divide {SCAN_SLICES}: a volume's slices lie at one distance",
                where="phantom: slices",
            )

    @property
    def scans(self) -> int:
        """How many scans that makes."""
        return self.patients * self.weeks
