"""How a config wants its files to be read."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.load import Config
from pipeline.config.schema import PLANES, Settings
from transforms.nifti import ReadOptions


def read_options(config: Config, channels_in_file: int = 1) -> ReadOptions:
    """The options of the reader; `channels_in_file` as the cases say, see `pipeline.data.cases.Case`.

    Of several views they are those of the first; see `pipeline.data.views` for the others.
    """
    data = config.settings.data
    return ReadOptions(
        axis=axes[0] if (axes := view_axes(config.settings)) else _number(data.axis),
        reorient=data.orientation == "ras",
        channels=channels_in_file,
        max_voxels=data.max_voxels,
        nonfinite=data.nonfinite,
        ignore_affine=data.ignore_affine,
        spacing_mm=data.spacing_mm,
        label_map=tuple(sorted((data.label_map or {}).items())),
    )


def each_view(settings: Settings, options: ReadOptions) -> tuple[ReadOptions, ...]:
    """The options of every view, from those of one: along each axis of ``data.views``, then all of them mirrored."""
    seen = tuple(replace(options, axis=axis) for axis in view_axes(settings)) or (options,)
    return (*seen, *(replace(one, mirrored=True) for one in seen)) if settings.data.mirrored else seen


def view_axes(settings: Settings) -> tuple[int, ...]:
    """The axes of ``data.views`` as numbers, in its order; none where it is not set."""
    return tuple(axis for view in settings.data.views or () if (axis := _number(view)) is not None)


def _number(axis: int | str | None) -> int | None:
    return PLANES.index(axis) if isinstance(axis, str) else axis
