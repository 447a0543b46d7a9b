"""ToTensord keeps the trace that the way back needs, where MONAI's own drops it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Flipd, ToTensord

from transforms.tensors import TracedToTensord


def flipped() -> dict[Any, Any]:
    sample: dict[Any, Any] = Flipd("image", spatial_axis=0)({"image": MetaTensor(torch.arange(6.0).view(1, 2, 3))})
    return sample


def trace(tensor: Any) -> list[str]:
    return [step["class"] for step in tensor.applied_operations]


def test_the_trace_stays_as_it_was() -> None:
    assert trace(ToTensord("image")(flipped())["image"]) != ["Flip"], "MONAI's own is mended: TracedToTensord can go"
    result = TracedToTensord("image")(flipped())["image"]
    assert trace(result) == ["Flip"]
    assert torch.equal(result.as_tensor(), flipped()["image"].as_tensor())


def test_what_has_no_trace_becomes_a_tensor_all_the_same() -> None:
    result = TracedToTensord(["image", "label"], allow_missing_keys=True)({"image": np.ones((1, 2, 2))})
    assert isinstance(result["image"], torch.Tensor)
    plain = TracedToTensord("image", track_meta=False)(flipped())["image"]
    assert type(plain) is torch.Tensor
