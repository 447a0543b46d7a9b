"""The same image, or nearly the same, on two sides of a split under two names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.config.load import Config
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.leakage.likeness import Likeness, compare
from pipeline.data.leakage.thumbnails import Candidate, find_candidates, thumbnail
from pipeline.data.reading import read_options
from pipeline.data.splitting.splits import Split
from pipeline.errors import DataError, raise_all
from transforms.nifti import read_nifti

__all__ = ["ALIKE", "CANDIDATE", "DOUBTFUL", "repeated_images", "thumbnail"]

ALIKE, DOUBTFUL = 0.9, 0.83
"""The correlation of fine structure (see `pipeline.data.leakage.likeness`) from which two images count as one, and from
which they may be one: the first is refused, the second is told.

Of the 33,670 pairs of hippocampus crops, the 61 with the likest thumbnails came to 0.78 at most, and the likest phantom
slices of two patients, or of two weeks of one, to 0.67; copies that were cropped, turned or resampled came to 0.9 and
up, those with noise of 2 % of their range to 0.84. bin/benchmark --only leaks measures it again.
"""
CANDIDATE = 0.72
"""The product of thumbnails from which two images are compared; copies nearly all reach it, strangers seldom do."""
_MOST_COMPARED = 2000  # the likest pairs; a dataset in which more look alike is told so
_MOST_TOLD = 20


@dataclass(frozen=True)
class _Pair:
    """Two cases on two sides, whose thumbnails are alike."""

    one: Case
    other: Case
    sides: tuple[str, str]
    candidate: Candidate


def repeated_images(config: Config, split: Split, facts: Sequence[CaseFacts]) -> list[str]:
    """Find images that stand on two sides of a split: the same voxels, or the same image exported in another way.

    Blank images, which are all alike, do not count; nor do 2D slices against volumes, or images of less than 12 voxels
    along an axis or 900 in all, unless their voxels are the same. Copies that were scaled, turned, mirrored, resampled
    by some percent, cropped or padded by some voxels, or that bear mild noise, are found; two scans of one patient are
    not the same image, and are told apart by ``data.patient`` alone.

    Parameters
    ----------
    config
        Of the dataset.
    split
        Whose sides are held against each other.
    facts
        Of its cases, with their thumbnails.

    Returns
    -------
    list of str
        What was found, when ``splits.allow_leakage`` is true; which pairs may be the same image, whatever it is; and
        whether more looked alike than were compared.

    Raises
    ------
    DataError, Faults
        What was found, when it is not allowed.
    """
    known = {fact.case: fact for fact in facts if fact.low < fact.high}
    compared = sorted(_suspects(split, known), key=lambda pair: -pair.candidate.product)
    likenesses = _likenesses(config, compared[:_MOST_COMPARED])
    alike = [_in_words("nearly the same image", *one) for one in likenesses if one[1].correlation >= ALIKE]
    doubtful = [_in_words("perhaps the same image", *one) for one in likenesses if one[1].correlation < ALIKE]
    told = _first([*_same_voxels(split, known), *alike], "are the same, or nearly so")
    if not config.settings.splits.allow_leakage:
        raise_all(DataError(what, where=config.where("splits"),
                            remedy="Remove one of them; splits.allow_leakage: true says so in the report")
                  for what in told)  # fmt: skip
    told += _first(doubtful, "may be the same")
    left = len(compared) - _MOST_COMPARED
    return told if left <= 0 else [*told, f"{left} more pairs of images on two sides look alike, and were not compared"]


def _same_voxels(split: Split, known: Mapping[str, CaseFacts]) -> Iterator[str]:
    side_of: dict[bytes, tuple[str, Case]] = {}
    for side, cases in split.sides().items():
        for case in cases:
            if case.id not in known:
                continue
            other = side_of.setdefault(known[case.id].digest, (side, case))
            if other[0] != side:
                yield f"the same image on two sides: {other[1].image} ({other[0]}) and {case.image} ({side})"


def _suspects(split: Split, known: Mapping[str, CaseFacts]) -> Iterator[_Pair]:
    """Pairs across sides whose thumbnails are alike, other than those with the same voxels."""
    for sides in combinations(split.sides().items(), 2):
        for rank in (2, 3):
            (few_side, few), (many_side, many) = sorted(
                ((name, _seen(cases, known, rank)) for name, cases in sides), key=lambda group: len(group[1])
            )
            if not few:
                continue
            groups = [np.stack([known[case.id].thumbnail for case in cases]) for cases in (few, many)]
            for candidate in find_candidates(groups[0], groups[1], CANDIDATE):
                one, other = few[candidate.one], many[candidate.other]
                if known[one.id].digest != known[other.id].digest:
                    yield _Pair(one, other, (few_side, many_side), candidate)


def _seen(cases: Sequence[Case], known: Mapping[str, CaseFacts], rank: int) -> list[Case]:
    """The cases of a rank that have a thumbnail."""
    return [
        case for case in cases
        if case.id in known and len(known[case.id].shape) == rank and known[case.id].thumbnail.size
    ]  # fmt: skip


def _likenesses(config: Config, pairs: Sequence[_Pair]) -> list[tuple[_Pair, Likeness]]:
    """The pairs that are alike, or may be, with what was found of them."""

    def one(pair: _Pair) -> Likeness | None:
        arrays = [_read(config, case) for case in (pair.one, pair.other)]
        return compare(arrays[0], arrays[1], pair.candidate.orientations, ALIKE)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(one, pairs))
    return [
        (pair, likeness) for pair, likeness in zip(pairs, found, strict=True)
        if likeness is not None and likeness.correlation >= DOUBTFUL
    ]  # fmt: skip


def _in_words(what: str, pair: _Pair, likeness: Likeness) -> str:
    return (
        f"{what} on two sides: {pair.one.image} ({pair.sides[0]}) and {pair.other.image} ({pair.sides[1]}); "
        f"{likeness.describe()}"
    )


def _first(found: Sequence[str], what: str) -> list[str]:
    """As many as are told; the others are counted."""
    more = len(found) - _MOST_TOLD
    return [*found[:_MOST_TOLD], *([f"{more} more pairs of images on two sides {what}"] if more > 0 else [])]


def _read(config: Config, case: Case) -> np.ndarray:
    return read_nifti(case.image, read_options(config, case.channels_in_file)).channels[0].array
