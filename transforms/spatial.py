"""Dictionary transforms on the grid that MONAI lacks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.transforms.utils import scale_affine
from skimage.transform import resize

from transforms.faults import ChainError

Size = tuple[int, int]


class SkimageResized(MapTransform, InvertibleTransform):
    """Resize with scikit-image: the image by splines with anti-aliasing, the label by nearest neighbour.

    Parameters
    ----------
    keys
        The sample keys; tensors (C, H, W), each channel resized by itself.
    spatial_size
        (H, W) of the result.
    order
        Spline order from 0 to 5, one for all keys or one a key: 0 nearest, 1 linear, 3 cubic. The label's is 0.
    anti_aliasing
        Smooth before shrinking where the order is above 0.
    allow_missing_keys
        Pass over keys that the sample lacks.

    Raises
    ------
    ChainError
        For a size that is none, an order that is none, or a label's order that is not 0.
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
        sizes = list(spatial_size) if isinstance(spatial_size, Sequence) else [spatial_size]
        if len(sizes) != 2 or any(not _is_whole(size) or size < 1 for size in sizes):
            raise ChainError(f"SkimageResized: spatial_size is {spatial_size}", remedy="Give [height, width]")
        self.spatial_size: Size = (sizes[0], sizes[1])
        orders = list(order) if isinstance(order, Sequence) else [order] * len(self.keys)
        if order == (1, 0):  # the default: linear, and nearest for the label
            orders = [0 if key == "label" else 1 for key in self.keys]
        if len(orders) != len(self.keys) or any(not _is_whole(one) or not 0 <= one <= 5 for one in orders):
            raise ChainError(
                f"SkimageResized: order is {order} for {len(self.keys)} keys", remedy="Give one a key, from 0 to 5"
            )
        self.orders = dict(zip(self.keys, orders, strict=True))
        if self.orders.get("label", 0) != 0:
            raise ChainError(
                "SkimageResized: any order but 0 mixes the label's class numbers",
                remedy=f"Set order: {[0 if key == 'label' else 1 for key in self.keys]}",
            )
        self.anti_aliasing = anti_aliasing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resize every key of one sample; its affine follows."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            tensor = sample[key]
            size: Size = (int(tensor.shape[1]), int(tensor.shape[2]))
            result = _resized(tensor, self.spatial_size, self.orders[key], self.anti_aliasing)
            old = tensor if isinstance(tensor, MetaTensor) else MetaTensor(tensor)
            affine = old.affine.clone()
            scaling = torch.as_tensor(scale_affine(size, self.spatial_size), dtype=affine.dtype)
            sample[key] = _with_affine(result, old, _times(affine, scaling))
            self.push_transform(sample, key, orig_size=size, extra_info={"affine": affine})
        return sample

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Back to the size before, linearly (an order-0 key by nearest neighbour), without smoothing."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            record = self.pop_transform(sample, key)
            height, width = (int(side) for side in record["orig_size"])
            result = _resized(sample[key], (height, width), min(1, self.orders[key]), smooth=False)
            sample[key] = _with_affine(result, sample[key], torch.as_tensor(record["extra_info"]["affine"]))
        return sample


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _resized(tensor: torch.Tensor, size: Size, order: int, smooth: bool) -> torch.Tensor:
    array = tensor.detach().cpu().numpy()
    smooth = smooth and order > 0 and (size[0] < array.shape[1] or size[1] < array.shape[2])
    planes = [
        resize(plane, size, order=order, mode="edge", anti_aliasing=smooth, preserve_range=True) for plane in array
    ]
    stack = np.stack(planes)
    if array.dtype.kind in "iu":
        stack = np.rint(stack)  # a cast alone would cut 2.9999 down to 2
    return torch.from_numpy(stack.astype(array.dtype, copy=False)).to(tensor.device)


def _with_affine(result: torch.Tensor, old: MetaTensor, affine: torch.Tensor) -> MetaTensor:
    meta = {**old.meta, "affine": affine}
    return MetaTensor(result, meta=meta, applied_operations=list(old.applied_operations))


def _times(affine: torch.Tensor, scaling: torch.Tensor) -> torch.Tensor:
    """(4, 4) `affine` after (3, 3) `scaling` of the plane."""
    whole = torch.eye(len(affine), dtype=affine.dtype)
    whole[:2, :2], whole[:2, -1] = scaling[:2, :2], scaling[:2, -1]
    return affine @ whole
