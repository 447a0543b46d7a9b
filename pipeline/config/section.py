"""What the sections of a config are made of: frozen mappings of known keys, and values that are strictly typed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict

__all__ = ["Bool", "Count", "Float", "Fraction", "Int", "Section", "Target", "Text"]

# Strict, because a config that says "5" or 1 where a number or a truth value is meant is a slip to be told.
Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Count = Annotated[Int, Field(ge=1)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Target = dict[str, Any]  # {_target_: Name, parameter: value, ...}; its names are checked by config.targets


class Section(BaseModel):
    """A mapping of the config: no key but the ones named, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
