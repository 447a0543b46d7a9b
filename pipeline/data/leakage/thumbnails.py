"""Images made small enough that every one can be held against every other, to find those that may be copies.

A thumbnail tells how strong an image's fine structure is at a few hundred spatial frequencies. Neither another scale or
offset of the intensities nor a shift changes that, a crop or a pad changes it little, and turning or mirroring the
image only puts the frequencies in another order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.leakage.structure import fine_structure

__all__ = ["Candidate", "Orientation", "find_candidates", "thumbnail"]

# Of 2D and 3D images: the frequencies up to _TOP / _WAVE cycles a voxel, so down to 8 and 6.7 voxels a cycle.
_WAVE, _TOP = {2: 96, 3: 40}, {2: 12, 3: 6}
_SHORTEST, _FEWEST = 12, 900  # voxels along an axis, and in all: fewer show too little
_MANY = 108  # voxels along the longest axis, from which pairs are put together; few images are about so long
_CHUNK = 2**21  # products held at a time: 8 MB
_EACH = 3  # candidates of one image, and orientations of one candidate


@dataclass(frozen=True)
class Orientation:
    """How an image's axes are put: transposed by `axes`, then mirrored where `signs` is -1."""

    axes: tuple[int, ...]
    signs: tuple[int, ...]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array with its axes put so."""
        return array.transpose(self.axes)[tuple(slice(None, None, sign) for sign in self.signs)]


@dataclass(frozen=True)
class Candidate:
    """Two images whose thumbnails are alike.

    Attributes
    ----------
    one, other
        Their places among the two groups that were searched.
    product
        Of their thumbnails, at most 1.
    orientations
        In which `one` is like `other`, each up to a point reflection; the likest first.
    """

    one: int
    other: int
    product: float
    orientations: tuple[Orientation, ...]


def thumbnail(array: np.ndarray) -> np.ndarray:
    """What is kept of an image, to find others that are nearly the same.

    Parameters
    ----------
    array
        (H, W) or (X, Y, Z), of any intensities.

    Returns
    -------
    numpy.ndarray
        float32, two unit vectors one after the other: the logarithm of the spectrum's magnitude against its mean at
        the same wavelength, at frequencies counted in cycles a voxel (which stay when an image is cropped or padded),
        and in cycles an image (which stay when it is resampled). Empty for an image that is blank or too small.
    """
    if array.ndim not in _WAVE or min(array.shape) < _SHORTEST or array.size < _FEWEST:
        return np.zeros(0, dtype=np.float32)
    binned, step = _binned(array)
    structure = fine_structure(binned)
    size = np.abs(structure)
    if not size.any():
        return np.zeros(0, dtype=np.float32)
    small = np.ascontiguousarray(structure / (size + size.mean()))  # damped: edges would outvote all else
    by_voxel = _magnitudes(small, [_WAVE[array.ndim] / step] * array.ndim)
    by_image = _magnitudes(small, small.shape)
    return np.concatenate([_contrast(by_voxel, array.ndim), _contrast(by_image, array.ndim)])


def _binned(array: np.ndarray) -> tuple[np.ndarray, int]:
    """The image as float32, with 2 voxels along each axis put together where there are many; and how many were."""
    if max(array.shape) < _MANY:
        return array.astype(np.float32), 1
    lengths = [length // 2 * 2 for length in array.shape]
    total = np.zeros(1, dtype=np.float32)
    for starts in itertools.product((0, 1), repeat=array.ndim):
        total = total + array[tuple(slice(start, end, 2) for start, end in zip(starts, lengths, strict=True))]
    return total.astype(np.float32, copy=False), 2


def _magnitudes(array: np.ndarray, waves: Sequence[float]) -> np.ndarray:
    """The magnitude of the windowed spectrum at k / `waves` cycles a voxel, for each k of `_frequencies`."""
    top = _TOP[array.ndim]
    half = _waves(array.shape[-1], waves[-1], top)
    spectrum = array @ half.real.T + 1j * (array @ half.imag.T)
    for axis in range(array.ndim - 1):
        half = _waves(array.shape[axis], waves[axis], top)
        both = np.concatenate([half[:0:-1].conj(), half])  # -top to top
        spectrum = np.moveaxis(np.tensordot(both, spectrum, (1, axis)), 0, axis)
    places = _frequencies(array.ndim) + np.array([top] * (array.ndim - 1) + [0])
    return np.abs(spectrum[tuple(places.T)])


@functools.lru_cache(maxsize=64)
def _waves(length: int, wave: float, top: int) -> np.ndarray:
    """(top + 1, length) complex64: waves of 0 to `top` cycles in `wave` voxels, under a Hann window."""
    places = np.arange(length) - (length - 1) / 2
    window = np.cos(np.pi * places / (length + 1)) ** 2
    return (np.exp(-2j * np.pi * np.outer(np.arange(top + 1), places) / wave) * window).astype(np.complex64)


@functools.cache
def _frequencies(rank: int) -> np.ndarray:
    """(F, rank) whole numbers within a ball, without its core; of k and -k, which are equally strong, one alone."""
    top = _TOP[rank]
    cube = np.array([*itertools.product(*[range(-top, top + 1)] * (rank - 1), range(top + 1))])
    first = np.array([tuple(vector[::-1]) > (0,) * rank for vector in cube.tolist()])
    return cube[first & np.isin(_radius(cube), range(2, top + 1))]


def _radius(frequencies: np.ndarray) -> np.ndarray:
    return np.rint(np.linalg.norm(frequencies, axis=1)).astype(int)


def _contrast(magnitudes: np.ndarray, rank: int) -> np.ndarray:
    """Logarithms of the magnitudes, less their mean at each radius, as a unit vector."""
    logs = np.log(magnitudes + 1e-6 * magnitudes.max())
    radius = _radius(_frequencies(rank))
    logs = logs - (np.bincount(radius, logs) / np.maximum(np.bincount(radius), 1))[radius]
    return (logs / max(float(np.linalg.norm(logs)), 1e-12)).astype(np.float32)


@functools.cache
def _orders(rank: int) -> list[tuple[Orientation, np.ndarray]]:
    """Each orientation, up to a point reflection, with the order in which it puts the frequencies.

    Image b put as ``axes``, ``signs`` has at frequency k what b has at m, with m[axes[i]] = signs[i] k[i].
    """
    frequencies = _frequencies(rank)
    place = {tuple(vector): number for number, vector in enumerate(frequencies.tolist())}
    place |= {tuple(-value for value in vector): number for vector, number in place.items()}
    found = []
    for axes in itertools.permutations(range(rank)):
        for signs in itertools.product((1, -1), repeat=rank - 1):
            orientation = Orientation(axes, (1, *signs))
            moved = np.empty_like(frequencies)
            moved[:, axes] = frequencies * orientation.signs
            found.append((orientation, np.array([place[tuple(vector)] for vector in moved.tolist()])))
    return found


def find_candidates(ones: np.ndarray, others: np.ndarray, least: float) -> Iterator[Candidate]:
    """The pairs across two groups of images whose thumbnails are alike, at most 3 for each of the first group.

    Parameters
    ----------
    ones, others
        (N, L), (M, L) thumbnails of images of one rank. Memory is bounded, and the time grows with N times M.
    least
        The product of two thumbnails from which a pair is given.

    Yields
    ------
    Candidate
        In the order of `ones`; the likest of each first.
    """
    orders, length = _orders_of(ones.shape[1])
    step = max(1, _CHUNK // max(1, len(others)))
    for start in range(0, len(ones), step):
        part = ones[start : start + step]
        best = np.full((len(part), len(others)), -1.0, dtype=np.float32)
        for _, order in orders:
            for half in (slice(0, length), slice(length, None)):
                np.maximum(best, part[:, half][:, order] @ others[:, half].T, out=best)
        for row in np.flatnonzero(best.max(axis=1) >= least):
            for column in np.argsort(-best[row], kind="stable")[:_EACH]:
                if best[row, column] >= least:
                    product = float(best[row, column])
                    yield Candidate(start + int(row), int(column), product, _orient(part[row], others[column], least))


def _orders_of(size: int) -> tuple[list[tuple[Orientation, np.ndarray]], int]:
    """The orders for thumbnails of a size, and the length of each of their halves."""
    rank = next(rank for rank in _TOP if 2 * len(_frequencies(rank)) == size)
    return _orders(rank), size // 2


def _orient(one: np.ndarray, other: np.ndarray, least: float) -> tuple[Orientation, ...]:
    orders, length = _orders_of(len(one))
    products = np.array([
        max(one[:length][order] @ other[:length], one[length:][order] @ other[length:]) for _, order in orders
    ])  # fmt: skip
    likest = np.argsort(-products, kind="stable")[:_EACH]
    return tuple(orders[number][0] for number in likest if products[number] >= least - 1e-4)
