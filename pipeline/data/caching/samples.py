"""What a prepared sample must be, and what its slices hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from pipeline.data.cases import Case
from pipeline.errors import DataError


class Samples(Protocol):
    """A list of prepared samples, or MONAI's CacheDataset of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def sample_shape(case: Case, sample: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Slices, channels, height and width of a prepared sample.

    Raises
    ------
    DataError
        When image and label are not (slices, height, width) alike; the image may have channels after its slices.
    """
    image, label = tuple(sample["image"].shape), tuple(sample["label"].shape)
    if len(image) not in (3, 4) or len(label) != 3 or (image[0], *image[-2:]) != label:
        raise DataError(
            f"the prepare chain gives an image {image} and a label {label}", where=str(case.image),
            remedy="Both are (slices, height, width): treat both alike in transforms.prepare",
        )  # fmt: skip
    return image[0], image[1] if len(image) == 4 else 1, image[-2], image[-1]


def same_channels(cases: Sequence[Case], channels: np.ndarray) -> int:
    """The number of channels that all cases have.

    Raises
    ------
    DataError
        When they differ.
    """
    odd = np.flatnonzero(channels != channels[0])
    if odd.size:
        raise DataError(
            f"the prepare chain gives {channels[odd[0]]} channels, and {channels[0]} of {cases[0].image}",
            where=str(cases[odd[0]].image), remedy="Every case needs the same channels",
        )  # fmt: skip
    return int(channels[0])


def slices_of(case: Case, sample: Mapping[str, Any], classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The slices of a prepared sample as plain tensors: image (S, C, H, W) float32 and label (S, H, W) uint8.

    Raises
    ------
    DataError
        For shapes that do not fit, voxels that are not finite, and labels that are not whole or no classes.
    """
    shape = sample_shape(case, sample)
    image, label = (torch.as_tensor(sample[key]).detach() for key in ("image", "label"))
    image, label = (getattr(tensor, "as_tensor", lambda tensor=tensor: tensor)() for tensor in (image, label))
    # A sum is finite only where all voxels are, and takes a twentieth of the time; it may be too large by itself.
    if not image.sum().isfinite() and not torch.isfinite(image).all():
        raise DataError("the prepare chain gives voxels that are not finite", where=str(case.image),
                        remedy="Trace the chain's steps; a constant image divided by its spread does this")  # fmt: skip
    whole = label.round() if label.is_floating_point() else label
    fractions = label.is_floating_point() and not torch.equal(whole, label)
    if fractions or int(whole.min()) < 0 or int(whole.max()) >= classes:
        raise DataError(
            f"the prepare chain gives label values from {float(label.min()):g} to {float(label.max()):g}"
            f"{', not all of them whole' if fractions else ''}; classes are 0 to {classes - 1}",
            where=str(case.label), remedy="Resample the label with mode nearest, and leave its values alone",
        )  # fmt: skip
    return image.float().contiguous().view(shape), whole.to(torch.uint8).contiguous()


def presence(label: torch.Tensor, classes: int) -> np.ndarray:
    """(S, K) whether each slice of a label (S, H, W) shows each class."""
    # Counting is quicker than comparing with each class, also for few classes.
    counts = [torch.bincount(one.flatten(), minlength=classes) for one in label]
    present: np.ndarray = torch.stack(counts).numpy() > 0
    return present
