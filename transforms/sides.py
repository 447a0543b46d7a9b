"""Left and right: classes that only their side tells apart, and transforms that make mirror images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
# Left and right chambers of the heart differ in form: a mirror image of one is not taken for the other.
_CHAMBERS = frozenset({"ventricle", "ventricles", "ventricular", "atrium", "atria", "atrial"})
# The parameter that names the axes of a mirror.
_MIRRORED = {
    "Flipd": "spatial_axis",
    "RandAffineBatchd": "flip",
    "RandFlipBatchd": "axes",
    "RandFlipd": "spatial_axis",
}


def _tokens(name: str) -> list[str]:
    return [token.lower() for token in _TOKEN.findall(name)]


def side_pairs(classes: Sequence[str]) -> list[tuple[str, str]]:
    """The classes that are alike but for their side, each as (left, right).

    >>> side_pairs(["background", "kidney_left", "kidney_right", "liver", "Hippocampus-L", "R hippocampus"])
    [('kidney_left', 'kidney_right'), ('Hippocampus-L', 'R hippocampus')]
    >>> side_pairs(["left ventricle", "right ventricle", "left lung", "vertebra L1", "vertebra L2"])
    []
    """
    of_side: dict[str, dict[tuple[str, ...], str]] = {"left": {}, "right": {}}
    for name in classes:
        tokens = _tokens(name)
        sides = {_SIDES[token] for token in tokens if token in _SIDES}
        if len(sides) == 1 and not _is_chamber(tokens):
            of_side[sides.pop()][tuple(sorted(token for token in tokens if token not in _SIDES))] = name
    return [(name, of_side["right"][rest]) for rest, name in of_side["left"].items() if rest in of_side["right"]]


def sided(name: str) -> bool:
    """Whether a class is named by a side, in full.

    >>> [sided(name) for name in ("left lung", "LeftLung", "lung_r", "upright")]
    [True, True, False, False]
    """
    return not {"left", "right"}.isdisjoint(_tokens(name))


def told_by_side(classes: Sequence[str]) -> list[str]:
    """The classes of a pair, and those that are named by a side without their other half.

    >>> told_by_side(["kidney_l", "kidney_r", "left lung", "left ventricle", "liver"])
    ['kidney_l', 'kidney_r', 'left lung']
    """
    paired = {name for pair in side_pairs(classes) for name in pair}
    return [name for name in classes if name in paired or (sided(name) and not _is_chamber(_tokens(name)))]


def _is_chamber(tokens: Sequence[str]) -> bool:
    return not _CHAMBERS.isdisjoint(tokens) and "lateral" not in tokens  # the brain's lateral ventricles are alike


def mirrored_axes(name: str, entry: Mapping[str, Any]) -> frozenset[int]:
    """The axes of a slice (0: rows, 1: columns) along which a transform may make a mirror image.

    Turned images are none: upside down as well, a left kidney is still told from a right one. A flip along both axes at
    once is such a turn.
    """
    prob = entry.get("prob")
    if prob == 0:
        return frozenset()
    if name == "RandAxisFlipd":
        return frozenset({0, 1})
    given = entry.get(_MIRRORED.get(name, ""))
    listed = given if isinstance(given, (list, tuple)) else [given]
    each = prob if isinstance(prob, (list, tuple)) and len(prob) == len(listed) else [prob] * len(listed)
    drawn = [axis for axis, share in zip(listed, each, strict=True) if share != 0]
    axes = frozenset(axis % 2 for axis in drawn if isinstance(axis, int) and not isinstance(axis, bool))
    return axes if draws_each_axis(name) or len(axes) == 1 else frozenset()


def draws_each_axis(name: str) -> bool:
    """Whether a transform draws each of its mirror axes by itself, so that it mirrors along both at once, too."""
    return name in ("RandAffineBatchd", "RandFlipBatchd")
