"""The slices of several views, or of any sets of cases, as one: a batch may hold slices of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from pipeline.data.caching.slices import Slices, onto

__all__ = ["JoinedSlices", "joined"]


def joined(parts: Sequence[Slices]) -> Slices:
    """Several sets of slices as one; the only one as it is."""
    return parts[0] if len(parts) == 1 else JoinedSlices(parts)


class JoinedSlices(Slices):
    """Several sets of slices, one after the other; each keeps its own where it was.

    Parameters
    ----------
    parts
        With the same classes, channels and neighbours. A case may be in several of them: a scan's slices are those of
        all its views.
    """

    def __init__(self, parts: Sequence[Slices]) -> None:
        super().__init__(
            [case for part in parts for case in part.cases],
            np.concatenate([part.shapes for part in parts]),
            np.concatenate([part.present for part in parts]),
            parts[0].context,
        )
        self.parts = tuple(parts)
        ends = np.cumsum([len(part) for part in parts])
        self._starts = ends - [len(part) for part in parts]

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch, see `Slices.batch`."""
        found = [(places, self.parts[number].batch(local)) for number, places, local in self._shares(indices)]
        if len(found) == 1:
            return found[0][1]
        back = np.argsort(np.concatenate([places for places, _ in found]))
        batch = {key: torch.cat([part[key] for _, part in found]) for key in ("image", "label")}
        order = onto(batch["image"].device, torch.from_numpy(back))
        return {key: tensor.index_select(0, order) for key, tensor in batch.items()}

    def _shares(self, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Of each part that has some of the slices: its number, their places in the batch, and its own indices."""
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            yield int(number), places, indices[places] - self._starts[number]

    def expect(self, batches: Sequence[np.ndarray]) -> None:
        """Tell each part which of its slices will be asked for next."""
        coming: list[list[np.ndarray]] = [[] for _ in self.parts]
        for indices in batches:
            for number, _, local in self._shares(indices):
                coming[number].append(local)
        for part, own in zip(self.parts, coming, strict=True):
            part.expect(own)

    def to(self, device: torch.device) -> JoinedSlices:
        """Let batches come on a device."""
        self.parts = tuple(part.to(device) for part in self.parts)
        return self

    def bytes(self) -> int:
        """What the parts take where they are kept."""
        return sum(part.bytes() for part in self.parts)
