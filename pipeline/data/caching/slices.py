"""Prepared slices: a batch is an index, and so are a slice's neighbours. Here all of them lie in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.data.caching.neighbours import neighbour_rows, scan_numbers
from pipeline.data.caching.samples import Samples, presence, same_channels, sample_shape, slices_of
from pipeline.data.cases import Case
from pipeline.memory import Release

_MOST_OF_DEVICE = 0.5  # of a GPU's free memory, for slices


class Slices(ABC):
    """All slices of a set of cases, wherever they are kept.

    Parameters
    ----------
    cases
        M cases.
    shapes
        (M, 3) slices, height and width of each prepared case.
    present
        (N, K) whether a slice shows a class; slices come in the order of the cases.
    context
        Neighbouring slices on each side that a network sees as channels.

    Attributes
    ----------
    shapes
        As given.
    case
        (N,) the index of each slice's case.
    first
        (M,) the first slice of each case.
    group, row
        (N,) which of the `sizes` a slice has, and its place among those that have it.
    sizes
        (height, width) of each group, in the order in which they first appear.
    """

    def __init__(self, cases: Sequence[Case], shapes: np.ndarray, present: np.ndarray, context: int = 0) -> None:
        self.cases, self.shapes, self.context = tuple(cases), shapes, context
        self.present, self.classes = present, present.shape[1]
        self.case = np.repeat(np.arange(len(shapes)), shapes[:, 0])
        self.first = np.cumsum(shapes[:, 0]) - shapes[:, 0]
        planes = [(int(height), int(width)) for _, height, width in shapes]
        self.sizes = list(dict.fromkeys(planes))
        number = {size: place for place, size in enumerate(self.sizes)}
        self.group = np.array([number[plane] for plane in planes], dtype=np.int64)[self.case]
        self.row = np.empty(len(self.case), dtype=np.int64)
        for members in self.members():
            self.row[members] = np.arange(len(members))

    def __len__(self) -> int:
        return len(self.case)

    def members(self) -> list[np.ndarray]:
        """The slices of each size, as indices, in the order of their rows."""
        return [np.flatnonzero(self.group == place) for place in range(len(self.sizes))]

    def scans(self) -> list[np.ndarray]:
        """The slices of each scan, as indices; a scan may hold several sizes."""
        scan = scan_numbers(self.cases)[self.case]
        order = np.argsort(scan, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(scan[order])) + 1)

    @abstractmethod
    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch.

        Parameters
        ----------
        indices
            (B,) slices of one group.

        Returns
        -------
        dict
            ``image`` (B, (2 * context + 1) * C, H, W) float32, the C channels of each neighbour together, and
            ``label`` (B, 1, H, W) uint8.
        """

    def expect(self, batches: Sequence[np.ndarray]) -> None:  # noqa: B027
        """Say which batches will be asked for next, in this order; what can be done ahead may be."""

    @abstractmethod
    def to(self, device: torch.device) -> Slices:
        """Let batches come on a device."""

    @abstractmethod
    def bytes(self) -> int:
        """What the slices take where they are kept."""


class StackedSlices(Slices):
    """Slices whose neighbours lie in the same stack: a batch gathers rows of it."""

    def __init__(self, cases: Sequence[Case], shapes: np.ndarray, present: np.ndarray, context: int = 0) -> None:
        super().__init__(cases, shapes, present, context)
        self._neighbours = neighbour_rows(self.cases, self.case, self.group, self.row, context)

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch, see `Slices.batch`."""
        groups = np.unique(self.group[indices])
        if len(groups) != 1:
            raise ValueError(f"a batch has slices of one size, got {len(groups)} sizes")
        group = int(groups[0])
        image, label = self._picked(group, self._neighbours[indices].ravel(), self.row[indices])
        return {"image": image.view(len(indices), -1, *image.shape[2:]), "label": label[:, None]}

    @abstractmethod
    def _picked(self, group: int, rows: np.ndarray, labelled: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (R, C, H, W) float32 of some rows of a group, contiguous, and labels (L, H, W) uint8 of others."""


class SliceBank(StackedSlices):
    """Slices in memory, stacked by size, on the device that they are moved to.

    Parameters
    ----------
    cases
        The cases, in the order of `samples`.
    samples
        One a case: ``image`` (S, C, H, W), or (S, H, W) for one channel, and ``label`` (S, H, W).
    classes
        How many classes there are.
    context
        Neighbouring slices on each side that a network sees as channels.
    drop
        Called with the number of each sample once it is copied, so that there are never two copies of all of them.

    Attributes
    ----------
    images, labels
        A stack a size: (N, C, H, W) float32 and (N, H, W) uint8.
    device
        That batches come on.
    """

    device = torch.device("cpu")

    def __init__(
        self, cases: Sequence[Case], samples: Samples, classes: int, context: int = 0,
        drop: Callable[[int], None] = lambda number: None,
    ) -> None:  # fmt: skip
        if len(samples) != len(cases):
            raise ValueError(f"{len(samples)} samples of {len(cases)} cases")
        shapes = np.array([sample_shape(case, samples[place]) for place, case in enumerate(cases)])
        channels = same_channels(cases, shapes[:, 1])
        present = np.zeros((int(shapes[:, 0].sum()), classes), dtype=bool)
        super().__init__(cases, shapes[:, [0, 2, 3]], present, context)
        self.images = [torch.empty(0)] * len(self.sizes)
        self.labels = [torch.empty(0)] * len(self.sizes)
        release = Release()
        for place, (size, members) in enumerate(zip(self.sizes, self.members(), strict=True)):
            # Memory is only taken as it is written to.
            self.images[place] = torch.empty((len(members), channels, *size))
            self.labels[place] = torch.empty((len(members), *size), dtype=torch.uint8)
            for number in np.unique(self.case[members]):
                count = self._copy(place, int(number), samples[int(number)])
                drop(int(number))
                release(count)

    def _copy(self, group: int, number: int, sample: Mapping[str, Any]) -> int:
        """Put one case's slices in their rows; gives the bytes that they take."""
        image, label = slices_of(self.cases[number], sample, self.classes)
        start = int(self.first[number])
        row = int(self.row[start])
        self.images[group][row : row + len(image)] = image
        self.labels[group][row : row + len(label)] = label
        self.present[start : start + len(label)] = presence(label, self.classes)
        return image.nbytes + label.nbytes

    def _picked(self, group: int, rows: np.ndarray, labelled: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        stacks = ((self.images[group], rows), (self.labels[group], labelled))
        image, label = (stack.index_select(0, onto(stack.device, torch.from_numpy(some))) for stack, some in stacks)
        return onto(self.device, image), onto(self.device, label)

    def to(self, device: torch.device) -> SliceBank:
        """Move the stacks to a device; where they would take most of its memory, only batches are moved."""
        self.device = device
        if leaves_room(device, self.bytes()):
            self.images = [stack.to(device) for stack in self.images]
            self.labels = [stack.to(device) for stack in self.labels]
        return self

    def bytes(self) -> int:
        """Memory that the stacks hold."""
        return sum(stack.nbytes for stack in (*self.images, *self.labels))


def leaves_room(device: torch.device, needed: int) -> bool:
    """Whether a device has room for so many bytes, and for the network and its gradients beside them."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= _MOST_OF_DEVICE * free


def onto(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on a device; a copy to a GPU goes by pinned memory, and nothing waits for it."""
    if tensor.device == device or device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def epoch_batches(bank: Slices, batch_size: int, seed: int, *, foreground: float = 0.0) -> list[np.ndarray]:
    """The slices of one epoch, in batches of one size each, a function of the seed alone.

    Parameters
    ----------
    bank
        The slices.
    batch_size
        Slices a batch, at most: those of a size are shared out evenly, so that no batch is a small rest.
    seed
        Of this epoch.
    foreground
        Share of the draws that are made from the slices that show a class, each class but the background in turn; the
        rest goes through all slices without repeating one. Each size keeps its number of draws.

    Returns
    -------
    list of (B,) arrays
        Indices into `bank`; as many batches in every epoch.
    """
    generator = np.random.default_rng(seed)
    batches: list[np.ndarray] = []
    for alike in bank.members():
        members = generator.permutation(alike)
        if foreground > 0:
            members = _with_foreground(bank, members, foreground, generator)
        batches += np.array_split(members, -(-len(members) // batch_size))
    return [batches[place] for place in generator.permutation(len(batches))]


def _with_foreground(bank: Slices, members: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Slices of one size, with a share of them drawn anew from those that show each class in turn."""
    pools = [members[bank.present[members, index]] for index in range(1, bank.classes)]
    pools = [pool for pool in pools if len(pool)]
    if not pools:
        return members
    drawn = members.copy()
    for number, place in enumerate(np.flatnonzero(generator.random(len(members)) < share)):
        drawn[place] = generator.choice(pools[number % len(pools)])
    return drawn
