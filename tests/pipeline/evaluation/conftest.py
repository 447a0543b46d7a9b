"""Small evaluations in folders of their own, as bin/evaluate writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation import tables
from pipeline.evaluation.aggregation import Evaluation, evaluate
from pipeline.evaluation.confusion import CaseCounts, count_slices
from pipeline.evaluation.distances import case_distances
from pipeline.evaluation.stored import Source, Stored, read_evaluation

CLASSES = ("background", "bone", "rectum")
Masks = Mapping[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]


def scored(masks: Masks, *, spacing: Sequence[float] | None = None, tolerance: float = 2.0, distances: bool = True,
           classes: Sequence[str] = CLASSES, resamples: int = 200) -> Evaluation:  # fmt: skip
    """Evaluate masks (reference, prediction) by patient, scan and case."""
    counts = [
        CaseCounts(
            case, scan, patient, count_slices(reference, prediction, len(classes)), None,
            case_distances(reference, prediction, len(classes), spacing, tolerance) if distances else None,
        ) for (patient, scan, case), (reference, prediction) in masks.items()
    ]  # fmt: skip
    return evaluate(counts, classes, resamples=resamples, seed=3)


def written(evaluation: Evaluation, folder: Path) -> Path:
    """Write an evaluation; gives its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_text(tables.cases_csv(evaluation), encoding="utf-8")
    (folder / "scans.csv").write_text(tables.scans_csv(evaluation), encoding="utf-8")
    (folder / "patients.csv").write_text(tables.patients_csv(evaluation), encoding="utf-8")
    (folder / "summary.json").write_text(tables.summary_json(evaluation), encoding="utf-8")
    return folder


def drawn(seed: int, *, patients: int = 5, errors: float = 0.2) -> Masks:
    """Random 12 x 10 masks: two scans of two slices a patient, of one patient one; labels do not hang on `seed`."""
    found = {}
    truth, luck = np.random.default_rng(0), np.random.default_rng(seed)
    for patient in range(patients):
        for scan in range(1 if patient == 0 else 2):
            for number in range(2):
                reference = np.repeat(np.repeat(truth.integers(0, 3, (4, 5)), 3, 0), 2, 1)
                if patient == 1:
                    reference[reference == 2] = 0  # a class that one patient lacks
                noise = luck.integers(0, 3, reference.shape)
                prediction = np.where(luck.random(reference.shape) < errors, noise, reference)
                found[f"p{patient}", f"w{scan}", f"p{patient}_w{scan}_{number}"] = (reference, prediction)
    return found


@pytest.fixture(scope="session")
def draw_masks() -> Callable[..., Masks]:
    return drawn


@pytest.fixture(scope="session")
def score_masks() -> Callable[..., Evaluation]:
    return scored


@pytest.fixture(scope="session")
def write_scores() -> Callable[[Evaluation, Path], Path]:
    return written


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Stored]:
    """A function that scores masks, writes the evaluation and reads it back."""

    def make(name: str, masks: Masks, **more: object) -> Stored:
        folder = written(scored(masks, **more), tmp_path / name)  # type: ignore[arg-type]
        return read_evaluation(Source(folder, None), name)

    return make
