"""Sheets that plots are drawn on: a title that always fits, a body measured in inches, notes underneath.

Matplotlib is used through its objects and the Agg canvas; pyplot, with its list of open figures, is left alone. Places
are counted in inches rather than left to an automatic layout, so that no text can end up on another.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from pipeline.reporting import colours
from pipeline.reporting.content import PHANTOM

__all__ = ["DPI", "MARGIN", "NIGHT", "Sheet", "fitted", "in_house_style", "new_sheet", "png", "svg", "text_width",
           "webp"]  # fmt: skip

DPI = 130
_INCH = 72.0  # points
MARGIN = 0.14  # inches
_LEADING = 1.4
_TITLE, _SUBTITLE, _NOTE = 11.0, 9.0, 8.0  # points
NIGHT = {"paper": "#101316", "ink": "#eef1f4", "muted": "#a9b2bc", "warning": "#ff9a63"}
_DAY = {"paper": colours.PAPER, "ink": colours.INK, "muted": colours.MUTED, "warning": colours.WARNING}
_STYLE = {
    "font.size": 9.0,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so plots look alike everywhere
    "text.parse_math": False,  # a class may be called "$x$"
    "text.color": colours.INK,
    "axes.edgecolor": colours.MUTED,
    "axes.labelcolor": colours.INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": colours.GRID,
    "xtick.color": colours.MUTED,
    "ytick.color": colours.MUTED,
    "xtick.labelcolor": colours.INK,
    "ytick.labelcolor": colours.INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "legend.handlelength": 2.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "slicewise",
}
_P = ParamSpec("_P")


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.style.context(["default", _STYLE]):
        yield


def in_house_style(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw with this house's settings instead of those that the user keeps for matplotlib."""

    @functools.wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return drawn


@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure with its title and notes in place.

    Parameters
    ----------
    figure
        To draw on.
    size
        Width and height in inches.
    top
        How far below the upper edge the body begins, in inches.
    """

    figure: Figure
    size: tuple[float, float]
    top: float

    def axes(self, left: float, down: float, width: float, height: float) -> Axes:
        """Add axes; `left` counts from the sheet's left edge, `down` from the top of the body, all in inches."""
        wide, high = self.size
        return self.figure.add_axes((left / wide, 1 - (self.top + down + height) / high, width / wide, height / high))


def new_sheet(
    width: float,
    body: float,
    *,
    title: str,
    subtitles: Sequence[str] = (),
    notes: Sequence[str] = (),
    synthetic: bool,
    night: bool = False,
) -> Sheet:
    """Make a figure whose height follows from what it says.

    Parameters
    ----------
    width, body
        Width of the sheet and height of its body, in inches.
    title
        One line; its middle goes where it is too long.
    subtitles, notes
        Lines above and below the body, broken where they are too long.
    synthetic
        Whether the title begins with `PHANTOM`.
    night
        Light on dark, as images are looked at.
    """
    shades, room = NIGHT if night else _DAY, width - 2 * MARGIN
    above = [(line, 9.0, "bold", shades["warning"]) for line in _wrapped(PHANTOM, room, 9.0, "bold") if synthetic]
    above += [(fitted(title, room, _TITLE, "bold"), _TITLE, "bold", shades["ink"])]
    muted = shades["muted"]
    above += [(line, _SUBTITLE, "normal", muted) for one in subtitles for line in _wrapped(one, room, _SUBTITLE)]
    below = [(line, _NOTE, "normal", muted) for one in notes for line in _wrapped(one, room, _NOTE)]
    top = 2 * MARGIN + _height(above)
    height = top + body + MARGIN + (_height(below) + MARGIN if below else 0.0)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=shades["paper"])
    FigureCanvasAgg(figure)
    _write(figure, above, MARGIN)
    _write(figure, below, top + body + MARGIN)
    return Sheet(figure, (width, height), top)


_Line = tuple[str, float, str, str]  # text, points, weight, colour


def _height(lines: Sequence[_Line]) -> float:
    return sum(size * _LEADING / _INCH for _, size, _, _ in lines)


def _write(figure: Figure, lines: Sequence[_Line], down: float) -> None:
    """Put lines at the left edge, the first `down` inches below the top."""
    width, height = figure.get_size_inches()
    for text, size, weight, colour in lines:
        down += size * _LEADING / _INCH
        base = down - 0.35 * size / _INCH
        figure.text(MARGIN / width, 1 - base / height, text, size=size, weight=weight, color=colour, va="baseline")


@functools.cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line in inches, at a size in points."""
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / _INCH


def fitted(text: str, room: float, size: float, weight: str = "normal") -> str:
    """Take out as much of the middle as it takes to fit into `room` inches."""
    text = " ".join(text.split())
    if text_width(text, size, weight) <= room:
        return text
    for length in range(len(text) - 1, 1, -1):
        tail = length // 2
        short = f"{text[: length - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"
        if text_width(short, size, weight) <= room:
            return short
    return "…"


def _wrapped(text: str, room: float, size: float, weight: str = "normal") -> list[str]:
    """Break a text into lines of at most `room` inches."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= room:
            lines[-1] = longer
        else:
            lines.append(fitted(word, room, size, weight))
    return lines


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Draw a figure as PNG."""
    with _style():
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return content.getvalue()


def webp(figure: Figure, dpi: int, quality: int) -> bytes:
    """Draw a figure as WebP, for a page; of a quality from 1 to 100."""
    with _style():
        content = io.BytesIO()
        figure.savefig(content, format="webp", dpi=dpi, pil_kwargs={"quality": quality, "method": 6})
    return content.getvalue()


def svg(figure: Figure) -> str:
    """Draw a figure as an SVG element without a background, for a page; letters are shapes, so it needs no font."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _style():
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata=nothing)
    text = content.getvalue()
    return text[text.index("<svg") :]
