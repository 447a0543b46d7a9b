"""``model.json``: what prediction must know of a training, beside the run's config and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.config.load import Config
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import knows_spacing
from pipeline.errors import RunError
from pipeline.inference.choosing import Choices, choices_from_plain, choices_plain
from pipeline.inference.label_ranges import KINDS, Kind, LabelRanges, Ranges, training_ranges
from pipeline.runs import write_json
from transforms.planes import axis_of_ras

__all__ = ["NAME", "Learnt", "ModelFacts", "read_choices", "read_model_file", "write_model_file"]

NAME = "model.json"
_FORMAT = 2
_WITHOUT_RANGES = 1  # the format before it: no ranges, and nothing to be chosen


@dataclass(frozen=True)
class ModelFacts:
    """What prediction must know of the training data; the same for all networks that are averaged.

    Attributes
    ----------
    channels
        Of an image.
    channels_in_file
        How many of them one file holds.
    volumes
        Whether any image was a volume.
    axis
        The axis that volumes were cut along, counted as `transforms.nifti.ReadOptions.axis`; None without volumes.
    knows_spacing
        Whether the files' spacing was to be believed.
    """

    channels: int
    channels_in_file: int
    volumes: bool
    axis: int | None
    knows_spacing: bool


@dataclass(frozen=True, eq=False)
class Learnt:
    """What one network's own side of the split has shown.

    Attributes
    ----------
    ranges
        What its training labels show of each class; None where the run was made before this was kept.
    choices
        The post-processing that was chosen on its validation cases; None where nothing was to be chosen.
    """

    ranges: Ranges | None = None
    choices: Choices | None = None


def write_model_file(
    folder: Path, config: Config, cases: Sequence[Case], facts: Mapping[str, CaseFacts], trained: Sequence[Case],
    choices: Choices | None = None,
) -> None:  # fmt: skip
    """Write ``model.json`` into the folder of a run, or of a fold, whose network is trained.

    Parameters
    ----------
    folder
        Which holds ``config.yaml`` and ``checkpoints/``.
    config
        Of the run.
    cases
        Of its dataset.
    facts
        By case id.
    trained
        The cases that the network has learnt from.
    choices
        The post-processing that was chosen, where it was to be.

    Raises
    ------
    RunError
        When it cannot be written.
    """
    volumes = [fact for fact in facts.values() if len(fact.shape) == 3]
    known = knows_spacing(config)
    found = ModelFacts(
        cases[0].channels,
        cases[0].channels_in_file,
        bool(volumes),
        _axis(config, volumes[0]) if volumes else None,
        known,
    )
    ranges = training_ranges((facts[case.id] for case in trained), knows_spacing=known)
    write_json(folder / NAME, {
        "format": _FORMAT, **asdict(found), "ranges": {kind: one.as_plain() for kind, one in ranges.items()},
        "postprocess": None if choices is None else choices_plain(choices),
    })  # fmt: skip


def _axis(config: Config, fact: CaseFacts) -> int:
    """The axis that a volume was cut along: of RAS where it was turned, of its file where not."""
    if config.settings.data.orientation == "file" or not fact.orientation:
        return fact.axis
    return axis_of_ras(fact.orientation, fact.axis)


def read_model_file(folder: Path, config: Config) -> tuple[ModelFacts, Learnt]:
    """What ``model.json`` of a run, or of a fold, holds.

    Raises
    ------
    RunError
        When it cannot be read, is of another format, or does not hold what a run writes.
    """
    path = folder / NAME
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", where=str(path), remedy="Copy the run whole") from error
    form = values.get("format") if isinstance(values, dict) else None
    if form not in (_FORMAT, _WITHOUT_RANGES) or isinstance(form, bool):
        raise RunError(f"is of format {form!r}; this program reads formats {_WITHOUT_RANGES} and {_FORMAT}",
                       where=str(path), remedy="Use the program that wrote it, or train again")  # fmt: skip
    names = [field.name for field in fields(ModelFacts)]
    try:
        facts = ModelFacts(**{name: values[name] for name in names})
        learnt = Learnt() if form == _WITHOUT_RANGES else _learnt(values, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _strange(path) from error
    if not _plausible(values) or (config.settings.inference.postprocess == "auto") != (learnt.choices is not None):
        raise _strange(path)
    return facts, learnt


def read_choices(folder: Path, config: Config) -> Choices | None:
    """The post-processing that was chosen before; None where the folder of the run does not tell yet."""
    return read_model_file(folder, config)[1].choices if (folder / NAME).is_file() else None


def _strange(path: Path) -> RunError:
    return RunError("does not hold what a run writes", where=str(path), remedy="Copy it again from the run")


def _learnt(values: Mapping[str, Any], config: Config) -> Learnt:
    classes = config.settings.data.classes
    ranges: dict[Kind, LabelRanges] = {
        kind: LabelRanges.from_plain(values["ranges"][kind], len(classes)) for kind in KINDS if kind in values["ranges"]
    }
    chosen = values["postprocess"]
    return Learnt(ranges, None if chosen is None else choices_from_plain(chosen, classes))


def _plausible(values: Mapping[str, Any]) -> bool:
    counts = all(type(values[name]) is int and values[name] > 0 for name in ("channels", "channels_in_file"))
    flags = all(type(values[name]) is bool for name in ("volumes", "knows_spacing"))
    axis = values["axis"]
    return counts and flags and (axis is None or (type(axis) is int and 0 <= axis <= 2))
