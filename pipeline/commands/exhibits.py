"""What a report shows beside the figures: the ceiling of the chain, and the slices that can be leafed through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pipeline.commands.intake import Intake
from pipeline.data.cases import Case, reading_order, scan_key
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import knows_spacing
from pipeline.evaluation.aggregation import Evaluation
from pipeline.evaluation.ceiling import Ceiling, resampling_ceiling, spread_scans
from pipeline.inference.writing import mask_path
from pipeline.reporting.content import Example
from pipeline.reporting.examples import load_slices
from pipeline.reporting.gallery import pack_gallery
from pipeline.reporting.stack import Gallery
from transforms.chain import PrepareChain

__all__ = ["CEILING_SLICES", "gallery_of", "spacing_for", "tested_ceiling"]

CEILING_SLICES = 2000  # measured on whole scans of about as many slices, evenly spread


def spacing_for(facts: CaseFacts, *, known: bool) -> tuple[float, ...]:
    """The spacing that distances of a case are measured by, one an axis: 1 where the files' is not to be believed."""
    return facts.spacing_mm if known else (1.0,) * len(facts.shape)


def tested_ceiling(intake: Intake, done: Callable[[int], None] = lambda count: None) -> Ceiling:
    """The resampling ceiling of the run's chain, on tested scans of about 2000 slices, evenly spread.

    Parameters
    ----------
    intake
        Of the run.
    done
        Told how many slices were measured, case by case.
    """
    facts, known = intake.facts, knows_spacing(intake.dataset.config)
    cases = ceiling_cases(intake)
    left = iter(cases)
    return resampling_ceiling(
        [PrepareChain(intake.settings.transforms.prepare, view.options) for view in intake.views], cases,
        intake.dataset.options, intake.settings.data.classes,
        lambda case: spacing_for(facts[case.id], known=known), lambda: done(facts[next(left).id].slices),
    )  # fmt: skip


def ceiling_cases(intake: Intake) -> list[Case]:
    """The tested cases that the ceiling is measured on."""
    return spread_scans(intake.tested, lambda case: intake.facts[case.id].slices, CEILING_SLICES)


def gallery_of(
    intake: Intake, evaluation: Evaluation, predictions: Path, done: Callable[[], None] = lambda: None
) -> Gallery:
    """The slices of the tested scans, as many as fit into a page.

    Parameters
    ----------
    intake
        Of the run.
    evaluation
        Of its tested cases.
    predictions
        The folder of their masks.
    done
        Called after each scan.
    """
    scans: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(intake.tested, key=reading_order):
        scans.setdefault(scan_key(case), []).append(case)
    loaders = {key: partial(_slices_of, intake, members, predictions) for key, members in scans.items()}
    n_slices = evaluation.summary["n_slices"]
    return pack_gallery(loaders, evaluation.scans, n_slices, intake.settings.data.classes, done=done)


def _slices_of(intake: Intake, cases: Sequence[Case], predictions: Path) -> list[Example]:
    """The slices of some cases, one after the other."""
    config = intake.dataset.config
    classes, known = config.settings.data.classes, knows_spacing(config)
    return [
        one
        for case in cases
        for one in load_slices(case, mask_path(predictions, case), classes, intake.dataset.options, known)
    ]
