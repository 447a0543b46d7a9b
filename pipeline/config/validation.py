"""From plain values to validated settings; every fault told with its file, line, key and the nearest name."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config.schema import Settings
from pipeline.config.suggestions import nearest, suggestion
from pipeline.config.targets import check_targets
from pipeline.config.yaml_source import Document, KeyPath, dotted
from pipeline.errors import ConfigError, raise_all
from transforms.chain import lint_chain

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of keys",
    "finite_number": "a finite number",
    "is_instance_of": "another type",
}


def validate(document: Document) -> Settings:
    """Validate a whole config.

    Raises
    ------
    ConfigError, Faults
        All problems at once: unknown keys, wrong types, bad names, and settings that contradict each other.
    """
    faults: list[ConfigError] = list(check_targets(document))
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(document.value)
    except ValidationError as error:
        faults += [_translate(document, detail) for detail in error.errors(include_url=False)]
    if settings is not None:
        faults += _contradictions(document, settings)
    raise_all(sorted(faults, key=lambda fault: _line_order(fault.where)))
    assert settings is not None
    return settings


def _line_order(where: str) -> tuple[str, int]:
    source, _, rest = where.partition(":")
    number = rest.split(":", 1)[0]
    return source, int(number) if number.isdigit() else 0


def known_keys(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a section as a config writes them, with their annotations."""
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _section_at(path: KeyPath) -> type[BaseModel] | None:
    section: Any = Settings
    for part in path:
        annotation = known_keys(section).get(str(part))
        sections = [kind for kind in _types_in(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            return None
        section = sections[0]
    return section


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _types_in(inner)


def _home_of(key: str) -> str | None:
    for name in known_keys(Settings):
        section = _section_at((name,))
        if section is not None and key in known_keys(section):
            return f"{name}.{key}"
    return None


def _translate(document: Document, detail: Any) -> ConfigError:
    path: KeyPath = tuple(detail["loc"])
    kind, got = detail["type"], detail["input"]
    where = document.where(path)
    if kind == "extra_forbidden":
        section = _section_at(path[:-1]) or Settings
        known = known_keys(section)
        home = _home_of(str(path[-1]))
        remedy = suggestion(str(path[-1]), known)
        if nearest(str(path[-1]), known) is None and home is not None:
            remedy = f"It belongs under another section: '{home}'"
        return ConfigError(f"unknown key {path[-1]!r}", where=where, remedy=remedy)
    if kind == "missing":
        return ConfigError("missing; this key has no default", where=where, remedy="Add it, see configs/hipmri.yaml")
    if kind == "literal_error":
        options = [option.strip().strip("'") for option in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return ConfigError(f"got {got!r}, expected one of {', '.join(options)}", where=where,
                           remedy=suggestion(str(got), options))  # fmt: skip
    if kind in _EXPECTED:
        return ConfigError(f"expected {_EXPECTED[kind]}, got {got!r:.60} ({_plain_type(got)})", where=where)
    if kind == "value_error":
        return ConfigError(str(detail["ctx"]["error"]), where=where)
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return ConfigError(f"got {got!r:.60}: {message}", where=where)


def _plain_type(value: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", dict: "mapping"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def _contradictions(document: Document, settings: Settings) -> Iterator[ConfigError]:
    """Faults between keys that are each right by themselves."""

    def fault(path: KeyPath, what: str, remedy: str) -> ConfigError:
        return ConfigError(what, where=document.where(path), remedy=remedy)

    data = settings.data
    if data.phantom is not None and data.layout != "hipmri":
        yield fault(("data", "phantom"), "a phantom is written in the hipmri layout", "Set data.layout: hipmri")
    if data.layout == "folders" and settings.splits.kind == "layout":
        yield fault(("splits",), "two folders give no split", "Set splits.kind to 'holdout', or to 'file' with a file")
    for value in sorted(set((data.label_map or {}).values())):
        if value >= len(data.classes):
            yield fault(
                ("data", "label_map"), f"maps to {value}, but the classes are 0 to {len(data.classes) - 1}",
                "Map to an index of data.classes",
            )  # fmt: skip
    loss = settings.loss
    softmax = "use_softmax" if loss.get("_target_") == "FocalLoss" else "softmax"
    for key in (softmax, "to_onehot_y"):
        if loss.get(key) is not True:
            yield fault(
                ("loss",), f"'{key}' is not true: the network gives logits of exclusive classes, masks are indices",
                f"Add '{key}: true'",
            )  # fmt: skip
    for problem in lint_chain(settings.transforms.prepare, settings.transforms.augment):
        yield fault(("transforms", *problem.path), problem.what, problem.remedy)
