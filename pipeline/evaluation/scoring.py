"""Score masks against masks: each pair is read, checked, counted and measured by itself, several at a time."""

from __future__ import annotations

import hashlib
import itertools
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import Fault, RunError
from pipeline.evaluation.confusion import CaseCounts, SliceCounts, count_slices
from pipeline.evaluation.distances import case_distances
from pipeline.evaluation.masks import Rules, read_masks
from pipeline.evaluation.pairing import MaskPair
from transforms.planes import plane_of

__all__ = ["Failure", "Score", "same_classes", "score_pair", "score_pairs"]

_FEW_VALUES = 16
_PATIENCE_S = 2.0  # less than this is not worth the start of further processes


@dataclass(frozen=True, eq=False)
class Score:
    """A pair that was scored.

    Attributes
    ----------
    counts
        Of K classes.
    values
        (K,) the value of each class in the files.
    digest
        Of both files.
    """

    counts: CaseCounts
    values: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, eq=False)
class Failure:
    """A pair that could not be scored, and why."""

    pair: MaskPair
    faults: tuple[Fault, ...]


def score_pairs(
    pairs: Sequence[MaskPair], rules: Rules, workers: int, done: Callable[[], None] = lambda: None
) -> list[Score | Failure]:
    """Score every pair; a fault in one keeps no other from being scored.

    The first pairs are scored in this process. Where the rest would take some seconds, further processes share it with
    this one: much of the work does not run beside itself in threads.

    Parameters
    ----------
    pairs
        In any order.
    rules
        The same for all.
    workers
        The most processes; 1 for none but this one.
    done
        Called after each pair.

    Returns
    -------
    list
        One a pair, in their order.

    Raises
    ------
    RunError
        When a process dies, for want of memory perhaps.
    """
    found: list[Score | Failure] = []
    began = time.monotonic()
    for number, pair in enumerate(pairs):
        left = (len(pairs) - number) * (time.monotonic() - began) / max(1, number)
        if workers > 1 and left > _PATIENCE_S and number + 1 < len(pairs):
            break
        found.append(_attempt(pair, rules))
        done()
    rest = pairs[len(found) :]
    return [*found, *_shared(rest, rules, min(workers, len(rest)), done)] if rest else found


def _shared(
    pairs: Sequence[MaskPair], rules: Rules, workers: int, done: Callable[[], None]
) -> list[Score | Failure]:  # fmt: skip
    """Score pairs in this process and others, which are started afresh: no thread or lock of this one is copied.

    Each of the others has a pair to score and one to go on with; this one takes the next while they do.
    """
    pool = ProcessPoolExecutor(workers - 1, multiprocessing.get_context("spawn"), initializer=_leave_signals)
    before, found = multiprocessing.active_children(), dict[int, Score | Failure]()
    waiting, coming = dict[Future[Score | Failure], int](), iter(range(len(pairs)))
    try:
        while len(found) < len(pairs):
            ahead = len(pairs) - len(found) - len(waiting) - 1  # but one, for this process
            for number in itertools.islice(coming, max(0, min(2 * (workers - 1) - len(waiting), ahead))):
                waiting[pool.submit(_attempt, pairs[number], rules)] = number
            own = next(coming, None)
            if own is not None:
                found[own] = _attempt(pairs[own], rules)
                done()
            for future in wait(waiting, timeout=0 if own is not None else None, return_when=FIRST_COMPLETED).done:
                found[waiting.pop(future)] = future.result()
                done()
    except BrokenProcessPool as error:
        raise RunError("a process that scored cases was killed", where="--workers",
                       remedy="Was there too little memory? Use --workers 1") from error  # fmt: skip
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if len(found) < len(pairs):  # interrupted, perhaps: nobody waits for what is being scored
            for process in multiprocessing.active_children():
                if process not in before:
                    process.terminate()
    return [found[number] for number in range(len(pairs))]


def _leave_signals() -> None:
    """Ctrl-C reaches every process of a terminal; only the first one answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _attempt(pair: MaskPair, rules: Rules) -> Score | Failure:
    try:
        return score_pair(pair, rules)
    except Fault as fault:
        return Failure(pair, tuple(getattr(fault, "faults", (fault,))))
    except Exception as error:
        error.add_note(f"while case {pair.identity.case} was scored: {pair.prediction} and {pair.label}")
        raise


def score_pair(pair: MaskPair, rules: Rules) -> Score:
    """Read two masks, check that they lie on one grid, count and measure them.

    Parameters
    ----------
    pair
        A missing prediction counts as empty.
    rules
        How they are read.

    Raises
    ------
    Fault, Faults
        Everything that is wrong with either file, or with the two together; with their names.
    """
    label, prediction = read_masks(pair, rules)
    masks = [label.array, np.zeros_like(label.array) if prediction is None else prediction.array]
    values = list(range(rules.classes or 0))
    if rules.classes is None:
        values, masks = _renumbered(masks)
    spacing = label.spacing_mm if rules.knows_spacing else None
    volume = math.prod(spacing) if spacing is not None and label.array.ndim == 3 else None
    counts = CaseCounts(
        pair.identity.case, pair.identity.scan, pair.identity.patient,
        count_slices(masks[0], masks[1], len(values), axis=plane_of(label, rules.labels).axis), volume,
        case_distances(masks[0], masks[1], len(values), spacing, rules.tolerance),
    )  # fmt: skip
    return Score(counts, tuple(values), _digest([path for path in (pair.prediction, pair.label) if path is not None]))


def _renumbered(masks: Sequence[np.ndarray]) -> tuple[list[int], list[np.ndarray]]:
    """The values of masks, rising from 0, and the masks with each value's place in its stead.

    A mask of 0 and 255 would have a confusion matrix of 256 classes otherwise. Where the highest value is low, all up
    to it are given: counting which of them are there would take longer than it saves.
    """
    highest = max(int(mask.max()) for mask in masks)
    if highest < _FEW_VALUES:
        return list(range(highest + 1)), list(masks)
    seen = np.zeros(highest + 1, dtype=bool)
    seen[0] = True
    for mask in masks:
        counts = np.bincount(mask.ravel(order="K"))
        seen[: len(counts)] |= counts > 0
    places = (np.cumsum(seen) - 1).astype(np.uint8)
    return np.flatnonzero(seen).tolist(), [places[mask] for mask in masks]


def _digest(paths: Sequence[Path]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for path in paths:
        found.update(hashlib.blake2b(path.read_bytes()).digest())
    return found.digest()


def same_classes(scores: Sequence[Score]) -> tuple[list[int], list[CaseCounts]]:
    """Bring cases to the same classes: the values that any label or prediction holds.

    Returns
    -------
    values, counts
        The value of each class, rising; the cases, with zeros and no distances for a class that they lack.
    """
    held = {0}
    for score in scores:
        there = score.counts.slices.tallies.sum(axis=(0, 1))
        held |= {value for value, voxels in zip(score.values, there, strict=True) if voxels}
    values = sorted(held)
    return values, [_with_values(score, values) for score in scores]


def _with_values(score: Score, values: Sequence[int]) -> CaseCounts:
    one = score.counts
    own = [place for place, value in enumerate(score.values) if value in values]
    places = np.searchsorted(values, [score.values[place] for place in own])
    tallies = np.zeros((len(one.slices), 3, len(values)), dtype=np.int64)
    tallies[:, :, places] = one.slices.tallies[:, :, own]
    confusion = np.zeros((len(values), len(values)), dtype=np.int64)
    confusion[np.ix_(places, places)] = one.slices.confusion[np.ix_(own, own)]
    distances = one.distances
    if distances is not None:
        figures = {name: np.full(len(values), np.nan) for name in distances.figures}
        for name, column in figures.items():
            column[places] = distances.figures[name][own]
        distances = replace(distances, figures=figures)
    return replace(one, slices=SliceCounts(tallies, confusion), distances=distances)
