"""The NIfTI files of a phantom: the same bytes from the same voxels, without a time or a name inside."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_nifti"]

_COMPRESSION = 2  # of 0 to 3 in isal

Affine = tuple[tuple[float, ...], ...]


@functools.cache
def _header(shape: tuple[int, ...], dtype: str, affine: Affine) -> bytes:
    """The 352 bytes before the voxels of a single-file NIfTI-1 (348 of header, 4 that say there is no extension)."""
    import nibabel

    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    header.set_qform(np.array(affine), code="scanner")
    header.set_sform(np.array(affine), code="scanner")
    header.set_xyzt_units(xyz="mm")
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    header["scl_slope"], header["scl_inter"] = 1, 0
    return bytes(header.binaryblock) + bytes(4)


def write_nifti(path: Path, voxels: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write voxels (2D or 3D) with an affine (4, 4) in mm to a ``.nii.gz``."""
    from isal import igzip

    rows: Affine = tuple(tuple(row) for row in affine.tolist())
    content = _header(voxels.shape, voxels.dtype.newbyteorder("<").str, rows) + voxels.tobytes(order="F")
    path.write_bytes(igzip.compress(content, _COMPRESSION, mtime=0))
