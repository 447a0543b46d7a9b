"""Slices that are not all in memory: mapped from a store on disk, or prepared anew for each batch."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Self

import numpy as np
import torch

from pipeline.data.caching.prepared import Preparation, sample_of
from pipeline.data.caching.samples import sample_shape, slices_of
from pipeline.data.caching.slices import Slices
from pipeline.data.caching.store import Store
from pipeline.data.cases import Case
from pipeline.errors import DataError

_AHEAD = 2  # batches whose cases are prepared while the network works on another
_KEPT_BYTES = 256 * 2**20
_MOST_THREADS = 16
Tensors = tuple[torch.Tensor, torch.Tensor]


class HostSlices(Slices):
    """Slices that stay where they are: batches are moved to the device, not stacks."""

    device = torch.device("cpu")

    def to(self, device: torch.device) -> Self:
        """Let batches come on a device."""
        self.device = device
        return self

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch on the device, see `Slices.batch`."""
        batch = super().batch(indices)
        if self.device.type != "cuda":
            return {key: tensor.to(self.device) for key, tensor in batch.items()}
        return {key: tensor.pin_memory().to(self.device, non_blocking=True) for key, tensor in batch.items()}


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

    def _images(self, group: int, rows: np.ndarray) -> torch.Tensor:
        return self._stacks[group][0].index_select(0, torch.from_numpy(rows))

    def _labels(self, group: int, rows: np.ndarray) -> torch.Tensor:
        return self._stacks[group][1].index_select(0, torch.from_numpy(rows))

    def bytes(self) -> int:
        """What the store takes on disk, its index aside."""
        return sum(tensor.nbytes for stack in self._stacks for tensor in stack)


class FreshSlices(HostSlices):
    """Slices of which nothing is kept: the cases of a batch are read and prepared when it is asked for.

    The batches that `expect` announces are begun ahead of time by threads, a few at once. What was prepared last
    stays while it fits into some memory, so that a volume is not prepared again for the next batch.

    Parameters
    ----------
    job
        How cases are prepared.
    shapes
        (M, 4) slices, channels, height and width of each case once prepared.
    present
        (N, K) whether a slice shows a class.
    kept_bytes
        How much may be kept beside what the coming batches need.
    """

    def __init__(
        self, job: Preparation, shapes: np.ndarray, present: np.ndarray, kept_bytes: int = _KEPT_BYTES
    ) -> None:
        super().__init__(job.cases, shapes[:, [0, 2, 3]], present, job.context)
        self._job, self._shapes, self._kept_bytes = job, shapes, kept_bytes
        self._members = self.members()
        self._sizes = shapes[:, 0] * shapes[:, 2] * shapes[:, 3] * (4 * shapes[:, 1] + 1)
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), "prepare")
        self._held: OrderedDict[int, Future[Tensors]] = OrderedDict()  # the one used last is at the end
        self._coming: deque[np.ndarray] = deque()

    def expect(self, batches: Sequence[np.ndarray]) -> None:
        """Begin with the first of these batches, and go on with the others as they come near."""
        self._coming = deque(batches)
        self._begin([])

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch on the device, see `Slices.batch`.

        Raises
        ------
        Fault
            When a file can no longer be read or prepared.
        """
        if self._coming and np.array_equal(self._coming[0], indices):
            self._coming.popleft()
        self._begin([indices])
        return super().batch(indices)

    def _begin(self, now: list[np.ndarray]) -> None:
        """Have the cases of a batch and of those that come next prepared, and let go of what is not needed."""
        wanted: dict[int, None] = {}
        for indices in (*now, *islice(self._coming, _AHEAD)):
            group = int(self.group[indices[0]])
            slices = self._members[group][self._neighbours[indices].ravel()]
            wanted |= dict.fromkeys(self.case[slices].tolist())
        for number in wanted:
            if number not in self._held:
                self._held[number] = self._pool.submit(self._prepared, number)
            self._held.move_to_end(number)
        room = self._kept_bytes - sum(int(self._sizes[number]) for number in self._held if number not in wanted)
        for number in [number for number in self._held if number not in wanted]:
            if room >= 0:
                break
            self._held.pop(number).cancel()
            room += int(self._sizes[number])

    def _prepared(self, number: int) -> Tensors:
        case = self.cases[number]
        sample = self._job.chain(sample_of(case))
        if sample_shape(case, sample) != tuple(self._shapes[number]):
            raise DataError("the file has changed since the start", where=str(case.image), remedy="Start a new run")
        return slices_of(case, sample, self.classes)

    def _images(self, group: int, rows: np.ndarray) -> torch.Tensor:
        return self._picked(0, group, rows)

    def _labels(self, group: int, rows: np.ndarray) -> torch.Tensor:
        return self._picked(1, group, rows)

    def _picked(self, which: int, group: int, rows: np.ndarray) -> torch.Tensor:
        slices = self._members[group][rows]
        cases = self.case[slices]
        pairs = zip(cases.tolist(), (slices - self.first[cases]).tolist(), strict=True)
        return torch.stack([self._held[case].result()[which][place] for case, place in pairs])

    def bytes(self) -> int:
        """What is kept just now."""
        return sum(int(self._sizes[number]) for number in self._held)
