"""The cells of an ablation before any is run: their configs, checked, and the folder that they go into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.commands.dataset import Dataset, open_dataset
from pipeline.config.grid import Axis, Cell
from pipeline.config.load import Config, load_config
from pipeline.config.resolved import changed_keys, resolved_text
from pipeline.data.layouts.text_files import read_json
from pipeline.data.splitting.splits import split_folds
from pipeline.errors import ConfigError, DataError, Fault, RunError, raise_all
from pipeline.evaluation.ablation_cells import has_validation
from pipeline.run_content import is_unborn
from pipeline.runs import next_numbered, write_json

__all__ = ["GRID", "PlannedCell", "checked_cells", "checked_configs", "grid_folder", "is_done", "is_trained",
           "kept_cells", "strange_folders", "write_grid"]  # fmt: skip

GRID = "grid.json"
_FORMAT = 1
_NAMED = 3  # cells that a fault names at most
T = TypeVar("T")


@dataclass(frozen=True)
class PlannedCell:
    """A cell whose config was found right.

    Attributes
    ----------
    cell
        Of the grid.
    config_text
        What its run will write as ``config.yaml``.
    dataset_name
        Of its run, with PHANTOM in it when the images are synthetic.
    project_root
        Where ``runs/`` is.
    budget
        ``training.budget``, where that is a time.
    """

    cell: Cell
    config_text: str
    dataset_name: str
    project_root: Path
    budget: str | None


def checked_configs(path: Path, cells: Sequence[Cell]) -> list[Config]:
    """The config of every cell; nothing else is read, and nothing made.

    Raises
    ------
    Fault, Faults
        What is wrong with any of them, each fault once, with the cells that it is of where it is not of all.
    """
    return _each(cells, lambda cell: load_config(path, cell.overrides))


def checked_cells(path: Path, cells: Sequence[Cell], *, allow_stand_in: bool) -> list[PlannedCell]:
    """Load every cell's config, then find its dataset and a split that is given; no image is read.

    Raises
    ------
    Fault, Faults
        As `checked_configs`; and when two cells would be the same run.
    """
    checked_configs(path, cells)
    planned = _each(cells, lambda cell: _planned(path, cell, allow_stand_in))
    seen: dict[str, str] = {}
    raise_all(
        ConfigError(f"{seen[one.config_text]} and {one.cell.name} are the same run", where="--vary",
                    remedy="Leave out the value that changes nothing")
        for one in planned if seen.setdefault(one.config_text, one.cell.name) != one.cell.name
    )  # fmt: skip
    return planned


def _planned(path: Path, cell: Cell, allow_stand_in: bool) -> PlannedCell:
    dataset: Dataset = open_dataset(path, cell.overrides, allow_stand_in=allow_stand_in)
    split_folds(dataset.config, dataset.cases)
    budget = dataset.config.settings.training.budget
    timed = budget if budget and "steps" not in budget else None
    return PlannedCell(cell, resolved_text(dataset.config), dataset.name, dataset.config.project_root, timed)


def _each(cells: Sequence[Cell], make: Callable[[Cell], T]) -> list[T]:
    """Make something of every cell, and tell the faults of all of them together."""
    made: list[T] = []
    found: dict[str, tuple[Fault, list[str]]] = {}
    for cell in cells:
        try:
            made.append(make(cell))
        except Fault as fault:
            for one in getattr(fault, "faults", (fault,)):
                found.setdefault(str(one), (one, []))[1].append(cell.name)
    raise_all(_told(fault, names, len(cells)) for fault, names in found.values())
    return made


def _told(fault: Fault, names: Sequence[str], count: int) -> Fault:
    if len(names) == count:
        return fault
    return type(fault)(f"{fault.what} (in {_listed(names)})", where=fault.where, remedy=fault.remedy)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{'; '.join(names[:_NAMED])}{more}"


def grid_folder(planned: Sequence[PlannedCell], out: Path | None, *, resume: bool) -> Path:
    """The folder of the ablation: ``runs/<name>-ablation/<number>``, or what the user asked for.

    Raises
    ------
    ConfigError
        When a new one holds files already, or there is none to resume.
    RunError
        When it cannot be written.
    """
    parent = planned[0].project_root / "runs" / f"{planned[0].dataset_name}-ablation"
    if resume:
        folder = (parent / "latest" if out is None else out).resolve()
        if not (folder / GRID).is_file() and not (folder.is_dir() and is_unborn(folder)):
            raise ConfigError("no ablation to resume here", where=str(folder), remedy="Start one without --resume")
        return folder
    try:
        if out is None:
            return next_numbered(parent)
        out.mkdir(parents=True, exist_ok=True)
        if not is_unborn(out):
            raise ConfigError("the folder of --out is not empty", where=str(out),
                              remedy="Name a new one, or go on with the ablation in it by --resume")  # fmt: skip
        return out.resolve()
    except OSError as error:
        raise RunError(f"the ablation's folder cannot be written ({error.strerror})", where=str(error.filename or out),
                       remedy="Name a folder that you may write to with --out DIR") from error  # fmt: skip


def kept_cells(planned: Sequence[PlannedCell], folder: Path) -> None:
    """Hold what is in the folder against the grid and the configs of today.

    Raises
    ------
    ConfigError, Faults
        For every cell that was begun with another config, or with one that this version cannot load, and for those
        that the tables would lose.
    DataError
        Where ``grid.json`` cannot be read.
    """
    faults: list[Fault] = list(_lost_cells(planned, folder))
    for one in planned:
        known = folder / one.cell.name / "config.yaml"
        try:
            changed = changed_keys(known, one.config_text) if known.is_file() else []
        except ConfigError as fault:
            faults.append(fault)
            continue
        if changed:
            faults.append(ConfigError(
                f"the config of this cell is not the one that it was started with: {', '.join(changed)}",
                where=str(known),
                remedy="Resume with the same file and --set, or remove the cell's folder to have it run anew",
            ))  # fmt: skip
    raise_all(faults)


def _lost_cells(planned: Sequence[PlannedCell], folder: Path) -> Iterator[ConfigError]:
    """A fault where runs of the ablation are no cells of this grid: its tables, written anew, would lack them."""
    path, remedy = folder / GRID, "Put it back from a copy"
    before = read_json(path, remedy).get("cells") if path.is_file() else {}
    if not isinstance(before, dict):
        raise DataError("does not say which runs there are", where=str(path), remedy=remedy)
    lost = [name for name in strange_folders(planned, folder) if name in before]
    if lost:
        yield ConfigError(
            f"these runs of the ablation are not in this grid: {_listed(lost)}", where=str(path),
            remedy="Give --vary their values as well, or remove their folders, to have the tables without them",
        )  # fmt: skip


def is_trained(folder: Path) -> bool:
    """Whether the run in a folder is finished."""
    return (folder / "report.html").is_file()


def is_done(folder: Path) -> bool:
    """Whether nothing is left to be done for a cell."""
    return is_trained(folder) and has_validation(folder)


def strange_folders(planned: Iterable[PlannedCell], folder: Path) -> list[str]:
    """Runs in the folder that are no cell of this grid: of values that were varied before."""
    known = {one.cell.name for one in planned}
    return sorted(path.parent.name for path in folder.glob("*/config.yaml") if path.parent.name not in known)


def write_grid(
    folder: Path, config: str, axes: Sequence[Axis], overrides: Sequence[str], planned: Sequence[PlannedCell]
) -> None:
    """Write ``grid.json``: what was asked for, and what each cell's folder stands for."""
    write_json(folder / GRID, {
        "format": _FORMAT, "config": config, "set": list(overrides),
        "vary": {axis.key: list(axis.values) for axis in axes},
        "cells": {one.cell.name: dict(one.cell.choices) for one in planned},
    })  # fmt: skip
