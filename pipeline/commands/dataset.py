"""The dataset of a command: made when it is a phantom, replaced when it is missing and a stand-in is allowed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.load import Config, load_config
from pipeline.data.cases import Case
from pipeline.data.layouts import hipmri_is_missing, hipmri_missing_message, look_for_cases
from pipeline.data.phantom.specs import PhantomSpec, VolumeSpec
from pipeline.data.phantom.volumes import write_volumes
from pipeline.data.phantom.writing import read_phantom_marker, write_phantom
from pipeline.data.reading import read_options
from pipeline.data.splitting.splits import is_given, split_cases
from pipeline.errors import ConfigError, Fault, raise_all
from pipeline.progress import stage
from pipeline.reporting.tracking.choice import check_trackers
from pipeline.terminal import tell
from transforms.nifti import ReadOptions


@dataclass(frozen=True)
class Dataset:
    """What a command works on, before any file of it is read.

    Attributes
    ----------
    config
        The config in force: the stand-in's, where it stands in.
    name
        Of the run; with PHANTOM in it when the images are synthetic.
    cases
        Those that the split makes use of, or all where it is drawn later.
    unused
        Those that a given split leaves out.
    synthetic
        Whether the images were made by equations.
    """

    config: Config
    name: str
    cases: tuple[Case, ...]
    unused: tuple[Case, ...]
    synthetic: bool

    @property
    def options(self) -> ReadOptions:
        """How its files are read."""
        return read_options(self.config, self.cases[0].channels_in_file)

    @property
    def channels(self) -> int:
        """How many channels each image has."""
        return self.cases[0].channels


def open_dataset(path: Path, overrides: Sequence[str], *, allow_stand_in: bool = True) -> Dataset:
    """Load a config and find its dataset; nothing heavy is imported and no image is read.

    Raises
    ------
    Fault
        Everything that is wrong with the config, the folders or a split that is given.
    """
    config = load_config(path, overrides)
    check_trackers(config)  # before a phantom is made
    return find_dataset(config, overrides, allow_stand_in=allow_stand_in)


def find_dataset(
    config: Config, overrides: Sequence[str], *, allow_stand_in: bool = True, faults: list[Fault] | None = None
) -> Dataset:
    """The dataset of a loaded config; see `open_dataset`.

    Parameters
    ----------
    config, overrides
        As loaded, and with what.
    allow_stand_in
        Whether a phantom may stand in where the config allows it.
    faults
        Where a list is given, cases that do not pair and the like are told here, and the others are gone on with; what
        is wrong with a split that is given is for `pipeline.commands.intake.divide` to tell then.
    """
    name = config.settings.name
    if _is_missing(config):
        config = _stand_in(config, overrides, allow_stand_in)
        name = f"{name}-PHANTOM"
    root = config.locate(config.settings.data.root)
    _make_phantom(config, root)
    synthetic = root.is_dir() and read_phantom_marker(root) is not None
    if synthetic and "phantom" not in name.lower():
        name = f"{name}-PHANTOM"
    found, wrong = look_for_cases(config)
    if faults is None:
        raise_all(wrong)
    else:
        faults += wrong
    cases: tuple[Case, ...] = tuple(found)
    unused: tuple[Case, ...] = ()
    try:
        cases, unused = _of_given_split(config, cases)
    except Fault:
        if faults is None:
            raise
    return Dataset(config, name, cases, unused, synthetic)


def _of_given_split(config: Config, cases: tuple[Case, ...]) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The cases that a split which is known beforehand makes use of, and those that it leaves out."""
    if not is_given(config):
        return cases, ()
    split = split_cases(config, cases)
    return tuple(case for members in split.sides().values() for case in members), split.unused


def _is_missing(config: Config) -> bool:
    data = config.settings.data
    makes_it = data.phantom is not None and data.stand_in is None
    return data.layout == "hipmri" and not makes_it and hipmri_is_missing(config.locate(data.root))


def _stand_in(config: Config, overrides: Sequence[str], allowed: bool) -> Config:
    """The config that stands in for missing data, said loudly; never where the user chose the root."""
    data = config.settings.data
    message = hipmri_missing_message(config.locate(data.root))
    if data.stand_in is None or not allowed or ("data", "root") not in config.defaulted:
        raise message
    named_in = Path(config.document.mark(("data", "stand_in")).source)  # it may stand in a config that this one extends
    path = (named_in if named_in.is_file() else config.path).parent / data.stand_in
    if not path.is_file():
        raise ConfigError(f"no such config: {path}", where=config.where("data", "stand_in"))
    tell(
        f"{message}\n\n"
        f"*** PHANTOM: until then, {path} runs in its place, on synthetic images made by equations.\n"
        "*** Its figures say nothing about patients. With --no-stand-in, this command stops here.\n"
    )
    return load_config(path, overrides)


def _make_phantom(config: Config, root: Path) -> None:
    wanted = config.settings.data.phantom
    if wanted is None:
        return
    if config.settings.data.stand_in is not None:
        raise ConfigError(
            "a phantom is described, but this config has data of its own to use", where=config.where("data", "phantom"),
            remedy="Remove it, or use configs/phantom.yaml",
        )  # fmt: skip
    spec = PhantomSpec(
        train=wanted.train, validate=wanted.validate_, test=wanted.test, weeks=wanted.weeks, slices=wanted.slices,
        seed=wanted.seed,
    )  # fmt: skip
    make_phantom(root, spec)


def make_phantom(root: Path, spec: PhantomSpec | VolumeSpec) -> None:
    """Write a phantom with a progress bar; one that is there already is left as it is, and must be the same."""

    def write(workers: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
        if isinstance(spec, VolumeSpec):
            write_volumes(root, spec, workers=workers, progress=progress)
        else:
            write_phantom(root, spec, workers=workers, progress=progress)

    if root.is_dir() and read_phantom_marker(root) is not None:
        write()  # compares the settings; nothing is written
        return
    workers = min(8, os.cpu_count() or 1)  # each holds a scan in the making, 0.2 GB
    with stage("phantom", spec.scans, "scans") as bar:
        write(workers, lambda done, _: bar.advance(done - bar.done))
