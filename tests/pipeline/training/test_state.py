"""What is told of where a training is."""

from __future__ import annotations

import pytest

from pipeline.training.state import TrainingState, learning_caution


@pytest.mark.parametrize(
    ("dice", "best", "told"),
    [
        ([0.3, 0.2, 0.1], 1, "highest at the first of 3 validations (0.300), after 1 of 3 epochs"),
        ([0.3, 0.4, 0.1], 2, ""),
        ([0.3, 0.2], 1, ""),
        ([None, 0.3, None, 0.2, None, 0.1], 2, "highest at the first of 3 validations (0.300), after 2 of 6 epochs"),
    ],
)
def test_a_training_that_grew_no_better_is_told(dice: list[float | None], best: int, told: str) -> None:
    rows = [{"epoch": number} | ({} if value is None else {"validation_dice": value})
            for number, value in enumerate(dice, 1)]  # fmt: skip
    said = learning_caution(TrainingState(epoch=len(dice), best_epoch=best, best_mean=0.3, history=rows))
    assert told in said and bool(told) == bool(said)
