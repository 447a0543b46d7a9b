"""Stacks of neighbouring slices, and batches that are filled across them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch

from pipeline.data.cases import Case, check_neighbours

__all__ = ["CaseView", "Opinion", "Part", "PreparedScan", "Stack", "filled"]


@dataclass(frozen=True)
class Opinion:
    """What the networks say of slices: probabilities (S, K, h, w), and the members' overlaps (S, K, M, M)."""

    probabilities: torch.Tensor
    overlaps: torch.Tensor | None


class Stack:
    """Slices of one scan, each the neighbour of the next, and what the networks say of them so far.

    Parameters
    ----------
    slices
        (S, C, H, W) on the prepared grid.
    context
        Neighbours on each side that a network sees.
    """

    def __init__(self, slices: torch.Tensor, context: int) -> None:
        self.slices, self.context = slices, context
        self._found: list[Opinion] = []
        self._known = 0

    def __len__(self) -> int:
        return self.slices.shape[0]

    @property
    def shape(self) -> torch.Size:
        """Channels, height and width of a slice."""
        return self.slices.shape[1:]

    @property
    def is_known(self) -> bool:
        """Whether the networks have seen all slices."""
        return self._known == len(self)

    def inputs(self, start: int, end: int) -> torch.Tensor:
        """What a network is to see of some slices: (end - start, (2 * context + 1) * C, H, W).

        The channels of each neighbour come in turn, from the first to the last; at an end of the stack, the last slice
        stands for those that are not there.
        """
        if self.context == 0:
            return self.slices[start:end]
        places = torch.arange(start, end)[:, None] + torch.arange(-self.context, self.context + 1)
        return self.slices[places.clamp(0, len(self) - 1)].flatten(1, 2)

    def take(self, opinion: Opinion) -> None:
        """Keep what is said of the next slices."""
        self._found.append(opinion)
        self._known += opinion.probabilities.shape[0]

    def opinion(self) -> Opinion:
        """What is said of all slices."""
        shared = [one.overlaps for one in self._found if one.overlaps is not None]
        return Opinion(_joined([one.probabilities for one in self._found]), _joined(shared) if shared else None)


class Part(NamedTuple):
    """Some slices of a stack, from `start` to before `end`."""

    stack: Stack
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.end - self.start


def filled(stacks: Iterable[Stack], size: Callable[[], int]) -> Iterator[list[Part]]:
    """Batches of slices, in order: stacks that follow each other share them where their slices are of one shape.

    Parameters
    ----------
    stacks
        Taken one by one, as they are needed.
    size
        How many slices a batch holds; asked anew for each, as it may have become smaller.
    """
    batch: list[Part] = []
    room = size()
    for stack in stacks:
        if batch and batch[0].stack.shape != stack.shape:
            yield batch
            batch, room = [], size()
        start = 0
        while start < len(stack):
            batch.append(part := Part(stack, start, min(len(stack), start + room)))
            start, room = part.end, room - part.size
            if room == 0:
                yield batch
                batch, room = [], size()
    if batch:
        yield batch


class CaseView(NamedTuple):
    """A case in one view: prepared (S, C, H, W) with its trace, and what the networks say of it."""

    prepared: Any
    opinion: Opinion


class PreparedScan:
    """The cases of a scan, prepared, and the stacks that their slices make.

    Parameters
    ----------
    cases
        In the order of their slices; a volume that is seen in several views comes once for each.
    images
        Of each, (S, C, H, W) as the prepare chain gave it.
    context
        Neighbours on each side that a network sees.

    Raises
    ------
    DataError
        When neighbours are seen and the order of 2D slices is not known.
    """

    def __init__(self, cases: Sequence[Case], images: Sequence[Any], context: int) -> None:
        if context:
            check_neighbours([case for case, image in zip(cases, images, strict=True) if image.shape[0] == 1])
        self.cases, self.images = cases, images
        # Neighbours are of one size, and those of a volume's slices lie in it: a scan may fall into several stacks.
        members: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            volume = number if image.shape[0] > 1 else -1
            members.setdefault((volume, *image.shape[1:]), []).append(number)
        self._members = list(members.values())
        plain = [torch.as_tensor(image).as_subclass(torch.Tensor) for image in images]
        self.stacks = [Stack(_joined([plain[number] for number in one]), context) for one in self._members]

    @property
    def is_known(self) -> bool:
        """Whether the networks have seen all its slices."""
        return all(stack.is_known for stack in self.stacks)

    def opinions(self) -> list[Opinion]:
        """One a case."""
        found: dict[int, Opinion] = {}
        for members, stack in zip(self._members, self.stacks, strict=True):
            whole, sizes = stack.opinion(), [self.images[number].shape[0] for number in members]
            shared = [None] * len(sizes) if whole.overlaps is None else whole.overlaps.split(sizes)
            parts = zip(whole.probabilities.split(sizes), shared, strict=True)
            found.update(zip(members, (Opinion(*part) for part in parts), strict=True))
        return [found[number] for number in range(len(self.cases))]

    def by_case(self) -> Iterator[tuple[Case, list[CaseView]]]:
        """Each case with its views."""
        seen = zip(self.cases, self.images, self.opinions(), strict=True)
        for _, members in groupby(seen, key=lambda one: one[0].id):
            views = list(members)
            yield views[0][0], [CaseView(prepared, opinion) for _, prepared, opinion in views]


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
