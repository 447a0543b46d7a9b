"""What a report is made of: plain values and arrays, handed over by a finished run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.statistics import SideStatistics
from pipeline.reporting.stack import Gallery

if TYPE_CHECKING:  # its module takes PyTorch, which a comparison of tables does without
    from pipeline.evaluation.ceiling import Ceiling

__all__ = ["PHANTOM", "Example", "FoldContent", "ReportContent", "TrainingContent"]

PHANTOM = "PHANTOM — synthetic images, not patients"  # stands wherever synthetic data could be taken for patients
_OPPOSITE = {"R": "LR", "L": "LR", "A": "AP", "P": "AP", "S": "SI", "I": "SI"}


@dataclass(frozen=True, eq=False)
class Example:
    """One slice of one test case.

    Parameters
    ----------
    case
        Identifier of the case.
    slice
        Index of the slice in its case; None for a case that is one slice.
    image
        Original intensities, float32, shape (H, W).
    reference, prediction
        Class ids, integers, shape (H, W).
    pixel_size
        Of axis 0 and axis 1, in mm, or (1, 1) when unknown.
    axis_codes
        Where increasing indices of axis 0 and axis 1 go, from R L A P S I, such as ("R", "S"); None when unknown.
    dice
        Of this slice, for every class name, the background too; None where the reference lacks the class.

    Raises
    ------
    ValueError
        If the shapes differ or are not 2D, or sizes or codes make no sense.
    """

    case: str
    slice: int | None
    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    pixel_size: tuple[float, float]
    axis_codes: tuple[str, str] | None
    dice: dict[str, float | None]

    def __post_init__(self) -> None:
        shapes = {self.image.shape, self.reference.shape, self.prediction.shape}
        if len(shapes) != 1 or self.image.ndim != 2 or not self.image.size:
            raise ValueError(f"example {self.case}: shapes are {sorted(shapes)}, expected one (H, W)")
        if not all(0 < size < np.inf for size in self.pixel_size):
            raise ValueError(f"example {self.case}: pixel_size is {self.pixel_size}, expected positive numbers")
        codes = self.axis_codes
        if codes is not None and len({_OPPOSITE.get(code) for code in codes} - {None}) != 2:
            raise ValueError(f"example {self.case}: axis_codes are {codes}, expected two directions of R L A P S I")


@dataclass(frozen=True, eq=False)
class FoldContent:
    """How one fold of a cross-validation was trained.

    Parameters
    ----------
    history, best_epoch
        As in `ReportContent`.
    """

    history: list[dict[str, Any]]
    best_epoch: int

    @property
    def best_dice(self) -> float | None:
        """Mean validation Dice of the epoch that was kept; None where none was validated."""
        found = [row.get("validation_dice") for row in self.history if row["epoch"] == self.best_epoch]
        return found[0] if found else None


@dataclass(frozen=True, eq=False)
class TrainingContent:
    """What the curves of one network's training show.

    Parameters
    ----------
    name, classes, synthetic, history, best_epoch
        As in `ReportContent`.
    running
        Whether more epochs are to come.
    """

    name: str
    classes: tuple[str, ...]
    synthetic: bool
    history: list[dict[str, Any]]
    best_epoch: int
    running: bool = False


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that the plots and the report show.

    Parameters
    ----------
    title
        Heading of the report.
    name
        Of the config.
    classes
        K class names, the background first.
    synthetic
        Whether the data were made by equations; every plot and the report then say so.
    warnings
        Sentences that a reader must know, such as leaks that were allowed.
    summary, cases, scans, patients
        Of `pipeline.evaluation.aggregation.Evaluation`; of a cross-validation, the summary has "folds", as
        `pipeline.evaluation.folds.fold_figures` gives them.
    history
        One row an epoch: "epoch", "step", "seconds", "slices_per_second", "learning_rate", "train_loss" and, where
        validated, "validation_loss", "validation_dice" and "dice_<class>", any of which may be NaN.
    best_epoch
        The epoch whose network was kept.
    folds
        How each fold of a cross-validation was trained; `history` and `best_epoch` are then empty and 0.
    examples
        At least one; the first is the one that predicted_mask_channel_<k>.png shows.
    captions
        One an example.
    dataset
        Of the sides of the split, or of what each fold tests; of K classes.
    knows_spacing
        Whether their spacings are to be believed.
    config_text
        The resolved config, YAML.
    provenance
        As `pipeline.provenance.provenance` gives it.
    repeat
        The command that repeats the run.
    ceiling
        The best that the chain allows on tested scans; None where it was not measured.
    gallery
        The slices that can be leafed through.

    Raises
    ------
    ValueError
        If there is no example, the captions or an example's Dice do not fit, or the summary is of other classes or
        folds.
    """

    title: str
    name: str
    classes: tuple[str, ...]
    synthetic: bool
    warnings: tuple[str, ...]
    summary: dict[str, Any]
    cases: list[dict[str, Any]]
    scans: list[dict[str, Any]]
    patients: list[dict[str, Any]]
    history: list[dict[str, Any]]
    best_epoch: int
    examples: tuple[Example, ...]
    captions: tuple[str, ...]
    dataset: tuple[SideStatistics, ...]
    knows_spacing: bool
    config_text: str
    provenance: dict[str, Any]
    repeat: str
    folds: tuple[FoldContent, ...] = ()
    ceiling: Ceiling | None = None
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def training(self) -> TrainingContent:
        """The training of a single network."""
        return TrainingContent(self.name, self.classes, self.synthetic, self.history, self.best_epoch)

    def __post_init__(self) -> None:
        if not self.examples or len(self.examples) != len(self.captions):
            raise ValueError(f"{len(self.examples)} examples with {len(self.captions)} captions, expected one each")
        if list(self.classes) != list(self.summary["classes"]):
            raise ValueError(f"the summary is of {self.summary['classes']}, the report of {list(self.classes)}")
        told = len(self.summary.get("folds", {}).get("each", ()))
        if told != len(self.folds):
            raise ValueError(f"the summary is of {told} folds, the report of {len(self.folds)}")
        for example in self.examples:
            missing = [name for name in self.classes if name not in example.dice]
            if missing:
                raise ValueError(f"example {example.case}: dice lacks {', '.join(missing)}")
