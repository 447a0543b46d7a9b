"""Reading one NIfTI file: everything is checked before it is believed, and the fast path is the only path.

A file is read once and unpacked by isal to its end, and its header is judged before any voxel is allocated (see
`transforms.nifti_bytes` and `transforms.nifti_header`). Arrays and affines are those that nibabel makes of the bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from nibabel.arrayproxy import ArrayProxy

from transforms.faults import ImageFileError
from transforms.nifti_bytes import read_checked
from transforms.nifti_header import Header

_MAX_SPACING_MM = 1e4
_NOT_MILLIMETRES = {1: "metres", 3: "micrometres"}  # codes of xyzt_units; 2 is mm, 0 says nothing
_MEND_HEADER = "Mend the header, or set data.ignore_affine: true to count in pixels"


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Attributes
    ----------
    axis
        The axis of a 3D volume that is cut into slices, counted after `reorient`; None for the one with the largest
        spacing, and the last of those that are equal.
    reorient
        Turn volumes to the RAS orientation that is closest to their affine before they are cut, so that the slices of
        all files lie alike; not where the affine is not believed.
    mirrored
        Exchange left and right of a volume that was turned so: it is cut as its mirror image.
    channels
        How many channels an image file holds along its fourth axis: more than 1 wants (X, Y, Z, C) of every image file,
        and with 1, four axes are refused. A file of 2D channels is (X, Y, 1, C); labels have no channels.
    as_slices
        Give a volume as a stack of slices (S, H, W), and any affine as that of a slice's own plane; otherwise arrays
        keep the file's axes and affine.
    max_voxels
        A header that declares more is refused before anything is allocated.
    nonfinite
        ``refuse`` or ``zero``: what NaN and infinite voxels are answered with.
    ignore_affine
        Take every file's grid as unit spacing, whatever its affine says.
    spacing_mm
        The spacing of every file, one an axis, where its own is not to be believed.
    label_map
        Pairs (value in the file, class): how label values are renamed.
    """

    axis: int | None = None
    reorient: bool = True
    mirrored: bool = False
    channels: int = 1
    as_slices: bool = True
    max_voxels: int = 536_870_912
    nonfinite: str = "refuse"
    ignore_affine: bool = False
    spacing_mm: tuple[float, ...] | None = None
    label_map: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class NiftiFile:
    """One file as it was read.

    Attributes
    ----------
    path
        Where it was read from.
    array
        2D (H, W) or 3D voxels, float32 when scaled or of a floating type, else the file's own integer type; a file of
        several channels has them on one further axis, the last.
    affine
        (4, 4) float64, voxel to mm; the identity when the affine was to be ignored.
    spacing_mm
        One a spatial axis of `array`: their number is the rank, 2 or 3.
    scaled
        Whether scl_slope and scl_inter changed the values.
    zeroed
        How many NaN or infinite voxels were replaced by zero.
    """

    path: str
    array: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, ...]
    scaled: bool
    zeroed: int

    @property
    def channels(self) -> tuple[NiftiFile, ...]:
        """Each channel as a file of its own, without a copy; the file itself where it has one."""
        if self.array.ndim == len(self.spacing_mm):
            return (self,)
        return tuple(replace(self, array=self.array[..., number]) for number in range(self.array.shape[-1]))


def read_nifti(path: Path | str, options: ReadOptions | None = None) -> NiftiFile:
    """Read one ``.nii`` or ``.nii.gz`` file, or refuse it with the reason.

    Parameters
    ----------
    path
        The file.
    options
        What is accepted; the defaults refuse everything doubtful.

    Returns
    -------
    NiftiFile
        A trailing axis of length 1 is dropped, so that (H, W, 1) is a 2D slice.

    Raises
    ------
    ImageFileError
        For a file that is missing, truncated, damaged, not NIfTI, too large, of an unfit type or shape, with voxels
        that are not finite, or with an affine that gives no grid.
    """
    options = options or ReadOptions()
    where = str(path)
    raw, header = read_checked(where, options.max_voxels)
    shape, rank = _trimmed(header.shape, options.channels, where)
    affine, spacing_mm = _grid(header, rank, where, options)
    array = _voxels(raw, header).reshape(shape, order="F")
    zeroed = 0
    if array.dtype.kind == "f":
        array, zeroed = _finite(array, where, options)
    return NiftiFile(where, array, affine, spacing_mm, header.scaled, zeroed)


def _voxels(raw: bytes, header: Header) -> np.ndarray:
    """All voxels in the file's order: scaled ones and those of a floating type as float32, in the machine's bytes."""
    if header.scaled:
        spec = (header.shape, header.dtype, header.offset, header.slope, header.inter)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told as such
            scaled: np.ndarray = np.asarray(ArrayProxy(io.BytesIO(raw), spec, mmap=False))
            return scaled.astype(np.float32, copy=False).reshape(-1, order="F")
    stored = np.frombuffer(raw, header.dtype, math.prod(header.shape), header.offset)
    wanted = np.dtype(np.float32) if stored.dtype.kind == "f" else stored.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):
        return stored.astype(wanted, copy=False)  # torch takes no other byte order


def _finite(array: np.ndarray, where: str, options: ReadOptions) -> tuple[np.ndarray, int]:
    """The array, and how many voxels of it were replaced by zero."""
    finite = np.isfinite(array)
    if finite.all():
        return array, 0
    count = array.size - int(np.count_nonzero(finite))
    if options.nonfinite != "zero":
        raise ImageFileError(
            f"{count} of {array.size} voxels are NaN, infinite or beyond float32", where=where,
            remedy="Mend the file, or set data.nonfinite: zero to replace them",
        )  # fmt: skip
    return np.where(finite, array, np.float32(0)), count


def read_label(path: Path | str, options: ReadOptions | None = None) -> NiftiFile:
    """Read a mask: whole numbers from 0, renamed by ``options.label_map``, in the smallest unsigned type.

    Raises
    ------
    ImageFileError
        As `read_nifti`, and for values that are not whole, negative after renaming, or not finite, whatever
        ``options.nonfinite`` says: a class cannot be guessed.
    """
    options = options or ReadOptions()
    file = read_nifti(path, replace(options, channels=1, nonfinite="refuse"))
    array = remap(file.array, options.label_map)
    whole = array if array.dtype.kind in "iu" else np.rint(array)
    if whole is not array and not np.array_equal(whole, array):
        odd = np.unique(array[whole != array])
        shown = ", ".join(f"{value:g}" for value in odd[:8]) + (" ..." if odd.size > 8 else "")
        cause = "; it is scaled by scl_slope" if file.scaled else ""
        raise ImageFileError(
            f"a label with values that are not whole: {shown}{cause}", where=str(path),
            remedy="Was it resampled without nearest neighbour? Export it again",
        )  # fmt: skip
    low, high = int(whole.min()), int(whole.max())
    if low < 0:
        raise ImageFileError(f"a label with the value {low}", where=str(path), remedy="Rename it with data.label_map")
    return replace(file, array=whole.astype(np.min_scalar_type(high), copy=False))


def remap(array: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Rename label values, all at once, so that swaps work; other values stay.

    >>> remap(np.array([0, 1, 2, 9]), [(1, 2), (2, 1)])
    array([0, 2, 1, 9])
    """
    if not pairs:
        return array
    result = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
    for old, new in pairs:
        result[array == old] = new
    return result


def _trimmed(declared: tuple[int, ...], channels: int, where: str) -> tuple[tuple[int, ...], int]:
    """The shape without trailing axes of length 1, with the channels last where there are several; and its rank."""
    shape = declared
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if channels == 1:
        if len(shape) not in (2, 3):
            raise ImageFileError(
                f"has the shape {shape}: {len(shape)} axes", where=where,
                remedy="Give 2D slices or 3D volumes; split a series into one file a volume",
            )  # fmt: skip
        return shape, len(shape)
    if len(shape) != 4 or shape[3] != channels:
        raise ImageFileError(
            f"has the shape {shape}, where {channels} channels lie along a fourth axis", where=where,
            remedy="Give every image as (X, Y, Z, channels), or each channel as a file of its own",
        )  # fmt: skip
    spatial = shape[:2] if shape[2] == 1 else shape[:3]
    return (*spatial, channels), len(spatial)


def _grid(header: Header, rank: int, where: str, options: ReadOptions) -> tuple[np.ndarray, tuple[float, ...]]:
    if options.spacing_mm is not None:
        if len(options.spacing_mm) < rank:
            raise ImageFileError(
                f"a {rank}D file, but data.spacing_mm has {len(options.spacing_mm)} values", where=where,
                remedy="Give one value an axis",
            )  # fmt: skip
        given = options.spacing_mm[:rank]
        return np.diag([*given, *[1.0] * (4 - rank)]), given
    if options.ignore_affine:
        return np.eye(4), (1.0,) * rank
    zooms = header.zooms[:rank]  # nibabel would take -1 for 1, and 0 for 1
    if any(not math.isfinite(value) or value <= 0 for value in zooms):
        raise ImageFileError(f"its spacing is {zooms}", where=where, remedy=_MEND_HEADER)
    unit = _NOT_MILLIMETRES.get(header.unit)
    if unit is not None:
        remedy = "Give the spacing in data.spacing_mm, or set data.ignore_affine: true to count in pixels"
        raise ImageFileError(f"its spacing is in {unit}, not mm", where=where, remedy=remedy)
    affine, spacing_mm = _affine(header, where)
    if max(spacing_mm[:rank]) > _MAX_SPACING_MM:
        raise ImageFileError(f"its spacing is {spacing_mm[:rank]} mm", where=where, remedy=_MEND_HEADER)
    return affine, spacing_mm[:rank]


def _affine(header: Header, where: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """The (4, 4) affine that nibabel would choose, when it gives voxels an extent; and that extent along each axis."""
    try:
        affine = header.best_affine()
    except ValueError as error:  # a quaternion that is no rotation
        raise ImageFileError(f"its affine cannot be read ({error})", where=where, remedy=_MEND_HEADER) from error
    if not np.isfinite(affine).all():
        raise ImageFileError("its affine is not finite", where=where, remedy=_MEND_HEADER)
    (a, b, c, _), (d, e, f, _), (g, h, i, _), _ = affine.tolist()
    spacing = (math.sqrt(a * a + d * d + g * g), math.sqrt(b * b + e * e + h * h), math.sqrt(c * c + f * f + i * i))
    volume = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if min(spacing) <= 0 or not abs(volume / spacing[0] / spacing[1] / spacing[2]) >= 1e-9:
        raise ImageFileError("its affine is singular: voxels have no extent", where=where, remedy=_MEND_HEADER)
    return affine, spacing


def slice_axis(spacing_mm: Sequence[float], axis: int | None) -> int:
    """The axis that a volume is cut along: the named one, or the last of those with the largest spacing.

    >>> slice_axis((0.5, 0.5, 3.0), None), slice_axis((1, 1, 1), None), slice_axis((0.5, 3.0, 0.5), 0)
    (2, 2, 0)
    """
    if axis is not None:
        return axis
    rounded = [round(value, 3) for value in spacing_mm]  # header rounding must not choose the axis
    return max(range(len(rounded)), key=lambda number: (rounded[number], number))
