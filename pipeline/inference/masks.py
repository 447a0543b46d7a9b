"""Write a mask on the grid of the image that it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

_GZIP_LEVEL = 1  # masks shrink a hundredfold at any level


def mask_bytes(mask: np.ndarray, source: Path | str) -> bytes:
    """A mask as the bytes of a ``.nii.gz`` file with the header of `source`.

    Parameters
    ----------
    mask
        Unsigned integers, with the shape of the source image but for trailing axes of length 1.
    source
        The image file; its shape, affine, codes and units are kept.

    Returns
    -------
    bytes
        The same for the same input: no time stamp.

    Raises
    ------
    ValueError
        When the mask has not the image's shape.
    """
    image: Any = nib.load(source)
    shape = tuple(image.shape)
    if mask.shape != shape and mask.shape != tuple(side for number, side in enumerate(shape) if number < mask.ndim):
        raise ValueError(f"a mask of shape {mask.shape} for an image of shape {shape}")
    header = image.header.copy()
    header.set_data_dtype(mask.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    written = type(image)(mask.reshape(shape), None, header)
    return bytes(igzip.compress(written.to_bytes(), compresslevel=_GZIP_LEVEL, mtime=0))
