"""What a prepared sample must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.data.caching.samples import presence, same_channels, sample_shape, slices_of
from pipeline.errors import DataError


@settings(max_examples=30, deadline=None)
@given(label=arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3), elements=st.integers(0, 6)))
def test_presence_by_the_values_of_each_slice(label: np.ndarray) -> None:
    expected = [[index in np.unique(one) for index in range(7)] for one in label]
    assert presence(torch.from_numpy(label), 7).tolist() == expected


def test_an_image_may_have_channels_after_its_slices(make_case: Callable[..., Any]) -> None:
    image = torch.arange(24.0).reshape(2, 3, 2, 2)
    label = torch.tensor([[[0, 1], [2, 0]], [[0, 0], [0, 1]]], dtype=torch.int16)
    case = make_case("a")
    assert sample_shape(case, {"image": image, "label": label}) == (2, 3, 2, 2)
    plain, classes = slices_of(case, {"image": image.double(), "label": label.float()}, 3)
    assert (plain.dtype, classes.dtype) == (torch.float32, torch.uint8)
    assert torch.equal(plain, image) and torch.equal(classes.short(), label)
    # One channel may come without its axis.
    assert sample_shape(case, {"image": image[:, 0], "label": label}) == (2, 1, 2, 2)
    flat, _ = slices_of(case, {"image": image[:, 0], "label": label}, 3)
    assert torch.equal(flat, image[:, :1])


@pytest.mark.parametrize("image", [(2, 3, 2, 3), (3, 3, 2, 2), (2, 2), (1, 2, 3, 2, 2)])
def test_shapes_that_do_not_fit_are_refused(make_case: Callable[..., Any], image: tuple[int, ...]) -> None:
    sample = {"image": torch.zeros(image), "label": torch.zeros(2, 2, 2)}
    for look in (lambda: sample_shape(make_case("a"), sample), lambda: slices_of(make_case("a"), sample, 3)):
        with pytest.raises(DataError, match=r"label \(2, 2, 2\)") as fault:
            look()
        assert fault.value.where == "images/a.nii.gz"


def test_all_cases_have_the_same_channels(make_case: Callable[..., Any]) -> None:
    cases = [make_case(name) for name in "abc"]
    assert same_channels(cases, np.array([2, 2, 2])) == 2
    with pytest.raises(DataError, match="3 channels, and 2 of images/a") as fault:
        same_channels(cases, np.array([2, 2, 3]))
    assert fault.value.where == "images/c.nii.gz"
