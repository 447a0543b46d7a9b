"""Read every file once before anything is trained, and tell all that is wrong with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.config.load import Config
from pipeline.config.schema import PLANES
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.leaks import thumbnail
from pipeline.errors import DataError, Fault, raise_all
from transforms.nifti import NiftiFile, ReadOptions, read_label, read_nifti, slice_axis


@dataclass(frozen=True)
class Examination:
    """What reading files gave: facts of the cases that are right, and every fault of the others.

    Attributes
    ----------
    facts
        In the order of the cases.
    faults
        Of single files, and of the cases together.
    """

    facts: tuple[CaseFacts, ...]
    faults: tuple[Fault, ...]


def read_options(config: Config, channels_in_file: int = 1) -> ReadOptions:
    """How a config wants its files to be read; `channels_in_file` as the cases say, see `Case`."""
    data = config.settings.data
    return ReadOptions(
        axis=PLANES.index(data.axis) if isinstance(data.axis, str) else data.axis,
        reorient=data.orientation == "ras",
        channels=channels_in_file,
        max_voxels=data.max_voxels,
        nonfinite=data.nonfinite,
        ignore_affine=data.ignore_affine,
        spacing_mm=data.spacing_mm,
        label_map=tuple(sorted((data.label_map or {}).items())),
    )


def knows_spacing(config: Config) -> bool:
    """Whether the files' spacing is to be believed: the affine of HipMRI's 2D slices is undocumented."""
    data = config.settings.data
    return data.spacing_mm is not None or (data.layout != "hipmri" and not data.ignore_affine)


def examine_cases(config: Config, cases: Sequence[Case], progress: Callable[[], None] = lambda: None) -> Examination:
    """Read and check every file of `cases`; a fault in one keeps no other from being read.

    Parameters
    ----------
    config
        The dataset's config.
    cases
        Cases with labels.
    progress
        Called after each case.
    """

    def one(case: Case) -> CaseFacts | Fault:
        try:
            return _inspect(config, case, read_options(config, case.channels_in_file))
        except Fault as fault:
            return fault
        finally:
            progress()

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(one, cases))
    facts = tuple(result for result in results if isinstance(result, CaseFacts))
    faults = [fault for result in results if isinstance(result, Fault) for fault in getattr(result, "faults", [result])]
    return Examination(facts, (*faults, *_nameless_patients(config, facts), *_several_axes(config, facts)))


def inspect_cases(
    config: Config, cases: Sequence[Case], progress: Callable[[], None] = lambda: None
) -> tuple[CaseFacts, ...]:
    """`examine_cases`, where nothing may be wrong.

    Raises
    ------
    Fault, Faults
        Everything that is wrong with any file, all at once.
    """
    examination = examine_cases(config, cases, progress)
    raise_all(examination.faults)
    return examination.facts


def _nameless_patients(config: Config, facts: Sequence[CaseFacts]) -> list[DataError]:
    """A fault where 2D slices say nothing of their patients, so that one could stand on both sides of a split."""
    data = config.settings.data
    flat = [fact.case for fact in facts if len(fact.shape) == 2]
    if data.layout != "folders" or data.patient is not None or not flat:
        return []
    return [DataError(
        f"{len(flat)} of the files are 2D slices, and nothing says whose: slices of one patient would stand on both "
        f"sides of the split (such as {flat[0]})", where=config.where("data", "patient"),
        remedy="Set data.patient to an expression whose group is the patient, such as '^(patient\\d+)_'; '^(.+)$' says "
        "that each file is a patient of its own",
    )]  # fmt: skip


def _several_axes(config: Config, facts: Sequence[CaseFacts]) -> list[DataError]:
    """A fault where the spacings would have volumes cut along different axes: one network would see two planes."""
    by_axis = {fact.axis: fact for fact in facts if len(fact.shape) == 3}
    if len(by_axis) < 2:
        return []
    found = ", ".join(f"axis {axis} such as {fact.case} {fact.spacing_mm}" for axis, fact in sorted(by_axis.items()))
    return [DataError(f"by their spacing, volumes would be cut along different axes: {found}",
                      where=config.where("data", "axis"), remedy="Set data.axis to one of them")]  # fmt: skip


def _inspect(config: Config, case: Case, options: ReadOptions) -> CaseFacts:
    try:
        image, label = _read_pair(case, options)
    except Exception as error:
        error.add_note(f"while case {case.id} was read: {case.image} and {case.label}")
        raise
    classes = len(config.settings.data.classes)
    values, counts = np.unique(label.array, return_counts=True)
    raise_all([
        *_grid_faults(case, image, label, config.settings.data.affine_tolerance, options.axis),
        *_value_faults(case, values, classes),
    ])  # fmt: skip
    voxels = np.zeros(classes, dtype=np.int64)
    voxels[values] = counts
    axis = slice_axis(image.spacing_mm, options.axis) if label.array.ndim == 3 else -1
    stack = label.array[None] if axis < 0 else np.moveaxis(label.array, axis, 0)
    present = np.array([int((stack == index).any(axis=(1, 2)).sum()) for index in range(classes)])
    array = image.array
    return CaseFacts(
        case.id, array.shape, image.spacing_mm, "", axis, len(stack), float(array.min()), float(array.max()),
        float(array.mean(dtype=np.float64)), voxels, present, _digest(array), _digest(label.array), thumbnail(array),
        image.zeroed,
    )  # fmt: skip


def _read_pair(case: Case, options: ReadOptions) -> tuple[NiftiFile, NiftiFile]:
    """Image and label of a case; what is wrong with either is told, also where both are wrong."""
    if case.label is None:
        raise DataError("an image without a label", where=str(case.image), remedy="Add the label, or remove the image")
    faults: list[Fault] = []
    files: list[NiftiFile] = []
    for read, path in ((read_nifti, case.image), (read_label, case.label)):
        try:
            files.append(read(path, options))
        except Fault as fault:
            faults.append(fault)
    raise_all(faults)
    return files[0], files[1]


def _grid_faults(case: Case, image: NiftiFile, label: NiftiFile, tolerance: float, axis: int | None) -> list[DataError]:
    """What tells the label's grid from the image's."""
    if label.array.shape != image.array.shape:
        return [DataError(
            f"the label's shape {label.array.shape} is not the image's {image.array.shape} ({case.image})",
            where=str(case.label), remedy="Label and image must share one grid: export one of them again",
        )]  # fmt: skip
    difference = float(np.abs(label.affine - image.affine).max())
    if difference > tolerance:
        return [DataError(
            f"the label's affine differs from the image's ({case.image}) by {difference:.3g}: "
            f"{_affine_text(label.affine)} against {_affine_text(image.affine)}", where=str(case.label),
            remedy="Resample one onto the other's grid, raise data.affine_tolerance, or set data.ignore_affine: true",
        )]  # fmt: skip
    if image.array.ndim == 3:
        cut = [slice_axis(file.spacing_mm, axis) for file in (image, label)]
        if cut[0] != cut[1]:
            return [DataError(
                f"by its spacing {label.spacing_mm} the label would be cut along axis {cut[1]}, the image "
                f"({case.image}) by {image.spacing_mm} along axis {cut[0]}",
                where=str(case.label), remedy="Say with data.axis which axis is cut into slices",
            )]  # fmt: skip
    return []


def _value_faults(case: Case, values: np.ndarray, classes: int) -> list[DataError]:
    outside = values[values >= classes]
    if not outside.size:
        return []
    few = outside.size <= 8
    shown = (
        ", ".join(str(value) for value in outside) if few else f"{outside[0]} to {outside[-1]} ({outside.size} values)"
    )
    remedy = "Add the classes to data.classes, or remap the values with data.label_map"
    return [DataError(
        f"holds {shown}, outside the {classes} classes (0 to {classes - 1})", where=str(case.label),
        remedy=remedy if few else "Is it an image? Images and labels may be swapped",
    )]  # fmt: skip


def _digest(array: np.ndarray) -> bytes:
    found = hashlib.blake2b(f"{array.dtype.kind} {array.shape}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(array).data)
    return found.digest()


def _affine_text(affine: np.ndarray) -> str:
    return "[" + "; ".join(" ".join(f"{value:g}" for value in row) for row in affine[:3]) + "]"
