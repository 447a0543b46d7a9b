"""MONAI's way to the checked NIfTI reader: what `LoadImaged` of every chain reads with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.transforms import LoadImaged

from transforms.faults import ImageFileError
from transforms.nifti import NiftiFile, ReadOptions, read_label, read_nifti, slice_axis

PathLike = str | os.PathLike[Any]


class SliceReader(ImageReader):
    """MONAI's interface to `read_nifti` and `read_label`.

    Parameters
    ----------
    options
        How files are read. Unless ``as_slices`` is False, a volume comes as a stack of its slices (S, H, W), with the
        slices on the channel axis, and the affine is that of a slice's own plane.
    label
        Whether files are masks: whole numbers from 0, renamed by ``label_map``.
    """

    def __init__(self, options: ReadOptions | None = None, *, label: bool = False) -> None:
        super().__init__()
        self.options = options or ReadOptions()
        self._read = read_label if label else read_nifti

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Every file is for this reader: what is not NIfTI is refused, never tried by another."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> NiftiFile:
        """Read one file.

        Raises
        ------
        ImageFileError
            When it cannot be trusted, and for several files at once.
        """
        names = [data] if isinstance(data, (str, os.PathLike)) else list(data)
        if len(names) != 1:
            raise ImageFileError(
                f"{len(names)} files for one image", where=", ".join(str(name) for name in names),
                remedy="Give one file a case",
            )  # fmt: skip
        return self._read(os.fspath(names[0]), self.options)

    def get_data(self, img: NiftiFile) -> tuple[np.ndarray, dict[str, Any]]:
        """The array and its metadata, as `monai.transforms.LoadImage` wants them."""
        array, affine = img.array, img.affine
        axis, channel = -1, float("nan")
        if self.options.as_slices:
            plane = list(img.spacing_mm)
            if array.ndim == 3:
                axis, channel = slice_axis(img.spacing_mm, self.options.axis), 0
                array = np.moveaxis(array, axis, 0)
            depth = plane.pop(axis) if axis >= 0 else 1.0
            # A 2D transform takes the upper left corner of an affine, where a coronal slice's own is singular.
            affine = np.diag([*plane, depth, 1.0])
        meta = {
            "affine": affine.copy(),
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(array.shape[1:] if channel == 0 else array.shape),
            "original_channel_dim": channel,
            "slice_axis": axis,
            "slices": array.shape[0] if channel == 0 else 1,
        }
        return np.ascontiguousarray(array), meta


class CheckedLoadImaged(LoadImaged):
    """`LoadImaged` that reads every file with `SliceReader`, ``label`` as a mask, and falls back on no other reader.

    Parameters
    ----------
    entry
        The YAML entry with LoadImaged's own parameters.
    options
        How files are read.
    """

    def __init__(self, entry: Mapping[str, Any], options: ReadOptions) -> None:
        super().__init__(**{key: value for key, value in entry.items() if key != "_target_"})
        self._checked = {key: SliceReader(options, label=key == "label") for key in self.keys}

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Load the files that the sample names."""
        sample = dict(data)
        for key, meta_key, postfix in self.key_iterator(sample, self.meta_keys, self.meta_key_postfix):
            loaded = self._loader(sample[key], reader or self._checked[key])
            if self._loader.image_only:
                sample[key] = loaded
            else:
                sample[key], sample[meta_key or f"{key}_{postfix}"] = loaded
        return sample
