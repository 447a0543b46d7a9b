"""MONAI's way to the checked NIfTI reader: what `LoadImaged` of every chain reads with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader, MetaTensor
from monai.transforms import EnsureChannelFirst, LoadImaged
from monai.utils import get_equivalent_dtype

from transforms.faults import ChainError, ImageFileError
from transforms.nifti import NiftiFile, ReadOptions, read_label, read_nifti
from transforms.planes import Plane, plane_of

PathLike = str | os.PathLike[Any]
LOADING_PARAMETERS = frozenset(
    """
    keys dtype meta_keys meta_key_postfix overwriting image_only ensure_channel_first simple_keys allow_missing_keys
    expanduser
    """.split()
)
_NO_CHANNEL = float("nan")  # MONAI's word for it


class SliceReader(ImageReader):
    """MONAI's interface to `read_nifti` and `read_label`.

    Parameters
    ----------
    options
        How files are read. Unless ``as_slices`` is False, a volume comes as a stack of its slices (S, H, W), turned and
        cut by `transforms.planes.plane_of`, with the slices on the channel axis, and the affine is that of a slice's
        own plane.
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
        """The array and its metadata, as `monai.transforms.LoadImage` wants them.

        Raises
        ------
        ImageFileError
            For a file of several channels, which are loaded one by one.
        """
        if img.array.ndim > len(img.spacing_mm):
            raise ImageFileError(
                f"{img.array.shape[-1]} channels for one image", where=img.path, remedy="Load each channel by itself"
            )
        array, affine, plane, channel = img.array, img.affine, Plane(), _NO_CHANNEL
        if self.options.as_slices:
            spacing = (1.0, *img.spacing_mm)
            if array.ndim == 3:
                plane, channel = plane_of(img, self.options), 0
                array, spacing = plane.cut(array), tuple(img.spacing_mm[axis] for axis in plane.order)
            # A 2D transform takes the upper left corner of an affine, where a coronal slice's own is singular.
            affine = np.diag([spacing[1], spacing[2], spacing[0], 1.0])
        meta = {
            "affine": affine.copy(),
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(array.shape[1:] if channel == 0 else array.shape),
            "original_channel_dim": channel,
            "slices": array.shape[0] if channel == 0 else 1,
            **plane.as_meta(),
        }
        return np.array(array, order="C"), meta  # a copy: what was read of a file cannot be written to


class CheckedLoadImaged(LoadImaged):
    """`LoadImaged` that reads every file with `SliceReader`, ``label`` as a mask, and falls back on no other reader.

    Parameters
    ----------
    entry
        The YAML entry with LoadImaged's own parameters.
    options
        How files are read.

    Raises
    ------
    ChainError
        For a parameter that has no meaning here.

    Notes
    -----
    MONAI's own way from the array to the MetaTensor takes as long as reading the file does: its metadata are copied
    and searched for pairs of bytes to swap. Here they are right from the beginning.
    """

    def __init__(self, entry: Mapping[str, Any], options: ReadOptions) -> None:
        parameters = {key: value for key, value in entry.items() if key != "_target_"}
        unknown = sorted(parameters.keys() - LOADING_PARAMETERS)
        if unknown:
            raise ChainError(
                f"LoadImaged does not take {', '.join(unknown)} here: files are read by this project's own reader",
                remedy=f"Remove it; {', '.join(sorted(LOADING_PARAMETERS))} are honoured",
            )
        super().__init__(**parameters)
        dtype = self._loader.dtype
        self._dtype = None if dtype is None else np.dtype(get_equivalent_dtype(dtype, np.ndarray))
        self._readers = {key: SliceReader(options, label=key == "label") for key in self.keys}

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Load the files that the sample names; a file that was read before, a `NiftiFile`, is taken as it is."""
        if reader is not None:
            raise ChainError("LoadImaged reads every file with this project's own reader")
        sample = dict(data)
        for key, meta_key, postfix in self.key_iterator(sample, self.meta_keys, self.meta_key_postfix):
            sample[key] = self._loaded(sample[key], self._readers[key])
            if not self._loader.image_only:
                name = meta_key or f"{key}_{postfix}"
                if name in sample and not self.overwriting:
                    raise KeyError(f"Metadata with key {name} already exists and overwriting=False.")
                sample[name] = sample[key].meta
        return sample

    def _loaded(self, source: Any, reader: SliceReader) -> Any:
        if isinstance(source, (str, os.PathLike)) and self._loader.expanduser:
            source = os.path.expanduser(source)
        file = source if isinstance(source, NiftiFile) else reader.read(source)
        array, meta = reader.get_data(file)
        if self._dtype is not None:
            array = array.astype(self._dtype, copy=False)
        meta["filename_or_obj"] = file.path
        image = MetaTensor(array, meta=meta)
        return EnsureChannelFirst()(image) if self._loader.ensure_channel_first else image
