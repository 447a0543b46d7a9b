"""The random chain of a config: MONAI's transforms sample by sample, this project's on the whole batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transforms.batch import Batch
from transforms.chain import build_transform, failure, is_batch_transform
from transforms.faults import ChainError

# What does the like of MONAI's on the whole batch.
BATCH_COUNTERPARTS = {
    **dict.fromkeys("Rand2DElasticd RandAffined RandGridDistortiond RandRotated RandZoomd".split(), "RandAffineBatchd"),
    **dict.fromkeys("RandAxisFlipd RandFlipd".split(), "RandFlipBatchd"),
    **dict.fromkeys(
        "RandAdjustContrastd RandGaussianNoised RandScaleIntensityFixedMeand RandScaleIntensityd RandShiftIntensityd "
        "RandStdShiftIntensityd".split(), "RandIntensityBatchd",
    ),
    "RandBiasFieldd": "RandBiasFieldBatchd",
    "RandGaussianSmoothd": "RandBlurBatchd",
    "RandSimulateLowResolutiond": "RandLowResolutionBatchd",
}  # fmt: skip


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
    seconds, per_sample_seconds
        That the host spent in the whole chain, and in those transforms, since `take_shares` was called last. A GPU
        that still works on the batch when the host goes on is not waited for.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._stages: list[tuple[bool, list[Any]]] = []
        self.per_sample: list[str] = []
        self.seconds = self.per_sample_seconds = 0.0
        for number, entry in enumerate(entries):
            whole = is_batch_transform(entry)
            step = build_transform(entry, where=f"transforms.augment.{number}")
            if not whole:
                self.per_sample.append(type(step).__name__)
            if not self._stages or self._stages[-1][0] != whole:
                self._stages.append((whole, []))
            self._stages[-1][1].append(step)

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Augment a batch.

        Parameters
        ----------
        batch
            ``image`` (B, C, H, W) float and ``label`` (B, 1, H, W); it is left as it is.
        seed
            0 or more; the same seed gives the same result.

        Returns
        -------
        dict
            The same keys, types and channels. A crop may change H and W, one that draws several samples of each also B.

        Raises
        ------
        ChainError
            When a transform fails, or makes slices that do not fit into one batch.
        """
        generator = torch.Generator().manual_seed(seed)
        for stage, (whole, steps) in enumerate(self._stages):
            began = time.perf_counter()
            if whole:
                for step in steps:
                    batch = step(batch, generator)
            else:
                batch = _each_sample(steps, batch, (seed, stage))
            spent = time.perf_counter() - began
            self.seconds += spent
            self.per_sample_seconds += 0.0 if whole else spent
        return batch

    def take_shares(self, seconds: float) -> dict[str, float]:
        """What augmentation took of some time, as columns of the history; and begin to count anew.

        Parameters
        ----------
        seconds
            That the training took since the last call, augmentation included.

        Returns
        -------
        dict
            ``augment_share`` from 0 to 1, and with transforms that run sample by sample also ``per_sample_share``,
            which is part of it.
        """
        shares = {"augment_share": self.seconds / max(seconds, 1e-9)}
        if self.per_sample:
            shares["per_sample_share"] = self.per_sample_seconds / max(seconds, 1e-9)
        self.seconds = self.per_sample_seconds = 0.0
        return shares


def per_sample_note(names: Sequence[str], share: float) -> str:
    """What the transforms that run sample by sample cost, and what does the like on the whole batch.

    Parameters
    ----------
    names
        Of those transforms, at least one.
    share
        Of the training's time, from 0 to 1.

    >>> per_sample_note(["RandBiasFieldd"], 0.234)
    'RandBiasFieldd works sample by sample, which takes 23% of the training; RandBiasFieldBatchd takes a whole batch'
    """
    each = list(dict.fromkeys(names))
    others = sorted({BATCH_COUNTERPARTS[name] for name in each if name in BATCH_COUNTERPARTS})
    works, takes = ("works" if len(each) == 1 else "work"), ("takes" if len(others) == 1 else "take")
    advised = f"; {_listed(others)} {takes} a whole batch" if others else ""
    return f"{_listed(each)} {works} sample by sample, which takes {share:.0%} of the training{advised}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _each_sample(steps: Sequence[Any], batch: Batch, seed: tuple[int, int]) -> Batch:
    from monai.transforms import Compose

    compose = Compose(list(steps))
    samples: list[dict[str, Any]] = []
    for number in range(batch["image"].shape[0]):
        # Each sample of each stage has a stream of its own.
        compose.set_random_state(seed=int(np.random.SeedSequence([*seed, number]).generate_state(1)[0]))
        # Some transforms write into what they are given.
        sample = {"image": batch["image"][number].clone(), "label": batch["label"][number].float()}
        try:
            result = compose(sample)
        except Exception as error:  # a transform's own words
            raise ChainError(
                f"the augment chain failed{failure(error)}", where="transforms.augment",
                remedy="See the transform's documentation",
            ) from error  # fmt: skip
        samples += result if isinstance(result, list) else [result]
    return {**batch, **_stacked(samples, batch)}


def _stacked(samples: Sequence[Mapping[str, Any]], batch: Batch) -> Batch:
    """The samples as one batch, of the types and on the device that `batch` has."""
    missing = {key for key in ("image", "label") for sample in samples if key not in sample}
    if missing:
        raise ChainError(f"the augment chain drops the {' and the '.join(sorted(missing))}", where="transforms.augment")
    columns = {key: [_plain(sample[key]) for sample in samples] for key in ("image", "label")}
    sizes = {tuple(tensor.shape[1:]) for tensors in columns.values() for tensor in tensors}
    if len(sizes) != 1:
        raise ChainError(
            f"the augment chain gives slices of different sizes: {sorted(sizes)}", where="transforms.augment",
            remedy="End it with a crop or pad to one size, for image and label alike",
        )  # fmt: skip
    for key, tensors in columns.items():
        channels = {tensor.shape[0] for tensor in tensors}
        if channels != {batch[key].shape[1]}:
            raise ChainError(
                f"the augment chain makes {sorted(channels)} channels of the {key}'s {batch[key].shape[1]}",
                where="transforms.augment", remedy="Remove the transform that adds or drops channels",
            )  # fmt: skip
    return {key: torch.stack(tensors).to(batch[key]) for key, tensors in columns.items()}


def _plain(value: Any) -> torch.Tensor:
    """A tensor without MONAI's trace."""
    tensor = torch.as_tensor(value)
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
