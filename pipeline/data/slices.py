"""Prepared slices as whole tensors: a batch is an index, and so are a slice's neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.data.cases import Case
from pipeline.errors import DataError


class SliceBank:
    """All slices of a set of cases, stacked by size.

    Parameters
    ----------
    cases
        The cases, in the order of `samples`.
    samples
        Prepared ``image`` and ``label``, each (S, H, W).
    classes
        How many classes there are.
    context
        Neighbouring slices on each side that a network sees as channels.

    Attributes
    ----------
    group, row
        (N,) which stack a slice is in, and where.
    case
        (N,) the index of its case.
    present
        (N, K) whether a slice shows a class.
    """

    def __init__(
        self, cases: Sequence[Case], samples: Iterable[Mapping[str, Any]], classes: int, context: int = 0
    ) -> None:
        self.cases, self.classes, self.context = tuple(cases), classes, context
        stacks: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        rows: list[tuple[int, int, int]] = []  # group, row, case
        filled: dict[tuple[int, int], int] = {}
        for number, (case, sample) in enumerate(zip(self.cases, samples, strict=True)):
            image, label = _tensors(case, sample, classes)
            size = (int(image.shape[1]), int(image.shape[2]))
            stacks.setdefault(size, []).append((image, label))
            group, start = list(stacks).index(size), filled.get(size, 0)
            rows += [(group, start + slice_number, number) for slice_number in range(image.shape[0])]
            filled[size] = start + image.shape[0]
        self.images = [torch.cat([image for image, _ in stack]) for stack in stacks.values()]
        self.labels = [torch.cat([label for _, label in stack]) for stack in stacks.values()]
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        self.group, self.row, self.case = table[:, 0], table[:, 1], table[:, 2]
        self.present = self._presence()
        self._neighbours = self._neighbour_rows()

    def __len__(self) -> int:
        return len(self.row)

    def _presence(self) -> np.ndarray:
        present = np.zeros((len(self), self.classes), dtype=bool)
        for number, labels in enumerate(self.labels):
            members = np.flatnonzero(self.group == number)
            for index in range(self.classes):
                present[members, index] = (labels == index).flatten(1).any(1).numpy()[self.row[members]]
        return present

    def _neighbour_rows(self) -> np.ndarray:
        """(N, 2 * context + 1) rows of each slice's neighbours in its scan, the ends repeated."""
        order: dict[tuple[str, int], list[int]] = {}
        for index in range(len(self)):
            case = self.cases[self.case[index]]
            order.setdefault((case.scan, int(self.group[index])), []).append(index)
        neighbours = np.empty((len(self), 2 * self.context + 1), dtype=np.int64)
        offsets = np.arange(-self.context, self.context + 1)
        for members in order.values():
            ranked = sorted(members, key=lambda index: (self.cases[self.case[index]].slice or 0, index))
            places = np.clip(np.arange(len(ranked))[:, None] + offsets, 0, len(ranked) - 1)
            neighbours[ranked] = self.row[np.array(ranked)][places]
        return neighbours

    def to(self, device: torch.device) -> SliceBank:
        """Move the stacks to a device."""
        self.images = [stack.to(device) for stack in self.images]
        self.labels = [stack.to(device) for stack in self.labels]
        return self

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Slices of one size as a batch.

        Parameters
        ----------
        indices
            (B,) slices of one group.

        Returns
        -------
        dict
            ``image`` (B, 2 * context + 1, H, W) float32 and ``label`` (B, 1, H, W) uint8.
        """
        groups = np.unique(self.group[indices])
        if len(groups) != 1:
            raise ValueError(f"a batch has slices of one size, got {len(groups)} sizes")
        images, labels = self.images[groups[0]], self.labels[groups[0]]
        rows = torch.from_numpy(self._neighbours[indices])
        image = images.index_select(0, rows.flatten().to(images.device))
        label = labels.index_select(0, torch.from_numpy(self.row[indices]).to(labels.device))
        return {"image": image.view(len(indices), -1, *images.shape[1:]), "label": label[:, None]}

    def bytes(self) -> int:
        """Memory that the stacks hold."""
        return sum(stack.numel() * stack.element_size() for stack in (*self.images, *self.labels))


def _tensors(case: Case, sample: Mapping[str, Any], classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    image, label = (torch.as_tensor(sample[key]).detach() for key in ("image", "label"))
    image, label = (getattr(tensor, "as_tensor", lambda tensor=tensor: tensor)() for tensor in (image, label))
    if image.ndim != 3 or image.shape != label.shape:
        raise DataError(
            f"the prepare chain gives an image {tuple(image.shape)} and a label {tuple(label.shape)}",
            where=str(case.image), remedy="Both are (slices, height, width): treat both alike in transforms.prepare",
        )  # fmt: skip
    if not torch.isfinite(image).all():
        raise DataError("the prepare chain gives voxels that are not finite", where=str(case.image),
                        remedy="Trace the chain's steps; a constant image divided by its spread does this")  # fmt: skip
    whole = label.round()
    if label.is_floating_point() and not torch.equal(whole, label) or int(whole.min()) < 0 or int(whole.max()) >= classes:
        raise DataError(
            f"the prepare chain gives label values from {float(label.min()):g} to {float(label.max()):g}, not whole classes",
            where=str(case.label), remedy="Resample the label with mode nearest, and leave its values alone",
        )  # fmt: skip
    return image.float().contiguous(), whole.to(torch.uint8).contiguous()


def epoch_batches(
    bank: SliceBank, batch_size: int, seed: int, *, foreground: float = 0.0
) -> list[np.ndarray]:
    """The slices of one epoch, in batches of one size each, a function of the seed alone.

    Parameters
    ----------
    bank
        The slices.
    batch_size
        Slices a batch; the last batch of a size may be smaller.
    seed
        Of this epoch.
    foreground
        Share of the draws that are made from the slices that show a class, each class but the background in turn; the
        rest goes through all slices without repeating one.

    Returns
    -------
    list of (B,) arrays
        Indices into `bank`.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(bank))
    if foreground > 0:
        pools = [np.flatnonzero(bank.present[:, index]) for index in range(1, bank.classes)]
        pools = [pool for pool in pools if len(pool)]
        chosen = np.flatnonzero(generator.random(len(order)) < foreground) if pools else np.empty(0, dtype=np.int64)
        for number, place in enumerate(chosen):
            order[place] = generator.choice(pools[number % len(pools)])
    batches = []
    for group in range(len(bank.images)):
        members = order[bank.group[order] == group]
        batches += [members[start : start + batch_size] for start in range(0, len(members), batch_size)]
    generator.shuffle(batches)
    # BatchNorm cannot take its statistics from a batch of one slice: such a remainder waits for another epoch.
    return [batch for batch in batches if len(batch) > 1] or batches
