"""SkimageResized: scikit-image's own values, whole labels, the affine of the new grid, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.transform import resize

from transforms.faults import ChainError
from transforms.spatial import SkimageResized

KEYS = ["image", "label"]


def sample(height: int = 9, width: int = 14, channels: int = 2) -> dict[Any, Any]:
    generator = np.random.default_rng(0)
    image = generator.normal(size=(channels, height, width)).astype(np.float32)
    label = generator.integers(0, 4, (channels, height, width)).astype(np.float32)
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    return {key: MetaTensor(array, affine=affine) for key, array in zip(KEYS, (image, label), strict=True)}


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("size", [(5, 7), (18, 20), (5, 30)])
def test_values_are_scikit_image_s(order: int, size: tuple[int, int]) -> None:
    before = sample()
    after = SkimageResized(KEYS, size, order=[order, 0])(before)
    shrinks = order > 0 and (size[0] < 9 or size[1] < 14)
    for channel in range(2):
        image = before["image"][channel].numpy()
        wanted = resize(image, size, order=order, mode="edge", anti_aliasing=shrinks, preserve_range=True)
        np.testing.assert_allclose(after["image"][channel].numpy(), wanted, rtol=1e-6)
    assert after["image"].dtype == torch.float32
    assert set(after["label"].unique().tolist()) <= {0, 1, 2, 3}


def test_without_anti_aliasing() -> None:
    before = sample()
    after = SkimageResized("image", (4, 5), order=1, anti_aliasing=False)(before)["image"]
    wanted = resize(before["image"][0].numpy(), (4, 5), order=1, mode="edge", anti_aliasing=False, preserve_range=True)
    np.testing.assert_allclose(after[0].numpy(), wanted, rtol=1e-6)


def test_whole_numbers_are_rounded_and_not_cut() -> None:
    image = MetaTensor(torch.tensor([[[0, 10]]], dtype=torch.int16))
    result = SkimageResized("image", (1, 4), order=1)({"image": image})["image"]
    # Centres of the four pixels lie at -0.25, 0.25, 0.75, 1.25 of the two: 0, 2.5, 7.5, 10.
    assert result.tolist() == [[[0, 2, 8, 10]]]  # halves go to the even number


def test_the_affine_follows_and_comes_back() -> None:
    transform = SkimageResized(KEYS, (18, 7))
    after = transform(sample())
    # Twice as many rows of half the height; half as many columns of twice the width; the corner of the image stays.
    np.testing.assert_allclose(np.diag(after["image"].affine.numpy()), [1, 6, 1, 1])
    np.testing.assert_allclose(after["image"].affine.numpy()[:2, 3], [-0.5, 1.5])
    back = transform.inverse(after)
    np.testing.assert_allclose(back["image"].affine.numpy(), np.diag([2, 3, 1, 1]))
    assert tuple(back["image"].shape) == (2, 9, 14)
    assert back["image"].applied_operations == []


def test_the_way_back_of_what_was_only_repeated_is_exact() -> None:
    transform = SkimageResized("label", (27, 28), order=0)
    before = sample()
    after = transform({"label": before["label"]})
    assert torch.equal(
        after["label"].as_tensor(), before["label"].as_tensor().repeat_interleave(3, 1).repeat_interleave(2, 2)
    )
    assert torch.equal(transform.inverse(after)["label"].as_tensor(), before["label"].as_tensor())


def test_missing_keys() -> None:
    before: dict[Any, Any] = {"image": sample()["image"]}
    assert SkimageResized(KEYS, (4, 4), allow_missing_keys=True)(before)["image"].shape == (2, 4, 4)
    with pytest.raises(KeyError):
        SkimageResized(KEYS, (4, 4))(before)


def test_the_default_order_follows_the_keys() -> None:
    assert SkimageResized(["label", "image"], (4, 4)).orders == {"label": 0, "image": 1}
    assert SkimageResized("label", (4, 4)).orders == {"label": 0}


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"order": 1}, "mixes the label's class numbers"),
        ({"order": [0, 3]}, "mixes the label's class numbers"),
        ({"order": [1]}, "order is"),
        ({"order": [1, 0, 0]}, "order is"),
        ({"order": [6, 0]}, "order is"),
        ({"order": [-1, 0]}, "order is"),
        ({"order": ["1", 0]}, "order is"),
        ({"order": [True, 0]}, "order is"),
        ({"spatial_size": [4]}, "spatial_size is"),
        ({"spatial_size": [4, 4, 4]}, "spatial_size is"),
        ({"spatial_size": [4, 0]}, "spatial_size is"),
        ({"spatial_size": [4.5, 4]}, "spatial_size is"),
        ({"spatial_size": 4}, "spatial_size is"),
    ],
)
def test_refusals(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=told) as caught:
        SkimageResized(**{"keys": KEYS, "spatial_size": [4, 4], **parameters})
    assert caught.value.remedy
