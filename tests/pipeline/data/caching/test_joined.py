"""Several sets of slices as one, against the sets themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.caching.joined import JoinedSlices, joined
from pipeline.data.caching.slices import Slices, epoch_batches


@pytest.fixture
def parts(make_case: Callable[..., Any], make_bank: Callable[..., Any]) -> list[Slices]:
    """Two views of two volumes of 4 x 6 x 8 voxels, and of one of 6 x 6 x 6: sizes that both have, and one has."""
    cases = [make_case(name, name) for name in "abc"]
    first = make_bank(cases, [(4, 6, 8), (4, 6, 8), (6, 6, 6)], context=1, seed=1)
    second = make_bank(cases, [(6, 4, 8), (6, 4, 8), (6, 6, 6)], context=1, seed=2)
    return [first, second]


def test_one_set_stays_what_it_is(parts: list[Slices]) -> None:
    assert joined(parts[:1]) is parts[0]
    assert isinstance(joined(parts), JoinedSlices)


def test_a_batch_holds_slices_of_all_sets_in_the_order_that_was_asked_for(parts: list[Slices]) -> None:
    together = joined(parts)
    assert len(together) == 14 + 18
    assert together.sizes == [(6, 8), (6, 6), (4, 8)]
    assert together.bytes() == sum(part.bytes() for part in parts)
    asked = np.array([28, 9, 8, 31, 13, 26])  # 6 x 6: slices 8 to 13 of the first set, 12 to 17 of the second
    batch = together.batch(asked)
    assert batch["image"].shape == (6, 3, 6, 6)
    for place, index in enumerate(asked):
        part, own = (parts[0], index) if index < 14 else (parts[1], index - 14)
        alone = part.batch(np.array([own]))
        assert torch.equal(batch["image"][place], alone["image"][0])
        assert torch.equal(batch["label"][place], alone["label"][0])
    with pytest.raises(ValueError, match="2 sizes"):
        parts[0].batch(np.array([0, 8]))


def test_an_epoch_goes_through_every_slice_of_every_set_once(parts: list[Slices]) -> None:
    together = joined(parts)
    batches = epoch_batches(together, 4, 3)
    assert sorted(np.concatenate(batches)) == list(range(32))
    mixed = [indices for indices in batches if (indices < 14).any() and (indices >= 14).any()]
    assert mixed, "slices of one size come together from both"
    for indices in batches:
        assert together.batch(indices)["image"].shape[0] == len(indices)
    assert np.array_equal(together.present, np.concatenate([part.present for part in parts]))


def test_a_scan_has_the_slices_of_all_its_views(parts: list[Slices]) -> None:
    scans = joined(parts).scans()
    assert [len(scan) for scan in scans] == [4 + 6, 4 + 6, 6 + 6]
    assert sorted(scans[0]) == [0, 1, 2, 3, 14, 15, 16, 17, 18, 19]


def test_each_set_is_told_of_its_own_share(parts: list[Slices], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[list[int]]] = [[], []]
    for part, own in zip(parts, told, strict=True):
        noting = partial(_note, own)
        monkeypatch.setattr(part, "expect", noting)
    joined(parts).expect([np.array([9, 28]), np.array([0, 1]), np.array([31])])
    assert told == [[[9], [0, 1]], [[14], [17]]]


def _note(told: list[list[int]], batches: list[np.ndarray]) -> None:
    told += [one.tolist() for one in batches]
