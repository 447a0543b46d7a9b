"""What augmentation sample by sample cost: the mean over the epochs, and nothing where there is none of it."""

from __future__ import annotations

from typing import Any

from pipeline.training.augment_cost import per_sample_cost, sample_by_sample

FLIP, BLUR = {"_target_": "monai.transforms.RandFlipd"}, {"_target_": "RandBlurBatchd"}


def test_the_mean_over_the_epochs() -> None:
    history: list[dict[str, Any]] = [{"epoch": 1, "per_sample_share": 0.1}, {"epoch": 2, "per_sample_share": 0.4}]
    assert sample_by_sample([BLUR, FLIP, BLUR]) == ["RandFlipd"]
    assert per_sample_cost([BLUR, FLIP], history) == (
        "RandFlipd works sample by sample, which takes 25% of the training; RandFlipBatchd takes a whole batch"
    )


def test_nothing_to_tell() -> None:
    assert per_sample_cost([BLUR], [{"augment_share": 0.1}]) is None
    assert per_sample_cost([], []) is None
    assert per_sample_cost([FLIP], [{"epoch": 1}]) is None, "a run of before it was measured"
