"""The keys below `inference`: how a trained network is applied."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from pipeline.config.fields import Bool, Count, Float, Fraction, Kind, Section, Text, is_whole

TAGS = ("<a mapping>", "<a word>")  # of a key that takes either: pydantic puts them into the paths of its errors


class PostprocessRule(Section):
    """What is kept of one class, case by case; see pipeline.inference.postprocess."""

    largest: Bool = False
    """Keep the largest connected part."""
    keep: Count | None = None
    """Keep so many parts, the largest."""
    min_voxels: Count | None = None
    """Remove smaller parts."""
    min_mm3: Annotated[Float, Field(gt=0)] | None = None
    """Remove smaller parts; of volumes alone, with a spacing that is known."""
    fill_holes: Bool = False
    """Background that the class encloses becomes the class."""

    @model_validator(mode="after")
    def _one_number_of_parts(self) -> PostprocessRule:
        if self.largest and self.keep is not None:
            raise ValueError("'largest' is 'keep: 1': give one of them")
        return self


# Tagged, so that what is wrong with a rule is told of the rule; the tags are no part of a key's path.
Postprocess = Annotated[
    Annotated[dict[Text, PostprocessRule], Tag(TAGS[0])] | Annotated[Literal["auto"], Tag(TAGS[1])],
    Discriminator(lambda value: TAGS[isinstance(value, str)]),
    Kind("mapping of class names to the keys below, or `auto`"),
]


class InferenceSettings(Section):
    """How a trained network is applied."""

    roi_size: tuple[Count, Count] | None = None
    """Height and width of the windows that larger slices are predicted in; `null`: each slice whole."""
    overlap: Fraction = 0.5
    """Of neighbouring windows."""
    blend: Literal["gaussian", "constant"] = "gaussian"
    """How overlapping windows are weighed."""
    batch_size: Count = 32
    """Slices, or windows, that are predicted together."""
    mirror: Annotated[tuple[int, ...] | Literal["trained"], Kind("list of 0 (rows) and 1 (columns), or `trained`")] = ()
    """Axes of a slice that are mirrored: the probabilities of all mirror images are averaged, at 2 or 4 times the cost.
    Only axes that `transforms.augment` mirrored; `trained`: all of those."""
    postprocess: Postprocess = Field(default={})
    """What is removed from a class, or filled in it, once a case is predicted. `auto`: what helps on the validation
    cases, see below."""

    @field_validator("mirror", mode="before")
    @classmethod
    def _axes_or_trained(cls, value: Any) -> Any:
        if value == "trained":
            return value
        if isinstance(value, (list, tuple)) and all(is_whole(axis) and axis in (0, 1) for axis in value):
            return tuple(sorted(set(value)))
        raise ValueError(f"got {value!r:.60}, expected a list of 0 (rows) and 1 (columns), or trained")
