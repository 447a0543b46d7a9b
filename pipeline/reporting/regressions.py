"""Pictures of a case that two evaluations saw differently: the same slice twice, with the outlines of one class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.differences import Regression
from pipeline.reporting.content import Example
from pipeline.reporting.examples import slice_example
from transforms.nifti import NiftiFile, ReadOptions, read_label, read_nifti
from transforms.planes import plane_of

__all__ = ["CaseFiles", "Picture", "load_pair"]

_AROUND = 1.0  # of the class's own extent, shown to each side
_LEAST_PIXELS = 96  # that the longer side shows
_NARROWEST = 0.7  # of the longer side that the shorter one shows


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes
    ----------
    image
        None where it is not known: outlines are then drawn on black.
    image_options
        How it is read.
    label, label_options
        The reference.
    predictions, prediction_options
        Of the first evaluation and of the other.
    class_ids
        The value of the class in the label, and in either prediction.
    voxels
        How many of them the evaluations counted in the label and in either prediction.
    knows_spacing
        Whether spacing and directions are to be believed.
    """

    image: Path | None
    image_options: ReadOptions
    label: Path
    label_options: ReadOptions
    predictions: tuple[Path, Path]
    prediction_options: tuple[ReadOptions, ReadOptions]
    class_ids: tuple[int, int, int]
    voxels: tuple[int, int, int]
    knows_spacing: bool


@dataclass(frozen=True, eq=False)
class Picture:
    """What is shown of a regression.

    Attributes
    ----------
    regression
        Whose it is.
    examples
        The same slice with the prediction of the first evaluation and of the other; none where it cannot be shown.
    note
        Why not, or what is lacking.
    """

    regression: Regression
    examples: tuple[Example, Example] | None
    note: str = ""


def load_pair(regression: Regression, files: CaseFiles, classes: Sequence[str]) -> Picture:
    """One slice of a case with either prediction, of the class that got worse alone.

    Of a volume it is the slice where the other evaluation has the most wrong voxels more than the first. What is far
    from the class is cut off, alike in both.

    Raises
    ------
    Fault
        For files that cannot be read, do not fit together, or are not those that were counted.
    """
    paths = (files.label, *files.predictions)
    options = (files.label_options, *files.prediction_options)
    read = [read_label(path, how) for path, how in zip(paths, options, strict=True)]
    shown = [file.array == value for file, value in zip(read, files.class_ids, strict=True)]
    for file, mask, counted in zip(read, shown, files.voxels, strict=True):
        if int(mask.sum()) != counted:
            raise DataError(f"has {int(mask.sum())} voxels of the class, {counted} were counted: the file was changed, "
                            "or its values were renamed", where=file.path)  # fmt: skip
    image = _image(files, read[0])
    for file in (image, *read[1:]):
        if file.array.shape != read[0].array.shape:
            raise DataError(f"its shape {file.array.shape} is not the label's {read[0].array.shape}", where=file.path)
    number = _worst_slice(shown, plane_of(image, files.image_options).axis) if image.array.ndim == 3 else None
    label, *predictions = (np.where(mask, regression.place, 0) for mask in shown)
    first, other = (
        slice_example(
            regression.case, number, image, (label, mask), classes, files.image_options, files.knows_spacing
        ) for mask in predictions
    )  # fmt: skip
    first, other = _near_the_class(first, other)
    return Picture(regression, (first, other), "" if files.image else "The image is not known: outlines alone.")


def _image(files: CaseFiles, label: NiftiFile) -> NiftiFile:
    """The image's first channel; where it is not known, black on the grid of the label."""
    if files.image is None:
        return replace(label, array=np.zeros(label.array.shape, dtype=np.float32))
    return read_nifti(files.image, files.image_options).channels[0]


def _near_the_class(first: Example, other: Example) -> tuple[Example, Example]:
    """The same part of both: the class in any of the masks, with something around it."""
    shown = (first.reference > 0) | (first.prediction > 0) | (other.prediction > 0)
    spans = [np.flatnonzero(shown.any(axis=1 - axis)) for axis in (0, 1)]
    if not all(map(len, spans)):
        return first, other
    lengths = [(span[-1] + 1 - span[0]) * (1 + 2 * _AROUND) for span in spans]
    longest = max(*lengths, _LEAST_PIXELS)
    steps = []
    for span, length, size in zip(spans, lengths, shown.shape, strict=True):
        half = max(length, _NARROWEST * longest) / 2
        middle = (span[0] + span[-1] + 1) / 2
        steps.append(slice(max(0, math.floor(middle - half)), min(size, math.ceil(middle + half))))
    part = (steps[0], steps[1])
    return _part(first, part), _part(other, part)


def _part(example: Example, part: tuple[slice, slice]) -> Example:
    return replace(
        example, image=example.image[part], reference=example.reference[part], prediction=example.prediction[part]
    )  # fmt: skip


def _worst_slice(shown: Sequence[np.ndarray], axis: int) -> int:
    """Where the second prediction has the most errors more than the first; of equal ones, the first slice."""
    label, first, other = (np.moveaxis(mask, axis, 0) for mask in shown)
    more = ((other != label).astype(np.int64) - (first != label)).sum(axis=(1, 2))
    return int(np.argmax(more))
