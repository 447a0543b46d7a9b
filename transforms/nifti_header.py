"""A NIfTI header as plain values, judged before it is believed.

The fields are unpacked in one go; nibabel, which takes a tenth of a millisecond for it, is asked only where a header
is not of the commonest kind: its affine in the sform, a usual voxel type, nothing to be mended.
"""

from __future__ import annotations

import io
import logging
import math
import struct
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from transforms.faults import ImageFileError

LONGEST_HEADER = 540
SLACK_BYTES = 1 << 20  # what may stand before or after the voxels: extensions, a footer

_CLASSES: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAGIC_AT = {348: 344, 540: 4}
_WHOLE_FILE = {348: b"n+1", 540: b"n+2"}
# dim, datatype, pixdim, vox_offset, scl_slope, scl_inter, xyzt_units, qform_code, sform_code, srow_x, _y, _z, magic
_NIFTI_1 = "40x8h14xh4x8f3f3xB128x2h24x12f16x4s"
# magic, datatype, dim, pixdim, vox_offset, scl_slope, scl_inter, qform_code, sform_code, srow_x, _y, _z, xyzt_units
_NIFTI_2 = "4x8sh2x8q24x8dq2d152x2i48x12d4xi"
_LAYOUTS = {
    struct.pack(order + "i", size): (size, order, struct.Struct(order + fields))
    for size, fields in ((348, _NIFTI_1), (540, _NIFTI_2))
    for order in "<>"
}
_KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_USUAL_TYPES = {order: {code: np.dtype(order + kind) for code, kind in _KINDS.items()} for order in "<>"}
_SFORM_CODES = (1, 2, 3, 4)
_SURFACE = (27307, 1, 6)  # nibabel takes these sides for 163842 vertices of a surface

_SILENT = logging.getLogger("transforms.nifti_header")  # nibabel would print what it mends to the terminal
_SILENT.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its voxels.

    Attributes
    ----------
    shape
        Every axis that is declared, each at least 1.
    dtype
        Of the stored voxels, in the file's byte order.
    offset
        The byte at which the voxels begin.
    slope, inter
        How stored values are scaled; None and None where they are not.
    zooms
        pixdim 1 to 7 as written, whatever is wrong with them.
    unit
        The code of the axes' unit: 1 for metres, 2 mm, 3 micrometres.
    rows
        The first three rows of the affine, where the sform gives it and nothing is to be mended.
    binary
        The header itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float | None
    inter: float | None
    zooms: tuple[float, ...]
    unit: int
    rows: tuple[float, ...] | None
    binary: bytes

    @property
    def scaled(self) -> bool:
        """Whether scaling changes any value."""
        return self.slope is not None and (self.slope, self.inter) != (1.0, 0.0)

    @property
    def needed_bytes(self) -> int:
        """How long the unpacked file is at least."""
        return self.offset + math.prod(self.shape) * int(self.dtype.itemsize)

    def best_affine(self) -> np.ndarray:
        """The (4, 4) float64 affine that nibabel chooses: the sform's, else the qform's, else that of the spacing.

        Raises
        ------
        ValueError
            For a quaternion that is no rotation.
        """
        if self.rows is not None:
            return np.array([*self.rows, 0.0, 0.0, 0.0, 1.0]).reshape(4, 4)
        return np.asarray(_mended(self.binary).get_best_affine(), dtype=np.float64)


def judged_header(raw: bytes, where: str, max_voxels: int) -> Header:
    """The header that a file begins with, or a refusal.

    Parameters
    ----------
    raw
        At least the file's first `LONGEST_HEADER` bytes, or all that it has.
    where
        The file, for a refusal.
    max_voxels
        A header that declares more is refused.

    Raises
    ------
    ImageFileError
        For what is not NIfTI, is one half of a pair, declares too much or nothing, or holds no plain numbers.
    """
    layout = _LAYOUTS.get(raw[:4])
    if layout is None or len(raw) < layout[0]:
        raise ImageFileError("not a NIfTI file", where=where, remedy="Convert it, or remove it from the folder")
    size, order, fields = layout
    _check_magic(raw, size, where)
    binary = raw[:size]
    values = fields.unpack_from(binary)
    if size == 348:
        dim, code, pixdim, scaling = values[:8], values[8], values[9:17], values[17:20]
        unit, sform, rows, magic = values[20], values[22], values[23:35], values[35]
    else:
        magic, code, dim, pixdim, scaling = values[0], values[1], values[2:10], values[10:18], values[18:21]
        sform, rows, unit = values[22], values[23:35], values[35]
    sizes = _sizes(dim, where, max_voxels)
    dtype, slope, inter = _number_type(code, order, where), *_scaling(scaling[1], scaling[2], where)
    if not size + 4 <= scaling[0] <= size + SLACK_BYTES:  # not so for NaN either
        raise ImageFileError(f"its voxels begin at byte {scaling[0]:g}", where=where, remedy="Convert it again")
    usual = magic == b"n+1\0" and sform in _SFORM_CODES and code in _USUAL_TYPES[order] and sizes[:3] != _SURFACE
    if not usual:
        sizes = _mended_shape(binary, where)
    return Header(
        sizes, dtype, int(scaling[0]), slope, inter, pixdim[1:], unit & 7, rows if usual else None, binary
    )  # fmt: skip


def _check_magic(raw: bytes, size: int, where: str) -> None:
    magic = raw[_MAGIC_AT[size] :][:3]
    if magic in (b"ni1", b"ni2"):
        raise ImageFileError(
            "one half of a pair of files (.hdr and .img)", where=where, remedy="Convert the pair to one .nii.gz file"
        )
    if magic != _WHOLE_FILE[size]:
        raise ImageFileError(
            "not a NIfTI file: its magic number is missing", where=where, remedy="Convert it to NIfTI, or remove it"
        )


def _sizes(dim: tuple[int, ...], where: str, max_voxels: int) -> tuple[int, ...]:
    sizes = dim[1 : 1 + dim[0]] if 1 <= dim[0] <= 7 else ()
    if not sizes or min(sizes) < 1:
        raise ImageFileError(f"declares dimensions {list(dim)}", where=where, remedy="Every dimension is at least 1")
    voxels = math.prod(sizes)
    if voxels > max_voxels:
        declared = " x ".join(map(str, sizes))
        raise too_large(f"declares {declared} = {voxels} voxels, more than {max_voxels}", where)
    return sizes


def _number_type(code: int, order: str, where: str) -> np.dtype[Any]:
    dtype = _USUAL_TYPES[order].get(code)
    if dtype is not None:
        return dtype
    known: Any = nib.nifti1.data_type_codes.dtype
    try:
        dtype = np.dtype(known[code].newbyteorder(order))
    except KeyError as error:
        raise ImageFileError(
            f"unknown data type {code}", where=where, remedy="Convert it to a plain number type"
        ) from error
    if dtype.kind not in "iuf":
        kind = "128-bit" if code == 1536 else {"c": "complex", "V": "RGB or structured"}.get(dtype.kind, str(dtype))
        raise ImageFileError(f"holds {kind} voxels", where=where, remedy="Convert it to one number a voxel")
    return dtype


def _scaling(slope: float, inter: float, where: str) -> tuple[float | None, float | None]:
    """What nibabel makes of scl_slope and scl_inter, where that gives numbers."""
    if math.isinf(slope) or (slope != 0 and not math.isnan(slope) and not math.isfinite(inter)):
        raise ImageFileError(f"scl_slope {slope}, scl_inter {inter}", where=where, remedy="Write it again unscaled")
    return (None, None) if slope == 0 or math.isnan(slope) else (slope, inter)


def _mended(binary: bytes) -> Any:
    """What nibabel makes of a header, with what it mends: a zero spacing of an axis that a slice has not, say."""
    header = _CLASSES[len(binary)].from_fileobj(io.BytesIO(binary), check=False)
    with np.errstate(all="ignore"):  # it casts what it checks
        header.check_fix(logger=_SILENT, error_level=40)
    return header


def _mended_shape(binary: bytes, where: str) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in _mended(binary).get_data_shape())
    except HeaderDataError as error:
        raise ImageFileError(f"its header is damaged: {error}", where=where, remedy="Convert it again") from error


def too_large(what: str, where: str) -> ImageFileError:
    """The refusal of a file that declares or holds more than the config allows."""
    return ImageFileError(what, where=where, remedy="Raise data.max_voxels if that is right")
