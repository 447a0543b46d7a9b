"""``--vary KEY=V1,V2``: the values that a grid of runs goes through, and the names of its cells."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from pipeline.config.yaml_source import parse_yaml, resolve_scalar
from pipeline.errors import ConfigError, raise_all

__all__ = ["Axis", "Cell", "SEED", "axes_of", "cells_of", "split_values", "variant_name"]

SEED = "seed"
MOST_CELLS = 1000
_CLOSING = {"[": "]", "{": "}"}
_OPENS_QUOTE = frozenset("[{,:")  # what a quoted text stands after; elsewhere an apostrophe is one
_LONGEST_LABEL, _LONGEST_NAME = 40, 150
_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Axis:
    """A key and the values that it goes through.

    Attributes
    ----------
    key
        As ``--set`` takes it.
    values
        As they were written, read as in ``--set``.
    labels
        What each value is called in the name of a cell.
    """

    key: str
    values: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes
    ----------
    name
        Of its folder, such as ``transforms=pad,seed=1``.
    variant
        Its name without the seed: cells that differ in nothing else are of one variant.
    choices
        Each varied key with its value.
    overrides
        What ``--set`` is given: what all cells share, then the choices.
    """

    name: str
    variant: str
    choices: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...]

    def value(self, key: str) -> str:
        """The value of a varied key."""
        return dict(self.choices)[key]


def split_values(text: str) -> list[str]:
    """Split at the commas that stand in no brackets and in no quotes.

    A quote counts where YAML would begin a quoted text: at the start of a value, and inside brackets after ``[``,
    ``{``, a comma or a colon.

    >>> split_values("a.yaml, b.yaml")
    ['a.yaml', 'b.yaml']
    >>> split_values("[192, 96],[256, 128],null,'a, b',it's")
    ['[192, 96]', '[256, 128]', 'null', "'a, b'", "it's"]

    Raises
    ------
    ValueError
        When a bracket or a quote is not closed, with what to do.
    """
    values, begin, before = [], 0, ","
    brackets: list[str] = []
    at = 0
    while at < len(text):
        sign = text[at]
        if sign in "'\"" and (before in _OPENS_QUOTE if brackets else begin == at or not text[begin:at].strip()):
            at = _end_of_quoted(text, at)
        elif sign in _CLOSING:
            brackets.append(_CLOSING[sign])
        elif sign in "]}":
            if not brackets or brackets.pop() != sign:
                raise ValueError(f"the {sign!r} closes nothing")
        elif sign == "," and not brackets:
            values.append(text[begin:at].strip())
            begin = at + 1
        if not sign.isspace():
            before = text[at]
        at += 1
    if brackets:
        raise ValueError(f"a {brackets[-1]!r} is missing")
    return [*values, text[begin:].strip()]


def _end_of_quoted(text: str, begin: int) -> int:
    """The place of the quote that ends a quoted text."""
    quote, at = text[begin], begin + 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 1  # what comes after it ends nothing
        elif text[at] == quote:
            if quote == '"' or text[at + 1 : at + 2] != quote:
                return at
            at += 1  # two single quotes are one that is meant
        at += 1
    raise ValueError(f"a text that begins with {quote} does not end with it")


def axes_of(varied: Sequence[str], overrides: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of a grid from ``--vary`` arguments, checked against each other and against ``--set``.

    Raises
    ------
    ConfigError, Faults
        All that is wrong with them at once.
    """
    faults: list[ConfigError] = []
    axes: list[Axis] = []
    for text in varied:
        try:
            axes.append(_axis(text))
        except ConfigError as fault:
            faults.append(fault)
    faults += _contradictions([axis.key for axis in axes], [_key(text) for text in overrides])
    if not varied:
        example = "--vary transforms=transforms/pad.yaml,transforms/half.yaml"
        faults.append(ConfigError("missing: there is nothing to compare", where="--vary", remedy=f"Such as {example}"))
    raise_all(faults)
    return tuple(axes)


def _axis(text: str) -> Axis:
    key, where = _key(text), f"--vary {_key(text)}"
    if "=" not in text or not key:
        raise ConfigError(f"got {text!r}, expected key=value,value", where="--vary", remedy="Such as seed=0,1,2")
    try:
        values = split_values(text.partition("=")[2])
    except ValueError as error:
        raise ConfigError(f"{error} in {text!r}", where=where,
                          remedy="Put a value that holds brackets or commas into quotes") from error  # fmt: skip
    if "" in values:
        raise ConfigError(f"an empty value in {text!r}", where=where, remedy="Write null, or '' for an empty text")
    read = [repr(_read(value, where)) for value in values]
    twice = [value for at, value in enumerate(values) if read[at] in read[:at]]
    if twice:
        raise ConfigError(f"{twice[0]} stands there twice", where=where, remedy="Give each value once")
    return Axis(key, tuple(values), _distinct([_label(value) for value in values]))


def _read(value: str, where: str) -> object:
    quoted = value[:1] in ("[", "{", '"', "'")
    return parse_yaml(value, where, lines=False).value if quoted else resolve_scalar(value)


def _key(text: str) -> str:
    return text.partition("=")[0].strip()


def _contradictions(keys: Sequence[str], shared: Sequence[str]) -> Iterator[ConfigError]:
    """Keys that come twice, and keys that would wipe out what was set below them."""
    for at, key in enumerate(keys):
        if key in keys[:at]:
            yield ConfigError("is varied twice", where=f"--vary {key}", remedy="Give all its values in one --vary")
        elif key in shared:
            yield ConfigError("is set by --set as well", where=f"--vary {key}", remedy="Leave one of them out")
        for below in {*shared, *keys[:at]}:
            if below.startswith(f"{key}."):
                yield ConfigError(
                    f"would replace what {below} was set to", where=f"--vary {key}",
                    remedy=f"Give --vary {below}=VALUE after --vary {key}: it may have one value",
                )  # fmt: skip


def cells_of(axes: Sequence[Axis], overrides: Sequence[str]) -> tuple[Cell, ...]:
    """Every combination, the last key changing first; each with a name of its own that a folder may have.

    Raises
    ------
    ConfigError
        When there are more than 1000.
    """
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_CELLS:
        raise ConfigError(f"{count} runs are more than a grid may have ({MOST_CELLS})", where="--vary",
                          remedy="Vary less at a time")  # fmt: skip
    names = _key_labels([axis.key for axis in axes])
    cells = []
    for places in product(*(range(len(axis.values)) for axis in axes)):
        choices = tuple((axis.key, axis.values[place]) for axis, place in zip(axes, places, strict=True))
        parts = [
            (axis.key, f"{name}={axis.labels[place]}") for axis, name, place in zip(axes, names, places, strict=True)
        ]
        name = ",".join(part for _, part in parts)
        if len(name) > _LONGEST_NAME:  # what was cut off must still tell cells apart, in any grid
            name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(repr(choices).encode()).hexdigest()[:8]}"
        texts = tuple(f"{key}={value}" for key, value in choices)
        cells.append(Cell(name, variant_name(parts), choices, (*overrides, *texts)))
    return tuple(cells)


def variant_name(parts: Sequence[tuple[str, str]]) -> str:
    """The parts of a cell's name but that of the seed; where only that is varied, ``(as it is)``.

    >>> variant_name([("transforms", "transforms=pad"), ("seed", "seed=1")])
    'transforms=pad'
    """
    return ",".join(part for key, part in parts if key != SEED) or "(as it is)"


def _key_labels(keys: Sequence[str]) -> tuple[str, ...]:
    """What each key is called: its last part where that tells it from the others, and says something."""
    short = []
    for key in keys:
        parts = key.split(".")
        long = len(parts) > 1 and (parts[-1].isdecimal() or parts[-1] == "_target_")
        short.append(".".join(parts[-2:] if long else parts[-1:]))
    names = [key if short.count(name) > 1 else name for key, name in zip(keys, short, strict=True)]
    return _distinct([re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "key" for name in names])


def _label(value: str) -> str:
    """A value as part of a folder's name: letters, digits, dots and dashes; of a path, the file.

    >>> [_label(text) for text in ("transforms/pad.yaml", "[192, 96]", "1e-3", "-1", "'a b'", "{_target_: UNet}")]
    ['pad', '192-96', '1e-3', '-1', 'a-b', '_target_-UNet']
    """
    if _NUMBER.fullmatch(value):
        return value[:_LONGEST_LABEL]
    if value[:1] not in ("[", "{"):
        value = re.sub(r"(?i)\.ya?ml$", "", value.strip("'\" ")).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", value).strip(".-")[:_LONGEST_LABEL].rstrip(".-") or "value"


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels with a number added to those that a file system might take for an earlier one."""
    found: list[str] = []
    for label in labels:
        taken, name, number = {one.casefold() for one in found}, label, 1
        while name.casefold() in taken:
            number += 1
            name = f"{label}-{number}"
        found.append(name)
    return tuple(found)
