"""From plain values to validated settings; every fault told with its file, line, key and the nearest name."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config.document import Document, KeyFault, KeyPath
from pipeline.config.losses import faults_of_loss, faults_of_weights
from pipeline.config.plugins import Plugins
from pipeline.config.prediction import faults_of_inference
from pipeline.config.schema import TAGS, DataSettings, Settings
from pipeline.config.suggestions import nearest, suggestion
from pipeline.config.targets import check_targets
from pipeline.errors import ConfigError, raise_all
from transforms.lint import lint_chain
from transforms.sides import told_by_side

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

# The keys that name files, and the layout that reads each: the others know their files by names of their own.
_READ_BY = {"images": "folders", "labels": "folders", "table": "table"}


def validate(document: Document, faults: Iterable[ConfigError] = (), plugins: Plugins | None = None) -> Settings:
    """Validate a whole config.

    Parameters
    ----------
    document
        The config, with everything filled in, its targets bound to its plugins.
    faults
        What was found to be wrong before: it is told with the rest.
    plugins
        What its plugins give.

    Raises
    ------
    ConfigError, Faults
        All problems at once: unknown keys, wrong types, bad names, and settings that contradict each other.
    """
    settings, found = examine(document, faults, plugins)
    raise_all(found)
    assert settings is not None  # else there was a fault to raise
    return settings


def examine(
    document: Document, faults: Iterable[ConfigError] = (), plugins: Plugins | None = None
) -> tuple[Settings | None, list[ConfigError]]:
    """As `validate`, but what is wrong is returned, in the order of the text; without settings where none can be made.

    Each fault that is found here is a `KeyFault`.
    """
    found: list[ConfigError] = [*faults, *check_targets(document, plugins)]
    told = {fault.where for fault in found}
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(document.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # What is no mapping cannot be a target, and has been told as that.
        details = [one for one in details if one["type"] != "dict_type" or document.where(one["loc"]) not in told]
        found += [_translate(document, detail) for detail in details if not _follows(detail, details)]
    found += _contradictions_of_loss(document)
    found += _lint(document)
    if settings is not None:
        found += _contradictions(document, settings)
    return settings, sorted(found, key=lambda fault: _line_order(fault.where))


def _line_order(where: str) -> tuple[str, int]:
    source, _, rest = where.partition(":")
    number = rest.split(":", 1)[0]
    return source, int(number) if number.isdecimal() else 0


def known_keys(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a section as a config writes them, with their annotations."""
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _section_at(path: KeyPath) -> type[BaseModel] | None:
    section: Any = Settings
    own_name = False  # a name of the user's, such as a class's, stands between a mapping and its sections
    for part in path:
        if own_name:
            own_name = False
            continue
        annotation = known_keys(section).get(str(part))
        own_name = any(typing.get_origin(kind) is dict for kind in _types_in(annotation))
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


def _follows(detail: Any, details: Iterable[Any]) -> bool:
    """Whether a list is too short only because entries of it are wrong, which is told."""
    size = len(detail["loc"])
    return detail["type"] == "too_short" and any(
        len(one["loc"]) > size and one["loc"][:size] == detail["loc"] for one in details
    )


def _translate(document: Document, detail: Any) -> KeyFault:
    """One of pydantic's errors in our words."""
    path: KeyPath = tuple(part for part in detail["loc"] if part not in ("[key]", *TAGS))
    kind, got = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return document.fault(path, *_unknown_key(path))
    if kind == "missing":
        return document.fault(path, "missing; this key has no default", "Add it, see docs/config.md")
    if kind == "literal_error":
        options = [option.strip().strip("'") for option in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
        either = "a mapping or" if TAGS[1] in detail["loc"] else "one of"
        what = f"got {got!r:.60}, expected {either} {', '.join(options)}"
        return document.fault(path, what, suggestion(str(got), options))
    if kind in _EXPECTED:
        what = f"expected {_EXPECTED[kind]}, got {got!r:.60} ({_plain_type(got)})"
        return document.fault(path, what, _as_list(got) if path == ("data", "classes") else "")
    if kind == "value_error":
        return document.fault(path, str(detail["ctx"]["error"]))
    return document.fault(path, f"got {got!r:.60}: {detail['msg'][0].lower()}{detail['msg'][1:]}")


def _as_list(classes: Any) -> str:
    """How to write classes that were written as a mapping, as nnU-Net (name: value) and others (value: name) do."""
    remedy = "Write a list in the order of the values in the masks"
    if not isinstance(classes, dict):
        return f"{remedy}, such as [background, organ]"
    named = {str(key): value for key, value in classes.items()}
    if not all(key.isdecimal() for key in named):
        named = {str(value): name for name, value in named.items()}
    order = [named.get(str(number)) for number in range(len(named))]
    if not order or not all(isinstance(name, str) and name for name in order):
        return f"{remedy}, from 0 without a gap (data.label_map renumbers them)"
    return f"{remedy}: classes: [{', '.join(map(str, order))}]"


def _unknown_key(path: KeyPath) -> tuple[str, str]:
    """What is said of an unknown key, and what to do."""
    known = known_keys(_section_at(path[:-1]) or Settings)
    key = str(path[-1])
    home = _home_of(key)
    if nearest(key, known) is None and home is not None:
        return f"unknown key {key!r}", f"It belongs under another section: '{home}'"
    return f"unknown key {key!r}", suggestion(key, known)


def _plain_type(value: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", dict: "mapping"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def _lint(document: Document) -> Iterator[KeyFault]:
    """What the text of the chains tells, as far as they are lists of mappings."""
    value = document.value if isinstance(document.value, dict) else {}
    chains, data = value.get("transforms"), value.get("data")
    if not isinstance(chains, dict):
        return
    prepare, augment = (chains.get(name) or [] for name in ("prepare", "augment"))
    classes = data.get("classes") if isinstance(data, dict) else None
    names = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    if all(isinstance(chain, list) and all(isinstance(entry, dict) for entry in chain) for chain in (prepare, augment)):
        for problem in lint_chain(prepare, augment, names):
            yield document.fault(("transforms", *problem.path), problem.what, problem.remedy)


def _contradictions_of_loss(document: Document) -> Iterator[KeyFault]:
    """What a loss of logits and class indices needs; a plugin's is its author's to know."""
    loss = document.value.get("loss") if isinstance(document.value, dict) else None
    if isinstance(loss, Mapping):
        yield from (document.fault(("loss",), what, remedy) for what, remedy in faults_of_loss(loss))


def _contradictions(document: Document, settings: Settings) -> Iterator[KeyFault]:
    """Faults between keys that are each right by themselves."""
    fault, data, classes = document.fault, settings.data, len(settings.data.classes)
    if data.phantom is not None and data.layout != "hipmri":
        yield fault(("data", "phantom"), "a phantom is written in the hipmri layout", "Set data.layout: hipmri")
    yield from _contradictions_of_layout(document, settings)
    if data.views is not None and data.axis is not None:
        what = "both 'axis' (one view) and 'views' are set"
        yield fault(("data", "views"), what, "Set data.axis: null, or leave data.views out")
    if data.mirrored and (named := told_by_side(data.classes)):
        what = f"in a mirror what is left comes to lie right, and is called by its old side: {', '.join(named)}"
        yield fault(("data", "mirrored"), what, "Set it to false, or make one class of both sides (data.label_map)")
    if data.fold == "all" and settings.splits.kind not in ("folds", "file"):
        what = f"splits.kind is {settings.splits.kind}, which has no folds that could all be trained"
        yield fault(("data", "fold"), what, "Set splits.kind to 'folds', or to 'file' with nnU-Net's splits_final.json")
    for value in sorted({value for value in (data.label_map or {}).values() if value >= classes}):
        what = f"maps to {value}, but the classes are 0 to {classes - 1}"
        yield fault(("data", "label_map"), what, "Map to an index of data.classes")
    if data.ignore_affine and data.spacing_mm is not None:
        what = "both 'ignore_affine' (distances in pixels) and 'spacing_mm' (distances in mm) are set"
        yield fault(("data", "ignore_affine"), what, "Remove one: 'spacing_mm' alone replaces what the files say")
    yield from (fault(("inference", *path), what, remedy) for path, what, remedy in faults_of_inference(settings))
    weights = faults_of_weights(settings.loss, classes)
    yield from (fault(("loss", "weight"), what, remedy) for what, remedy in weights)


def _contradictions_of_layout(document: Document, settings: Settings) -> Iterator[KeyFault]:
    """Splits that a layout cannot give, and keys that it does not read.

    Such a key is told where it was written with the layout, or by ``--set``: one of a config that is extended was
    written for another layout, and a run's own config.yaml holds every key. That of an older version lacks some, so
    what is as by default is left, too.
    """
    layout = settings.data.layout
    if layout in ("folders", "decathlon") and settings.splits.kind == "layout":
        what = "two folders give no split" if layout == "folders" else "a dataset.json of the Decathlon gives no split"
        yield document.fault(("splits",), what, "Set splits.kind to 'holdout', to 'folds', or to 'file' with a file")
    home = document.mark(("data", "layout")).source
    complete = all(("data", key) in document.marks for key in known_keys(DataSettings))
    for key, reader in _READ_BY.items():
        mark = document.marks.get(("data", key))
        if layout == reader or mark is None:
            continue
        changed = getattr(settings.data, key) != DataSettings.model_fields[key].default
        if mark.source.startswith("--set ") or (mark.source == home and changed and not complete):
            what = f"has no effect: the layout is {layout}, and only {reader} reads it"
            yield document.fault(("data", key), what, f"Remove it, or set data.layout: {reader}")
