"""Which slices of which test cases a report shows, and their images, references and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.cases import Case
from pipeline.evaluation.confusion import slice_confusions
from pipeline.evaluation.overlap import dice
from pipeline.reporting.content import Example
from transforms.nifti import NiftiFile, ReadOptions, read_label, read_nifti
from transforms.planes import orientation_of, plane_of


def choose_cases(cases: Sequence[Case], rows: Sequence[Mapping[str, Any]], shown: str | None) -> dict[str, str]:
    """Captions of the cases to show, by case id, in the order that they are shown.

    Parameters
    ----------
    cases
        The test cases.
    rows
        One a case and class, as in cases.csv.
    shown
        The case that the config names, if any.

    Returns
    -------
    dict
        First the case that shows most classes (or the one that was named), then the worst, the median and the best by
        the mean Dice of the classes that the reference has.
    """
    known = {case.id for case in cases}
    present: dict[str, int] = {}
    scores: dict[str, list[float]] = {}
    voxels: dict[str, float] = {}
    for row in rows:
        if row["case"] in known and row["class_id"] != 0 and row["reference_voxels"] > 0:
            present[row["case"]] = present.get(row["case"], 0) + 1
            scores.setdefault(row["case"], []).append(row["dice"])
            voxels[row["case"]] = voxels.get(row["case"], 0) + row["reference_voxels"]
    if not present:
        return {cases[0].id: "no class in any reference"}
    most = max(present.values())
    typical = sorted((name for name in present if present[name] == most), key=lambda name: (-voxels[name], name))[0]
    first = shown or typical
    # A slice with a single class is no fair judge of the network where others show several.
    common = [name for name in present if present[name] >= min(most, 2)]
    ranked = sorted(common, key=lambda name: (float(np.mean(scores[name])), name))
    captions = {str(first): "shows most classes" if first == typical else "chosen in the config"}
    for place, word in ((0, "worst"), (len(ranked) // 2, "median"), (len(ranked) - 1, "best")):
        name = ranked[place]
        captions.setdefault(name, f"{word} case, whose mean Dice is {np.mean(scores[name]):.3f}")
    return captions


def load_example(
    case: Case, prediction: Path, classes: Sequence[str], options: ReadOptions, known_spacing: bool
) -> Example:
    """One slice of a case: of a volume, the one that shows most classes, and of those the one with most foreground.

    No other slice is cut out: a volume may have hundreds. The parameters are those of `load_slices`.
    """
    image, label, mask = _files(case, prediction, options)
    number = case.slice if image.array.ndim != 3 else _fullest(label, plane_of(image, options).axis)
    return slice_example(case.id, number, image, (label, mask), classes, options, known_spacing)


def _fullest(label: np.ndarray, axis: int) -> int:
    """The slice of a label (3 axes) that shows most classes, and of those the one with most foreground."""

    def shown(number: int) -> tuple[int, int]:
        plane = np.take(label, number, axis)
        return len(np.unique(plane)), int(np.count_nonzero(plane > 0))

    return max(range(label.shape[axis]), key=shown)


def load_slices(
    case: Case, prediction: Path, classes: Sequence[str], options: ReadOptions, known_spacing: bool
) -> list[Example]:
    """All slices of a case, in the order of the file.

    Their image is the first channel, and their axes are those of the file; `axis_codes` tell where they point.

    Parameters
    ----------
    case
        With a label.
    prediction
        File of its predicted mask.
    classes
        Names, the background first.
    options
        How files are read.
    known_spacing
        Whether spacing and directions of the files are to be believed.
    """
    image, label, mask = _files(case, prediction, options)
    if image.array.ndim != 3:
        return [slice_example(case.id, case.slice, image, (label, mask), classes, options, known_spacing)]
    count = image.array.shape[plane_of(image, options).axis]
    return [
        slice_example(case.id, number, image, (label, mask), classes, options, known_spacing) for number in range(count)
    ]


def _files(case: Case, prediction: Path, options: ReadOptions) -> tuple[NiftiFile, np.ndarray, np.ndarray]:
    """The first channel of a case's image, its label and its predicted mask."""
    image = read_nifti(case.image, options).channels[0]
    mask = read_nifti(prediction, replace(options, channels=1)).array
    assert case.label is not None
    return image, read_label(case.label, options).array, mask


def slice_example(
    case: str, number: int | None, image: NiftiFile, masks: tuple[np.ndarray, np.ndarray], classes: Sequence[str],
    options: ReadOptions, known_spacing: bool,
) -> Example:  # fmt: skip
    """A slice of an image with its masks.

    Parameters
    ----------
    case
        Its name.
    number
        Of the slice; a volume is cut there.
    image
        Of one channel: 2D, or a volume.
    masks
        Class ids of the reference and of the prediction, on the grid of the image.
    classes
        K class names.
    options
        How the image was read.
    known_spacing
        Whether its spacing and directions are to be believed.
    """
    plane, array, (label, mask) = (0, 1), image.array, masks
    if array.ndim == 3:
        axis = plane_of(image, options).axis
        plane = tuple(other for other in range(3) if other != axis)  # type: ignore[assignment]
        array, label, mask = (np.take(values, number, axis) for values in (array, label, mask))  # type: ignore[arg-type]
    scores = dice(slice_confusions(label, mask, len(classes)))[0]
    spacing = (image.spacing_mm[plane[0]], image.spacing_mm[plane[1]]) if known_spacing else (1.0, 1.0)
    codes = orientation_of(image, options) if known_spacing else ""
    return Example(
        case=case,
        slice=number,
        image=array.astype(np.float32),
        reference=label,
        prediction=mask,
        pixel_size=spacing,
        axis_codes=(codes[plane[0]], codes[plane[1]]) if codes else None,
        dice={name: None if np.isnan(score) else float(score) for name, score in zip(classes, scores, strict=True)},
    )
