"""What the arguments of bin/evaluate ask for: which classes, how files are read and named, how results are counted."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, DataError, Fault, raise_all
from pipeline.evaluation.masks import Rules
from pipeline.evaluation.pairing import Naming

_MOST_CLASSES = 255
_PATTERNS = ("case", "patient", "scan")  # options that take an expression with one group
_DATASET_JSON = 'nnU-Net\'s dataset.json names each value, such as "labels": {"background": 0, "organ": 1}'


@dataclass(frozen=True)
class Plan:
    """How two folders of masks are scored.

    Attributes
    ----------
    classes
        Names, the background first; None to name the values that are found.
    rules
        How pairs are read and scored.
    naming
        How names of files are understood.
    resamples, confidence, seed
        Of the bootstrap.
    """

    classes: tuple[str, ...] | None
    rules: Rules
    naming: Naming
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0


def plan_from(arguments: argparse.Namespace) -> Plan:
    """Everything that the arguments, and the config or dataset.json among them, ask for.

    Raises
    ------
    Fault, Faults
        All that is wrong with them.
    """
    faults: list[Fault] = []
    plan = Plan(None, Rules(), Naming())
    if arguments.config is not None:
        plan = _of_config(arguments.config)
    elif arguments.classes is not None:
        plan = replace(plan, classes=_tried(lambda: _class_names(arguments.classes), faults))
    elif arguments.dataset_json is not None:
        plan = replace(plan, classes=_tried(lambda: _of_dataset_json(arguments.dataset_json), faults))
    rules = _tried(lambda: _rules(plan, arguments), faults)
    faults += _pattern_faults(arguments)
    raise_all(faults)
    assert rules is not None
    given = {name: getattr(arguments, name) for name in _PATTERNS if getattr(arguments, name) is not None}
    return replace(plan, rules=rules, naming=replace(plan.naming, **given))


def _tried(make: Callable[[], Any], faults: list[Fault]) -> Any:
    """What `make` gives, or None with its fault noted, to be told with the others."""
    try:
        return make()
    except Fault as fault:
        faults.append(fault)
        return None


def _rules(plan: Plan, arguments: argparse.Namespace) -> Rules:
    rules = plan.rules
    labels, predictions = rules.labels, rules.predictions
    if arguments.label_map is not None:
        labels = replace(labels, label_map=_map(arguments.label_map, "--label-map"))
    if arguments.prediction_map is not None:
        predictions = replace(predictions, label_map=_map(arguments.prediction_map, "--prediction-map"))
    if arguments.ignore_affine:
        labels, predictions = (replace(one, ignore_affine=True, spacing_mm=None) for one in (labels, predictions))
    tolerance = rules.tolerance if arguments.tolerance is None else arguments.tolerance
    if not 0 <= tolerance < math.inf:
        raise ConfigError(f"got {tolerance:g}", where="--tolerance", remedy="Give a distance in mm, 0 or more")
    return replace(
        rules, labels=labels, predictions=predictions, tolerance=tolerance,
        classes=None if plan.classes is None else len(plan.classes),
        knows_spacing=rules.knows_spacing and not arguments.ignore_affine,
    )  # fmt: skip


def _of_config(path: Path) -> Plan:
    """A config's classes, its rules for reading labels, its expressions and its settings of the evaluation.

    Values of the labels are renamed by ``data.label_map``; predictions of a run hold classes already.
    """
    from pipeline.config.load import load_config
    from pipeline.data.inspection import knows_spacing
    from pipeline.data.reading import read_options

    config = load_config(path)
    data, evaluation = config.settings.data, config.settings.evaluation
    labels = read_options(config)
    rules = Rules(
        labels=labels, predictions=replace(labels, label_map=()), affine_tolerance=data.affine_tolerance,
        knows_spacing=knows_spacing(config), tolerance=evaluation.tolerance_mm,
    )  # fmt: skip
    naming = Naming(patient=data.patient, scan=data.scan, hipmri=data.layout == "hipmri")
    return Plan(data.classes, rules, naming, evaluation.resamples, evaluation.confidence, config.settings.seed)


def _of_dataset_json(path: Path) -> tuple[str, ...]:
    """The names that a dataset.json gives the values: nnU-Net's by name, the Decathlon's by value."""
    from pipeline.data.layouts.class_names import by_value, checked_labels
    from pipeline.data.layouts.text_files import read_json

    labels = read_json(path, _DATASET_JSON).get("labels")
    if not isinstance(labels, dict):
        raise DataError("no 'labels', or none that name values", where=str(path), remedy=_DATASET_JSON)
    unfit = sorted(str(name) for name, value in labels.items() if isinstance(value, list) or name == "ignore")
    if unfit:
        raise DataError(
            f"labels made of regions, or ignored: {', '.join(unfit)}; here each voxel has one class, and counts",
            where=str(path), remedy="Name the values with --classes",
        )  # fmt: skip
    values = by_value(labels)
    turned = all(isinstance(value, int) for value in values)
    pairs = list(values.items()) if turned else [(value, name) for name, value in labels.items()]
    return tuple(checked_labels(pairs, path).values())


def _class_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names) or not 2 <= len(names) <= _MOST_CLASSES:
        raise ConfigError(f"got {text!r:.80}", where="--classes",
                          remedy="Give distinct names with commas between them, the background first: --classes "
                          "background,liver,tumour")  # fmt: skip
    return names


def _map(text: str, option: str) -> tuple[tuple[int, int], ...]:
    """Pairs (value in the file, class) of ``4=3,5=0``."""
    found = [re.fullmatch(r"\s*(\d{1,9})\s*=\s*(\d{1,9})\s*", part) for part in text.split(",")]
    pairs = tuple((int(match[1]), int(match[2])) for match in found if match is not None)
    if len(pairs) < len(found) or len(dict(pairs)) < len(pairs):
        raise ConfigError(f"got {text!r:.80}", where=option,
                          remedy=f"Give each value once, and what it becomes: {option} 4=3,5=0")  # fmt: skip
    return tuple(sorted(pairs))


def _pattern_faults(arguments: argparse.Namespace) -> Iterator[ConfigError]:
    for name in _PATTERNS:
        pattern = getattr(arguments, name)
        if pattern is None:
            continue
        try:
            groups, problem = re.compile(pattern).groups, ""
        except re.error as error:
            groups, problem = 0, f"not a regular expression ({error})"
        if groups < 1:
            what = problem or f"{pattern!r} has no group"
            yield ConfigError(what, where=f"--{name}",
                              remedy=f"Put the {name} in parentheses, such as --{name} '^([^_]+)_'")  # fmt: skip
