"""The picture of a case's way through its chain."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.reporting.sheets import DPI, png
from pipeline.reporting.trace_sheet import TracePanel, trace_figure

CLASSES = ("background", "bone", "rectum")


def panel(name: str, rows: int, columns: int, label: int = 1) -> TracePanel:
    image = np.linspace(0, 1, rows * columns).reshape(rows, columns)
    mask = np.zeros((rows, columns), dtype=np.uint8)
    mask[rows // 4 : rows // 2, columns // 4 : columns // 2] = label
    return TracePanel(name, f"{rows} x {columns}", image, mask)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_one_panel_a_step(count: int) -> None:
    panels = [panel(f"{number} Step", 32, 24 + number) for number in range(count)]
    figure = trace_figure("case_1, slice 3", panels, CLASSES, synthetic=True)
    assert len(figure.axes) == count
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == [one.title for one in panels]
    picture = imread(BytesIO(png(figure)))
    wide, high = figure.get_size_inches()
    assert picture.shape[:2] == (round(high * DPI), round(wide * DPI)) or abs(picture.shape[1] - wide * DPI) <= 1
    texts = " ".join(text.get_text() for text in figure.texts)
    assert "case_1, slice 3" in texts and "PHANTOM" in texts


def test_only_classes_that_are_seen_are_named() -> None:
    figure = trace_figure("a", [panel("1 x", 8, 8, 2)], CLASSES, synthetic=False)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["rectum"]
    assert not trace_figure("a", [panel("1 x", 8, 8, 0)], CLASSES, synthetic=False).legends


def test_outlines_follow_the_label_and_the_picture_its_size() -> None:
    figure = trace_figure("a", [panel("1 x", 16, 8), panel("2 y", 32, 16)], CLASSES, synthetic=False)
    for axes, (rows, columns) in zip(figure.axes, [(16, 8), (32, 16)], strict=True):
        assert axes.images[0].get_array().shape == (rows, columns)  # type: ignore[union-attr]
        assert len(axes.collections) == 1, "one class, one outline"
