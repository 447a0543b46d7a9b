"""How a volume is turned, and along which of its axes it is cut into slices; and the way back.

Scanners and converters store the same body in any of 48 orders of axes. Turned to the RAS order that is closest to
the affine, by exchanging and flipping axes and never by resampling, all volumes give slices that lie alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation

from transforms.nifti import NiftiFile, ReadOptions, slice_axis

_ENDS = ("LR", "PA", "IS")  # where the axes of RAS begin, and where they point


@dataclass(frozen=True)
class Plane:
    """How a file becomes a stack of slices.

    Attributes
    ----------
    order
        The file's axes in the order (slices, rows, columns); none for a 2D file, which is one slice as it is.
    flips
        Which axes of the stack run against those of the file.
    """

    order: tuple[int, ...] = ()
    flips: tuple[bool, ...] = ()

    @property
    def axis(self) -> int:
        """The axis of the file that is cut; -1 for a 2D file."""
        return self.order[0] if self.order else -1

    def cut(self, array: np.ndarray) -> np.ndarray:
        """(X, Y, Z) or (H, W) on the file's axes to slices (S, H, W), without a copy."""
        return array.transpose(self.order)[self._steps()] if self.order else array[None]

    def restore(self, stack: np.ndarray) -> np.ndarray:
        """Slices (S, H, W) to the file's own axes, without a copy: what `cut` made is undone exactly."""
        return stack[self._steps()].transpose(np.argsort(self.order)) if self.order else stack[0]

    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)

    def as_meta(self) -> dict[str, Any]:
        """Plain values that a prepared image carries, from which `plane_from` makes the plane again."""
        return {"slice_axis": self.axis, "slice_order": self.order, "slice_flips": self.flips}


def plane_from(meta: Mapping[str, Any]) -> Plane:
    """The plane that `Plane.as_meta` wrote down."""
    return Plane(
        tuple(int(axis) for axis in meta["slice_order"]), tuple(bool(flip) for flip in meta["slice_flips"])
    )  # fmt: skip


def plane_of(file: NiftiFile, options: ReadOptions) -> Plane:
    """How one file is turned and cut; its own header and the options decide, and no other file does.

    Parameters
    ----------
    file
        With an affine that gives a grid, as the reader makes sure.
    options
        ``axis``, ``reorient`` and ``mirrored``.

    Returns
    -------
    Plane
        Along the axis of length 1 where there is one and no axis is named: that file is a slice. Else with ``axis``
        counted, and the largest spacing sought, among the axes of RAS (0 sagittal, 1 coronal, 2 axial
        slices) where the file is turned, else among its own.

    Raises
    ------
    ValueError
        For a mirror image where the file is not turned.
    """
    if len(file.spacing_mm) == 2:
        return Plane()
    places: tuple[int, ...] = (0, 1, 2)
    flips: tuple[bool, ...] = (False, False, False)
    if options.reorient and _believed(options):
        places, flips = _towards_ras(file.affine)
        flips = (flips[0] != options.mirrored, *flips[1:])
    elif options.mirrored:
        raise ValueError(f"{file.path}: which axis runs from left to right is not known, so nothing can be mirrored")
    lengths = [file.array.shape[place] for place in places]
    if options.axis is None and lengths.count(1) == 1:
        axis = lengths.index(1)  # a slice with an axis for its number: (1, H, W) or (H, 1, W)
    else:
        axis = slice_axis([file.spacing_mm[place] for place in places], options.axis)
    order = (axis, *(other for other in range(3) if other != axis))
    return Plane(tuple(places[number] for number in order), tuple(flips[number] for number in order))


def orientation_of(file: NiftiFile, options: ReadOptions) -> str:
    """Where the axes of a volume's file point, such as ``RAS``; empty for a slice, and where that is not believed.

    Notes
    -----
    An oblique axis is named after the direction that it is closest to (`nibabel.orientations.io_orientation`).
    """
    if len(file.spacing_mm) == 2 or not _believed(options):
        return ""
    places, flips = _towards_ras(file.affine)
    names = dict(zip(places, (ends[not flip] for ends, flip in zip(_ENDS, flips, strict=True)), strict=True))
    return "".join(names[axis] for axis in range(3))


def axis_of_ras(orientation: str, axis: int) -> int:
    """Which axis of RAS (0: left-right) an axis of a file lies along, by an `orientation_of` such as ``SRP``.

    >>> axis_of_ras("SRP", 0), axis_of_ras("RAS", 0)
    (2, 0)
    """
    return next(number for number, ends in enumerate(_ENDS) if orientation[axis] in ends)


def axis_of_file(orientation: str, axis: int) -> int:
    """Which axis of a file lies along an axis of RAS: the other way of `axis_of_ras`.

    >>> axis_of_file("SRP", 2), axis_of_file("RAS", 0)
    (0, 0)
    """
    return next(number for number in range(3) if axis_of_ras(orientation, number) == axis)


def _believed(options: ReadOptions) -> bool:
    return options.spacing_mm is None and not options.ignore_affine


def _towards_ras(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For each axis of RAS the file's axis that is closest to it, and whether that runs the other way."""
    return _directions(*affine[:3, :3].ravel().tolist())


@lru_cache(maxsize=1024)  # asked several times of each file, and files of one scanner lie alike
def _directions(*matrix: float) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(matrix, (3, 3))
    found = {int(ras): (axis, sign < 0) for axis, (ras, sign) in enumerate(io_orientation(affine))}
    return tuple(found[ras][0] for ras in range(3)), tuple(bool(found[ras][1]) for ras in range(3))
