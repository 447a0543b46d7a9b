"""``${NAME}`` and ``${NAME:-default}`` in a config's text: values of the environment, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.config.document import Document, KeyPath, Variable
from pipeline.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")


def interpolate(document: Document, environment: Mapping[str, str], faults: list[ConfigError]) -> frozenset[KeyPath]:
    """Fill in every variable of a document, in place, and note there which they were.

    Parameters
    ----------
    document
        What to fill in.
    environment
        The variables; an empty one counts as one that is not set, as in a shell.
    faults
        What is wrong is added here: a variable without a value or default, or something that only looks like one.

    Returns
    -------
    frozenset
        The key paths where only defaults spoke: nobody chose their value.
    """
    defaulted: set[KeyPath] = set()

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            filled, variables = _filled(value, environment)
        except ConfigError as fault:
            faults.append(document.fault(path, fault.what, fault.remedy))
            return value
        document.variables[path] = variables
        if not any(variable.chosen for variable in variables):
            defaulted.add(path)
        return filled

    document.value = walk(document.value, ())
    return frozenset(defaulted)


def _filled(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[Variable, ...]]:
    """A text with its variables filled in, and which they were."""
    variables: list[Variable] = []

    def one(found: re.Match[str]) -> str:
        value, default = environment.get(found[1]), found[2]
        variables.append(Variable(found[1], chosen=bool(value)))
        if value:
            return value
        if default is None:
            remedy = f"Set it, or write ${{{found[1]}:-default}}"
            raise ConfigError(f"the environment has no {found[1]}", remedy=remedy)
        return default

    if "${" in _VARIABLE.sub("", text):
        raise ConfigError(f"{text!r} is not ${{NAME}} or ${{NAME:-default}}")
    return _VARIABLE.sub(one, text), tuple(variables)
