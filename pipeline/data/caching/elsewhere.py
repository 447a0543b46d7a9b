"""Slices that are not all in memory: mapped from a store on disk, or prepared anew for each batch."""

from __future__ import annotations

import warnings
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch

from pipeline.data.caching.prepared import Preparation, sample_of
from pipeline.data.caching.samples import sample_shape, slices_of
from pipeline.data.caching.slices import StackedSlices, onto
from pipeline.data.caching.store import Store
from pipeline.data.cases import Case
from pipeline.errors import DataError

_AHEAD = 2  # batches whose cases are prepared while the network works on another
_KEPT_BYTES = 256 * 2**20
Tensors = tuple[torch.Tensor, torch.Tensor]
FileStates = dict[Path, tuple[int, int] | None]


def file_states(cases: Sequence[Case]) -> list[FileStates]:
    """Size and time of change (ns) of each file of each case, image and label; None where it is not there."""
    return [{path: _state(path) for path in (*case.images, case.label) if path is not None} for case in cases]


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class HostSlices(StackedSlices):
    """Slices that stay where they are: batches are moved to the device, not stacks."""

    device = torch.device("cpu")

    def to(self, device: torch.device) -> Self:
        """Let batches come on a device."""
        self.device = device
        return self

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch on the device, see `Slices.batch`."""
        return {key: onto(self.device, tensor) for key, tensor in super().batch(indices).items()}


class StoredSlices(HostSlices):
    """Slices of a store, mapped into memory: the kernel holds what is used, once for all processes.

    Parameters
    ----------
    cases
        Those that the store was made of, in its order.
    store
        Opened.
    context
        Neighbouring slices on each side that a network sees as channels.
    """

    def __init__(self, cases: Sequence[Case], store: Store, context: int = 0) -> None:
        super().__init__(cases, store.shapes[:, [0, 2, 3]], store.present, context)
        with warnings.catch_warnings():
            # torch warns of arrays that may not be written to; nothing here writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._stacks = [
                (torch.from_numpy(images), torch.from_numpy(labels))
                for images, labels in zip(store.images, store.labels, strict=True)
            ]

    def _picked(self, group: int, rows: np.ndarray, labelled: np.ndarray) -> Tensors:
        images, labels = self._stacks[group]
        return images.index_select(0, torch.from_numpy(rows)), labels.index_select(0, torch.from_numpy(labelled))

    def bytes(self) -> int:
        """What the store takes on disk, its index aside."""
        return sum(tensor.nbytes for stack in self._stacks for tensor in stack)


class FreshSlices(HostSlices):
    """Slices of which little is kept: the cases of a batch are read and prepared when it is asked for.

    A batch gathers its slices from one case at a time. The cases that come next, of the batch and of those that
    `expect` announces, are begun ahead of time by threads; what was used last stays, so that a volume is not prepared
    again for the next batch. All of that together takes no more than is allowed.

    Parameters
    ----------
    job
        How cases are prepared.
    shapes
        (M, 4) slices, channels, height and width of each case once prepared.
    present
        (N, K) whether a slice shows a class.
    kept_bytes
        How much prepared cases may take; as many as there are threads may be held in any case.
    threads
        How many cases are prepared at once.
    states
        Of the cases' files when `shapes` and `present` were found, see `file_states`; None for what they are now.
    """

    def __init__(
        self, job: Preparation, shapes: np.ndarray, present: np.ndarray, kept_bytes: int = _KEPT_BYTES,
        threads: int = 1, states: Sequence[FileStates] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(job.cases, shapes[:, [0, 2, 3]], present, job.context)
        self._job, self._shapes, self._kept_bytes, self._threads = job, shapes, kept_bytes, threads
        self._states = file_states(job.cases) if states is None else states
        self._members = self.members()
        self._sizes: list[int] = (shapes[:, 0] * shapes[:, 2] * shapes[:, 3] * (4 * shapes[:, 1] + 1)).tolist()
        self._pool = ThreadPoolExecutor(threads, "prepare")
        self._held: OrderedDict[int, Future[Tensors]] = OrderedDict()  # the one used last is at the end
        self._taken = 0  # by those
        self._coming: deque[np.ndarray] = deque()

    def expect(self, batches: Sequence[np.ndarray]) -> None:
        """Begin with the first of these batches, and go on with the others as they come near."""
        self._coming = deque(batches)
        self._hold(self._ahead())

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch on the device, see `Slices.batch`.

        Raises
        ------
        Fault
            When a file can no longer be read or prepared, or has changed.
        """
        if self._coming and np.array_equal(self._coming[0], indices):
            self._coming.popleft()
        return super().batch(indices)

    def _ahead(self) -> list[int]:
        """The cases of the batches that come next, in the order in which they are needed."""
        groups = [(int(self.group[indices[0]]), indices) for indices in islice(self._coming, _AHEAD)]
        slices = [self._members[group][self._neighbours[indices].ravel()] for group, indices in groups]
        return [number for some in slices for number in dict.fromkeys(self.case[some].tolist())]

    def _hold(self, wanted: Sequence[int]) -> None:
        """Have the first of the wanted cases prepared, as many as there is room for; others make room for them."""
        chosen: dict[int, None] = {}
        room = self._kept_bytes
        for number in dict.fromkeys(wanted):
            room -= self._sizes[number]
            if room < 0 and len(chosen) >= self._threads:
                break
            chosen[number] = None
        fresh = [number for number in chosen if number not in self._held]
        self._taken += sum(self._sizes[number] for number in fresh)
        for number in list(self._held):
            if self._taken <= self._kept_bytes:
                break
            if number not in chosen:
                self._held.pop(number).cancel()
                self._taken -= self._sizes[number]
        self._held |= {number: self._pool.submit(self._prepared, number) for number in fresh}

    def _prepared(self, number: int) -> Tensors:
        case = self.cases[number]
        sample = self._job.chain(sample_of(case))
        # Looked at after it was read, so that a change meanwhile is noticed as well.
        (state,) = file_states([case])
        changed = [path for path, known in self._states[number].items() if state[path] != known]
        if changed or sample_shape(case, sample) != tuple(self._shapes[number]):
            raise DataError("the file has changed since the start", where=str([*changed, case.image][0]),
                            remedy="Start a new run")  # fmt: skip
        return slices_of(case, sample, self.classes)

    def _picked(self, group: int, rows: np.ndarray, labelled: np.ndarray) -> Tensors:
        plane = self.sizes[group]
        picked = (
            torch.empty((len(rows), int(self._shapes[0, 1]), *plane)),
            torch.empty((len(labelled), *plane), dtype=torch.uint8),
        )
        slices = [self._members[group][some] for some in (rows, labelled)]
        ahead = self._ahead()
        # Those that are there first: they may go then.
        left = sorted(dict.fromkeys(self.case[slices[0]].tolist()), key=lambda number: number not in self._held)
        while left:
            self._hold([*left, *ahead])
            number = left.pop(0)
            prepared = self._held[number].result()
            self._held.move_to_end(number)
            for target, source, some in zip(picked, prepared, slices, strict=True):
                places = np.flatnonzero(self.case[some] == number)
                target[torch.from_numpy(places)] = source[torch.from_numpy(some[places] - self.first[number])]
        self._hold(ahead)
        return picked

    def bytes(self) -> int:
        """What is kept just now."""
        return self._taken
