"""The dots of the patients are their scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle

from pipeline.reporting.content import ReportContent
from pipeline.reporting.distributions import distribution_figure, patient_scores

Make = Callable[..., ReportContent]


def dots(axes: Axes) -> list[np.ndarray]:
    """Places (N, 2) of the dots, class by class."""
    return [np.asarray(one.get_offsets()) for one in axes.collections if isinstance(one, PathCollection)]


def _bars(axes: Axes) -> list[Rectangle]:
    return [one for one in axes.patches if isinstance(one, Rectangle)]


def test_every_patient_is_a_dot_at_the_dice(make_content: Make) -> None:
    content = make_content(n_patients=7)
    (axes,) = distribution_figure(content).axes
    for place, (name, found) in enumerate(zip(("bone", "rectum"), dots(axes), strict=True)):
        expected = sorted(row["dice"] for row in content.patients if row["class"] == name)
        np.testing.assert_allclose(found[:, 0], expected)
        assert (abs(found[:, 1] - place) < 0.35).all()
        (box,) = [bar for bar in _bars(axes) if bar.get_y() < place < bar.get_y() + bar.get_height()]
        low, high = np.quantile(expected, [0.25, 0.75])
        assert box.get_x() == pytest.approx(low) and box.get_width() == pytest.approx(high - low)
    lowest = min(value for values in patient_scores(content).values() for value in values)
    assert axes.get_xlim()[0] <= lowest < axes.get_xlim()[0] + 0.1
    assert axes.get_xlim()[1] == 1.0
    assert [text.get_text() for text in axes.texts] == ["n 7", "n 7"]


def test_a_class_that_nobody_shows_says_so(make_content: Make) -> None:
    content = make_content(n_patients=1)
    for row in content.patients:
        if row["class"] == "rectum":
            row["dice"] = None
    (axes,) = distribution_figure(content).axes
    assert [text.get_text() for text in axes.texts] == ["in no reference", "n 1", "n 0"]
    assert [len(one) for one in dots(axes)] == [1]


def test_nobody_shows_any_class(make_content: Make) -> None:
    content = make_content(n_patients=1)
    for row in content.patients:
        row["dice"] = None
    assert distribution_figure(content).axes[0].get_xlim() == (0.0, 1.0)
