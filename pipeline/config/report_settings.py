"""What a config may say of what is shown of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import field_validator

from pipeline.config.fields import Kind, Section, Text
from pipeline.config.suggestions import nearest

__all__ = ["ReportSettings", "TrackerName"]

TrackerName = Literal["tensorboard", "mlflow"]
_KNOWN = get_args(TrackerName)


class ReportSettings(Section):
    """What the report shows, and who else is told."""

    title: Text | None = None
    """`null`: the run's name."""
    case: Text | None = None
    """The test case to show first; `null`: the one that shows most classes."""
    tracker: Annotated[
        Literal["none", "tensorboard", "mlflow"] | tuple[TrackerName, ...],
        Kind("`none`, `tensorboard`, `mlflow`, or a list of both"),
    ] = "none"
    """What is told the figures of each epoch and of the test as well; needs the extra `tracking`, see
    [training.md](training.md)."""

    @field_validator("tracker", mode="before")
    @classmethod
    def _known_trackers(cls, value: Any) -> Any:
        if value == "none" or value in _KNOWN:
            return value
        named = list(value) if isinstance(value, (list, tuple)) else []
        if not named or any(name not in _KNOWN for name in named):
            strange = next((name for name in named or [value] if name not in _KNOWN), value)
            meant = nearest(strange, _KNOWN) if isinstance(strange, str) else None
            more = f"; the nearest known name is {meant!r}" if meant else ""
            raise ValueError(f"got {value!r:.60}, expected none, {', '.join(_KNOWN)}, or a list of them{more}")
        if len(set(named)) < len(named):
            raise ValueError(f"got {value!r:.60}, which names a tracker twice")
        return tuple(named)

    @property
    def trackers(self) -> tuple[TrackerName, ...]:
        """The trackers by their names; none of them where none is wanted."""
        if self.tracker == "none":
            return ()
        return (self.tracker,) if isinstance(self.tracker, str) else self.tracker
