"""Read every file once before anything is trained, and tell all that is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.config.load import Config
from pipeline.config.schema import PLANES
from pipeline.data.cases import Case
from pipeline.data.components import component_counts
from pipeline.data.facts import CaseFacts
from pipeline.data.largest import largest_voxels
from pipeline.data.layouts import hipmri_has_volumes, tells_patients
from pipeline.data.leakage.thumbnails import thumbnail
from pipeline.data.reading import read_options
from pipeline.errors import DataError, Fault, raise_all
from pipeline.memory import thread_count
from transforms.nifti import NiftiFile, ReadOptions, read_label, read_nifti
from transforms.planes import axis_of_ras, orientation_of, plane_of

_MOST_THREADS = 8
_DIGEST_BYTES = 16
_WORKING = 20  # bytes a voxel that reading and checking take at their peak, measured


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


def knows_spacing(config: Config) -> bool:
    """Whether the files' spacing is to be believed: the affine of HipMRI's 2D slices is undocumented."""
    data = config.settings.data
    undocumented = data.layout == "hipmri" and not hipmri_has_volumes(config.locate(data.root))
    return data.spacing_mm is not None or not (undocumented or data.ignore_affine)


def examine_cases(
    config: Config, cases: Sequence[Case], progress: Callable[[], None] = lambda: None, known: Sequence[CaseFacts] = ()
) -> Examination:
    """Read and check every file of `cases`; a fault in one keeps no other from being read.

    Parameters
    ----------
    config
        The dataset's config.
    cases
        Cases with labels.
    progress
        Called after each case.
    known
        Of other cases, which are not read, but looked at where all are looked at together.
    """

    def one(case: Case) -> CaseFacts | Fault:
        try:
            return _inspect(config, case, read_options(config, case.channels_in_file))
        except Fault as fault:
            return fault
        finally:
            progress()

    needed = _WORKING * largest_voxels(cases, config.settings.data.max_voxels)
    # Each case has a core already: products of small matrices that take all cores keep them from one another.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(thread_count(needed, _MOST_THREADS)) as pool:
        results = list(pool.map(one, cases))
    facts = tuple(result for result in results if isinstance(result, CaseFacts))
    faults = [fault for result in results if isinstance(result, Fault) for fault in getattr(result, "faults", [result])]
    every = (*known, *facts)
    together = (*_nameless_patients(config, every), *_unknown_planes(config, every), *_several_axes(config, every))
    return Examination(facts, (*faults, *together))


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
    flat = [fact.case for fact in facts if fact.flat]
    if tells_patients(config) or not flat:
        return []
    return [DataError(
        f"{len(flat)} of the files are 2D slices, and nothing says whose: slices of one patient would stand on both "
        f"sides of the split (such as {flat[0]})", where=config.where("data", "patient"),
        remedy="Set data.patient to an expression whose group is the patient, such as '^(patient\\d+)_'; '^(.+)$' says "
        "that each file is a patient of its own",
    )]  # fmt: skip


def _unknown_planes(config: Config, facts: Sequence[CaseFacts]) -> list[DataError]:
    """A fault where a plane of the body is asked for, and nothing says where the axes of volumes point."""
    data = config.settings.data
    volumes = [fact for fact in facts if not fact.flat]
    unknown = [fact.case for fact in volumes if data.orientation == "file" or not fact.orientation]
    asked = {"axis": [data.axis], "views": data.views or ()}
    named = [(key, one) for key, axes in asked.items() for one in axes if isinstance(one, str)]
    return [DataError(
        f"{plane} is a plane of the body, but volumes are not turned by their affines here (such as {unknown[0]})",
        where=config.where("data", key), remedy="Set it to 0, 1 or 2, an axis of the files; or set "
        "data.orientation: ras, without data.ignore_affine and data.spacing_mm",
    ) for key, plane in named if unknown]  # fmt: skip


def _several_axes(config: Config, facts: Sequence[CaseFacts]) -> list[DataError]:
    """A fault where the spacings would have volumes cut along different axes: one network would see two planes."""
    turned = config.settings.data.orientation == "ras"
    by_plane = {_plane_name(fact, turned): fact for fact in facts if not fact.flat}
    if len(by_plane) < 2:
        return []
    found = ", ".join(f"{name} such as {fact.case} {fact.spacing_mm}" for name, fact in sorted(by_plane.items()))
    what = "into slices of different planes" if turned else "along different axes"
    return [DataError(f"by their spacing, volumes would be cut {what}: {found}",
                      where=config.where("data", "axis"), remedy="Set data.axis to one of them")]  # fmt: skip


def _plane_name(fact: CaseFacts, turned: bool) -> str:
    if turned and fact.orientation:
        return PLANES[axis_of_ras(fact.orientation, fact.axis)]
    return f"axis {fact.axis}"


def _inspect(config: Config, case: Case, options: ReadOptions) -> CaseFacts:
    try:
        images, label = _read_case(case, options)
    except Exception as error:
        error.add_note(f"while case {case.id} was read: {', '.join(map(str, case.images))} and {case.label}")
        raise
    classes, tolerance = len(config.settings.data.classes), config.settings.data.affine_tolerance
    others = [("channel", channel) for channel in images[1:] if channel.path != images[0].path] + [("label", label)]
    raise_all([
        *(fault for name, file in others for fault in _grid_faults(name, file, images[0], tolerance, options)),
        *_value_faults(case, label.array, classes),
        *_thin_slices(images[0], options),
    ])  # fmt: skip
    arrays = [image.array for image in images]
    plane = plane_of(images[0], options)
    counts = _class_counts(plane.cut(label.array), classes)
    return CaseFacts(
        case.id, arrays[0].shape, images[0].spacing_mm, orientation_of(images[0], options), plane.axis, len(counts),
        low=min(float(array.min()) for array in arrays), high=max(float(array.max()) for array in arrays),
        mean=float(np.mean([array.mean(dtype=np.float64) for array in arrays])),
        voxels=counts.sum(axis=0), slices_with=(counts > 0).sum(axis=0), parts=component_counts(label.array, classes),
        digest=_digest(*arrays), label_digest=_digest(label.array), thumbnail=thumbnail(arrays[0]),
        zeroed=sum({image.path: image.zeroed for image in images}.values()),
    )  # fmt: skip


def _thin_slices(image: NiftiFile, options: ReadOptions) -> list[DataError]:
    """A fault where a file is one slice along an axis, and is to be cut across it, into lines."""
    plane = plane_of(image, options)
    sides = [image.array.shape[axis] for axis in plane.order[1:]]
    if 1 not in sides:
        return []
    thin = image.array.shape.index(1)
    return [DataError(
        f"has the shape {image.array.shape}: one slice along axis {thin}, which data.axis would cut along axis "
        f"{plane.axis}", where=image.path, remedy="Set data.axis: null; a file that is one slice is taken as it lies",
    )]  # fmt: skip


def _read_case(case: Case, options: ReadOptions) -> tuple[list[NiftiFile], NiftiFile]:
    """Each channel of a case's image, and its label; what is wrong with any of the files is told at once."""
    if case.label is None:
        raise DataError("an image without a label", where=str(case.image), remedy="Add the label, or remove the image")
    faults: list[Fault] = []
    files: list[NiftiFile] = []
    for read, path in [(read_nifti, path) for path in case.images] + [(read_label, case.label)]:
        try:
            files.append(read(path, options))
        except Fault as fault:
            faults.append(fault)
    raise_all(faults)
    return [channel for file in files[:-1] for channel in file.channels], files[-1]


def _grid_faults(
    name: str, file: NiftiFile, image: NiftiFile, tolerance: float, options: ReadOptions
) -> list[DataError]:
    """What tells the grid of a label, or of a further channel, from that of the image's first."""
    if file.array.shape != image.array.shape:
        return [DataError(
            f"the {name}'s shape {file.array.shape} is not the image's {image.array.shape} ({image.path})",
            where=file.path, remedy=f"{name.capitalize()} and image must share one grid: export one of them again",
        )]  # fmt: skip
    difference = float(np.abs(file.affine - image.affine).max())
    if difference > tolerance:
        return [DataError(
            f"the {name}'s affine differs from the image's ({image.path}) by {difference:.3g}: "
            f"{_affine_text(file.affine)} against {_affine_text(image.affine)}", where=file.path,
            remedy="Resample one onto the other's grid, raise data.affine_tolerance, or set data.ignore_affine: true",
        )]  # fmt: skip
    own, wanted = plane_of(file, options), plane_of(image, options)
    if own.axis != wanted.axis:
        return [DataError(
            f"by its spacing {file.spacing_mm} the {name} would be cut along axis {own.axis}, the image "
            f"({image.path}) by {image.spacing_mm} along axis {wanted.axis}",
            where=file.path, remedy="Say with data.axis which axis is cut into slices",
        )]  # fmt: skip
    if own != wanted:
        return [DataError(
            f"by its affine the {name} would be turned from {orientation_of(file, options)} to RAS, the image "
            f"({image.path}) from {orientation_of(image, options)}: they lie half-way between two orientations",
            where=file.path, remedy="Give both the same affine, or set data.orientation: file",
        )]  # fmt: skip
    return []


def _class_counts(stack: np.ndarray, classes: int) -> np.ndarray:
    """(S, K) how many voxels of each class each slice has, of a label (S, H, W) without other values."""
    return np.array([np.bincount(one.ravel(order="K"), minlength=classes) for one in stack])


def _value_faults(case: Case, label: np.ndarray, classes: int) -> list[DataError]:
    if int(label.max()) < classes:
        return []
    values = np.unique(label)
    outside = values[values >= classes]
    few = outside.size <= 8
    shown = (
        ", ".join(str(value) for value in outside) if few else f"{outside[0]} to {outside[-1]} ({outside.size} values)"
    )
    remedy = "Add the classes to data.classes, or remap the values with data.label_map"
    return [DataError(
        f"holds {shown}, outside the {classes} classes (0 to {classes - 1})", where=str(case.label),
        remedy=remedy if few else "Is it an image? Images and labels may be swapped",
    )]  # fmt: skip


def _digest(*channels: np.ndarray) -> bytes:
    """Of the voxels in the order of a file, in which they lie in memory already."""
    found = hashlib.sha256()
    for array in channels:
        found.update(f"{array.dtype.kind} {array.shape}".encode())
        found.update(np.asfortranarray(array).T.data)
    return found.digest()[:_DIGEST_BYTES]


def _affine_text(affine: np.ndarray) -> str:
    return "[" + "; ".join(" ".join(f"{value:g}" for value in row) for row in affine[:3]) + "]"
