"""The views of a dataset: the axes along which each volume is cut into slices, to be trained on and averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.config.load import Config
from pipeline.config.schema import PLANES
from pipeline.data.facts import CaseFacts
from pipeline.data.reading import each_view, read_options, view_axes
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
    """The options of the reader, one a view: one, where neither ``data.views`` nor ``data.mirrored`` is set."""
    return each_view(config.settings, read_options(config, channels_in_file))


def views_of(config: Config, facts: Mapping[str, CaseFacts], channels_in_file: int = 1) -> tuple[View, ...]:
    """The views of a dataset whose files were read, the first of them being that of the facts."""
    turned, chosen = config.settings.data.orientation == "ras", view_axes(config.settings)
    every = view_options(config, channels_in_file)
    return tuple(
        View(_name(one, turned=turned) if len(every) > 1 else "", one,
             _cut(facts, one.axis, turned=turned) if chosen else facts)
        for one in every
    )  # fmt: skip


def _name(options: ReadOptions, *, turned: bool) -> str:
    plane = "" if options.axis is None else PLANES[options.axis] if turned else f"axis {options.axis}"
    return ", ".join(filter(None, [plane, "mirrored" if options.mirrored else ""])) or "as it is"


def _cut(facts: Mapping[str, CaseFacts], axis: int | None, *, turned: bool) -> Mapping[str, CaseFacts]:
    return facts if axis is None else {name: cut_along(fact, axis, turned=turned) for name, fact in facts.items()}


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
    """Faults where the data cannot be cut along several axes, or not be mirrored."""
    data = config.settings.data
    flat = [name for name, fact in facts.items() if fact.flat or min(fact.shape) == 1]
    asked = {"views": bool(data.views), "mirrored": data.mirrored}
    for key in (key for key, wanted in asked.items() if wanted and flat):
        remedy = "Set data.views: null" if key == "views" else "Set data.mirrored: false, and use RandFlipBatchd"
        yield DataError(
            f"{len(flat)} of the files are single slices, which have one view (such as {flat[0]})",
            where=config.where("data", key), remedy=remedy,
        )  # fmt: skip
    unknown = [name for name, fact in facts.items() if not fact.flat and not fact.orientation]
    if data.mirrored and (unknown or data.orientation == "file"):
        yield DataError(
            "which axis of the volumes runs from left to right is not known, for they are not turned by their affines",
            where=config.where("data", "mirrored"),
            remedy="Set data.mirrored: false; or data.orientation: ras, without data.ignore_affine and data.spacing_mm",
        )  # fmt: skip
