"""What the sections of a config are made of: strict types, what a type is called on the page, names that are safe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict

from pipeline.config.safe_names import UNSAFE_NAME

LONGEST_NAME = 100  # of the 255 bytes that a file's name may have


@dataclass(frozen=True)
class Kind:
    """What a type is called in docs/config.md, where its annotation does not tell: a text may be a path."""

    words: str


# Strict, because a config that says "5" or 1 where a number or a truth value is meant is a slip to be told.
Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Count = Annotated[Int, Field(ge=1)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
PathText = Annotated[Text, Kind("path")]
PathFromRoot = Annotated[Text, Kind("path from `data.root`")]
PathFromConfig = Annotated[Text, Kind("path from the config's folder")]
Pattern = Annotated[Text, Kind("regular expression")]
Target = dict[str, Any]  # {_target_: Name, parameter: value, ...}; its names are checked by config.targets


class Section(BaseModel):
    """A mapping of the config: no key but the ones named, nothing changed afterwards.

    The text below a key is its description: `pipeline.config.reference` writes docs/config.md from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def safe_name(name: str) -> str:
    """A name that may become part of file names, or ValueError."""
    if UNSAFE_NAME.search(name) or ".." in name:
        raise ValueError(
            f"{name!r} becomes part of file names: no path separator, no '..', no dot or space at its start"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{name[:20]!r}... becomes part of file names: no more than {LONGEST_NAME} bytes")
    return name


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def identity_pattern(value: str | None) -> str | None:
    """A regular expression with a group, or ValueError."""
    if value is not None:
        try:
            compiled = re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        if compiled.groups < 1:
            raise ValueError("needs one group in parentheses, which gives the identity, such as 'case_(\\d+)'")
    return value
