"""Dictionary transforms on the grid that MONAI lacks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from skimage.transform import resize

from transforms.faults import ChainError


class SkimageResized(MapTransform, InvertibleTransform):
    """Resize with scikit-image: the image by splines with anti-aliasing, the label by nearest neighbour.

    Parameters
    ----------
    keys
        The sample keys; tensors (C, H, W), each channel resized by itself.
    spatial_size
        (H, W) of the result.
    order
        Spline order, one for all keys or one a key: 0 nearest, 1 linear, 3 cubic. The label's is 0.
    anti_aliasing
        Smooth before shrinking where the order is above 0.
    allow_missing_keys
        Pass over keys that the sample lacks.

    Raises
    ------
    ChainError
        When the label's order is not 0.
    """

    def __init__(
        self,
        keys: Sequence[str] | str,
        spatial_size: Sequence[int],
        order: Sequence[int] | int = (1, 0),
        anti_aliasing: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spatial_size = tuple(int(size) for size in spatial_size)
        if len(self.spatial_size) != 2 or min(self.spatial_size) < 1:
            raise ChainError(f"SkimageResized: spatial_size is {list(spatial_size)}", remedy="Give [height, width]")
        orders = [order] * len(self.keys) if isinstance(order, int) else list(order)[: len(self.keys)]
        if len(orders) != len(self.keys):
            raise ChainError(f"SkimageResized: {len(orders)} orders for {len(self.keys)} keys")
        self.orders = dict(zip(self.keys, orders, strict=True))
        if self.orders.get("label", 0) != 0:
            raise ChainError(
                "SkimageResized: any order but 0 mixes the label's class numbers", remedy="Set order: [1, 0]"
            )
        self.anti_aliasing = anti_aliasing

    def _resized(self, tensor: torch.Tensor, size: tuple[int, ...], order: int, smooth: bool) -> torch.Tensor:
        array = tensor.detach().cpu().numpy()
        smooth = smooth and order > 0 and (size[0] < array.shape[1] or size[1] < array.shape[2])
        planes = [
            resize(plane, size, order=order, mode="edge", anti_aliasing=smooth, preserve_range=True) for plane in array
        ]
        return torch.from_numpy(np.stack(planes).astype(array.dtype, copy=False))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resize every key of one sample."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            tensor = sample[key]
            size = tuple(tensor.shape[1:])
            result = self._resized(tensor, self.spatial_size, self.orders[key], self.anti_aliasing)
            meta = dict(tensor.meta) if isinstance(tensor, MetaTensor) else {}
            trace = list(tensor.applied_operations) if isinstance(tensor, MetaTensor) else []
            sample[key] = MetaTensor(result, meta=meta, applied_operations=trace)
            self.push_transform(sample, key, orig_size=size)
        return sample

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Back to the size before, linearly (an order-0 key by nearest neighbour), without smoothing."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            size = tuple(self.pop_transform(sample, key)["orig_size"])
            tensor = sample[key]
            result = self._resized(tensor, size, min(1, self.orders[key]), smooth=False)
            sample[key] = MetaTensor(result, meta=dict(tensor.meta), applied_operations=list(tensor.applied_operations))
        return sample
