"""The views of a dataset: the axes along which each volume is cut into slices, to be trained on and averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.config.load import Config
from pipeline.config.schema import PLANES
from pipeline.data.facts import CaseFacts
from pipeline.data.reading import read_options, view_axes
from pipeline.errors import DataError
from transforms.nifti import ReadOptions
from transforms.planes import axis_of_file

__all__ = ["View", "faults_of_views", "view_options", "views_of"]


@dataclass(frozen=True)
class View:
    """One way of cutting volumes.

    Attributes
    ----------
    name
        For people; empty where there is only one.
    options
        How files are read.
    facts
        By case id, with the axis and the number of slices of this view.
    """

    name: str
    options: ReadOptions
    facts: Mapping[str, CaseFacts]


def view_options(config: Config, channels_in_file: int = 1) -> tuple[ReadOptions, ...]:
    """The options of the reader, one a view: those of the config where ``data.views`` is not set."""
    options = read_options(config, channels_in_file)
    axes = view_axes(config.settings)
    return tuple(replace(options, axis=axis) for axis in axes) if axes else (options,)


def views_of(config: Config, facts: Mapping[str, CaseFacts], channels_in_file: int = 1) -> tuple[View, ...]:
    """The views of a dataset whose files were read, the first of them being that of the facts."""
    axes = view_axes(config.settings)
    turned = config.settings.data.orientation == "ras"
    every = view_options(config, channels_in_file)
    if not axes:
        return (View("", every[0], facts),)
    return tuple(
        View(PLANES[axis] if turned else f"axis {axis}", options, _cut(facts, axis, turned=turned))
        for axis, options in zip(axes, every, strict=True)
    )


def _cut(facts: Mapping[str, CaseFacts], axis: int, *, turned: bool) -> dict[str, CaseFacts]:
    return {name: cut_along(fact, axis, turned=turned) for name, fact in facts.items()}


def cut_along(fact: CaseFacts, axis: int, *, turned: bool) -> CaseFacts:
    """The facts of a volume as if it were cut along another axis: `axis` and `slices`; the rest stays.

    Parameters
    ----------
    fact
        Of a volume.
    axis
        Of RAS where volumes are turned to it and their affine is believed, else of the file.
    turned
        Whether they are.
    """
    own = axis
    if turned and fact.orientation:
        own = axis_of_file(fact.orientation, axis)
    return replace(fact, axis=own, slices=fact.shape[own])


def faults_of_views(config: Config, facts: Mapping[str, CaseFacts]) -> Iterator[DataError]:
    """A fault where the data cannot be cut along several axes."""
    flat = [name for name, fact in facts.items() if fact.flat or min(fact.shape) == 1]
    if view_axes(config.settings) and flat:
        yield DataError(
            f"{len(flat)} of the files are single slices, which have one view (such as {flat[0]})",
            where=config.where("data", "views"), remedy="Set data.views: null",
        )  # fmt: skip
