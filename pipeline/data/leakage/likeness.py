"""Whether two images are one, exported again: scaled, turned, mirrored, cropped, padded, resampled or with noise.

One is laid over the other where their fine structure fits best, and that structure is correlated. Anatomy alone is
alike in all patients, and its outlines correlate; texture and exact edges are a single image's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.data.leakage.structure import fine_structure, limited
from pipeline.data.leakage.thumbnails import Orientation

__all__ = ["Likeness", "compare"]

_SIDE = {2: 256, 3: 64}  # voxels along each axis of the block, about the centre, that is compared
_FURTHEST = 8  # voxels between the two centres along an axis
_RESAMPLED = 0.1  # how far two lengths may differ for one to be taken for the other, resampled
_DETAILS = 64  # voxels that must bear the likeness: spots that nearly blank images share are fewer


@dataclass(frozen=True)
class Likeness:
    """How one image was laid over another.

    Attributes
    ----------
    correlation
        Of their fine structure where they overlap, -1 to 1; 0 where there is next to none.
    orientation
        Of the first image.
    shift
        From the second image's centre to the first's, in voxels.
    resampled
        Whether the first was resampled to the second's size.
    """

    correlation: float
    orientation: Orientation
    shift: tuple[int, ...]
    resampled: bool

    def describe(self) -> str:
        """The likeness in words."""
        rank = len(self.shift)
        mirrored = [str(axis) for axis, sign in enumerate(self.orientation.signs) if sign < 0]
        words = [f"the correlation of their fine structure is {self.correlation:.3f}"]
        if self.orientation.axes != tuple(range(rank)):
            words.append(f"with the first one's axes in the order {self.orientation.axes}")
        if mirrored:
            words.append(f"mirrored along axis {' and '.join(mirrored)}")
        if self.resampled:
            words.append("resampled to the other's size")
        if any(self.shift):
            words.append(f"shifted by {self.shift} voxels")
        return ", ".join(words)


def compare(
    one: np.ndarray, other: np.ndarray, orientations: Iterable[Orientation], enough: float = 1.0
) -> Likeness | None:
    """Lay one image over another in several ways; gives the best of them.

    Parameters
    ----------
    one, other
        2D or 3D images of one rank, of any intensities.
    orientations
        Of `one`, that are tried, each with its point reflection.
    enough
        A correlation at which no further way is tried.

    Returns
    -------
    Likeness or None
        None where no orientation was given.
    """
    tried: list[Likeness] = []
    for likeness in _ways(one, other, orientations):
        tried.append(likeness)
        if likeness.correlation >= enough:
            break
    return max(tried, key=lambda likeness: likeness.correlation, default=None)


def _ways(one: np.ndarray, other: np.ndarray, orientations: Iterable[Orientation]) -> Iterator[Likeness]:
    block = _block(other, other.shape)
    shown = _shown(block)
    for orientation in orientations:
        for sign in (1, -1):
            turned = Orientation(orientation.axes, tuple(sign * value for value in orientation.signs))
            moved = turned.apply(one)
            yield _lay(_block(moved, moved.shape), block, shown, turned, resampled=False)
            ratios = [length / wanted for length, wanted in zip(moved.shape, other.shape, strict=True)]
            if moved.shape != other.shape and max(abs(ratio - 1) for ratio in ratios) <= _RESAMPLED:
                yield _lay(_block(moved, other.shape), block, shown, turned, resampled=True)


def _block(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The middle of an image, resampled to `shape` where that is not its own, as float32."""
    lengths = [min(length, _SIDE[array.ndim]) for length in shape]
    starts = [(length - part) // 2 for length, part in zip(shape, lengths, strict=True)]
    if array.shape == shape:
        part = array[tuple(slice(start, start + part) for start, part in zip(starts, lengths, strict=True))]
        return part.astype(np.float32)
    from scipy.ndimage import affine_transform

    ratios = np.array(array.shape) / shape
    offset = (np.array(starts) + 0.5) * ratios - 0.5  # the middles of voxels
    return affine_transform(array.astype(np.float32), ratios, offset, tuple(lengths), order=1, mode="nearest")


def _shown(block: np.ndarray) -> np.ndarray:
    return limited(fine_structure(block))[0]


def _lay(
    moved: np.ndarray, block: np.ndarray, shown: np.ndarray, orientation: Orientation, *, resampled: bool
) -> Likeness:
    """Lay a block over another, whose fine structure is given, where the two fit best."""
    start = _best_start(_shown(moved), shown)
    lengths = list(zip(moved.shape, block.shape, start, strict=True))
    own = moved[tuple(slice(max(0, -at), wanted - at) for _, wanted, at in lengths)]
    rest = block[tuple(slice(max(0, at), length + at) for length, _, at in lengths)]
    shift = tuple(at + length // 2 - wanted // 2 for length, wanted, at in lengths)
    structures = fine_structure(own), fine_structure(rest)  # anew, so that pads bring in no edges
    return Likeness(_correlation(*structures), orientation, shift, resampled)


def _best_start(moved: np.ndarray, block: np.ndarray) -> tuple[int, ...]:
    """Where the first voxel of `moved` lies in `block` when the two fit best, their centres not far apart."""
    from scipy.fft import irfftn, next_fast_len, rfftn

    shape = [next_fast_len(a + b, real=True) for a, b in zip(moved.shape, block.shape, strict=True)]
    product = irfftn(rfftn(block, shape) * rfftn(moved, shape).conj(), shape)
    starts = []
    for length, wanted in zip(moved.shape, block.shape, strict=True):
        middle, furthest = wanted // 2 - length // 2, min(_FURTHEST, min(length, wanted) // 4)
        starts.append(np.arange(middle - furthest, middle + furthest + 1))
    near = product[np.ix_(*starts)]  # below 0 is counted from the end, as the transform does
    best = np.unravel_index(int(near.argmax()), near.shape)
    return tuple(int(values[number]) for values, number in zip(starts, best, strict=True))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if min(_details(one), _details(other)) < _DETAILS:
        return 0.0
    one, other = limited(one, other)
    size = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.vdot(one, other)) / size if size > 0 else 0.0


def _details(structure: np.ndarray) -> float:
    """How many voxels bear the structure: 1 where all lies in one, their number where it is spread evenly."""
    squares = np.square(structure / max(float(np.abs(structure).max()), 1e-30))
    return float(squares.sum() ** 2 / max(float(np.square(squares).sum()), 1e-30))
