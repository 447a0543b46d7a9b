"""Write a mask on the grid of the image that it belongs to."""

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
    shape = tuple(int(side) for side in header.get_data_shape())
    if len(shape) > 3 and shape[3] > 1:
        shape = shape[:3]
    if mask.shape != shape[: mask.ndim] or any(side != 1 for side in shape[mask.ndim :]):
        raise ValueError(f"a mask of shape {mask.shape} for an image of shape {shape}")
    header.set_data_dtype(mask.dtype)
    header["cal_min"], header["cal_max"] = 0, 0
    kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # Without an affine of its own, the image leaves the header's two, and their codes, as they are.
    written = kind(mask.reshape(shape), None, header)
    return bytes(igzip.compress(written.to_bytes(), compresslevel=_GZIP_LEVEL, mtime=0))


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
