"""What a comparison shows, and what it cannot show, in sentences; for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.bootstrap import FEW_PATIENTS
from pipeline.evaluation.comparison import Comparison, Pair
from pipeline.evaluation.differences import FOREGROUND, Family, Row
from pipeline.evaluation.wording import NONE, plural, signed, signed_interval

__all__ = ["Verdict", "left_out", "letter", "p_text", "verdict"]

_LISTED = 12


@dataclass(frozen=True)
class Verdict:
    """What became of one compared evaluation.

    Attributes
    ----------
    state
        Of the mean Dice over the classes: better, worse, unclear, "none" where no difference is shown, "few" where
        there are too few patients to show any, "empty" where there is nothing to compare.
    headline
        One sentence.
    sentences
        What is to be known besides.
    """

    state: str
    headline: str
    sentences: tuple[str, ...]


def verdict(comparison: Comparison, pair: Pair) -> Verdict:
    """What is shown of the mean Dice over the classes, then of each class."""
    mean, *classes = pair.rows["dice"]
    names = pair.name, comparison.first
    if not mean.n_patients:
        return Verdict("empty", "There is nothing to compare: no reference shows a class.", ())
    family, alpha = comparison.means["dice"], comparison.alpha
    figures = _figures(mean, comparison.confidence)
    patients = plural(mean.n_patients, "patient")
    shown = mean.shown(alpha)
    rest = _of_classes(comparison, classes)
    if mean.ties == mean.n_patients:
        return Verdict("none", f"{names[0]} and {names[1]} have the same Dice in all of {patients}.", tuple(rest))
    if not family.can_tell(mean.n_patients, alpha):
        headline = f"With {patients} no difference between {names[0]} and {names[1]} can be shown."
        return Verdict("few", headline, (_too_few(mean, family, alpha), f"In these {patients}: {figures}.", *rest))
    p = p_text(mean.p_holm)
    if shown == "unclear":
        headline = f"{names[0]} and {names[1]} differ, but not in one direction ({p}, {patients})."
        why = "The mean Dice and the ranks of the differences point different ways: look at the single patients."
        return Verdict(shown, headline, (why, f"{figures[0].upper()}{figures[1:]}.", *rest))
    if shown:
        return Verdict(shown, f"{names[0]} is {shown} than {names[1]}: {figures}; {p}, {patients}.", tuple(rest))
    headline = f"No difference between {names[0]} and {names[1]} is shown: {figures}; {p}, {patients}."
    return Verdict("none", headline, (_caution(mean), *rest))


def _caution(mean: Row) -> str:
    """What an absent proof does not say."""
    if mean.interval is not None and (mean.interval[0] > 0 or mean.interval[1] < 0):
        return (
            "The interval lies on one side of zero, but it tends to be too narrow, and the test decides: this is a "
            "hint, and more patients would tell."
        )
    return "That does not say that they are equal: differences within the interval fit these patients as well."


def _figures(mean: Row, confidence: float) -> str:
    """Such as "mean foreground Dice 0.812 against 0.790, +0.022 (95 % interval +0.010 to +0.034)"."""
    text = f"mean {FOREGROUND} Dice {mean.other:.3f} against {mean.first:.3f}, {signed(mean.difference)}"
    if mean.interval is None:
        return text
    return f"{text} ({100 * confidence:g} % interval {signed_interval(mean.interval)})"


def _too_few(mean: Row, family: Family, alpha: float) -> str:
    tests = "" if family.tests == 1 else f" after Holm's correction of {family.tests} tests"
    return (
        f"Even if all went the same way, p would be {family.least_p(mean.n_patients):.3g}{tests}, above {alpha:g}: it "
        f"takes at least {family.needed(mean.n_patients, alpha)} patients."
    )


def _of_classes(comparison: Comparison, classes: Sequence[Row]) -> list[str]:
    """Which classes differ in Dice, and how far the intervals can be trusted."""
    family, alpha = comparison.classes["dice"], comparison.alpha
    sentences = []
    by_state = {state: [row.name for row in classes if row.shown(alpha) == state] for state in _STATES}
    told = [f"{_STATES[state]} {_named(names)}" for state, names in by_state.items() if names]
    tested = [row for row in classes if row.p is not None]
    few = [row for row in tested if not family.can_tell(row.n_patients, alpha)]
    least = min((family.needed(row.n_patients, alpha) for row in few), default=0)
    takes = f"for {plural(family.tests, 'test')} it takes at least {least} patients."
    if told:
        sentences.append(f"By class, Dice is {'; '.join(told)}.")
    elif few and len(few) == len(tested):
        sentences.append(f"No class by itself can show a difference: {takes}")
    elif tested:
        sentences.append("No class by itself shows a difference in Dice.")
    if few and len(few) < len(tested):
        named = _named([f"{row.name} ({row.n_patients})" for row in few])
        sentences.append(f"Too few patients show {named} for a difference to be shown: {takes}")
    patients = max((row.n_patients for row in classes), default=0)
    if 1 < patients < FEW_PATIENTS:
        sentences.append(f"Intervals over {patients} patients are rough, and tend to come out too narrow.")
    return sentences


_STATES = {
    "better": "better for",
    "worse": "worse for",
    "unclear": "different, but not in one direction, for",
}


def left_out(pair: Pair) -> list[str]:
    """Sentences on cases and metrics that are not compared."""
    matched = pair.matched
    sentences = []
    for name, cases in ((matched.first.name, matched.only_first), (matched.other.name, matched.only_other)):
        if cases:
            sentences.append(f"{plural(len(cases), 'case')} only in {name}, left out: {_named(cases)}.")
    return [*sentences, *pair.notes]


def letter(number: int) -> str:
    """What stands for an evaluation in the head of a table: A for the first, B, C ...

    >>> letter(0), letter(1), letter(30)
    ('A', 'B', 'E31')
    """
    return chr(ord("A") + number) if number < 26 else f"E{number + 1}"


def p_text(p: float | None) -> str:
    """A p, never as 0.

    >>> p_text(0.0312), p_text(0.0000021), p_text(None), p_text(1.0)
    ('p = 0.031', 'p < 0.001', '–', 'p = 1.000')
    """
    if p is None:
        return NONE
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(f'{name:.60}' for name in names[:_LISTED])}{more}"
