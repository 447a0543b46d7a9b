"""A finished run as something to predict with: what it must know, written by training and read back without the data.

A run of all folds is an ensemble of its folds; several runs are one where they agree in what goes in and comes out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.config.load import Config, load_config
from pipeline.config.prediction import postprocess_rules, rules_by_index
from pipeline.config.schema import PostprocessRule, Settings
from pipeline.data.caching.digests import digest_of
from pipeline.data.reading import each_view, read_options
from pipeline.errors import ConfigError, Fault, RunError, raise_all
from pipeline.inference.choosing import choices_plain, voted
from pipeline.inference.label_ranges import Ranges, union_of
from pipeline.inference.model_file import NAME, Learnt, ModelFacts, read_model_file
from transforms.nifti import ReadOptions
from transforms.plugins import plugin_digest

__all__ = ["Member", "Model", "find_model"]

_SHOWN = 120


@dataclass(frozen=True)
class Member:
    """One trained network, by the folder of its run or fold."""

    folder: Path
    config: Config
    facts: ModelFacts
    learnt: Learnt

    @property
    def settings(self) -> Settings:
        """The config's values."""
        return self.config.settings

    @property
    def checkpoint(self) -> Path:
        """Its best weights."""
        return self.folder / "checkpoints" / "best.pt"

    @property
    def options(self) -> ReadOptions:
        """How images are read, as they were for training; volumes are cut along the same plane, whatever their size."""
        options = replace(read_options(self.config, self.facts.channels_in_file), label_map=())
        return options if self.facts.axis is None else replace(options, axis=self.facts.axis)

    @property
    def views(self) -> tuple[ReadOptions, ...]:
        """How images are read in each view; alone `options` where volumes are cut along one axis."""
        return each_view(self.settings, self.options)


@dataclass(frozen=True)
class Model:
    """One network, or several whose probabilities are averaged; all see the same and give the same classes."""

    members: tuple[Member, ...]

    @property
    def first(self) -> Member:
        """The member whose settings of the inference hold for all."""
        return self.members[0]

    @property
    def settings(self) -> Settings:
        """The first member's."""
        return self.first.settings

    @property
    def facts(self) -> ModelFacts:
        """The first member's, which are those of all."""
        return self.first.facts

    @property
    def rules(self) -> dict[int, PostprocessRule]:
        """The first member's post-processing, by class index; where that was to be chosen, what most members chose."""
        if self.settings.inference.postprocess != "auto":
            return postprocess_rules(self.settings)
        chosen = [member.learnt.choices for member in self.members if member.learnt.choices is not None]
        return rules_by_index(voted(chosen), self.settings.data.classes)

    @property
    def ranges(self) -> Ranges | None:
        """What the training labels of all members show together; None where a member's model.json does not tell."""
        known = [member.learnt.ranges for member in self.members if member.learnt.ranges is not None]
        return union_of(known) if len(known) == len(self.members) else None

    @property
    def without_ranges(self) -> tuple[Path, ...]:
        """The folders of the members that know no ranges: they were trained before those were kept."""
        return tuple(member.folder for member in self.members if member.learnt.ranges is None)

    def digest(self) -> str:
        """32 hexadecimal digits that change with whatever changes a prediction: weights, settings, plugins.

        Raises
        ------
        RunError
            When a checkpoint cannot be read.
        """
        return digest_of([_member_marks(member) for member in self.members])


def _member_marks(member: Member) -> list[object]:
    try:
        weights = hashlib.blake2b(member.checkpoint.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise RunError(f"the trained weights cannot be read ({error.strerror})", where=str(member.checkpoint),
                       remedy="Name a finished run, with its checkpoints folder") from error  # fmt: skip
    settings = member.settings
    plugins = [plugin_digest(member.config.locate(text)) for text in settings.plugins]
    kept = {"transforms": {"prepare"}, "network": True, "inference": True, "data": {"context", "classes"}}
    values = settings.model_dump(mode="json", include=kept)  # type: ignore[arg-type]
    values["inference"].pop("batch_size")
    chosen = member.learnt.choices
    return [
        weights,
        values,
        [asdict(view) for view in member.views],
        plugins,
        *([] if chosen is None else [choices_plain(chosen)]),
    ]


def find_model(runs: Sequence[Path]) -> Model:
    """The networks of runs, as they lie in their folders; the data that they were trained on may be gone.

    Parameters
    ----------
    runs
        Folders of runs, or of single folds. A run of all folds stands for each of them.

    Raises
    ------
    ConfigError, RunError, Faults
        For a folder that is no run, a run that is not trained yet, and runs that do not go together: both are named.
    """
    faults: list[Fault] = []
    members: list[Member] = []
    for run in runs:
        try:
            members += [_member(folder) for folder in _folders(run)]
        except Fault as fault:
            faults.append(fault)
    raise_all(faults)
    twice = sorted({str(member.folder) for member in members if sum(member.folder == o.folder for o in members) > 1})
    if twice:
        raise ConfigError(f"given twice: {', '.join(twice)}", where="--run", remedy="Name each run once")
    raise_all(fault for one, other in pairwise(members) for fault in _differences(one, other))
    return Model(tuple(members))


def _folders(run: Path) -> list[Path]:
    """The folder of each network of a run."""
    folder = run.resolve()
    if not (folder / "config.yaml").is_file():
        raise ConfigError("no run in this folder: it has no config.yaml", where=f"--run {run}",
                          remedy="Name the folder that bin/run_pipeline wrote, such as runs/hipmri/latest")  # fmt: skip
    if (folder / NAME).is_file():
        return [folder]
    folds = [folder / f"fold_{number}" for number in range(_fold_count(folder))]
    untrained = [fold.name for fold in folds if not (fold / NAME).is_file()]
    if untrained or not folds:
        which = f" ({', '.join(untrained)})" if untrained and len(folds) > 1 else ""
        raise RunError(f"its network is not trained yet{which}: there is no {NAME}", where=f"--run {run}",
                       remedy="Let the run finish; bin/run_pipeline --resume goes on with it")  # fmt: skip
    return folds


def _fold_count(folder: Path) -> int:
    """How many folds a run has, by its split.json; 0 where it is a single network's."""
    if not any(folder.glob("fold_*")):
        return 0
    try:
        split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", where=str(folder / "split.json"),
                       remedy="Copy the run whole") from error  # fmt: skip
    return len(split) if isinstance(split, list) else 0


def _member(folder: Path) -> Member:
    config = load_config(folder / "config.yaml")
    facts, learnt = read_model_file(folder, config)
    if not (folder / "checkpoints" / "best.pt").is_file():
        raise RunError("no trained weights", where=str(folder / "checkpoints" / "best.pt"),
                       remedy="Copy the run whole, with its checkpoints folder")  # fmt: skip
    return Member(folder, config, facts, learnt)


def _differences(one: Member, other: Member) -> Iterator[ConfigError]:
    """What keeps two networks from being averaged."""
    for name, first in _agreed(one).items():
        second = _agreed(other)[name]
        if first != second:
            yield ConfigError(
                f"the runs differ in {name}: {first!s:.{_SHOWN}} in {one.folder}, {second!s:.{_SHOWN}} in "
                f"{other.folder}", where="--run", remedy="Average runs that were made with the same data and chain",
            )  # fmt: skip


def _agreed(member: Member) -> dict[str, Any]:
    """What all members of an ensemble must have in common, by its name for the user."""
    settings, facts = member.settings, member.facts
    return {
        "data.classes": list(settings.data.classes),
        "channels": (facts.channels, facts.channels_in_file),
        "data.context": settings.data.context,
        "transforms.prepare": [dict(entry) for entry in settings.transforms.prepare],
        "how files are read": [
            {key: value for key, value in asdict(view).items() if key != "channels"} for view in member.views
        ],
    }
