"""A case through its chain as a picture: one panel a step, the outlines of the label on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.reporting import colours
from pipeline.reporting.overlays import draw_outline, window
from pipeline.reporting.sheets import MARGIN, NIGHT, fitted, in_house_style, new_sheet
from pipeline.reporting.wording import legend_label

__all__ = ["TracePanel", "trace_figure"]

_WIDEST, _NARROWEST, _TALLEST, _LEAST, _HEADING = 2.5, 1.65, 3.2, 0.9, 0.4  # inches, of a panel
_SHEET, _LEGEND_LINE = 12.8, 0.24


@dataclass(frozen=True, eq=False)
class TracePanel:
    """One slice after a step.

    Attributes
    ----------
    title, caption
        The step, and what is to be said of it.
    image
        (H, W).
    label
        (H, W) class indices.
    """

    title: str
    caption: str
    image: np.ndarray
    label: np.ndarray


@in_house_style
def trace_figure(title: str, panels: Sequence[TracePanel], classes: Sequence[str], *, synthetic: bool) -> Figure:
    """Draw the panels in rows, each in its own size's proportions.

    Parameters
    ----------
    title
        Of the sheet: the case and its slice.
    panels
        At least one.
    classes
        K names, the background first.
    synthetic
        Whether the title says that the data are a phantom.
    """
    ratios = [one.image.shape[1] / one.image.shape[0] for one in panels]  # width over height
    panel_width = max(_NARROWEST, min(_WIDEST, _TALLEST * max(ratios)))
    height = max(_LEAST, min(_TALLEST, panel_width / min(ratios)))
    rows = -(-len(panels) // int(_SHEET / (panel_width + MARGIN)))
    columns = -(-len(panels) // rows)  # rows as even as can be
    shown = sorted({int(value) for one in panels for value in np.unique(one.label)} - {0})
    body = rows * (_HEADING + height + MARGIN) + _LEGEND_LINE * -(-len(shown) // columns)
    width = columns * panel_width + (columns + 1) * MARGIN
    sheet = new_sheet(width, body, title=title, synthetic=synthetic, night=True)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        left = MARGIN + column * (panel_width + MARGIN)
        axes = sheet.axes(left, row * (_HEADING + height + MARGIN) + _HEADING, panel_width, height)
        _draw(axes, panel, len(classes), panel_width)
    handles = [
        Line2D([], [], color=colours.class_colour(one), linewidth=2.4, label=legend_label(classes[one], 26))
        for one in shown if one < len(classes)
    ]  # fmt: skip
    if handles:
        down = 1 - (sheet.top + rows * (_HEADING + height + MARGIN)) / sheet.size[1]
        sheet.figure.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, down), ncols=columns, fontsize=8,
            labelcolor=NIGHT["ink"], handlelength=1.8, borderpad=0, borderaxespad=0,
        )  # fmt: skip
    return sheet.figure


def _draw(axes: Any, panel: TracePanel, n_classes: int, width: float) -> None:
    low, high = window(panel.image)
    axes.imshow(panel.image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    for class_id in range(1, n_classes):
        draw_outline(axes, panel.label == class_id, colours.class_colour(class_id), "reference")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, panel.image.shape[1] - 0.5), ylim=(panel.image.shape[0] - 0.5, -0.5))
    for spine in axes.spines.values():
        spine.set(visible=True, color="#3a4148", linewidth=0.6)
    lines = [fitted(text, width, 8.0) for text in (panel.title, panel.caption)]
    axes.set_title("\n".join(lines), size=8, color=NIGHT["ink"], pad=4)
