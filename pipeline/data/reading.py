"""How a config wants its files to be read."""

from __future__ import annotations

from pipeline.config.load import Config
from pipeline.config.schema import PLANES
from transforms.nifti import ReadOptions


def read_options(config: Config, channels_in_file: int = 1) -> ReadOptions:
    """The options of the reader; `channels_in_file` as the cases say, see `pipeline.data.cases.Case`."""
    data = config.settings.data
    return ReadOptions(
        axis=PLANES.index(data.axis) if isinstance(data.axis, str) else data.axis,
        reorient=data.orientation == "ras",
        channels=channels_in_file,
        max_voxels=data.max_voxels,
        nonfinite=data.nonfinite,
        ignore_affine=data.ignore_affine,
        spacing_mm=data.spacing_mm,
        label_map=tuple(sorted((data.label_map or {}).items())),
    )
