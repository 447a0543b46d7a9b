"""What a folder of images is predicted with, and how; and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.data.caching.digests import digest_of
from pipeline.inference.folder import Images
from pipeline.inference.trained import Model
from pipeline.inference.writing import Form

__all__ = ["Done", "Job"]

_ROW_FORMAT = 2  # of review.csv: cases whose rows are of another are reviewed again


@dataclass(frozen=True)
class Job:
    """A folder of images to be predicted.

    Attributes
    ----------
    model
        To predict with.
    digest
        Of the model and of how it is used.
    images
        Of the whole folder.
    masks
        The folder of the masks; it is there, and can be written.
    shard
        Which part of the folder is this process's, and of how many.
    form
        How probabilities are kept; None for none.
    mirror
        The axes of a slice (0 rows, 1 columns) whose mirror images are averaged.
    axis
        The plane that volumes are cut along, where the run does not say.
    device, batch_size, threads
        Instead of the run's own.
    replace
        Whether masks that are not this model's may be replaced.
    review
        Whether to say how far each prediction can be trusted.
    """

    model: Model
    digest: str
    images: Images
    masks: Path
    shard: tuple[int, int] = (0, 1)
    form: Form | None = None
    mirror: tuple[int, ...] = ()
    axis: int | None = None
    device: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    replace: bool = False
    review: bool = False

    @cached_property
    def review_mark(self) -> str:
        """Changes with what a row of review.csv holds and is held against."""
        ranges = self.model.ranges
        plain = None if ranges is None else {kind: one.as_plain() for kind, one in ranges.items()}
        return digest_of([_ROW_FORMAT, plain, self.model.facts.knows_spacing])


@dataclass(frozen=True)
class Done:
    """What a process predicted: cases, their slices, the seconds from the first case to the last mask, and on what."""

    cases: int = 0
    slices: int = 0
    seconds: float = 0.0
    device: str = "none"
