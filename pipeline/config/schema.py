"""What a config may say: every key, its type, its range and its default. Frozen once it is validated."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from pipeline.config.report_settings import ReportSettings
from pipeline.config.safe_names import UNSAFE_NAME
from pipeline.config.section import Bool, Count, Float, Fraction, Int, Section, Target, Text

PLANES = ("sagittal", "coronal", "axial")  # what the axes of a volume in RAS orientation are cut into
LONGEST_NAME = 100  # of the 255 bytes that a file's name may have
TAGS = ("<a mapping>", "<a word>")  # of a key that takes either: pydantic puts them into the paths of its errors


def _safe_name(name: str) -> str:
    if UNSAFE_NAME.search(name) or ".." in name:
        raise ValueError(
            f"{name!r} becomes part of file names: no path separator, no '..', no dot or space at its start"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{name[:20]!r}... becomes part of file names: no more than {LONGEST_NAME} bytes")
    return name


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            compiled = re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        if compiled.groups < 1:
            raise ValueError("needs one group in parentheses, which gives the identity, such as 'case_(\\d+)'")
    return value


class PhantomSettings(Section):
    """How large a phantom is, where the data are synthetic; see pipeline.data.phantom.writing."""

    train: Count = 8
    validate_: Annotated[Count, Field(alias="validate")] = 2
    test: Count = 3
    weeks: Count = 1
    slices: Annotated[Count, Field(le=60)] = 60
    seed: Annotated[Int, Field(ge=0)] = 0


class DataSettings(Section):
    """Where the images and masks are, and how they are read."""

    layout: Literal["hipmri", "nnunet", "decathlon", "folders", "table"]
    root: Text = "."
    images: Text = "images"
    labels: Text = "labels"
    table: Text = "cases.csv"
    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=255)]
    patient: Text | None = None
    scan: Text | None = None
    stand_in: Text | None = None
    phantom: PhantomSettings | None = None
    fold: int | Literal["all"] = 0
    axis: int | Literal["sagittal", "coronal", "axial"] | None = None
    views: tuple[int | Literal["sagittal", "coronal", "axial"], ...] | None = None
    orientation: Literal["ras", "file"] = "ras"
    spacing_mm: Annotated[tuple[Annotated[Float, Field(gt=0)], ...], Field(min_length=2, max_length=3)] | None = None
    context: Annotated[Int, Field(ge=0, le=8)] = 0
    cache: Literal["ram", "disk", "none"] = "ram"
    cache_folder: Text = "cache"
    label_map: dict[Int, Annotated[Int, Field(ge=0)]] | None = None
    nonfinite: Literal["refuse", "zero"] = "refuse"
    ignore_affine: Bool = False
    affine_tolerance: Annotated[Float, Field(ge=0)] = 1e-3
    max_voxels: Count = 536_870_912

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for name in classes:
            _safe_name(name)
        repeated = sorted({name for name in classes if classes.count(name) > 1})
        if repeated:
            raise ValueError(f"classes named twice: {', '.join(repeated)}")
        return classes

    @field_validator("fold", mode="before")
    @classmethod
    def _fold_or_all(cls, value: Any) -> Any:
        if value == "all" or (_is_whole(value) and value >= 0):
            return value
        raise ValueError(f"got {value!r:.60}, expected the number of a fold, from 0, or all")

    @field_validator("axis", mode="before")
    @classmethod
    def _axis_or_plane(cls, value: Any) -> Any:
        if value is None or value in PLANES or (_is_whole(value) and 0 <= value <= 2):
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
        return _pattern(value)

    @field_validator("label_map", mode="before")
    @classmethod
    def _whole_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        # YAML's keys are texts here; '01' and '1' would be one key, so only the plain form counts as a number.
        return {
            int(key) if re.fullmatch("0|-?[1-9][0-9]{0,17}", str(key)) else key: item for key, item in value.items()
        }


class SplitSettings(Section):
    """Which patients train, which choose the checkpoint, and which are only reported."""

    kind: Literal["layout", "holdout", "folds", "file"] = "layout"
    file: Text | None = None
    folds: Annotated[Int, Field(ge=2, le=100)] = 5
    validation: Fraction = 0.1
    test: Fraction = 0.2
    allow_leakage: Bool = False

    @model_validator(mode="after")
    def _consistent(self) -> SplitSettings:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("'kind: file' and 'file: splits_final.json' go together")
        if self.kind != "layout" and self.validation == 0:
            raise ValueError("'validation' must be above 0: its patients choose the checkpoint")
        if self.kind == "holdout" and self.validation + self.test >= 0.9:
            raise ValueError("'validation' and 'test' leave less than a tenth of the patients for training")
        return self


class ChainSettings(Section):
    """The transform chains: `prepare` is deterministic, cached and inverted; `augment` is random."""

    prepare: Annotated[tuple[Target, ...], Field(min_length=1)]
    augment: tuple[Target, ...] = ()


class TrainingSettings(Section):
    """How the network is trained."""

    epochs: Count = 50
    budget: Text | None = None
    batch_size: Count = 16
    learning_rate: Annotated[Float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[Float, Field(ge=0)] = 1e-2
    warmup: Fraction = 0.05
    schedule: Literal["cosine", "polynomial", "constant"] = "cosine"
    ema: Fraction = 0.0
    clip_norm: Annotated[Float, Field(gt=0)] | None = None
    foreground: Annotated[Float, Field(ge=0, le=1)] = 0.0
    validate_every: Count = 1
    patience: Count | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "always", "never"] = "auto"
    checkpoint_minutes: Annotated[Float, Field(gt=0)] = 10.0
    device: Text = "auto"
    threads: Count | None = None

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value):
            raise ValueError(f"got {value!r}, expected auto, cpu, cuda, or one GPU such as cuda:1")
        return value

    @field_validator("budget")
    @classmethod
    def _known_budget(cls, value: str | None) -> str | None:
        if value is not None:
            parse_budget(value)
        return value


def parse_budget(text: str) -> tuple[float | None, int | None]:
    """A training budget as (seconds, steps), one of which is None.

    >>> parse_budget("7min"), parse_budget("90 s"), parse_budget("3000 steps")
    ((420.0, None), (90.0, None), (None, 3000))
    """
    found = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|min|h|steps)\s*", text)
    if found is None or float(found[1]) == 0:
        raise ValueError("a budget is a number above 0 and a unit: '90s', '7min', '2h' or '3000steps'")
    if found[2] == "steps":
        return None, max(1, round(float(found[1])))
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]], None


class PostprocessRule(Section):
    """What is kept of one class, case by case; see pipeline.inference.postprocess."""

    largest: Bool = False
    keep: Count | None = None
    min_voxels: Count | None = None
    min_mm3: Annotated[Float, Field(gt=0)] | None = None
    fill_holes: Bool = False

    @model_validator(mode="after")
    def _one_number_of_parts(self) -> PostprocessRule:
        if self.largest and self.keep is not None:
            raise ValueError("'largest' is 'keep: 1': give one of them")
        return self


# Tagged, so that what is wrong with a rule is told of the rule; the tags are no part of a key's path.
Postprocess = Annotated[
    Annotated[dict[Text, PostprocessRule], Tag(TAGS[0])] | Annotated[Literal["auto"], Tag(TAGS[1])],
    Discriminator(lambda value: TAGS[isinstance(value, str)]),
]


class InferenceSettings(Section):
    """How a trained network is applied."""

    roi_size: tuple[Count, Count] | None = None
    overlap: Fraction = 0.5
    blend: Literal["gaussian", "constant"] = "gaussian"
    batch_size: Count = 32
    mirror: tuple[int, ...] | Literal["trained"] = ()
    postprocess: Postprocess = Field({})

    @field_validator("mirror", mode="before")
    @classmethod
    def _axes_or_trained(cls, value: Any) -> Any:
        if value == "trained":
            return value
        if isinstance(value, (list, tuple)) and all(_is_whole(axis) and axis in (0, 1) for axis in value):
            return tuple(sorted(set(value)))
        raise ValueError(f"got {value!r:.60}, expected a list of 0 (rows) and 1 (columns), or trained")


class EvaluationSettings(Section):
    """How results are counted."""

    resamples: Annotated[Int, Field(ge=100, le=100_000)] = 2000
    confidence: Annotated[Float, Field(gt=0.5, lt=1)] = 0.95
    tolerance_mm: Annotated[Float, Field(ge=0)] = 2.0


class Settings(Section):
    """A whole config, validated."""

    name: Text
    seed: Annotated[Int, Field(ge=0, lt=2**31)] = 0
    plugins: tuple[Text, ...] = ()
    data: DataSettings
    splits: SplitSettings = SplitSettings()
    transforms: ChainSettings
    network: Target
    loss: Target
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str) -> str:
        return _safe_name(name)
