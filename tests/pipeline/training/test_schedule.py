"""The learning rate along the training, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.schedule import Clock, rate_factor

SCHEDULES = ["cosine", "polynomial", "constant"]


def test_a_clock_goes_on_from_what_was_spent() -> None:
    clock = Clock()
    before = clock.seconds
    clock.start(100.0)
    assert 0 <= before < 100 <= clock.seconds < 160


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("cosine", 0.55, 0.5),  # half of the way from 0.1 to 1
        ("cosine", 0.1 + 0.9 / 3, 0.75),  # (1 + cos 60 degrees) / 2
        ("cosine", 1.0, 0.0),
        ("polynomial", 0.55, 0.5**0.9),
        ("polynomial", 1.0, 0.0),
        ("constant", 0.55, 1.0),
        ("constant", 1.0, 1.0),
        *[(schedule, 0.0, 0.01) for schedule in SCHEDULES],
        *[(schedule, 0.05, 0.505) for schedule in SCHEDULES],
        *[(schedule, 0.1, 1.0) for schedule in SCHEDULES],
    ],
)
def test_the_rate_by_hand(schedule: str, progress: float, expected: float) -> None:
    assert rate_factor(progress, schedule, 0.1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_the_rate_rises_and_then_falls(schedule: str, warmup: float) -> None:
    points = np.linspace(0, 1.2, 241)  # a budget of time may be overrun by a step
    rates = [rate_factor(point, schedule, warmup) for point in points]
    assert all(0 <= rate <= 1 for rate in rates)
    steps = np.diff(rates)
    rising = points[1:] <= warmup
    assert (steps[rising] > 0).all()
    after = steps[points[:-1] >= warmup]
    assert (after <= 0).all()
    if warmup == 0:
        assert rates[0] == 1
