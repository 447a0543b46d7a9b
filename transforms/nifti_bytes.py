"""From a file to its unpacked bytes and its header, each judged before it is believed.

The header is read and judged before any voxel is unpacked, so that a file which declares too much costs nothing; a
compressed stream is then read to its very end, where its checksum is verified.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import os
import stat
import struct
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip, igzip_lib
from nibabel.spatialimages import HeaderDataError

from transforms.faults import ImageFileError

_GZIP_MAGIC = b"\x1f\x8b"
_LFS_POINTER = b"version https://git-lfs"
_HEADER_CLASSES: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_SIZES = {struct.pack(order + "i", size): size for size in _HEADER_CLASSES for order in "<>"}
_LONGEST_HEADER = 540
_MAGIC_AT = {348: 344, 540: 4}
_LARGEST_ITEM = 16  # bytes of the widest voxel type that is accepted
_MAX_RATIO = 1100  # deflate shrinks by no more than 1032 to 1
_SLACK_BYTES = 1 << 20  # what may stand before or after the voxels: extensions, a footer

_SILENT = logging.getLogger("transforms.nifti_bytes")  # nibabel would print what it mends to the terminal
_SILENT.setLevel(logging.CRITICAL + 1)

_ISAL_ERROR: type[Exception] = igzip_lib.error  # type: ignore[assignment]  # its stub gives an instance
_COPY_AGAIN = "Copy it again from its source"


def read_checked(where: str, max_voxels: int) -> tuple[bytes, Any, Any]:
    """Read one file whole.

    Parameters
    ----------
    where
        The file.
    max_voxels
        A header that declares more is refused.

    Returns
    -------
    bytes, header, header
        The unpacked file; its header as it was written; and the header as nibabel mends it, such as a zero spacing of
        an axis that a slice has not.

    Raises
    ------
    ImageFileError
        For a file that is missing, truncated, damaged, not NIfTI, too large, or of an unfit type.
    """
    raw = _file_bytes(where, max_voxels)
    if raw[:2] == _GZIP_MAGIC:
        raw, header = _unpack(raw, where, max_voxels)
    else:
        header = _header(raw, where, max_voxels)
    needed = _needed_bytes(header)
    if len(raw) < needed:
        raise _cut_off(len(raw), needed, where)
    mended = header.copy()
    try:
        mended.check_fix(logger=_SILENT, error_level=40)
    except HeaderDataError as error:
        raise ImageFileError(f"its header is damaged: {error}", where=where, remedy="Convert it again") from error
    return raw, header, mended


def _file_bytes(where: str, max_voxels: int) -> bytes:
    try:
        status = os.stat(where)
        if not stat.S_ISREG(status.st_mode):
            raise ImageFileError("not a file", where=where, remedy="Give a .nii or .nii.gz file")
        if status.st_size > _LARGEST_ITEM * max_voxels + _SLACK_BYTES:
            raise _too_large(f"has {status.st_size} bytes, too many for {max_voxels} voxels", where)
        with open(where, "rb") as file:
            raw = file.read()
    except FileNotFoundError as error:
        raise ImageFileError("no such file", where=where, remedy="Check the path in the config or the table") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"cannot be read ({reason})", where=where, remedy="Check it and its rights") from error
    if not raw:
        raise ImageFileError("an empty file", where=where, remedy=_COPY_AGAIN)
    if raw.startswith(_LFS_POINTER):
        raise ImageFileError("a Git LFS pointer, not the image itself", where=where, remedy="Run 'git lfs pull'")
    return raw


def _unpack(packed: bytes, where: str, max_voxels: int) -> tuple[bytes, Any]:
    """The unpacked file and its header; no more is unpacked than the header needs, and a little slack."""
    try:
        with igzip.IGzipFile(fileobj=io.BytesIO(packed)) as stream:
            head = stream.read(_LONGEST_HEADER)
            header = _header(head, where, max_voxels)
            needed = _needed_bytes(header)
            if needed > _MAX_RATIO * len(packed) + _SLACK_BYTES:
                raise _cut_off(len(packed), needed, where, "compressed ")
            raw = head + stream.read(max(0, needed - len(head)))
            beyond = stream.read(_SLACK_BYTES + 1)  # to the end of the stream, where its checksum is
    except (gzip.BadGzipFile, EOFError, _ISAL_ERROR) as error:
        raise ImageFileError(
            f"the gzip stream is damaged or cut off ({error})", where=where, remedy=_COPY_AGAIN
        ) from error
    if len(beyond) > _SLACK_BYTES:
        raise _too_large(f"unpacks to more than the {needed} bytes that its header needs", where)
    return raw, header


def _cut_off(available: int, needed: int, where: str, kind: str = "") -> ImageFileError:
    what = f"is cut off: {available} {kind}bytes, but its header needs {needed}"
    return ImageFileError(what, where=where, remedy=_COPY_AGAIN)


def _too_large(what: str, where: str) -> ImageFileError:
    return ImageFileError(what, where=where, remedy="Raise data.max_voxels if that is right")


def _header(raw: bytes, where: str, max_voxels: int) -> Any:
    """The header that a file begins with, as it was written, or a refusal."""
    size = _SIZES.get(raw[:4])
    if size is None or len(raw) < size:
        raise ImageFileError("not a NIfTI file", where=where, remedy="Convert it, or remove it from the folder")
    magic = raw[_MAGIC_AT[size] :][:3]
    if magic in (b"ni1", b"ni2"):
        raise ImageFileError(
            "one half of a pair of files (.hdr and .img)", where=where, remedy="Convert the pair to one .nii.gz file"
        )
    if magic != {348: b"n+1", 540: b"n+2"}[size]:
        raise ImageFileError(
            "not a NIfTI file: its magic number is missing", where=where, remedy="Convert it to NIfTI, or remove it"
        )
    header = _HEADER_CLASSES[size].from_fileobj(io.BytesIO(raw[:size]), check=False)
    _check_dimensions(header, where, max_voxels)
    _check_type(header, where)
    offset = float(header["vox_offset"])
    if not size + 4 <= offset <= size + _SLACK_BYTES:  # not so for NaN either
        raise ImageFileError(f"its voxels begin at byte {offset:g}", where=where, remedy="Convert it again")
    return header


def _check_dimensions(header: Any, where: str, max_voxels: int) -> None:
    dim = [int(value) for value in header["dim"]]
    sizes = dim[1 : 1 + dim[0]] if 1 <= dim[0] <= 7 else []
    if not sizes or min(sizes) < 1:
        raise ImageFileError(f"declares dimensions {dim}", where=where, remedy="Every dimension is at least 1")
    voxels = math.prod(sizes)
    if voxels > max_voxels:
        declared = " x ".join(map(str, sizes))
        raise _too_large(f"declares {declared} = {voxels} voxels, more than {max_voxels}", where)


def _check_type(header: Any, where: str) -> None:
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise ImageFileError(
            f"unknown data type {int(header['datatype'])}", where=where, remedy="Convert it to a plain number type"
        ) from error
    if dtype.kind not in "iuf":
        kind = {"c": "complex", "V": "RGB or structured"}.get(dtype.kind, str(dtype))
        raise ImageFileError(f"holds {kind} voxels", where=where, remedy="Convert it to one number a voxel")
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope) or (not np.isnan(slope) and slope != 0 and not np.isfinite(inter)):
        raise ImageFileError(f"scl_slope {slope}, scl_inter {inter}", where=where, remedy="Write it again unscaled")


def _needed_bytes(header: Any) -> int:
    sizes = [int(value) for value in header["dim"]]
    voxels = math.prod(sizes[1 : 1 + sizes[0]])
    return int(header["vox_offset"]) + voxels * int(header.get_data_dtype().itemsize)
