"""The same image on two sides of a split, under two names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.config.load import Config
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.splits import Split
from pipeline.errors import DataError, raise_all


def thumbnail(array: np.ndarray) -> np.ndarray:
    """An image made small."""
    return np.zeros(0, dtype=np.float32)


def repeated_images(config: Config, split: Split, facts: Sequence[CaseFacts]) -> list[str]:
    """The same image on two sides of a split, under two names; blank images, which are all alike, do not count.

    Returns
    -------
    list of str
        What was found, when ``splits.allow_leakage`` is true.

    Raises
    ------
    DataError, Faults
        When it is not.
    """
    digest = {fact.case: fact.digest for fact in facts if fact.low < fact.high}
    side_of: dict[bytes, tuple[str, Case]] = {}
    found = []
    for side, cases in split.sides().items():
        for case in cases:
            if case.id not in digest:
                continue
            other = side_of.setdefault(digest[case.id], (side, case))
            if other[0] != side:
                found.append(f"the same image on two sides: {other[1].image} ({other[0]}) and {case.image} ({side})")
    if not config.settings.splits.allow_leakage:
        raise_all(DataError(what, where=config.where("splits"),
                            remedy="Remove one of them; splits.allow_leakage: true says so in the report")
                  for what in found)  # fmt: skip
    return found
