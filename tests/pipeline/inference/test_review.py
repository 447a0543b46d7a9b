"""What a review says, by hand and by loops over voxels; trust is monotone, and ranks the worst first."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.components import component_counts
from pipeline.inference.label_ranges import LabelRanges, label_ranges
from pipeline.inference.original_grid import highest
from pipeline.inference.review import AMBIGUOUS_MARGIN, Review, ReviewSums, class_trust, review_rows, trust


def reviewed(probabilities: torch.Tensor, parts: int = 1, shared: np.ndarray | None = None) -> Review:
    """A review of (S, K, H, W), added up in some parts; voxels of 2 x 1 x 1.5 mm."""
    sums = ReviewSums(probabilities.shape[1])
    masks = []
    for part in probabilities.chunk(parts):
        probable, mask = highest(part)
        sums.add(part, probable, mask)
        masks.append(mask)
    return sums.review(np.concatenate(masks), (2.0, 1.0, 1.5), shared)


def test_by_hand() -> None:
    one = torch.tensor([[[0.9, 0.4, 0.1, 0.95]]])  # (S, H, W): class 1 in one row
    found = reviewed(torch.stack([1 - one, one], 1))
    # The mask is pixels 0 and 3: 2 * 1.85 / (2.35 + 2).
    assert found.expected_dice[1] == pytest.approx(3.7 / 4.35)
    assert math.isnan(found.expected_dice[0])
    assert found.volume.tolist() == [6, 6]
    assert found.peak[1] == pytest.approx(0.95)
    assert [sizes.tolist() for sizes in found.component_sizes] == [[], [1, 1]]
    assert found.margin == pytest.approx((0.8 + 0.9) / 2)
    assert found.ambiguous == 0
    bits = [-(p * math.log2(p) + (1 - p) * math.log2(1 - p)) for p in (0.9, 0.4, 0.1, 0.95)]
    assert found.entropy == pytest.approx((bits[0] + bits[3]) / 2, rel=1e-5)
    assert found.border_entropy == pytest.approx(sum(bits) / 4, rel=1e-5)  # each pixel has another class beside it
    assert found.predicted.tolist() == [False, True]
    assert np.isnan(found.agreement).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 3))
def test_by_loops(seed: int, classes: int, parts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = (2 * torch.randn(3, classes, 4, 5, generator=generator)).softmax(1)
    found = reviewed(values, parts)
    p, mask = values.double().numpy(), values.argmax(1).numpy()
    entropies, edges, margins = [], [], []
    for s, i, j in np.ndindex(3, 4, 5):
        entropy = -sum(q * math.log(q) for q in p[s, :, i, j]) / math.log(classes)
        near = [(i + a, j + b) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)) if 0 <= i + a < 4 and 0 <= j + b < 5]
        if any(mask[s, i, j] != mask[s, a, b] for a, b in near):
            edges.append(entropy)
        if mask[s, i, j]:
            entropies.append(entropy)
            first, second = sorted(p[s, :, i, j])[-1:-3:-1]
            margins.append(first - second)
    pairs = [(found.entropy, entropies), (found.border_entropy, edges), (found.margin, margins)]
    for figure, wanted in [*pairs, (found.ambiguous, [one < AMBIGUOUS_MARGIN for one in margins])]:
        assert math.isnan(figure) if not wanted else figure == pytest.approx(np.mean(wanted), abs=1e-5)
    for index in range(1, classes):
        inside = mask == index
        wanted_dice = 2 * p[:, index][inside].sum() / (p[:, index].sum() + inside.sum()) if inside.any() else math.nan
        assert found.expected_dice[index] == pytest.approx(wanted_dice, rel=1e-5, nan_ok=True)
        assert found.peak[index] == pytest.approx(p[:, index].max())
        assert found.volume[index] == pytest.approx(3 * inside.sum())


def test_a_sure_prediction_is_trusted_and_an_empty_one_by_its_peak() -> None:
    sure = torch.zeros(1, 3, 4, 4)
    sure[:, 0], sure[:, 0, :2], sure[:, 2, :2] = 1, 0, 1
    found = reviewed(sure)
    assert (found.entropy, found.margin, found.ambiguous, trust(found)) == (0, 1, 0, 1)
    empty = torch.zeros(1, 3, 4, 4)
    empty[:, 0], empty[0, :, 1, 1] = 1, torch.tensor([0.6, 0.1, 0.3])
    found = reviewed(empty)
    assert trust(found) == pytest.approx(0.7)
    assert math.isnan(found.entropy) and math.isnan(found.margin) and math.isnan(found.ambiguous)
    assert math.isnan(found.border_entropy)


def of(expected: float, agreed: float, volume: float, sizes: list[int], peak: float = 0.9) -> Review:
    """A review of one foreground class, and of another that is not there."""
    nan = math.nan
    return Review(
        np.array([nan, expected, nan]), np.array([nan, agreed, nan]), np.array([1.0, peak, 0.2]),
        np.array([100.0, volume, 0.0]), (np.zeros(0), np.array(sizes), np.zeros(0)), 0.1, 0.2, 0.8, 0.05,
    )  # fmt: skip


@pytest.fixture
def ranges() -> LabelRanges:
    """Class 1 in every label, with volumes 20 to 40 in one part; class 2 in one of two."""
    masks = [np.zeros((9, 9), dtype=np.uint8) for _ in range(2)]
    masks[0][:4, :5], masks[1][:5, :8], masks[1][8, 8] = 1, 1, 2
    return ranges_of(masks)


def ranges_of(masks: list[np.ndarray]) -> LabelRanges:
    """Of masks with three classes and pixels of 1 mm2."""
    volumes = np.stack([np.bincount(mask.ravel(), minlength=3) for mask in masks])
    return label_ranges(volumes, np.stack([component_counts(mask, 3) for mask in masks]))


def test_trust_by_hand(ranges: LabelRanges) -> None:
    nan = math.nan
    assert trust(of(0.8, nan, 30, [30]), ranges) == pytest.approx(0.8)
    assert trust(of(0.8, 0.6, 30, [30]), ranges) == pytest.approx(0.6)
    assert trust(of(0.5, 0.6, 30, [30]), ranges) == pytest.approx(0.5)
    assert trust(of(0.8, nan, 10, [10]), ranges) == pytest.approx(0.4)
    assert trust(of(0.8, nan, 80, [80]), ranges) == pytest.approx(0.4)
    assert trust(of(0.8, nan, 30, [15, 15]), ranges) == pytest.approx(0.4)
    assert trust(of(0.8, nan, 10, [15, 15])) == pytest.approx(0.8)
    assert trust(of(nan, nan, 0, []), ranges) == 0  # every label has it
    assert trust(of(nan, nan, 0, [], peak=0.4)) == pytest.approx(0.6)
    # Members that disagree on a class that their mean does not show: it is not predicted.
    assert np.isnan(class_trust(of(nan, 0.3, 0, []))).all()


@settings(max_examples=100, deadline=None)
@given(*[st.floats(0.01, 1)] * 2, *[st.integers(1, 60)] * 3, st.floats(0, 1))
def test_trust_is_monotone(expected: float, agreed: float, size: int, stray: int, volume: int, more: float) -> None:
    masks = [np.zeros((9, 9), dtype=np.uint8) for _ in range(2)]
    masks[0][:4, :5], masks[1][:5, :8] = 1, 1
    ranges = ranges_of(masks)
    sizes = sorted([size, stray], reverse=True)
    found = trust(of(expected, agreed, volume, sizes), ranges)
    assert 0 <= found <= 1
    assert trust(of(expected + more * (1 - expected), agreed, volume, sizes), ranges) >= found
    assert trust(of(expected, agreed + more * (1 - agreed), volume, sizes), ranges) >= found
    assert trust(of(expected, agreed, volume, sizes[:1]), ranges) >= found
    assert trust(of(expected, agreed, volume, [*sizes, 1]), ranges) <= found
    nearer = volume + more * (30 - volume)
    assert trust(of(expected, agreed, nearer, sizes), ranges) >= found - 1e-12


def test_rows_rank_the_worst_first(ranges: LabelRanges) -> None:
    nan = math.nan
    reviews = [("b", of(0.9, nan, 30, [30])), ("c", of(0.3, nan, 10, [20, 10])), ("a", of(0.9, 0.95, 30, [30]))]
    rows = review_rows(reviews, ["background", "one", "two"], ranges)
    assert [row["case"] for row in rows] == ["c", "a", "b"]
    wanted: dict[str, Any] = {
        "trust": 0.1, "weakest": "one", "expected_dice": 0.3, "agreement": None, "plausibility": 0.3333,
        "entropy": 0.1, "border_entropy": 0.2, "margin": 0.8, "ambiguous": 0.05,
        "out_of_range": "one has 0.5 times the least volume; one lies in 2 parts, 1 at most in training",
        "trust_one": 0.1, "expected_dice_one": 0.3, "agreement_one": None, "components_one": 2, "volume_one": 10,
        "range_ratio_one": 0.5,
        "trust_two": None, "expected_dice_two": None, "components_two": 0, "volume_two": 0, "range_ratio_two": None,
    }  # fmt: skip
    assert {name: rows[0][name] for name in wanted} == wanted
    assert (rows[1]["out_of_range"], rows[1]["plausibility"], rows[1]["agreement"]) == (None, 1, 0.95)
    assert len({tuple(row) for row in rows}) == 1
    assert review_rows([], ["background", "one"]) == []


def test_rows_name_what_no_training_label_is_like(ranges: LabelRanges) -> None:
    def told(review: Review, known: LabelRanges | None = ranges) -> tuple[Any, ...]:
        (row,) = review_rows([("a", review)], ["background", "one", "two"], known)
        return row["out_of_range"], row["plausibility"], row["weakest"], row["range_ratio_one"]

    assert told(of(0.9, math.nan, 100, [100])) == ("one has 2.5 times the largest volume", 0.4, "one", 2.5)
    assert told(of(math.nan, math.nan, 0, [])) == ("one is missing", 0, "one", 0)
    assert told(of(math.nan, math.nan, 0, []), None) == ("unknown", None, None, None)
    never = ranges_of([np.full((2, 2), 2, dtype=np.uint8)])
    assert told(of(0.9, math.nan, 5, [5]), never)[:2] == ("one is in no training label; two is missing", 0.5)


def test_members_that_disagree_lower_the_trust() -> None:
    values = torch.zeros(1, 2, 4, 4)
    values[:, 0], values[:, 0, :2], values[:, 1, :2] = 1, 0, 1
    alike = np.array([[[8, 8], [8, 8]], [[8, 8], [8, 8]]])
    apart = np.array([[[8, 8], [8, 8]], [[8, 2], [2, 8]]])
    assert trust(reviewed(values, shared=alike)) == 1
    assert trust(reviewed(values, shared=apart)) == pytest.approx(0.25)
    assert dataclasses.is_dataclass(Review)
