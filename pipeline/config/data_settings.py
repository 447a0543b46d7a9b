"""The keys below `data`: where images and masks are, and how they are read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from pipeline.config.fields import (
    Bool,
    Count,
    Float,
    Int,
    Kind,
    PathFromConfig,
    PathFromRoot,
    PathText,
    Pattern,
    Section,
    Text,
    identity_pattern,
    is_whole,
    safe_name,
)

PLANES = ("sagittal", "coronal", "axial")  # what the axes of a volume in RAS orientation are cut into


class PhantomSettings(Section):
    """How large a phantom is, where the data are synthetic; see pipeline.data.phantom.writing."""

    train: Count = 8
    """Patients that train."""
    validate_: Annotated[Count, Field(alias="validate")] = 2
    """Patients that choose the checkpoint."""
    test: Count = 3
    """Patients that are only reported."""
    weeks: Count = 1
    """Scans of each."""
    slices: Annotated[Count, Field(le=60)] = 60
    """Slices of each scan, evenly spread."""
    seed: Annotated[Int, Field(ge=0)] = 0
    """What the anatomy follows from."""


class DataSettings(Section):
    """Where the images and masks are, and how they are read."""

    layout: Literal["hipmri", "nnunet", "decathlon", "folders", "table"]
    """How files are named and paired, see [layouts.md](layouts.md)."""
    root: PathText = "."
    """The dataset's folder."""
    images: PathFromRoot = "images"
    """Layout `folders`: where the images are."""
    labels: PathFromRoot = "labels"
    """Layout `folders`: where the masks are, named as the images."""
    table: PathFromRoot = "cases.csv"
    """Layout `table`: a CSV file with a row a case."""
    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=255)]
    """Names of the values 0, 1, 2 ... in the masks; the first is the background."""
    patient: Pattern | None = None
    """Its first group is the patient in a case's name (its path below `data.images`, without the suffix, in `folders`).
    A patient never crosses a split. `null`: as the layout says, else each file is a patient."""
    scan: Pattern | None = None
    """Its first group is the scan in a case's name: 2D slices of one scan are counted together, and are neighbours."""
    stand_in: PathFromConfig | None = None
    """A config that runs in its place, loudly, where the default root is missing."""
    phantom: PhantomSettings | None = None
    """Synthetic data, written to `data.root` on the first run (layout `hipmri`): the keys below."""
    fold: Annotated[int | Literal["all"], Kind("whole number, 0 or more, or `all`")] = 0
    """Of `splits.kind: folds` or `file`: the fold to run, from 0, or all of them."""
    axis: Annotated[
        int | Literal["sagittal", "coronal", "axial"] | None, Kind("0, 1, 2, `sagittal`, `coronal` or `axial`")
    ] = None
    """The axis of a volume that is cut into slices. `null`: the one with the largest spacing, the last of equals."""
    views: Annotated[
        tuple[int | Literal["sagittal", "coronal", "axial"], ...] | None,
        Kind("list of 0, 1, 2, `sagittal`, `coronal` or `axial`"),
    ] = None
    """Volumes are cut along each of these axes, instead of along `data.axis`: one network is trained on the slices of
    all views, and a volume's probabilities are the mean over its views. The figures per slice are those of the first
    view."""
    mirrored: Bool = False
    """Each volume is seen in a mirror as well, left and right exchanged: the mirror images are trained on, and the
    probabilities of both are averaged. In every view, and twice the slices. Not for classes that have a side."""
    orientation: Literal["ras", "file"] = "ras"
    """Whether volumes are turned to right, anterior, superior axes first, or left as they are stored. Masks are written
    in the file's own orientation."""
    spacing_mm: Annotated[tuple[Annotated[Float, Field(gt=0)], ...], Field(min_length=2, max_length=3)] | None = None
    """The spacing in mm, where the files do not say it rightly."""
    context: Annotated[Int, Field(ge=0, le=8)] = 0
    """Neighbouring slices on each side, as further channels."""
    cache: Literal["ram", "disk", "none"] = "ram"
    """Where prepared slices are kept: in memory, in a folder that runs share, or nowhere."""
    cache_folder: PathText = "cache"
    """The folder of `data.cache: disk`."""
    label_map: Annotated[dict[Int, Annotated[Int, Field(ge=0)]] | None, Kind("mapping of whole numbers")] = None
    """Values in the masks to indices of `data.classes`, such as `{4: 1}`; others stay."""
    nonfinite: Literal["refuse", "zero"] = "refuse"
    """What is done about NaN and infinite voxels of images; `zero` replaces and tells them. In masks they are
    refused."""
    ignore_affine: Bool = False
    """Take no spacing from the files: distances are then in pixels."""
    affine_tolerance: Annotated[Float, Field(ge=0)] = 1e-3
    """By how much the affines of an image and its mask may differ, in mm."""
    max_voxels: Count = 536_870_912
    """A file that declares more is refused before memory is taken."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for name in classes:
            safe_name(name)
        repeated = sorted({name for name in classes if classes.count(name) > 1})
        if repeated:
            raise ValueError(f"classes named twice: {', '.join(repeated)}")
        return classes

    @field_validator("fold", mode="before")
    @classmethod
    def _fold_or_all(cls, value: Any) -> Any:
        if value == "all" or (is_whole(value) and value >= 0):
            return value
        raise ValueError(f"got {value!r:.60}, expected the number of a fold, from 0, or all")

    @field_validator("axis", mode="before")
    @classmethod
    def _axis_or_plane(cls, value: Any) -> Any:
        if value is None or value in PLANES or (is_whole(value) and 0 <= value <= 2):
            return value
        raise ValueError(f"got {value!r:.60}, expected 0, 1, 2 or one of {', '.join(PLANES)}")

    @field_validator("views", mode="before")
    @classmethod
    def _axes_or_planes(cls, value: Any) -> Any:
        if value is None:
            return value
        views = list(value) if isinstance(value, (list, tuple)) else []
        if not views or any(cls._axis_or_plane(view) is None for view in views):
            raise ValueError(f"got {value!r:.60}, expected a list of 0, 1, 2 or {', '.join(PLANES)}")
        numbers = [PLANES.index(view) if view in PLANES else view for view in views]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"got {value!r:.60}, which names a view twice")
        return tuple(views)

    @field_validator("patient", "scan")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        return identity_pattern(value)

    @field_validator("label_map", mode="before")
    @classmethod
    def _whole_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        # YAML's keys are texts here; '01' and '1' would be one key, so only the plain form counts as a number.
        return {
            int(key) if re.fullmatch("0|-?[1-9][0-9]{0,17}", str(key)) else key: item for key, item in value.items()
        }
