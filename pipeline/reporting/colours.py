"""Colours that hold for colour-blind readers: of classes, of the levels of a score, and of agreement.

The hues are near those of Okabe and Ito, "Color Universal Design" (2008), a little shifted so that each can be seen on
white paper and on a dark image.
"""

from __future__ import annotations

__all__ = ["AGREEMENT", "BACKGROUND", "GRID", "INK", "LEVELS", "MUTED", "MUTED_LEVELS", "PAPER", "WARNING",
           "class_colour", "class_linestyle", "mixed"]  # fmt: skip

INK, PAPER, MUTED, GRID, WARNING = "#1f2328", "#ffffff", "#5d6670", "#d5dbe1", "#b93815"
BACKGROUND = "#8a9099"
LEVELS = {"slice": "#a6cee8", "scan": "#4f9bd1", "patient": "#1f689f"}
MUTED_LEVELS = {"slice": "#d5d9dd", "scan": "#b4bac1", "patient": "#949ba4"}
AGREEMENT = {"both": "#f4f4f2", "missed": "#f0862b", "spurious": "#3ea2ea"}  # on black; light, warm and cold

_HUES = ("#4aa8e0", "#e69f00", "#009e73", "#d9541e", "#cc6fa6", "#2f6fc4", "#b5a300")
_TINTS = (("#000000", 0.0), ("#ffffff", 0.45), ("#000000", 0.4))  # what each further cycle is mixed with
_LINESTYLES = ("solid", "dashed", "dashdot", "dotted")


def class_colour(class_id: int) -> str:
    """Colour of a class as "#rrggbb", the same in every plot; it repeats after 21 classes, with another line style.

    >>> class_colour(0), class_colour(1), class_colour(8)
    ('#8a9099', '#4aa8e0', '#9bcfee')
    """
    if class_id == 0:
        return BACKGROUND
    cycle, hue = divmod(class_id - 1, len(_HUES))
    return mixed(_HUES[hue], *_TINTS[cycle % len(_TINTS)])


def class_linestyle(class_id: int) -> str:
    """Line style of a class in curves; classes that share a hue nearby differ in it.

    >>> class_linestyle(1), class_linestyle(8)
    ('solid', 'dashed')
    """
    return _LINESTYLES[max(0, class_id - 1) // len(_HUES) % len(_LINESTYLES)]


def mixed(colour: str, other: str, share: float) -> str:
    """Mix two "#rrggbb" colours; `share` of the other, 0 to 1.

    >>> mixed("#000000", "#ffffff", 0.5)
    '#808080'
    """
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{int(one + (two - one) * share + 0.5):02x}" for one, two in pairs)
