"""Masks, and probabilities, on the grid of the image that they belong to."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

_GZIP_LEVEL = 1  # masks shrink a hundredfold at any level
_GZIP_MAGIC = b"\x1f\x8b"
_NIFTI2_HEADER_BYTES = 540

_SILENT = logging.getLogger("pipeline.inference.masks")  # nibabel would print what it mends to the terminal
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def mask_bytes(mask: np.ndarray, source: Path | str) -> bytes:
    """A mask as the bytes of a ``.nii.gz`` file with the header of `source`.

    Parameters
    ----------
    mask
        Unsigned integers, with the shape of the source image but for trailing axes of length 1, and without the
        channels that lie along a fourth axis.
    source
        The image file, compressed or not, whatever its name says; its shape, affine, codes and units are kept, but for
        an axis of channels.

    Returns
    -------
    bytes
        The same for the same input: no time stamp.

    Raises
    ------
    ValueError
        When the mask has not the image's shape.
    """
    header = _read_header(source)
    shape = _spatial_shape(header)
    if mask.shape != shape[: mask.ndim] or any(side != 1 for side in shape[mask.ndim :]):
        raise ValueError(f"a mask of shape {mask.shape} for an image of shape {shape}")
    header.set_data_dtype(mask.dtype)
    header["cal_min"], header["cal_max"] = 0, 0
    kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # Without an affine of its own, the image leaves the header's two, and their codes, as they are.
    written = kind(mask.reshape(shape), None, header)
    return bytes(igzip.compress(written.to_bytes(), compresslevel=_GZIP_LEVEL, mtime=0))


def probabilities_bytes(probabilities: np.ndarray, source: Path | str, *, quantised: bool = False) -> bytes:
    """Probabilities as the bytes of a 4D ``.nii.gz`` file with the header of `source`, the classes along its last axis.

    Parameters
    ----------
    probabilities
        (K, ...) float32 in [0, 1], of K classes on the image's own axes, but for trailing axes of length 1.
    source
        The image file, as for `mask_bytes`.
    quantised
        Store 255 steps, in uint8 with a scl_slope of 1 / 255: a quarter of the size, off by 1 / 510 at most. Values
        that lie outside of [0, 1] by rounding are brought back to it.

    Returns
    -------
    bytes
        The same for the same input.

    Raises
    ------
    ValueError
        When the probabilities have not the image's shape.
    """
    header = _read_header(source)
    shape = _spatial_shape(header)
    own = probabilities.shape[1:]
    if own != shape[: len(own)] or any(side != 1 for side in shape[len(own) :]):
        raise ValueError(f"probabilities of shape {own} for an image of shape {shape}")
    stored: np.ndarray = probabilities.astype(np.float32, copy=False)
    if quantised:
        stored = np.rint(np.clip(stored, 0, 1) * 255).astype(np.uint8)
    spatial = (*shape, 1, 1, 1)[:3]
    header.set_data_dtype(stored.dtype)
    header.set_data_shape((*spatial, len(stored)))
    header["scl_slope"], header["scl_inter"] = (1 / 255 if quantised else 1), 0
    header["cal_min"], header["cal_max"] = 0, 1
    header["pixdim"][4:] = 1
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    raw = header.binaryblock.ljust(header.single_vox_offset, b"\0")  # four zeros after it: no extensions
    raw += (
        stored.astype(header.get_data_dtype(), copy=False)
        .reshape(len(stored), *spatial)
        .transpose(0, 3, 2, 1)
        .tobytes()
    )
    return bytes(igzip.compress(raw, compresslevel=_GZIP_LEVEL, mtime=0))


def _spatial_shape(header: Any) -> tuple[int, ...]:
    """The shape that a header gives, without an axis of channels."""
    shape = tuple(int(side) for side in header.get_data_shape())
    return shape[:3] if len(shape) > 3 and shape[3] > 1 else shape


def _read_header(path: Path | str) -> Any:
    """The header of a file that was read, and checked, before; no voxel is unpacked for it."""
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        stream: Any = igzip.IGzipFile(fileobj=file) if packed else file
        sizes = [struct.pack(order + "i", _NIFTI2_HEADER_BYTES) for order in "<>"]
        kind: Any = nib.Nifti2Header if stream.read(4) in sizes else nib.Nifti1Header
        stream.seek(0)
        header = kind.from_fileobj(stream, check=False)
    header.check_fix(logger=_SILENT)
    return header
