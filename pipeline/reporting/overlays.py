"""Images with masks: contours of both masks on the image, and the agreement of one class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from pipeline.reporting import colours
from pipeline.reporting.content import Example
from pipeline.reporting.orientation import Hanging, hang
from pipeline.reporting.sheets import MARGIN, NIGHT, Sheet, fitted, in_house_style, new_sheet, text_width
from pipeline.reporting.wording import count, legend_label, plural, rate, shortened

__all__ = ["agreement", "mask_figure", "overlay_figure", "window"]

_HEADING, _CAPTION, _LINE = 0.2, 0.34, 0.18  # inches: above a panel one line or two, a row of a legend
_MASK, _OVERLAY = (2.9, 3.2), (4.3, 3.8)  # inches that a picture may take: width, height
_LEAST = 1.1  # inches that a panel is wide at least
_NARROWEST_SHEET = 3.2
_PERCENTILES = (0.5, 99.5)
_PER_ROW = 2
_HALO = withStroke(linewidth=1.9, foreground="#000000", alpha=0.5)
_STYLES: dict[str, Any] = {"reference": "solid", "prediction": (0, (2.2, 1.4))}


@in_house_style
def mask_figure(example: Example, classes: Sequence[str], class_id: int, *, synthetic: bool) -> Figure:
    """Show one class of one slice: the image, the reference mask, and the predicted mask with its agreement.

    Parameters
    ----------
    example
        The slice.
    classes
        K class names.
    class_id
        0 to K - 1.
    synthetic
        Whether the title says that the data are a phantom.
    """
    parts = agreement(example.reference == class_id, example.prediction == class_id)
    hanging = hang(example)
    width, height = _panel_size([example], _MASK)
    sheet_width = max(5.4, 3 * width + 4 * MARGIN)
    sheet = new_sheet(
        sheet_width, _HEADING + height + MARGIN + _LINE, synthetic=synthetic, night=True,
        title=f"{shortened(classes[class_id], 40)} (channel {class_id})",
        subtitles=[f"{_place(example)} · {_score(example, classes[class_id], parts)}"],
    )  # fmt: skip
    in_reference = np.where((parts == 1) | (parts == 2), 1, 0)
    pictures = {"image": example.image, "reference mask": _painted(in_reference), "predicted mask": _painted(parts)}
    low, high = window(example.image)
    gap = (sheet_width - 3 * width) / 4
    for index, (name, picture) in enumerate(pictures.items()):
        axes = _panel(sheet, gap + index * (width + gap), _HEADING, (width, height))
        axes.set_title(name, size=9, color=NIGHT["ink"], pad=4)
        axes.imshow(hanging(picture), cmap="gray", vmin=low, vmax=high, aspect=hanging.aspect, interpolation="nearest")
        _mark_edges(axes, hanging)
    handles: list[Artist] = [
        Patch(facecolor=colours.AGREEMENT[part], label=f"{part} ({meaning}): {count((parts == code).sum())} px")
        for code, (part, meaning) in enumerate(_MEANINGS.items(), start=1)
    ]
    _legend(sheet, handles, _HEADING + height + MARGIN, _columns(handles, sheet_width))
    return sheet.figure


_MEANINGS = {"both": "true positive", "missed": "reference only", "spurious": "prediction only"}


def agreement(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Compare two masks pixel by pixel: 0 in neither, 1 in both, 2 missed (reference only), 3 spurious.

    Parameters
    ----------
    reference, prediction
        Boolean, one shape.

    Examples
    --------
    >>> agreement(np.array([False, True, True, False]), np.array([False, True, False, True])).tolist()
    [0, 1, 2, 3]
    """
    return np.select([reference & prediction, reference, prediction], [1, 2, 3], default=0).astype(np.uint8)


def window(image: np.ndarray) -> tuple[float, float]:
    """Intensities that are shown black and white: the 0.5 and the 99.5 percentile of those that are finite."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(bound) for bound in np.percentile(finite, _PERCENTILES))
    if high <= low:  # nearly all of one value: show what sticks out
        low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + 1.0


@in_house_style
def overlay_figure(
    examples: Sequence[Example], captions: Sequence[str], classes: Sequence[str], *, title: str, synthetic: bool
) -> Figure:
    """Show slices with the outlines of both masks: solid the reference, dashed the prediction.

    Parameters
    ----------
    examples, captions
        At least one; a caption says why its slice was chosen, such as "worst".
    classes
        K class names.
    title
        Of the sheet.
    synthetic
        Whether the title says that the data are a phantom.
    """
    columns = min(_PER_ROW, len(examples))
    rows = math.ceil(len(examples) / columns)
    (width, height), heading = _panel_size(examples, _OVERLAY), _CAPTION if any(captions) else _HEADING
    sheet_width = max(_NARROWEST_SHEET, columns * width + (columns + 1) * MARGIN)
    handles = _outline_handles(examples, classes)
    legend_columns = _columns(handles, sheet_width)
    legend = math.ceil(len(handles) / legend_columns) * _LINE
    body = rows * (heading + height + MARGIN)
    sheet = new_sheet(sheet_width, body + legend, title=title, synthetic=synthetic, night=True)
    gap = (sheet_width - columns * width) / (columns + 1)
    for index, (example, caption) in enumerate(zip(examples, captions, strict=True)):
        row, column = divmod(index, columns)
        place = (gap + column * (width + gap), row * (heading + height + MARGIN) + heading)
        axes = _panel(sheet, *place, (width, height))
        lines = [fitted(text, width + gap - 0.05, 8.0) for text in (caption, _place(example)) if text]
        axes.set_title("\n".join(lines), size=8, color=NIGHT["ink"], pad=4)
        _draw_outlines(axes, example, len(classes))
    _legend(sheet, handles, body, legend_columns)
    return sheet.figure


def _draw_outlines(axes: Axes, example: Example, n_classes: int) -> None:
    """Draw the image and the outlines of every class but the background; later classes lie on top."""
    hanging = hang(example)
    low, high = window(example.image)
    image = hanging(example.image)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=hanging.aspect, interpolation="nearest")
    for class_id in range(1, n_classes):
        colour = colours.class_colour(class_id)
        draw_outline(axes, hanging(example.reference == class_id), colour, "reference")
        paler = colours.mixed(colour, "#ffffff", 0.3)  # to be told apart where both run along each other
        draw_outline(axes, hanging(example.prediction == class_id), paler, "prediction")
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    _mark_edges(axes, hanging)


def draw_outline(axes: Axes, mask: np.ndarray, colour: str, role: str) -> None:
    if mask.any():
        inside = np.pad(mask.astype(float), 1)  # so that outlines close at the image's edge
        rows, columns = (np.arange(-1, length + 1) for length in mask.shape)
        lines = axes.contour(columns, rows, inside, [0.5], colors=colour, linewidths=1.0, linestyles=[_STYLES[role]])
        lines.set_path_effects([_HALO])


def _outline_handles(examples: Sequence[Example], classes: Sequence[str]) -> list[Artist]:
    """Give the legend's entries: the classes that some mask shows, then what the lines mean."""
    shown = {class_id for one in examples for class_id in np.union1d(one.reference, one.prediction).tolist()}
    handles: list[Artist] = [
        Line2D([], [], color=colours.class_colour(class_id), linewidth=2.4, label=legend_label(classes[class_id], 26))
        for class_id in sorted(shown - {0})
    ]
    for name, style in _STYLES.items():
        handles.append(Line2D([], [], color=NIGHT["ink"], linewidth=1.4, linestyle=style, label=name))
    return handles


def _place(example: Example) -> str:
    """Say which slice it is."""
    return shortened(example.case, 48) + ("" if example.slice is None else f", slice {example.slice}")


def _score(example: Example, name: str, parts: np.ndarray) -> str:
    """Say how well a class was found in this slice."""
    spurious = int((parts == 3).sum())
    if ((parts == 1) | (parts == 2)).any():
        return f"Dice of this slice {rate(example.dice[name])}"
    predicted = f", {plural(spurious, 'pixel')} predicted" if spurious else " and in the prediction"
    return f"absent in the reference{predicted}"


def _painted(parts: np.ndarray) -> np.ndarray:
    """Colour the codes of `agreement`: uint8 RGB, shape (H, W, 3)."""
    palette = [bytes(3), *(bytes.fromhex(colour[1:]) for colour in colours.AGREEMENT.values())]
    return np.array([list(colour) for colour in palette], dtype=np.uint8)[parts]


def _panel_size(examples: Sequence[Example], most: tuple[float, float]) -> tuple[float, float]:
    """Width and height in inches that hold each of the pictures at its largest."""
    ratios = [hang(one).ratio(one.image.shape) for one in examples]
    widths = [min(most[0], most[1] * ratio) for ratio in ratios]
    heights = [width / ratio for width, ratio in zip(widths, ratios, strict=True)]
    return max(_LEAST, *widths), max(_LEAST / 2, *heights)


def _panel(sheet: Sheet, left: float, down: float, size: tuple[float, float]) -> Axes:
    axes = sheet.axes(left, down, *size)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#3a4148", linewidth=0.6)
    return axes


def _mark_edges(axes: Axes, hanging: Hanging) -> None:
    """Write at each edge of a picture what lies there."""
    places = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"),
              (0.5, 0.97, "center", "top"), (0.5, 0.03, "center", "bottom"))  # fmt: skip
    for letter, (x, y, horizontal, vertical) in zip(hanging.letters or (), places, strict=bool(hanging.letters)):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=horizontal, va=vertical, size=7.5, weight="bold",
            color="#ffe27a", path_effects=[withStroke(linewidth=1.6, foreground="#000000")],
        )  # fmt: skip


def _columns(handles: Sequence[Artist], room: float) -> int:
    """How many columns of a legend fit into so many inches."""
    widest = max(text_width(str(handle.get_label()), 8.0) for handle in handles) + 0.5
    return max(1, min(len(handles), int((room - MARGIN) / widest)))


def _legend(sheet: Sheet, handles: Sequence[Artist], down: float, columns: int) -> None:
    """Put a legend into the body, `down` inches below its top."""
    sheet.figure.legend(
        handles=list(handles), loc="upper center", bbox_to_anchor=(0.5, 1 - (sheet.top + down) / sheet.size[1]),
        ncols=columns, fontsize=8, labelcolor=NIGHT["ink"], handlelength=1.8, columnspacing=1.4,
        borderpad=0, borderaxespad=0, labelspacing=0.5,
    )  # fmt: skip
