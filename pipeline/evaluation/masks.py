"""Two masks of one case, read and held against each other: whole files, known values, one grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import DataError, Fault, raise_all
from pipeline.evaluation.pairing import MaskPair
from transforms.nifti import NiftiFile, ReadOptions, read_label

__all__ = ["Rules", "read_masks"]

_MOST_VALUES = 256  # what a mask may hold where nobody says which classes there are
_SHOWN = 8


@dataclass(frozen=True)
class Rules:
    """How pairs are read and scored.

    Attributes
    ----------
    labels, predictions
        How the files of each are read.
    classes
        Number of classes K, background included; None to take what values there are.
    affine_tolerance
        The most that two affines may differ by, in mm.
    knows_spacing
        Whether the files' spacing is to be believed: distances in mm, volumes in ml.
    tolerance
        Of surface Dice, in mm or pixels.
    own
        Whether the predictions were just made of the images: it is these that a label does not fit, then.
    """

    labels: ReadOptions = field(default_factory=ReadOptions)
    predictions: ReadOptions = field(default_factory=ReadOptions)
    classes: int | None = None
    affine_tolerance: float = 1e-3
    knows_spacing: bool = True
    tolerance: float = 2.0
    own: bool = False


def read_masks(pair: MaskPair, rules: Rules) -> tuple[NiftiFile, NiftiFile | None]:
    """The label of a pair, and its prediction where there is one.

    Raises
    ------
    Fault, Faults
        Everything that is wrong with either file, or with the two together; with their names.
    """
    wanted = [(pair.label, rules.labels)]
    if pair.prediction is not None:
        wanted.append((pair.prediction, rules.predictions))
    files: list[NiftiFile] = []
    faults: list[Fault] = []
    for path, options in wanted:
        try:
            files.append(read_label(path, options))
        except Fault as fault:
            faults.append(fault)
    faults += [fault for file in files for fault in _value_faults(file, rules)]
    if len(files) == 2:
        faults += _grid_faults(files[0], files[1], rules)
    raise_all(faults)
    return files[0], files[1] if len(files) == 2 else None


def _value_faults(file: NiftiFile, rules: Rules) -> list[DataError]:
    """A fault where a mask holds values that no class has."""
    limit = rules.classes or _MOST_VALUES
    if file.array.max() < limit:
        return []
    outside = np.unique(file.array[file.array >= limit])
    few = len(outside) <= _SHOWN
    shown = ", ".join(map(str, outside)) if few else f"{outside[0]} to {outside[-1]} ({len(outside)} values)"
    remedy = "Name every class, or rename values with --label-map or --prediction-map"
    if rules.own:
        remedy = "The run knows no such class: rename the values of the labels with --label-map"
    if rules.classes is None or not few:
        remedy = "Is it an image? Images and masks may be swapped"
    return [DataError(f"holds {shown}, expected 0 to {limit - 1}", where=file.path, remedy=remedy)]


def _grid_faults(label: NiftiFile, prediction: NiftiFile, rules: Rules) -> list[DataError]:
    """A fault where prediction and label do not lie on one grid."""
    whose = "the image's" if rules.own else "the prediction's"
    if prediction.array.shape != label.array.shape:
        return [DataError(
            f"{whose} shape {prediction.array.shape} is not the label's {label.array.shape} ({label.path})",
            where=prediction.path, remedy="Image and label must share one grid: export one of them again" if rules.own
            else "Predict on the grid of the label: bring the prediction back to it",
        )]  # fmt: skip
    difference = float(np.abs(prediction.affine - label.affine).max())
    if difference > rules.affine_tolerance:
        return [DataError(
            f"{whose} affine differs from the label's ({label.path}) by {difference:.3g}: "
            f"{_affine_text(prediction.affine)} against {_affine_text(label.affine)}", where=prediction.path,
            remedy="Resample one onto the other's grid; where affines mean nothing, --ignore-affine counts in pixels",
        )]  # fmt: skip
    return []


def _affine_text(affine: np.ndarray) -> str:
    return "[" + "; ".join(" ".join(f"{value:g}" for value in row) for row in affine[:3]) + "]"
