"""A small finished run, made by hand, for every test of the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.data.statistics import SideStatistics
from pipeline.evaluation import overlap
from pipeline.evaluation.aggregation import evaluate
from pipeline.evaluation.confusion import CaseCounts, SliceCounts, slice_confusions
from pipeline.evaluation.distances import DISTANCES, CaseDistances
from pipeline.evaluation.folds import fold_figures
from pipeline.reporting.content import Example, FoldContent, ReportContent

CLASSES = ("background", "bone", "rectum")


def example(reference: np.ndarray, prediction: np.ndarray, classes: tuple[str, ...], **changes: Any) -> Example:
    """An example whose Dice is that of its masks."""
    scores = overlap.dice(slice_confusions(reference, prediction, len(classes)))[0].tolist()
    image = np.linspace(0, 1, reference.size, dtype=np.float32).reshape(reference.shape)
    given: dict[str, Any] = {
        "case": "case_1", "slice": 7, "image": image, "reference": reference, "prediction": prediction,
        "pixel_size": (1.0, 1.0), "axis_codes": None,
        "dice": {name: None if math.isnan(value) else value for name, value in zip(classes, scores, strict=True)},
    }  # fmt: skip
    return Example(**(given | changes))


def counted(n_patients: int, n_cases: int, n_classes: int, *, distances: bool = False) -> list[CaseCounts]:
    """Cases with every class, but the last class missed in each patient's first case and spurious in two."""
    rng = np.random.default_rng(0)
    counts = []
    for patient in range(n_patients):
        for index in range(n_cases):
            confusion = rng.integers(1, 9, (1, n_classes, n_classes)) + 40 * np.eye(n_classes, dtype=int)
            if index == 0:
                confusion[:, :, -1] = 0
            if index in (1, 2):
                confusion[:, -1, :] = 0
            names = f"case_{patient}_{index}", f"scan_{patient}", f"p{patient}"
            counts.append(
                CaseCounts(
                    *names, SliceCounts.of(confusion), None, measured(confusion, patient, index) if distances else None
                )
            )
    return counts


def measured(confusion: np.ndarray, patient: int, index: int) -> CaseDistances:
    """HD95 of class k is patient + index + k mm, of a missed one 99; surface Dice 0.8; none without a reference."""
    reference, predicted = (confusion[0].sum(axis=axis) > 0 for axis in (1, 0))
    ids = np.arange(len(reference), dtype=float)
    shown = reference & (ids > 0)
    hd95 = np.where(shown, np.where(predicted, patient + index + ids, 99.0), np.nan)
    near = np.where(shown, np.where(predicted, 0.8, 0.0), np.nan)
    others = {name: hd95 / 2 for name in DISTANCES}
    return CaseDistances({**others, "hd95": hd95, "surface_dice": near}, "mm", 2.0, 2)


def side(name: str, n_classes: int, **changes: Any) -> SideStatistics:
    """What a side of a split holds."""
    each = np.full(n_classes, 300)
    given: dict[str, Any] = {
        "side": name, "patients": 2, "scans": 3, "cases": 4, "slices": 1200, "sizes": "12 x 8",
        "spacing_mm": "1.5 x 2", "orientations": (), "low": -5.0, "high": 1234.0, "mean_low": 3.0, "mean_high": 3.0,
        "voxels": each, "slices_with": each, "cases_with": each, "patients_with": np.full(n_classes, 2),
    }  # fmt: skip
    return SideStatistics(**(given | changes))


def epoch(number: int, classes: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """A row of the history."""
    return {
        "epoch": number, "step": 10 * number, "seconds": 2.0, "slices_per_second": 80.0, "learning_rate": 1e-3,
        "train_loss": 1 / number, "validation_loss": 1.5 / number, "validation_dice": 1 - 1 / (number + 1),
        **{f"dice_{name}": 1 - 1 / (number + index) for index, name in enumerate(classes[1:], start=2)},
    } | changes  # fmt: skip


@pytest.fixture(scope="session")
def make_content() -> Callable[..., ReportContent]:
    def make(
        classes: tuple[str, ...] = CLASSES, n_patients: int = 3, n_cases: int = 4, epochs: int = 4,
        distances: bool = False, **changes: Any,
    ) -> ReportContent:  # fmt: skip
        found = evaluate(counted(n_patients, n_cases, len(classes), distances=distances), classes, resamples=100)
        mask = np.zeros((12, 8), dtype=np.uint8)
        mask[2:7, 2:5] = 1
        shown = example(mask, np.roll(mask, 1, 0), classes), example(mask, mask, classes, case="case_2", slice=None)
        given: dict[str, Any] = {
            "title": "A small run", "name": "small", "classes": classes, "synthetic": True,
            "warnings": ("Mind the gap.",), "examples": shown, "captions": ("worst", "best"),
            "summary": found.summary, "cases": found.cases, "scans": found.scans, "patients": found.patients,
            "history": [epoch(number, classes) for number in range(1, epochs + 1)], "best_epoch": max(1, epochs - 1),
            "dataset": tuple(side(name, len(classes)) for name in ("train", "test")), "knows_spacing": False,
            "config_text": "name: small\n",
            "provenance": {
                "command": ["bin/run_pipeline", "a b.yaml"], "seed": 3, "git_commit": None, "wall_seconds": 75.0,
                "peak_memory_bytes": 2**30, "versions": {"slicewise": "9.8.7", "monai": "1.2.3"},
            },
            "repeat": "bin/run_pipeline runs/small/001/config.yaml",
        }  # fmt: skip
        return ReportContent(**(given | changes))

    return make


@pytest.fixture(scope="session")
def make_folds(make_content: Callable[..., ReportContent]) -> Callable[..., ReportContent]:
    def make(number: int = 3, epochs: int = 4, classes: tuple[str, ...] = CLASSES, **changes: Any) -> ReportContent:
        """A cross-validation: fold k tests k + 1 patients, and its best epoch is k + 1."""
        counts = [counted(k + 1, 3, len(classes)) for k in range(number)]
        summaries = [evaluate(one, classes, resamples=100, seed=k).summary for k, one in enumerate(counts)]
        history = [[epoch(n, classes, validation_dice=n / (n + k + 1)) for n in range(1, epochs + 1)]
                   for k in range(number)]  # fmt: skip
        best = [min(k + 1, epochs) for k in range(number)]
        pooled = make_content(classes).summary | {"folds": fold_figures(summaries, best)}
        folds = tuple(FoldContent(rows, kept) for rows, kept in zip(history, best, strict=True))
        return make_content(classes, **({"history": [], "best_epoch": 0, "summary": pooled, "folds": folds} | changes))

    return make


@pytest.fixture
def make_example() -> Callable[..., Example]:
    """The function `example` above, for three classes."""

    def make(reference: np.ndarray, prediction: np.ndarray | None = None, **changes: Any) -> Example:
        return example(reference, reference if prediction is None else prediction, CLASSES, **changes)

    return make


@pytest.fixture(scope="session")
def make_side() -> Callable[..., SideStatistics]:
    return side


@pytest.fixture
def make_epoch() -> Callable[..., dict[str, Any]]:
    return epoch
