"""MONAI's way to the checked NIfTI reader: what `LoadImaged` of every chain reads with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.transforms import LoadImaged
from monai.utils import convert_to_dst_type

from transforms.nifti import NiftiFile, ReadOptions, read_nifti, remap, slice_axis


class SliceReader(ImageReader):
    """MONAI's interface to `read_nifti`.

    Volumes come as a stack of their slices, (S, H, W) with the slices on the channel axis and a plane affine, unless
    ``options.as_slices`` is False.
    """

    def __init__(self, options: ReadOptions | None = None) -> None:
        super().__init__()
        self.options = options or ReadOptions()

    def verify_suffix(self, filename: Sequence[str] | str) -> bool:
        """Every file is for this reader: what is not NIfTI is refused, never tried by another."""
        return True

    def read(self, data: Sequence[str] | str, **kwargs: Any) -> list[NiftiFile]:
        """Read one file, or several of the same grid as channels."""
        names = [data] if isinstance(data, (str, Path)) else list(data)
        return [read_nifti(name, self.options) for name in names]

    def get_data(self, img: list[NiftiFile]) -> tuple[np.ndarray, dict[str, Any]]:
        """The array and its metadata, as `monai.transforms.LoadImage` wants them."""
        first = img[0]
        array, affine, channel = first.array, first.affine, float("nan")
        axis: int | None = None
        if self.options.as_slices and array.ndim == 3:
            axis = slice_axis(first.spacing_mm, self.options.axis)
            array = np.moveaxis(array, axis, 0)
            plane = [value for number, value in enumerate(first.spacing_mm) if number != axis]
            affine, channel = np.diag([*plane, first.spacing_mm[axis], 1.0]), 0
        shape = array.shape[1:] if channel == 0 else array.shape
        meta = {
            "affine": affine.copy(),
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(shape),
            "original_channel_dim": channel,
            "slice_axis": -1 if axis is None else axis,
        }
        return np.ascontiguousarray(array), meta


class CheckedLoadImaged(LoadImaged):
    """`LoadImaged` that reads every file with `SliceReader` and falls back on no other reader.

    Parameters
    ----------
    entry
        The YAML entry with LoadImaged's own parameters.
    options
        How files are read.
    """

    def __init__(self, entry: Mapping[str, Any], options: ReadOptions) -> None:
        super().__init__(**{key: value for key, value in entry.items() if key != "_target_"})
        self._checked_reader = SliceReader(options)

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Load the files that the sample names."""
        sample = dict(super().__call__(data, reader or self._checked_reader))
        pairs = self._checked_reader.options.label_map
        if pairs and "label" in sample:
            label = sample["label"]
            sample["label"] = convert_to_dst_type(remap(label.numpy(), pairs), label, dtype=label.dtype)[0]
        return sample
