"""Volumes per patient, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.evaluation.aggregation import evaluate
from pipeline.evaluation.confusion import CaseCounts, SliceCounts
from pipeline.reporting.content import ReportContent
from pipeline.reporting.volumes import volume_rows

CLASSES = ("background", "bone", "rectum")
Make = Callable[..., ReportContent]


def content_of(make_content: Make, volume: float | None) -> ReportContent:
    """Two patients, voxels of some mm3: bone 30 and 50 voxels, predicted 40 and 50; rectum in none, predicted once."""
    confusions = [[[900, 10, 0], [0, 30, 0], [0, 0, 0]], [[900, 0, 20], [0, 50, 0], [0, 0, 0]]]
    counts = [
        CaseCounts(f"c{number}", f"s{number}", f"p{number}", SliceCounts.of(np.array([matrix])), volume)
        for number, matrix in enumerate(confusions)
    ]
    found = evaluate(counts, CLASSES, resamples=100)
    return make_content(summary=found.summary, cases=found.cases, scans=found.scans, patients=found.patients)


def test_means_and_differences(make_content: Make) -> None:
    bone, rectum = volume_rows(content_of(make_content, 100.0))  # 0.1 ml a voxel
    assert (bone.reference, bone.predicted, bone.difference, bone.n) == ("4.00", "4.50", "+0.50", "2")
    assert bone.interval == "0.00–1.00"
    assert (rectum.reference, rectum.predicted, rectum.difference, rectum.n) == ("0.00", "1.00", "+2.00", "1")
    assert rectum.interval == "–"


def test_without_a_spacing_there_are_no_volumes(make_content: Make) -> None:
    assert volume_rows(content_of(make_content, None)) == []
    assert volume_rows(make_content()) == []
