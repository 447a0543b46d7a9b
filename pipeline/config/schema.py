"""What a config may say: every key, its type, its range, its default and what it is for. Frozen once it is validated.

The larger sections lie in modules of their own; this is the door to all of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.data_settings import PLANES, DataSettings, PhantomSettings
from pipeline.config.fields import (
    LONGEST_NAME,
    Bool,
    Float,
    Fraction,
    Int,
    Kind,
    PathFromRoot,
    PathText,
    Section,
    Target,
    Text,
    safe_name,
)
from pipeline.config.inference_settings import TAGS, InferenceSettings, PostprocessRule
from pipeline.config.report_settings import ReportSettings
from pipeline.config.training_settings import TrainingSettings, parse_budget

__all__ = [
    "LONGEST_NAME", "PLANES", "TAGS", "ChainSettings", "DataSettings", "EvaluationSettings", "InferenceSettings",
    "PhantomSettings", "PostprocessRule", "ReportSettings", "Section", "Settings", "SplitSettings", "TrainingSettings",
    "parse_budget",
]  # fmt: skip


class SplitSettings(Section):
    """Which patients train, which choose the checkpoint, and which are only reported."""

    kind: Literal["layout", "holdout", "folds", "file"] = "layout"
    """As the dataset comes; drawn once by patient; cross-validation by patient; an nnU-Net splits file."""
    file: PathFromRoot | None = None
    """Of kind `file`: such as `splits_final.json`."""
    folds: Annotated[Int, Field(ge=2, le=100)] = 5
    """Of kind `folds`: how many."""
    validation: Fraction = 0.1
    """Share of the patients (of a fold's training patients) that choose the checkpoint."""
    test: Fraction = 0.2
    """Of kind `holdout`: share of the patients that are only reported."""
    allow_leakage: Bool = False
    """Let a patient, or the same image, stand on two sides; the report says so."""

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

    prepare: Annotated[tuple[Target, ...], Field(min_length=1), Kind("list of transforms")]
    """Deterministic, from the file to the network's input; run once, cached, and inverted on predictions."""
    augment: Annotated[tuple[Target, ...], Kind("list of transforms")] = ()
    """Random, anew in every epoch."""


class EvaluationSettings(Section):
    """How results are counted."""

    resamples: Annotated[Int, Field(ge=100, le=100_000)] = 2000
    """Of the bootstrap over patients."""
    confidence: Annotated[Float, Field(gt=0.5, lt=1)] = 0.95
    """Of its intervals."""
    tolerance_mm: Annotated[Float, Field(ge=0)] = 2.0
    """Of the surface Dice, in mm (in pixels where the spacing is not known)."""


class Settings(Section):
    """A whole config, validated."""

    name: Text
    """Of the run: results lie in `runs/<name>/<number>`. Part of file names: no path separator."""
    seed: Annotated[Int, Field(ge=0, lt=2**31)] = 0
    """Every random choice follows from it."""
    plugins: tuple[PathText, ...] = ()
    """Python files whose classes `_target_` may name, see below."""
    data: DataSettings
    splits: SplitSettings = SplitSettings()
    transforms: ChainSettings
    network: Annotated[Target, Kind("mapping with `_target_`")]
    """`UNet` (this project's), `monai.networks.nets.NAME`, or a plugin's, and its parameters. Channels and classes are
    filled in from the data."""
    loss: Annotated[Target, Kind("mapping with `_target_`")]
    """A loss of `monai.losses`, with `softmax: true` (`use_softmax` for `FocalLoss`) and `to_onehot_y: true`, or a
    plugin's."""
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str) -> str:
        return safe_name(name)
