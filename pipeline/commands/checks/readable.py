"""What a check goes on with: the cases whose files are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.commands.dataset import Dataset
from pipeline.commands.intake import Intake
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts


@dataclass(frozen=True)
class Readable:
    """The cases of a dataset whose files are right, and how they are divided, where they can be."""

    dataset: Dataset
    facts: Mapping[str, CaseFacts]
    intake: Intake | None
    read_seconds: float

    @property
    def cases(self) -> list[Case]:
        """Those that were read."""
        return [case for case in self.dataset.cases if case.id in self.facts]
