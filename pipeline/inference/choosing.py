"""Post-processing that is chosen: on validation cases, class by class, where it helps there by a margin."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.schema import PostprocessRule
from pipeline.inference.postprocess import postprocess

__all__ = ["CANDIDATES", "MARGIN", "Choice", "Choices", "choice_text", "choices_from_plain", "choices_plain",
           "choose_postprocess", "rules_of", "voted"]  # fmt: skip

CANDIDATES: dict[str, PostprocessRule] = {  # the simplest first: each further one has to beat those before it
    "none": PostprocessRule(),
    "largest": PostprocessRule(largest=True),
    "fill_holes": PostprocessRule(fill_holes=True),
    "largest, fill_holes": PostprocessRule(largest=True, fill_holes=True),
}
MARGIN = 0.001  # of mean Dice
_FEWEST = 2  # scans: one alone tells no spread


@dataclass(frozen=True)
class Choice:
    """What was found for one class.

    Attributes
    ----------
    candidate
        Which of `CANDIDATES` was chosen.
    scans
        The validation scans whose reference shows the class; the others have no say.
    dice
        The mean Dice over them under each candidate; empty without scans.
    """

    candidate: str
    scans: int
    dice: Mapping[str, float]


Choices = Mapping[str, Choice]  # by class, without the background


def choose_postprocess(
    pairs: Iterable[tuple[Hashable, np.ndarray, np.ndarray]], classes: Sequence[str]
) -> dict[str, Choice]:
    """What is best for each class by itself, as far as it can be told.

    A candidate is taken where the mean over scans of what it adds to the Dice of the best before it, less the standard
    error of that mean, is more than `MARGIN` (the one-standard-error rule of Breiman et al., "Classification and
    Regression Trees", 1984, applied to differences within scans). So what helps one scan alone is not taken. nnU-Net
    (Isensee et al., Nature Methods 18, 2021) compares as well, keeping the largest part or not, without a margin.

    Parameters
    ----------
    pairs
        (scan, prediction, reference) of validation cases, masks of one shape; slices of one scan are pooled.
    classes
        All names, that of the background first.
    """
    counts: dict[Hashable, np.ndarray] = {}  # by scan, (candidates, 3, K)
    for scan, prediction, reference in pairs:
        counts[scan] = counts.get(scan, 0) + _counted(prediction, reference, len(classes))
    return {name: _choice([one[:, :, index] for one in counts.values()]) for index, name in enumerate(classes) if index}


def _counted(prediction: np.ndarray, reference: np.ndarray, classes: int) -> np.ndarray:
    """(candidates, 3, K) voxels of each class in both masks, in the prediction and in the reference."""
    found = np.zeros((len(CANDIDATES), 3, classes), dtype=np.int64)
    found[:, 2] = np.bincount(reference.ravel(), minlength=classes)
    for index in set(np.unique(prediction).tolist()) - {0}:  # nothing is chosen for the background
        wanted = reference == index
        for place, rule in enumerate(CANDIDATES.values()):
            mask = postprocess(prediction, {index: rule}) == index
            found[place, :2, index] = (mask & wanted).sum(), mask.sum()
    return found


def _choice(counts: Sequence[np.ndarray]) -> Choice:
    """For one class, from the counts (candidates, 3) of each scan."""
    shown = [one for one in counts if one[0, 2] > 0]
    if not shown:
        return Choice("none", 0, {})
    true, predicted, wanted = np.moveaxis(np.stack(shown), 2, 0)
    dice = dict(zip(CANDIDATES, (2 * true / (predicted + wanted)).T, strict=True))
    best = "none"
    for name, values in dice.items():
        if _helps(values - dice[best]):
            best = name
    return Choice(best, len(shown), {name: float(values.mean()) for name, values in dice.items()})


def _helps(gains: np.ndarray) -> bool:
    """Whether what is gained in each scan is more than the margin, as far as so many scans can tell."""
    if len(gains) < _FEWEST:
        return False
    return bool(gains.mean() - gains.std(ddof=1) / math.sqrt(len(gains)) > MARGIN)


def rules_of(choices: Choices) -> dict[str, PostprocessRule]:
    """The rules that were chosen, by class, as ``inference.postprocess`` has them; none for the others."""
    return {name: CANDIDATES[one.candidate] for name, one in choices.items() if one.candidate != "none"}


def voted(members: Sequence[Choices]) -> dict[str, PostprocessRule]:
    """What more than half of the members chose, for each class and each part of a rule by itself.

    Parameters
    ----------
    members
        At least one; of the same classes.
    """
    found: dict[str, PostprocessRule] = {}
    for name in members[0]:
        rules = [CANDIDATES[one[name].candidate] for one in members]
        rule = PostprocessRule(
            largest=2 * sum(one.largest for one in rules) > len(rules),
            fill_holes=2 * sum(one.fill_holes for one in rules) > len(rules),
        )
        found |= {name: rule} if rule != CANDIDATES["none"] else {}
    return found


def choice_text(name: str, choice: Choice) -> str:
    """A class's choice and the figures behind it, in a line."""
    if not choice.scans:
        return f"{name}: none (no validation scan shows it)"
    figures = ", ".join(f"{candidate} {dice:.4f}" for candidate, dice in choice.dice.items())
    few = "; one scan is too few to choose by" if choice.scans < _FEWEST else ""
    return f"{name}: {choice.candidate} (mean Dice of {choice.scans} validation scans: {figures}{few})"


def choices_plain(choices: Choices) -> dict[str, Any]:
    """What JSON can hold, which `choices_from_plain` takes."""
    return {name: {"chosen": one.candidate, "scans": one.scans, "dice": dict(one.dice)}
            for name, one in choices.items()}  # fmt: skip


def choices_from_plain(values: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Choice]:
    """What `choices_plain` gave of such classes.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        When it is something else.
    """
    found = {name: Choice(str(one["chosen"]), int(one["scans"]), {str(key): float(value) for key, value in
                          one["dice"].items()}) for name, one in values.items()}  # fmt: skip
    if list(found) != list(classes[1:]) or any(one.candidate not in CANDIDATES for one in found.values()):
        raise ValueError("not the classes of the config, or no known candidate")
    return found
