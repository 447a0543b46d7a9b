"""From plain values to validated settings; every fault told with its file, line, key and the nearest name."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config.schema import Settings
from pipeline.config.suggestions import nearest, suggestion
from pipeline.config.targets import MONAI_LOSSES, check_targets, short_name
from pipeline.config.yaml_source import Document, KeyPath
from pipeline.errors import ConfigError, raise_all
from transforms.lint import lint_chain

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of keys",
    "finite_number": "a finite number",
}


def validate(document: Document, faults: Iterable[ConfigError] = ()) -> Settings:
    """Validate a whole config.

    Parameters
    ----------
    document
        The config, with everything filled in.
    faults
        What was found to be wrong before: it is told with the rest.

    Raises
    ------
    ConfigError, Faults
        All problems at once: unknown keys, wrong types, bad names, and settings that contradict each other.
    """
    found: list[ConfigError] = [*faults, *check_targets(document)]
    told = {fault.where for fault in found}
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(document.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # What is no mapping cannot be a target, and has been told as that.
        details = [one for one in details if one["type"] != "dict_type" or document.where(one["loc"]) not in told]
        found += [_translate(document, detail) for detail in details]
    found += _contradictions_of_loss(document)
    found += _lint(document)
    if settings is not None:
        found += _contradictions(document, settings)
    raise_all(sorted(found, key=lambda fault: _line_order(fault.where)))
    assert settings is not None  # else there was a fault to raise
    return settings


def _line_order(where: str) -> tuple[str, int]:
    source, _, rest = where.partition(":")
    number = rest.split(":", 1)[0]
    return source, int(number) if number.isdecimal() else 0


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
    """One of pydantic's errors in our words."""
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    kind, got = detail["type"], detail["input"]
    where = document.where(path)
    if kind == "extra_forbidden":
        return _unknown_key(path, where)
    if kind == "missing":
        return ConfigError("missing; this key has no default", where=where, remedy="Add it, see configs/hipmri.yaml")
    if kind == "literal_error":
        options = [option.strip().strip("'") for option in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
        what = f"got {got!r:.60}, expected one of {', '.join(options)}"
        return ConfigError(what, where=where, remedy=suggestion(str(got), options))
    if kind in _EXPECTED:
        return ConfigError(f"expected {_EXPECTED[kind]}, got {got!r:.60} ({_plain_type(got)})", where=where)
    if kind == "value_error":
        return ConfigError(str(detail["ctx"]["error"]), where=where)
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return ConfigError(f"got {got!r:.60}: {message}", where=where)


def _unknown_key(path: KeyPath, where: str) -> ConfigError:
    known = known_keys(_section_at(path[:-1]) or Settings)
    key = str(path[-1])
    home = _home_of(key)
    if nearest(key, known) is None and home is not None:
        return ConfigError(f"unknown key {key!r}", where=where, remedy=f"It belongs under another section: '{home}'")
    return ConfigError(f"unknown key {key!r}", where=where, remedy=suggestion(key, known))


def _plain_type(value: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", dict: "mapping"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def _lint(document: Document) -> Iterator[ConfigError]:
    """What the text of the chains tells, as far as they are lists of mappings."""
    chains = document.value.get("transforms") if isinstance(document.value, dict) else None
    if not isinstance(chains, dict):
        return
    lists = [chains.get(name) or [] for name in ("prepare", "augment")]
    if all(isinstance(chain, list) and all(isinstance(entry, dict) for entry in chain) for chain in lists):
        for problem in lint_chain(*lists):
            where = document.where(("transforms", *problem.path))
            yield ConfigError(problem.what, where=where, remedy=problem.remedy)


def _contradictions_of_loss(document: Document) -> Iterator[ConfigError]:
    """What a loss of logits and class indices needs."""
    loss = document.value.get("loss") if isinstance(document.value, dict) else None
    if not isinstance(loss, Mapping) or not isinstance(loss.get("_target_"), str):
        return
    name = short_name(loss["_target_"], "loss")
    if name not in MONAI_LOSSES:
        return
    for key in ("use_softmax" if name == "FocalLoss" else "softmax", "to_onehot_y"):
        if loss.get(key) is not True:
            yield ConfigError(
                f"'{key}' is not true: the network gives logits of exclusive classes, masks are indices",
                where=document.where(("loss",)), remedy=f"Add '{key}: true'",
            )  # fmt: skip


def _contradictions(document: Document, settings: Settings) -> Iterator[ConfigError]:
    """Faults between keys that are each right by themselves."""

    def fault(path: KeyPath, what: str, remedy: str) -> ConfigError:
        return ConfigError(what, where=document.where(path), remedy=remedy)

    data, classes = settings.data, len(settings.data.classes)
    if data.phantom is not None and data.layout != "hipmri":
        yield fault(("data", "phantom"), "a phantom is written in the hipmri layout", "Set data.layout: hipmri")
    if data.layout == "folders" and settings.splits.kind == "layout":
        yield fault(("splits",), "two folders give no split", "Set splits.kind to 'holdout', or to 'file' with a file")
    for value in sorted({value for value in (data.label_map or {}).values() if value >= classes}):
        what = f"maps to {value}, but the classes are 0 to {classes - 1}"
        yield fault(("data", "label_map"), what, "Map to an index of data.classes")
    if data.ignore_affine and data.spacing_mm is not None:
        what = "both 'ignore_affine' (distances in pixels) and 'spacing_mm' (distances in mm) are set"
        yield fault(("data", "ignore_affine"), what, "Remove one: 'spacing_mm' alone replaces what the files say")
    weight = settings.loss.get("weight")
    wanted = classes - (settings.loss.get("include_background") is False)
    if isinstance(weight, list) and len(weight) != wanted:
        yield fault(("loss", "weight"), f"{len(weight)} weights for {wanted} classes", "Give one weight a class")
