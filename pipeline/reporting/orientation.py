"""Which way up a slice is shown: as a radiologist would hang it, where its directions are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.reporting.content import Example

__all__ = ["Hanging", "hang"]

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_TOWARDS_START = "RAS"  # what lies at the left or the top: an axis that grows towards it is turned


@dataclass(frozen=True)
class Hanging:
    """How the axes of a slice lie in a picture whose rows run down and whose columns run right.

    Parameters
    ----------
    transposed
        Whether axis 0 runs along the columns (left to right) rather than along the rows.
    rows_turned, columns_turned
        Whether rows and columns, after that, are reversed.
    aspect
        Height of a pixel over its width.
    letters
        What lies at the left, right, top and bottom; None when unknown.
    """

    transposed: bool
    rows_turned: bool
    columns_turned: bool
    aspect: float
    letters: tuple[str, str, str, str] | None

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Turn a slice (H, W) or (H, W, channels) into the picture to show with row 0 on top."""
        picture = np.swapaxes(array, 0, 1) if self.transposed else array
        rows, columns = (-1 if turned else 1 for turned in (self.rows_turned, self.columns_turned))
        return picture[::rows, ::columns]

    def ratio(self, shape: tuple[int, ...]) -> float:
        """Width of the picture over its height, for a slice of this shape."""
        height, width = shape[1::-1] if self.transposed else shape[:2]
        return width / (height * self.aspect)


def hang(example: Example) -> Hanging:
    """Choose how a slice is shown.

    With known directions: right-left runs across with the patient's right on the left (radiological convention), or
    else front-back with the front on the left; superior is up, or in an axial plane the front. With unknown ones:
    axis 0 runs left to right and axis 1 from bottom to top, as in the 2D files of HipMRI, and no letters are given.
    """
    size = example.pixel_size
    codes = example.axis_codes
    if codes is None:
        return Hanging(True, True, False, size[1] / size[0], None)
    transposed = _runs_across(*codes)
    across, down = codes if transposed else codes[::-1]
    wide, high = size if transposed else size[::-1]
    left, right = _ends(across)
    top, bottom = _ends(down)
    turned = {"rows_turned": down in _TOWARDS_START, "columns_turned": across in _TOWARDS_START}
    return Hanging(transposed, **turned, aspect=high / wide, letters=(left, right, top, bottom))


def _runs_across(code: str, other: str) -> bool:
    """Whether an axis with this code runs across the picture, given the code of the other."""
    return code in "RL" or (code in "AP" and other in "SI")


def _ends(code: str) -> tuple[str, str]:
    """What lies where the picture's axis begins (left or top) and where it ends."""
    return (code, _OPPOSITE[code]) if code in _TOWARDS_START else (_OPPOSITE[code], code)
