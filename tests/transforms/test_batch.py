"""What every batch transform keeps to: one seed, one result; what is not drawn stays; no wait for the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import batch as door
from transforms.batch import Batch, BatchTransform
from transforms.catalog import OWN_TRANSFORMS
from transforms.entries import is_batch_transform

# What each needs to be told so that it changes something.
PARAMETERS: dict[str, dict[str, Any]] = {
    "RandAffineBatchd": {
        "rotate_degrees": 25, "scale": [0.8, 1.25], "shear": 0.2, "translate": 0.1, "flip": [0, 1], "elastic": 1.5,
    },
    "RandBiasFieldBatchd": {},
    "RandBlurBatchd": {},
    "RandFlipBatchd": {"axes": [0, 1]},
    "RandIntensityBatchd": {
        "brightness": 1, "contrast": [0.5, 2], "gamma": [0.5, 2], "invert_gamma": 0.5, "noise": 1,
    },
    "RandLowResolutionBatchd": {"zoom": [0.3, 0.7]},
}  # fmt: skip
MOVING = {"RandAffineBatchd", "RandFlipBatchd"}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_batch(
    count: int = 6, channels: int = 1, height: int = 20, width: int = 28, dtype: Any = torch.uint8
) -> Batch:
    source = generator(1)
    return {
        "image": torch.randn((count, channels, height, width), generator=source),
        "label": torch.randint(0, 6, (count, 1, height, width), generator=source).to(dtype),
    }


def build(name: str, prob: float, **more: Any) -> BatchTransform[Any]:
    return getattr(door, name)(prob=prob, **PARAMETERS[name], **more)


def test_every_batch_transform_is_looked_at() -> None:
    named = {name for name in OWN_TRANSFORMS if is_batch_transform({"_target_": name})}
    assert named == set(PARAMETERS) == {name for name in door.__all__ if name.startswith("Rand")}
    assert not is_batch_transform({"_target_": "SkimageResized"})


each = pytest.mark.parametrize("name", sorted(PARAMETERS))


@each
def test_one_seed_gives_one_result(name: str) -> None:
    before, transform = noise_batch(), build(name, 0.5)
    torch.manual_seed(1)
    once = transform(before, generator(5))
    torch.manual_seed(2)
    again, other = build(name, 0.5)(before, generator(5)), transform(before, generator(7))
    assert all(torch.equal(once[key], again[key]) for key in before)
    assert not torch.equal(once["image"], other["image"])


@each
def test_the_batch_is_not_written_into_and_other_keys_stay(name: str) -> None:
    before = noise_batch()
    before["case"] = torch.arange(6)
    copies = {key: value.clone() for key, value in before.items()}
    after = build(name, 1.0)(before, generator())
    assert all(torch.equal(before[key], copies[key]) for key in copies)
    assert not torch.equal(after["image"], before["image"])
    assert torch.equal(after["case"], before["case"])
    assert torch.equal(after["label"], before["label"]) is (name not in MOVING)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bits themselves: 0 and -0 differ, too."""
    return tensor.contiguous().view(torch.uint8)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_samples_that_are_not_drawn_stay_to_the_bit(name: str, dtype: torch.dtype) -> None:
    before = noise_batch(40, channels=2)
    before["image"] = before["image"].to(dtype)
    before["image"][:, :, :3] = -0.0
    after = build(name, 0.2)(before, generator(3))
    assert after["image"].dtype == dtype
    same = [torch.equal(bits(one), bits(other)) for one, other in zip(before["image"], after["image"], strict=True)]
    labels = [torch.equal(one, other) for one, other in zip(before["label"], after["label"], strict=True)]
    assert 4 < sum(same) < 38
    assert all(label for image, label in zip(same, labels, strict=True) if image)
    never = build(name, 0.0)(before, generator(3))
    assert torch.equal(bits(never["image"]), bits(before["image"]))
    assert torch.equal(never["label"], before["label"])


@each
def test_nothing_is_read_back_from_the_device(name: str) -> None:
    """Tensors of the device ``meta`` have no values: reading one, as a wait for a GPU would, fails."""
    before = {key: value.to("meta") for key, value in noise_batch(channels=3).items()}
    transform: BatchTransform[Any] = build(name, 0.9)
    if name == "RandIntensityBatchd":  # that device has no generator of noise
        transform = door.RandIntensityBatchd(prob=0.9, **{**PARAMETERS[name], "noise": 0})
    after = transform(before, generator())
    assert after["image"].device.type == "meta"
    assert after["image"].shape == before["image"].shape
    with pytest.raises((NotImplementedError, RuntimeError)):
        bool(after["image"].max() > 0)


@each
@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 4), channels=st.integers(1, 5), height=st.integers(1, 24), width=st.integers(1, 24),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_any_shape_and_number_of_channels(
    name: str, count: int, channels: int, height: int, width: int, seed: int
) -> None:
    """Shapes and types stay, values are numbers, masks hold no new class, and like channels stay alike."""
    before = noise_batch(count, 1, height, width)
    before["image"] = before["image"].repeat(1, channels, 1, 1)
    without_noise = {"noise": 0} if name == "RandIntensityBatchd" else {}
    after = getattr(door, name)(prob=0.7, **{**PARAMETERS[name], **without_noise})(before, generator(seed))
    assert after["image"].shape == before["image"].shape and after["image"].dtype == torch.float32
    assert after["label"].shape == before["label"].shape and after["label"].dtype == torch.uint8
    assert bool(after["image"].isfinite().all())
    assert set(after["label"].unique().tolist()) <= set(before["label"].unique().tolist())
    torch.testing.assert_close(after["image"], after["image"][:, :1].expand_as(after["image"]), atol=1e-5, rtol=1e-5)
    alone = {key: value[:, :1] for key, value in before.items()}
    one = getattr(door, name)(prob=0.7, **{**PARAMETERS[name], **without_noise})(alone, generator(seed))
    torch.testing.assert_close(one["image"], after["image"][:, :1], atol=1e-5, rtol=1e-4)
