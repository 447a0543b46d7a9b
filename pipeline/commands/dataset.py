"""The dataset of a command: made when it is a phantom, replaced when it is missing and a stand-in is allowed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.load import Config, load_config
from pipeline.config.suggestions import suggestion
from pipeline.data.cases import Case
from pipeline.data.layouts import find_cases, hipmri_is_missing, hipmri_missing_message
from pipeline.data.phantom import PhantomSpec, read_phantom_marker, write_phantom
from pipeline.data.splits import Split, split_cases
from pipeline.errors import ConfigError
from pipeline.progress import stage


@dataclass(frozen=True)
class Dataset:
    """What a command works on.

    Attributes
    ----------
    config
        The config in force: the stand-in's, where it stands in.
    name
        Of the run; with PHANTOM in it when the images are synthetic.
    cases, split
        As found and divided.
    synthetic
        Whether the images were made by equations.
    """

    config: Config
    name: str
    cases: tuple[Case, ...]
    split: Split
    synthetic: bool


def open_dataset(path: Path, overrides: Sequence[str], *, allow_stand_in: bool = True) -> Dataset:
    """Load a config and find its dataset; nothing heavy is imported and no image is read.

    Raises
    ------
    Fault
        Everything that is wrong with the config, the folders or the split.
    """
    config = load_config(path, overrides)
    name = config.settings.name
    if _is_missing(config):
        config = _stand_in(config, overrides, allow_stand_in)
        name = f"{name}-PHANTOM"
    root = config.locate(config.settings.data.root)
    _make_phantom(config, root)
    synthetic = root.is_dir() and read_phantom_marker(root) is not None
    cases = find_cases(config)
    split = split_cases(config, cases)
    _check_shown_case(config, split)
    if synthetic and "phantom" not in name.lower():
        name = f"{name}-PHANTOM"
    return Dataset(config, name, tuple(cases), split, synthetic)


def _check_shown_case(config: Config, split: Split) -> None:
    shown, known = config.settings.report.case, [case.id for case in split.test]
    if shown is not None and shown not in known:
        raise ConfigError(f"{shown!r} is no test case", where=config.where("report", "case"),
                          remedy=suggestion(shown, known))  # fmt: skip


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
    print(
        f"{message}\n\n"
        f"*** PHANTOM: until then, {path} runs in its place, on synthetic images made by equations.\n"
        "*** Its figures say nothing about patients. With --no-stand-in, this command stops here.\n",
        file=sys.stderr,
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


def make_phantom(root: Path, spec: PhantomSpec) -> None:
    """Write a phantom with a progress bar; one that is there already is left as it is, and must be the same."""
    if root.is_dir() and read_phantom_marker(root) is not None:
        write_phantom(root, spec)  # compares the settings; nothing is written
        return
    scans = (spec.train + spec.validate + spec.test) * spec.weeks
    workers = min(8, os.cpu_count() or 1)  # each holds a scan in the making, 0.2 GB
    with stage("phantom", scans, "scans") as progress:
        write_phantom(root, spec, workers=workers, progress=lambda done, _: progress.advance(done - progress.done))
