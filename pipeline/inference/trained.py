"""A finished run as something to predict with: what it must know, written by training and read back without the data.

``model.json`` stands beside the run's config and says what the config leaves to the data. A run of all folds is an
ensemble of its folds; several runs are one where they agree in what goes in and what comes out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.config.load import Config, load_config
from pipeline.config.schema import Settings
from pipeline.data.caching.digests import digest_of
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import knows_spacing
from pipeline.data.reading import read_options
from pipeline.errors import ConfigError, Fault, RunError, raise_all
from pipeline.runs import write_json
from transforms.nifti import ReadOptions
from transforms.plugins import plugin_digest

__all__ = ["Member", "Model", "ModelFacts", "find_model", "write_model_facts"]

_FILE = "model.json"
_FORMAT = 1
_ENDS = ("LR", "PA", "IS")  # where the axes of RAS may point
_SHOWN = 120


@dataclass(frozen=True)
class ModelFacts:
    """What prediction must know of the training data.

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


def write_model_facts(folder: Path, config: Config, cases: Sequence[Case], facts: Mapping[str, CaseFacts]) -> None:
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

    Raises
    ------
    RunError
        When it cannot be written.
    """
    volumes = [fact for fact in facts.values() if len(fact.shape) == 3]
    found = ModelFacts(
        cases[0].channels, cases[0].channels_in_file, bool(volumes), _axis(volumes[0]) if volumes else None,
        knows_spacing(config),
    )  # fmt: skip
    write_json(folder / _FILE, {"format": _FORMAT, **asdict(found)})


def _axis(fact: CaseFacts) -> int:
    """The axis that a volume was cut along: of RAS where it was turned, of its file where not."""
    if not fact.orientation:
        return fact.axis
    return next(axis for axis, ends in enumerate(_ENDS) if fact.orientation[fact.axis] in ends)


@dataclass(frozen=True)
class Member:
    """One trained network, by the folder of its run or fold."""

    folder: Path
    config: Config
    facts: ModelFacts

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
    return [weights, values, asdict(member.options), plugins]


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
    if (folder / _FILE).is_file():
        return [folder]
    folds = [folder / f"fold_{number}" for number in range(_fold_count(folder))]
    untrained = [fold.name for fold in folds if not (fold / _FILE).is_file()]
    if untrained or not folds:
        which = f" ({', '.join(untrained)})" if untrained and len(folds) > 1 else ""
        raise RunError(f"its network is not trained yet{which}: there is no {_FILE}", where=f"--run {run}",
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
    facts = _read_facts(folder / _FILE)
    if not (folder / "checkpoints" / "best.pt").is_file():
        raise RunError("no trained weights", where=str(folder / "checkpoints" / "best.pt"),
                       remedy="Copy the run whole, with its checkpoints folder")  # fmt: skip
    return Member(folder, config, facts)


def _read_facts(path: Path) -> ModelFacts:
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", where=str(path), remedy="Copy the run whole") from error
    form = values.get("format") if isinstance(values, dict) else None
    if form != _FORMAT:
        raise RunError(f"is of format {form!r}; this program reads format {_FORMAT}", where=str(path),
                       remedy="Use the program that wrote it, or train again")  # fmt: skip
    names = [field.name for field in fields(ModelFacts)]
    if not all(name in values for name in names) or not _plausible(values):
        raise RunError("does not hold what a run writes", where=str(path), remedy="Copy it again from the run")
    return ModelFacts(**{name: values[name] for name in names})


def _plausible(values: Mapping[str, Any]) -> bool:
    counts = all(type(values[name]) is int and values[name] > 0 for name in ("channels", "channels_in_file"))
    flags = all(type(values[name]) is bool for name in ("volumes", "knows_spacing"))
    axis = values["axis"]
    return counts and flags and (axis is None or (type(axis) is int and 0 <= axis <= 2))


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
        "how files are read": {key: value for key, value in asdict(member.options).items() if key != "channels"},
    }
