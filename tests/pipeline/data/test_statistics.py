"""The dataset's table, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.statistics import range_text, side_statistics, span_text


def case(name: str, patient: str, scan: str) -> Case:
    return Case(name, Path(f"{name}.nii"), Path(f"{name}_seg.nii"), patient, scan)


def facts(name: str, shape: tuple[int, ...], voxels: list[int], slices_with: list[int], **other: float) -> CaseFacts:
    spacing = (1.0,) * (len(shape) - 1) + (other.get("depth", 2.0),)
    return CaseFacts(
        case=name, shape=shape, spacing_mm=spacing, orientation="RAS", axis=2, slices=shape[2],
        low=other["low"], high=other["high"], mean=other["mean"], voxels=np.array(voxels),
        slices_with=np.array(slices_with), parts=np.zeros(3), digest=b"", label_digest=b"", thumbnail=np.zeros(0),
    )  # fmt: skip


def test_by_hand() -> None:
    cases = [case("a0", "a", "0"), case("a1", "a", "1"), case("b0", "b", "0")]  # two patients, three scans
    known = {
        "a0": facts("a0", (2, 3, 4), [20, 4, 0], [4, 2, 0], low=-1.0, high=5.0, mean=1.0),
        "a1": facts("a1", (2, 3, 5), [29, 1, 0], [5, 1, 0], low=0.0, high=9.0, mean=2.0, depth=2.5),
        "b0": facts("b0", (2, 3, 4), [23, 0, 1], [4, 0, 1], low=0.0, high=7.0, mean=8.0),
        "other": facts("other", (9, 9, 9), [1, 1, 1], [1, 1, 1], low=-99.0, high=99.0, mean=0.0),
    }

    found = side_statistics("train", cases, known)

    assert (found.side, found.patients, found.scans, found.cases, found.slices) == ("train", 2, 3, 3, 13)
    assert found.sizes == "2 x 3 x 4-5" and found.spacing_mm == "1 x 1 x 2-2.5"
    assert found.orientations == ("RAS",)
    assert (found.low, found.high, found.mean_low, found.mean_high) == (-1.0, 9.0, 1.0, 8.0)
    assert found.voxels.tolist() == [72, 5, 1]
    assert found.slices_with.tolist() == [13, 3, 1]
    assert found.cases_with.tolist() == [3, 2, 1]
    assert found.patients_with.tolist() == [2, 1, 1], "both cases with class 1 are of one patient"


def test_ranges() -> None:
    assert range_text([(0.5, 3.0), (0.75, 3.0)]) == "0.5-0.75 x 3"
    assert range_text([(1, 2)]) == "1 x 2"
    assert range_text([(1, 2), (1, 2, 3)]) == "mixed"


def test_spans() -> None:
    assert span_text(-1024.0, 3071.4) == "-1024 to 3071"
    assert span_text(0.5, 0.5) == span_text(0.5, 0.50000001) == "0.5"
