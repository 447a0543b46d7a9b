"""The little JavaScript of the report, what lets the page run it and nothing else, and what it works on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps

from pipeline.reporting.colours import class_colour, mixed
from pipeline.reporting.stack import Gallery, Stack

__all__ = ["digest", "scripts", "stacks_json"]

_SCRIPTS = ("tables.js", "viewer.js")
_PALER = 0.3  # share of white in the colour of a prediction's outline, to be told apart from the reference's


def scripts(environment: jinja2.Environment) -> list[str]:
    """The scripts of the report, as they stand beside its template."""
    assert environment.loader is not None
    return [environment.loader.get_source(environment, name)[0] for name in _SCRIPTS]


def digest(script: str) -> str:
    """What a page's content security policy knows a script by, so that no other one is run in it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"


def stacks_json(gallery: Gallery, classes: Sequence[str]) -> str:
    """The slices that can be leafed through, as JSON that may stand in a script element whatever the names are.

    Parameters
    ----------
    gallery
        Of the report.
    classes
        K names, the background first.

    Returns
    -------
    str
        An object of "classes"; "colours" and "paler", one a class, for the outlines of reference and prediction; and
        "stacks", with the attributes of `Stack`: Dice in thousandths, image and masks in base64.
    """
    hues = [class_colour(class_id) for class_id in range(len(classes))]
    told = {"classes": list(classes), "colours": hues, "paler": [mixed(hue, "#ffffff", _PALER) for hue in hues]}
    stacks = [_plain(stack) for stack in gallery.stacks]
    return str(htmlsafe_json_dumps({**told, "stacks": stacks}, separators=(",", ":")))


def _plain(stack: Stack) -> dict[str, Any]:
    return {
        "name": stack.name, "rows": stack.tile[0], "wide": stack.tile[1], "columns": stack.columns,
        "factor": stack.factor, "aspect": stack.aspect, "letters": stack.letters, "first": stack.first,
        "slices": [
            (case, number, [None if one is None else round(1000 * one) for one in dice])
            for case, number, dice in zip(stack.cases, stack.numbers, stack.dice, strict=True)
        ],
        "image": base64.b64encode(stack.image).decode("ascii"),
        "masks": base64.b64encode(stack.masks).decode("ascii"),
    }  # fmt: skip
