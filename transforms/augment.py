"""The random chain of a config: MONAI's transforms sample by sample, this project's on the whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from transforms.batch import Batch
from transforms.chain import build_transform, is_batch_transform
from transforms.faults import ChainError


class AugmentChain:
    """The chain under ``transforms.augment``, a function of the batch and a seed.

    Parameters
    ----------
    entries
        Of the config; batch transforms and MONAI's random transforms may stand in any order.

    Attributes
    ----------
    per_sample
        The names of the transforms that run sample by sample, which costs time.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._stages: list[tuple[bool, list[Any]]] = []
        self.per_sample: list[str] = []
        for number, entry in enumerate(entries):
            whole = is_batch_transform(entry)
            step = build_transform(entry, where=f"transforms.augment.{number}")
            if not whole:
                self.per_sample.append(type(step).__name__)
            if not self._stages or self._stages[-1][0] != whole:
                self._stages.append((whole, []))
            self._stages[-1][1].append(step)

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Augment a batch: image (B, C, H, W) float, label (B, 1, H, W); the same seed gives the same result."""
        generator = torch.Generator().manual_seed(seed)
        for whole, steps in self._stages:
            if whole:
                for step in steps:
                    batch = step(batch, generator)
            else:
                batch = _each_sample(steps, batch, seed)
        return batch


def _each_sample(steps: Sequence[Any], batch: Batch, seed: int) -> Batch:
    from monai.transforms import Compose

    compose = Compose(list(steps))
    label_type = batch["label"].dtype
    samples = []
    for number in range(batch["image"].shape[0]):
        compose.set_random_state(seed=(seed * 4093 + number) % 2**32)
        try:
            samples.append(compose({"image": batch["image"][number], "label": batch["label"][number].float()}))
        except Exception as error:  # a transform's own words
            raise ChainError(
                f"the augment chain failed: {error.__cause__ or error}", where="transforms.augment",
                remedy="See the transform's documentation",
            ) from error  # fmt: skip
    stacked = {key: [_plain(sample[key]) for sample in samples] for key in ("image", "label")}
    sizes = {tuple(tensor.shape[1:]) for tensors in stacked.values() for tensor in tensors}
    if len(sizes) != 1:
        raise ChainError(
            f"the augment chain gives slices of different sizes: {sorted(sizes)}", where="transforms.augment",
            remedy="End it with a crop or pad to one size, for image and label alike",
        )  # fmt: skip
    return {"image": torch.stack(stacked["image"]), "label": torch.stack(stacked["label"]).to(label_type)}


def _plain(value: Any) -> torch.Tensor:
    tensor = torch.as_tensor(value)
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
