"""Prepared slices as whole tensors: a batch is an index, and so are a slice's neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from pipeline.data.cases import Case, check_neighbours, reading_order, scan_key
from pipeline.errors import DataError


class Samples(Protocol):
    """A list of prepared samples, or MONAI's CacheDataset of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


class SliceBank:
    """All slices of a set of cases, stacked by size.

    Parameters
    ----------
    cases
        The cases, in the order of `samples`.
    samples
        Prepared ``image`` and ``label``, each (S, H, W), one sample a case.
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

    def __init__(self, cases: Sequence[Case], samples: Samples, classes: int, context: int = 0) -> None:
        self.cases, self.classes, self.context = tuple(cases), classes, context
        stacks: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        rows: list[tuple[int, int, int]] = []  # group, row, case
        filled: dict[tuple[int, int], int] = {}
        if len(samples) != len(self.cases):
            raise ValueError(f"{len(samples)} samples of {len(self.cases)} cases")
        for number, case in enumerate(self.cases):
            image, label = _tensors(case, samples[number], classes)
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

    def _volumes(self) -> np.ndarray:
        """(N,) the case, where that is a volume; -1 for the slices that are files of their own."""
        sizes = np.bincount(self.case, minlength=len(self.cases))
        return np.where(sizes[self.case] > 1, self.case, -1)

    def _neighbour_rows(self) -> np.ndarray:
        """(N, 2 * context + 1) rows of each slice's neighbours in its volume or scan, the ends repeated."""
        volumes = self._volumes()
        if self.context:
            check_neighbours([self.cases[number] for number in self.case[volumes < 0]])
            self._check_context(volumes)
        stacks: dict[tuple[object, ...], list[int]] = {}
        for index in range(len(self)):
            key = (*scan_key(self.cases[self.case[index]]), self.group[index], volumes[index])
            stacks.setdefault(key, []).append(index)
        neighbours = np.empty((len(self), 2 * self.context + 1), dtype=np.int64)
        offsets = np.arange(-self.context, self.context + 1)
        for members in stacks.values():
            ranked = np.array(sorted(members, key=lambda index: (reading_order(self.cases[self.case[index]]), index)))
            places = np.clip(np.arange(len(ranked))[:, None] + offsets, 0, len(ranked) - 1)
            neighbours[ranked] = self.row[ranked][places]
        return neighbours

    def _check_context(self, volumes: np.ndarray) -> None:
        flat = {scan_key(self.cases[number]) for number in self.case}
        if len(flat) == len(self) and not (volumes >= 0).any():
            raise DataError(
                f"every scan is a single slice (such as {self.cases[0].image}), so no slice has neighbours",
                where="data.context", remedy="Say with data.scan which slices are of one scan, or set data.context: 0",
            )  # fmt: skip

    def scans(self) -> list[np.ndarray]:
        """The slices of each scan, as indices; a scan may hold several sizes."""
        found: dict[tuple[str, str], list[int]] = {}
        for index in range(len(self)):
            found.setdefault(scan_key(self.cases[self.case[index]]), []).append(index)
        return [np.array(members) for members in found.values()]

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
    fractions = label.is_floating_point() and not torch.equal(whole, label)
    if fractions or int(whole.min()) < 0 or int(whole.max()) >= classes:
        raise DataError(
            f"the prepare chain gives label values from {float(label.min()):g} to {float(label.max()):g}"
            f"{', not all of them whole' if fractions else ''}; classes are 0 to {classes - 1}",
            where=str(case.label), remedy="Resample the label with mode nearest, and leave its values alone",
        )  # fmt: skip
    return image.float().contiguous(), whole.to(torch.uint8).contiguous()


def epoch_batches(bank: SliceBank, batch_size: int, seed: int, *, foreground: float = 0.0) -> list[np.ndarray]:
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
    for group in range(len(bank.images)):
        members = generator.permutation(np.flatnonzero(bank.group == group))
        if foreground > 0:
            members = _with_foreground(bank, members, foreground, generator)
        batches += np.array_split(members, -(-len(members) // batch_size))
    return [batches[place] for place in generator.permutation(len(batches))]


def _with_foreground(bank: SliceBank, members: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Slices of one size, with a share of them drawn anew from those that show each class in turn."""
    pools = [members[bank.present[members, index]] for index in range(1, bank.classes)]
    pools = [pool for pool in pools if len(pool)]
    if not pools:
        return members
    drawn = members.copy()
    for number, place in enumerate(np.flatnonzero(generator.random(len(members)) < share)):
        drawn[place] = generator.choice(pools[number % len(pools)])
    return drawn
