"""What the arguments of bin/evaluate ask for: which classes, how files are read and named, how results are counted."""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.safe_names import UNSAFE_NAME
from pipeline.config.schema import LONGEST_NAME
from pipeline.data.cases import listing
from pipeline.errors import ConfigError, DataError, Fault, raise_all
from pipeline.evaluation.masks import Rules
from pipeline.evaluation.pairing import Naming, Pairs, hipmri_slices
from pipeline.terminal import tell

_MOST_CLASSES = 255
_LONGEST_SHOWN = 60
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
    given = {name: getattr(arguments, name) for name in _PATTERNS if getattr(arguments, name) is not None}
    if arguments.config is not None:
        plan = _of_config(arguments.config, given, of_run=bool(arguments.run))
    elif arguments.classes is not None:
        plan = replace(plan, classes=_tried(lambda: _class_names(arguments.classes), faults))
    elif arguments.dataset_json is not None:
        plan = replace(plan, classes=_tried(lambda: _of_dataset_json(arguments.dataset_json), faults))
    rules = _tried(lambda: _rules(plan, arguments), faults)
    faults += _pattern_faults(arguments)
    raise_all(faults)
    assert rules is not None
    return replace(plan, rules=rules, naming=replace(plan.naming, **given))


def without_spacing(plan: Plan, pairs: Pairs) -> Plan:
    """Count in pixels, and say so, where every file bears the name of a 2D slice of HipMRI."""
    if not plan.rules.knows_spacing or not hipmri_slices(pairs):
        return plan
    tell("warning: these are HipMRI's 2D slices by their names, whose affine is undocumented: distances and the "
         "tolerance are in pixels; where the spacing is known, --config with data.spacing_mm gives mm")  # fmt: skip
    return replace(plan, rules=replace(plan.rules, knows_spacing=False))


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


def _of_config(path: Path, given: Mapping[str, str], *, of_run: bool) -> Plan:
    """A config's classes, its rules for reading labels, its expressions and its settings of the evaluation.

    Values of the labels are renamed by ``data.label_map``; predictions of a run hold classes already. Images that a run
    predicts are not those of its dataset, whatever their names: there the names alone speak.
    """
    from pipeline.commands.dataset_naming import with_dataset
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
    if not of_run:
        naming = with_dataset(naming, config, given)
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
    names = tuple(checked_labels(pairs, path).values())
    wrong = "; ".join(_wrong_names(names))
    if wrong:
        raise DataError(wrong, where=str(path), remedy="Rename them there, or name the values with --classes")
    return names


def _class_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    wrong = "; ".join(_wrong_names(names))
    if wrong:
        raise ConfigError(f"got {text!r:.80}: {wrong}", where="--classes",
                          remedy="Give distinct names with commas between them, the background first: --classes "
                          "background,liver,tumour")  # fmt: skip
    return names


def _wrong_names(names: Sequence[str]) -> Iterator[str]:
    """What keeps names from being classes, the same as in ``data.classes`` of a config."""
    if not 2 <= len(names) <= _MOST_CLASSES:
        yield f"{len(names)} classes, expected 2 to {_MOST_CLASSES}"
    if "" in names:
        yield "a class without a name"
    repeated = [name for name, times in Counter(names).items() if times > 1 and name]
    if repeated:
        yield f"classes named twice: {_shown(repeated)}"
    unsafe = [name for name in names if UNSAFE_NAME.search(name) or ".." in name or not _fits_a_file_name(name)]
    if unsafe:
        yield (
            f"names that make no file name: {_shown(unsafe)} (no slash, backslash, '..' or control character, "
            f"no dot or space at the start, {LONGEST_NAME} bytes at most)"
        )


def _fits_a_file_name(name: str) -> bool:
    """Whether a text is UTF-8 of no more bytes than a class name may have."""
    try:
        return len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


def _shown(names: Sequence[str]) -> str:
    return listing(f"{name!r:.{_LONGEST_SHOWN}}" for name in names)


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
