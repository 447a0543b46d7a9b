"""Channels apart and together: one grid, or a refusal that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from transforms.channels import channel_sources, place_of, stack_channels
from transforms.faults import ChainError
from transforms.nifti import NiftiFile, ReadOptions

META: dict[str, Any] = {
    "affine": torch.diag(torch.tensor([2.0, 3, 1, 1])), "spatial_shape": np.array([4, 5]), "slice_order": (2, 0, 1),
    "slice_flips": (False, False, True), "slices": 3,
}  # fmt: skip


def channel(value: float, shape: tuple[int, ...] = (3, 4, 5), **meta: Any) -> MetaTensor:
    return MetaTensor(torch.full(shape, value), meta={**META, **meta}, applied_operations=[{"class": "Flip"}])


def test_channels_of_one_grid_are_stacked_in_order() -> None:
    image = stack_channels([channel(1), channel(2), channel(3)], ["a", "b", "c"])
    assert tuple(image.shape) == (3, 3, 4, 5)
    assert [image[:, number].unique().tolist() for number in range(3)] == [[1], [2], [3]]
    assert image.applied_operations == [{"class": "Flip"}]
    assert torch.equal(image.affine, META["affine"].double())
    assert stack_channels([channel(1)], ["a"]).shape == (3, 1, 4, 5)


@pytest.mark.parametrize(
    "other",
    [
        channel(2, (3, 4, 6)),
        channel(2, (2, 4, 5)),
        channel(2, spatial_shape=np.array([4, 6])),
        channel(2, slice_order=(2, 1, 0)),
        channel(2, slice_flips=(True, False, True)),
        channel(2, affine=torch.diag(torch.tensor([2.1, 3, 1, 1]))),
    ],
    ids=["width", "slices", "file", "order", "flips", "spacing"],
)
def test_another_grid_is_refused(other: MetaTensor) -> None:
    with pytest.raises(ChainError, match="do not lie on one grid") as caught:
        stack_channels([channel(1), channel(1), other], ["a.nii", "b.nii", "c.nii"])
    assert caught.value.where == "c.nii"
    assert "a.nii" in caught.value.what


def test_where_channels_come_from(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    assert channel_sources("a.nii", ReadOptions()) == ["a.nii"]
    assert channel_sources(["a.nii", "b.nii"], ReadOptions()) == ["a.nii", "b.nii"]
    values = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2)
    paths = [str(write_nifti(tmp_path / name, values + add)) for name, add in (("a.nii", 0), ("b.nii", 100))]
    found = channel_sources(paths, ReadOptions(channels=2))
    assert [place_of(source) for source in found] == [paths[0], paths[0], paths[1], paths[1]]
    for source, wanted in zip(found, (values[..., 0], values[..., 1], values[..., 0] + 100), strict=False):
        assert isinstance(source, NiftiFile)
        np.testing.assert_array_equal(source.array, wanted)
