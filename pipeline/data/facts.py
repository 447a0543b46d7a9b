"""What reading a case's files tells about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What one case's files hold.

    Attributes
    ----------
    case
        Its id.
    shape
        The image's, 2D or 3D, without the channels.
    spacing_mm
        One an axis.
    orientation
        Where the axes of a volume point, such as ``RAS``; empty for a slice, and where the affine is not believed.
    axis
        The axis of the file that is cut into slices; -1 for a slice.
    slices
        How many slices it gives.
    low, high, mean
        Of the image's intensities.
    voxels
        (K,) voxels of each class.
    slices_with
        (K,) slices that show each class.
    parts
        (K,) connected parts of each class, as `pipeline.data.components` counts them; 0 for the background.
    digest, label_digest
        Of the voxels: the same for the same image under another name.
    thumbnail
        The image made small, by which images that are nearly the same are found; see `pipeline.data.leakage.leaks`.
    zeroed
        NaN or infinite voxels of the image that ``data.nonfinite: zero`` replaced.
    """

    case: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    orientation: str
    axis: int
    slices: int
    low: float
    high: float
    mean: float
    voxels: np.ndarray
    slices_with: np.ndarray
    parts: np.ndarray
    digest: bytes
    label_digest: bytes
    thumbnail: np.ndarray
    zeroed: int = 0

    @property
    def flat(self) -> bool:
        """Whether it is a single slice: of two axes, or cut along one of length 1."""
        return self.slices == 1

    @property
    def plane(self) -> tuple[int, ...]:
        """Height and width of a slice in the file."""
        return tuple(side for axis, side in enumerate(self.shape) if axis != self.axis)
