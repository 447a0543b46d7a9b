"""Reading one NIfTI file: everything is checked before it is believed, and the fast path is the only path.

A file is read once, unpacked whole by isal (so that its checksum is verified), its header is judged before any voxel is
allocated, and nibabel makes the image from the bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from transforms.faults import ImageFileError

_GZIP_MAGIC = b"\x1f\x8b"
_LFS_POINTER = b"version https://git-lfs"
_HEADER_BYTES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
_MAX_SPACING_MM = 1e4


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Attributes
    ----------
    axis
        The axis of a 3D volume that is cut into slices; None for the one with the largest spacing, and the last of
        those that are equal.
    as_slices
        Give a volume as a stack of slices (S, H, W); otherwise arrays keep the file's axes.
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
    array
        2D (H, W) or 3D voxels, float32 when scaled or of a floating type, else the file's own integer type.
    affine
        (4, 4) float64, voxel to mm; the identity when the affine was to be ignored.
    spacing_mm
        One a spatial axis of `array`.
    scaled
        Whether scl_slope and scl_inter changed the values.
    zeroed
        How many NaN or infinite voxels were replaced by zero.
    image
        The nibabel image, for its header.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, ...]
    scaled: bool
    zeroed: int
    image: Any


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
    raw = _read_bytes(where)
    raw = _gunzip(raw, where, options.max_voxels) if raw[:2] == _GZIP_MAGIC else raw
    image = _parse(raw, where, options.max_voxels)
    shape = _spatial_shape(image, where)
    affine, spacing_mm = _grid(image, len(shape), where, options)
    scaled = image.header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    dataobj = image.dataobj
    floating = scaled or image.get_data_dtype().kind == "f"
    array = np.asarray(dataobj).astype(np.float32, copy=False) if floating else dataobj.get_unscaled()
    array = np.asarray(array).reshape(shape, order="F")
    zeroed = 0
    if floating and not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        zeroed = int(bad.sum())
        if options.nonfinite != "zero":
            raise ImageFileError(
                f"{zeroed} of {array.size} voxels are NaN or infinite", where=where,
                remedy="Mend the file, or set data.nonfinite: zero to replace them",
            )  # fmt: skip
        array = np.where(bad, np.float32(0), array)
    return NiftiFile(array, affine, spacing_mm, scaled, zeroed, image)


def read_label(path: Path | str, options: ReadOptions | None = None) -> NiftiFile:
    """Read a mask: whole numbers from 0, renamed by ``options.label_map``, in the smallest unsigned type.

    Raises
    ------
    ImageFileError
        As `read_nifti`, and for values that are not whole or are negative after renaming.
    """
    file = read_nifti(path, options or ReadOptions())
    array = remap(file.array, options.label_map if options else ())
    whole = array if array.dtype.kind in "iu" else np.rint(array)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        odd = np.unique(array[whole != array])
        shown = ", ".join(f"{value:g}" for value in odd[:8]) + (" ..." if odd.size > 8 else "")
        cause = "; it is scaled by scl_slope" if file.scaled else ""
        raise ImageFileError(
            f"a label with values that are not whole: {shown}{cause}", where=str(path),
            remedy="Was it resampled without nearest neighbour? Export it again",
        )  # fmt: skip
    low, high = (int(whole.min()), int(whole.max())) if whole.size else (0, 0)
    if low < 0:
        raise ImageFileError(f"a label with the value {low}", where=str(path), remedy="Rename it with data.label_map")
    return replace(file, array=whole.astype(np.min_scalar_type(high), copy=False))


def remap(array: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Rename label values, all at once, so that swaps work; other values stay."""
    if not pairs:
        return array
    result = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
    for old, new in pairs:
        result[array == old] = new
    return result


def _read_bytes(where: str) -> bytes:
    try:
        raw = Path(where).read_bytes()
    except FileNotFoundError as error:
        raise ImageFileError("no such file", where=where, remedy="Check the path in the config or the table") from error
    except OSError as error:
        raise ImageFileError(f"cannot be read ({error.strerror})", where=where, remedy="Check it and its rights") from error
    if not raw:
        raise ImageFileError("an empty file", where=where, remedy="Copy it again from its source")
    if raw.startswith(_LFS_POINTER):
        raise ImageFileError("a Git LFS pointer, not the image itself", where=where, remedy="Run 'git lfs pull'")
    return raw


def _gunzip(raw: bytes, where: str, max_voxels: int) -> bytes:
    """Unpack to the stream's end, which verifies its CRC; its declared size is judged first."""
    declared = struct.unpack("<I", raw[-4:])[0]  # of the last member, modulo 4 GiB: a hint that costs nothing
    if declared > 16 * max_voxels + 1_000_000:
        raise ImageFileError(f"unpacks to {declared} bytes", where=where, remedy="Raise data.max_voxels if it is right")
    try:
        return bytes(igzip.decompress(raw))
    except (igzip.BadGzipFile, EOFError, zlib.error, OSError, ValueError) as error:
        raise ImageFileError(
            f"the gzip stream is damaged or cut off ({error})", where=where, remedy="Copy it again from its source"
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("isal"):  # isal's own error type has no public name
            raise ImageFileError(
                f"the gzip stream is damaged or cut off ({error})", where=where, remedy="Copy it again from its source"
            ) from error
        raise


def _parse(raw: bytes, where: str, max_voxels: int) -> Any:
    kinds = {struct.pack(order + "i", size): size for size in _HEADER_BYTES for order in "<>"}
    size = kinds.get(raw[:4])
    if size is None or len(raw) < size:
        raise ImageFileError("not a NIfTI file", where=where, remedy="Convert it, or remove it from the folder")
    kind: Any = _HEADER_BYTES[size]
    header = kind.header_class.from_fileobj(_Bytes(raw), check=False)
    _check_header(header, len(raw), where, max_voxels)
    try:
        return kind.from_bytes(raw)
    except Exception as error:  # nibabel's many words for a header that makes no image
        raise ImageFileError(f"nibabel refuses it: {error}", where=where, remedy="Convert it again") from error


class _Bytes:
    """The least of a file that nibabel's header reader asks for."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes."""
        start, self.at = self.at, len(self.raw) if size < 0 else self.at + size
        return self.raw[start : self.at]


def _check_header(header: Any, available: int, where: str, max_voxels: int) -> None:
    dim = [int(value) for value in header["dim"]]
    rank = dim[0]
    sizes = dim[1 : 1 + rank] if 1 <= rank <= 7 else []
    if not sizes or any(value < 1 for value in sizes):
        raise ImageFileError(f"declares dimensions {dim}", where=where, remedy="Every dimension is at least 1")
    voxels = int(np.prod([float(value) for value in sizes]))
    if voxels > max_voxels:
        raise ImageFileError(
            f"declares {' x '.join(map(str, sizes))} = {voxels} voxels, more than {max_voxels}", where=where,
            remedy="Raise data.max_voxels if that is right",
        )  # fmt: skip
    try:
        dtype = header.get_data_dtype()
    except Exception as error:
        raise ImageFileError(
            f"unknown data type {int(header['datatype'])}", where=where, remedy="Convert it to a plain number type"
        ) from error
    if dtype.kind not in "iuf":
        kind = {"c": "complex", "V": "RGB or structured"}.get(dtype.kind, str(dtype))
        raise ImageFileError(f"holds {kind} voxels", where=where, remedy="Convert it to one number a voxel")
    needed = int(header["vox_offset"]) + voxels * dtype.itemsize
    if available < needed:
        raise ImageFileError(
            f"is cut off: {available} bytes, but its header needs {needed}", where=where,
            remedy="Copy it again from its source",
        )  # fmt: skip
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope) or (not np.isnan(slope) and slope != 0 and not np.isfinite(inter)):
        raise ImageFileError(f"scl_slope {slope}, scl_inter {inter}", where=where, remedy="Write it again unscaled")


def _spatial_shape(image: Any, where: str) -> tuple[int, ...]:
    shape = tuple(int(value) for value in image.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3):
        raise ImageFileError(
            f"has the shape {shape}: {len(shape)} axes", where=where,
            remedy="Give 2D slices or 3D volumes; split a series into one file a volume",
        )  # fmt: skip
    return shape


def _grid(image: Any, rank: int, where: str, options: ReadOptions) -> tuple[np.ndarray, tuple[float, ...]]:
    if options.spacing_mm is not None:
        if len(options.spacing_mm) < rank:
            raise ImageFileError(
                f"a {rank}D file, but data.spacing_mm has {len(options.spacing_mm)} values", where=where,
                remedy="Give one value an axis",
            )  # fmt: skip
        spacing_mm = options.spacing_mm[:rank]
        return np.diag([*spacing_mm, *[1.0] * (4 - rank)]), spacing_mm
    if options.ignore_affine:
        return np.eye(4), (1.0,) * rank
    affine = np.asarray(image.affine, dtype=np.float64)
    remedy = "Mend the header, or set data.ignore_affine: true to count in pixels"
    if not np.isfinite(affine).all():
        raise ImageFileError("its affine is not finite", where=where, remedy=remedy)
    zooms = [float(value) for value in image.header["pixdim"][1 : 1 + rank]]
    if any(not np.isfinite(value) or value <= 0 for value in zooms):
        raise ImageFileError(f"its spacing is {tuple(zooms)}", where=where, remedy=remedy)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9 * max(1e-12, float(np.prod(spacing))) or spacing.min() <= 0:
        raise ImageFileError("its affine is singular: voxels have no extent", where=where, remedy=remedy)
    if spacing[:rank].max() > _MAX_SPACING_MM:
        raise ImageFileError(f"its spacing is {tuple(spacing[:rank])} mm", where=where, remedy=remedy)
    return affine, tuple(float(value) for value in spacing[:rank])


def slice_axis(spacing_mm: Sequence[float], axis: int | None) -> int:
    """The axis that a volume is cut along: the named one, or the last of those with the largest spacing.

    >>> slice_axis((0.5, 0.5, 3.0), None), slice_axis((1, 1, 1), None), slice_axis((0.5, 3.0, 0.5), 0)
    (2, 2, 0)
    """
    if axis is not None:
        return axis
    rounded = [round(value, 3) for value in spacing_mm]  # header rounding must not choose the axis
    return max(range(len(rounded)), key=lambda number: (rounded[number], number))
