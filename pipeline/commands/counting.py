"""Predicted cases, counted and measured beside the prediction: by further processes, where that saves seconds.

Not by threads: the distance transforms hold the interpreter's lock, and the network would wait for them. What the
processes need is here and imports no PyTorch, so that they start in a moment.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from pipeline.data.cases import Case
from pipeline.evaluation.confusion import CaseCounts, count_slices
from pipeline.evaluation.distances import case_distances
from transforms.nifti import ReadOptions, read_label

__all__ = ["CountingRules", "PredictedCase", "count_case", "count_cases"]

_PATIENCE_S = 2.0  # less than this is not worth the start of further processes
_AHEAD = 3  # masks that may wait, for each process


@dataclass(frozen=True)
class CountingRules:
    """How cases are counted, the same for all.

    Attributes
    ----------
    options
        Of reading the labels.
    n_classes
        Number of classes, background included.
    knows_spacing
        Whether the files' spacing is to be believed; else distances are in pixels, and volumes are not given.
    tolerance
        Of surface Dice, in mm or in pixels.
    """

    options: ReadOptions
    n_classes: int
    knows_spacing: bool
    tolerance: float


@dataclass(frozen=True, eq=False)
class PredictedCase:
    """A labelled case and its prediction.

    Attributes
    ----------
    case
        Its label is read.
    mask
        Class ids on the grid of the label.
    axis
        Of a volume: that along which its slices lie.
    """

    case: Case
    mask: np.ndarray
    axis: int


def count_case(predicted: PredictedCase, rules: CountingRules) -> CaseCounts:
    """Count a case against its label, and measure the distances between their surfaces.

    Raises
    ------
    Fault
        When the label cannot be read or does not fit the mask; with its file.
    """
    case = predicted.case
    assert case.label is not None
    label = read_label(case.label, rules.options)
    spacing = label.spacing_mm if rules.knows_spacing else None
    volume = math.prod(spacing) if spacing is not None and label.array.ndim == 3 else None
    slices = count_slices(label.array, predicted.mask, rules.n_classes, axis=predicted.axis)
    distances = case_distances(label.array, predicted.mask, rules.n_classes, spacing, rules.tolerance)
    return CaseCounts(case.id, case.scan, case.patient, slices, volume, distances)


def count_cases(
    predicted: Iterable[PredictedCase], total: int, rules: CountingRules, workers: int,
    done: Callable[[CaseCounts], None], say: Callable[[str], None],
) -> list[CaseCounts]:  # fmt: skip
    """Count cases as they are predicted.

    The first ones are counted in this process. Where the rest would take some seconds, further processes count them
    while the next are predicted; a few masks wait, no more.

    Parameters
    ----------
    predicted
        The next is asked for when there is room for it.
    total
        How many come.
    rules
        The same for all.
    workers
        The most processes; 1 for none but this one.
    done
        Is given each case's counts, in order.
    say
        Is told in a sentence when a process was killed and this one goes on.

    Returns
    -------
    list
        One a case, in their order; the same figures whoever counted them.

    Raises
    ------
    Fault
        As `count_case`, and what `predicted` raises.
    """
    found: list[CaseCounts] = []
    seconds, coming = 0.0, iter(predicted)
    for one in coming:
        began = time.thread_time()  # not the clock: on a busy machine a case may wait for long
        found.append(count_case(one, rules))
        done(found[-1])
        if len(found) > 1:  # the first has libraries to import
            seconds += time.thread_time() - began
            if workers > 1 and seconds / (len(found) - 1) * (total - len(found)) > _PATIENCE_S:
                break
    for counts in _shared(coming, rules, min(workers, total - len(found)), say):
        found.append(counts)
        done(counts)
    return found


def _shared(
    predicted: Iterator[PredictedCase], rules: CountingRules, workers: int, say: Callable[[str], None]
) -> Iterator[CaseCounts]:
    """Count what is left in processes, in order; no process is started for nothing."""
    waiting: deque[tuple[PredictedCase, Future[CaseCounts] | None]] = deque()
    processes = _Processes(rules, max(1, workers), say)
    try:
        for one in predicted:
            waiting.append((one, processes.submit(one)))
            while waiting and (len(waiting) > _AHEAD * workers or _ready(waiting[0][1])):
                yield processes.result(*waiting.popleft())
        while waiting:
            yield processes.result(*waiting.popleft())
    finally:
        processes.close(at_once=bool(waiting))


def _ready(future: Future[CaseCounts] | None) -> bool:
    return future is None or future.done()


class _Processes:
    """Processes that count, started afresh: no thread or lock of this one is copied.

    Where one is killed, for want of memory perhaps, this one counts what is left: hours of training came before.
    """

    def __init__(self, rules: CountingRules, workers: int, say: Callable[[str], None]) -> None:
        self.rules, self.say, self.lost = rules, say, False
        self._before = multiprocessing.active_children()
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow)

    def submit(self, one: PredictedCase) -> Future[CaseCounts] | None:
        """Have a case counted; None where only `result` will."""
        try:
            return None if self.lost else self._pool.submit(count_case, one, self.rules)
        except BrokenProcessPool:
            return None

    def result(self, one: PredictedCase, future: Future[CaseCounts] | None) -> CaseCounts:
        """Wait for a case's counts, or count it here."""
        try:
            if future is not None:
                return future.result()
        except BrokenProcessPool:
            if not self.lost:
                self.say("a process that counted cases was killed, for want of memory perhaps: going on without")
            self.lost = True
        return count_case(one, self.rules)

    def close(self, *, at_once: bool) -> None:
        """End the processes, at once where nobody waits for what they are doing."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if at_once:
            for process in multiprocessing.active_children():
                if process not in self._before:
                    process.kill()


def _follow() -> None:
    """Leave signals, which reach a whole group of processes, to the first one; but end when it does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
