"""Distances of a case, and what becomes of them at each level."""

from __future__ import annotations

import csv
import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import levels, tables
from pipeline.evaluation.aggregation import Evaluation, evaluate
from pipeline.evaluation.confusion import CaseCounts, SliceCounts, count_slices
from pipeline.evaluation.distances import DISTANCES, CaseDistances, case_distances

CLASSES = ["background", "bone", "rectum"]


def corners(mask: np.ndarray, spacing: tuple[float, float]) -> list[tuple[float, float, float]]:
    """Every piece of a 2D mask's surface as (y, x, length): corners of the grid whose voxels are not all alike."""
    padded = np.pad(mask, 1)
    down, across = spacing
    half = float(np.hypot(down, across)) / 2
    found = []
    for y, x in itertools.product(range(padded.shape[0] - 1), range(padded.shape[1] - 1)):
        (a, b), (c, d) = padded[y : y + 2, x : x + 2]
        if a == b == c == d:
            continue
        if a == b and c == d:
            length = across
        elif a == c and b == d:
            length = down
        elif a == d and b == c:
            length = 2 * half
        else:
            length = half
        found.append((y * down, x * across, length))
    return found


def by_hand(
    reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float], tolerance: float
) -> list[float]:
    """HD95 of both kinds, ASSD and surface Dice of two masks that are not empty, by brute force."""
    sides = [corners(reference, spacing), corners(prediction, spacing)]
    near = [
        sorted((min(np.hypot(y - v, x - w) for v, w, _ in other), size) for y, x, size in own)
        for own, other in (sides, sides[::-1])
    ]
    percentiles = []
    for pieces in (*near, sorted(near[0] + near[1])):
        wanted, reached = 0.95 * sum(size for _, size in pieces), 0.0
        for distance, size in pieces:
            reached += size
            if reached >= wanted * (1 - 1e-9):
                percentiles.append(distance)
                break
    both = [piece for pieces in near for piece in pieces]
    total = sum(size for _, size in both)
    return [
        max(percentiles[:2]),
        percentiles[2],
        sum(distance * size for distance, size in both) / total,
        sum(size for distance, size in both if distance <= tolerance + 1e-6) / total,
    ]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6), shape=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    spacing=st.tuples(st.floats(0.5, 3), st.floats(0.5, 3)), tolerance=st.floats(0.1, 4),
)  # fmt: skip
def test_a_slice_equals_brute_force(
    seed: int, shape: tuple[int, int], spacing: tuple[float, float], tolerance: float
) -> None:
    rng = np.random.default_rng(seed)
    reference, prediction = rng.integers(0, 3, size=(2, *shape), dtype=np.uint8)
    found = case_distances(reference, prediction, 3, spacing, tolerance)
    assert (found.unit, found.tolerance, found.rank) == ("mm", tolerance, 2)
    for index in (1, 2):
        own, other = reference == index, prediction == index
        values = [found.figures[name][index] for name in DISTANCES]
        if not own.any():
            assert np.isnan(values).all()
        elif not other.any():
            diagonal = float(np.hypot(shape[0] * spacing[0], shape[1] * spacing[1]))
            assert values == [*[pytest.approx(diagonal)] * 3, 0]
        else:
            assert values == pytest.approx(by_hand(own, other, spacing, tolerance), rel=1e-5)
    assert all(np.isnan(found.figures[name][0]) for name in DISTANCES), "the background has no surface of its own"


def test_a_volume_by_hand() -> None:
    # One voxel of 2 x 3 x 4 mm, predicted one voxel further along the last axis: the eight corners about each are two
    # squares, of which one is shared. Four corners of each lie 4 mm from the other mask, four on it.
    reference, prediction = np.zeros((2, 4, 4, 4), dtype=np.uint8)
    reference[1, 1, 1] = prediction[1, 1, 2] = 1
    found = case_distances(reference, prediction, 2, (2.0, 3.0, 4.0), 2.0)
    assert [found.figures[name][1] for name in DISTANCES] == pytest.approx([4.0, 4.0, 2.0, 0.5])
    assert found.rank == 3
    pixels = case_distances(reference, prediction, 2, None, 2.0)
    assert [pixels.figures[name][1] for name in DISTANCES] == pytest.approx([1.0, 1.0, 0.5, 1.0])
    assert pixels.unit == "pixels"


def test_a_volume_one_voxel_deep_is_a_slice() -> None:
    mask = np.array([[[0, 1, 1, 0]]], dtype=np.uint8)
    assert case_distances(mask, mask, 2, (1.0, 1.0, 1.0), 1.0).rank == 2


def measured(figures: dict[str, list[float]], unit: str = "mm", rank: int = 2, tolerance: float = 2.0) -> CaseDistances:
    """Distances out of nothing; what is not given is the first that is, of `DISTANCES`."""
    first = next(iter(figures.values()))
    columns = {name: np.array(figures.get(name, first)) for name in DISTANCES}
    return CaseDistances(columns, unit, tolerance, rank)  # type: ignore[arg-type]


NONE = np.nan
#                                  HD95 of bone    of rectum
# A, scan 1, slice a1              1               none: spurious
#            slice a2              4               none: both empty
# A, scan 2, slice a3              none            10: missed, the diagonal
# B, scan 1, volume b              7               3
SLICE = SliceCounts.of(np.array([[[9, 0, 1], [0, 1, 0], [0, 0, 0]]]))
PLAIN = SliceCounts.of(np.array([[[9, 0, 0], [0, 1, 0], [0, 0, 0]]]))
MISS = SliceCounts.of(np.array([[[9, 0, 0], [0, 0, 0], [2, 0, 0]]]))
BOTH = SliceCounts.of(np.array([[[9, 0, 0], [0, 1, 0], [0, 0, 1]], [[9, 0, 0], [0, 1, 0], [0, 0, 0]]]))
COUNTS = [
    CaseCounts("a1", "1", "A", SLICE, None, measured({"hd95": [NONE, 1, NONE]})),
    CaseCounts("a2", "1", "A", PLAIN, None, measured({"hd95": [NONE, 4, NONE]})),
    CaseCounts("a3", "2", "A", MISS, None, measured({"hd95": [NONE, NONE, 10], "surface_dice": [NONE, NONE, 0]})),
    CaseCounts("b", "1", "B", BOTH, None, measured({"hd95": [NONE, 7, 3]}, rank=3)),
]


def test_each_level_by_hand() -> None:
    def hd95(units: levels.Units) -> np.ndarray:
        return units.figures["hd95"][:, 1:]

    scans = levels.scan_units(COUNTS)
    # The slices of the volume have none of their own.
    np.testing.assert_array_equal(
        hd95(levels.slice_units(COUNTS)), [[1, NONE], [4, NONE], [NONE, 10], [NONE, NONE], [NONE, NONE]]
    )
    np.testing.assert_array_equal(hd95(levels.case_units(COUNTS)), [[1, NONE], [4, NONE], [NONE, 10], [7, 3]])
    np.testing.assert_array_equal(hd95(scans), [[2.5, NONE], [NONE, 10], [7, 3]])
    np.testing.assert_array_equal(hd95(levels.patient_units(scans)), [[2.5, 10], [7, 3]])


def test_the_summary_by_hand() -> None:
    summary = evaluate(COUNTS, CLASSES, resamples=100).summary
    assert summary["distances"] == {"unit": "mm", "tolerance": 2.0, "n_2d": 3, "n_3d": 1}
    scan = summary["levels"]["scan"]["classes"]
    assert (scan["bone"]["hd95"]["mean"], scan["bone"]["hd95"]["n"]) == (4.75, 2)
    assert (scan["rectum"]["hd95"]["mean"], scan["rectum"]["hd95"]["median"]) == (6.5, 6.5)
    assert (scan["rectum"]["missed"], scan["rectum"]["surface_dice"]["mean"]) == (1, 1.5)
    patient = summary["levels"]["patient"]
    assert patient["classes"]["bone"]["hd95"]["mean"] == 4.75
    assert patient["classes"]["bone"]["hd95"]["interval"] == [2.5, 7]
    assert patient["foreground"]["hd95"]["mean"] == (4.75 + 6.5) / 2
    assert patient["classes"]["background"]["hd95"] == {
        "mean": None, "sd": None, "median": None, "interval": None, "n": 0, "n_patients": 0,
    }  # fmt: skip


def test_the_table_of_empty_classes_reaches_every_csv() -> None:
    """Both empty and spurious give no distance, a miss gives the diagonal and is flagged: in cases, scans, patients."""
    shape, spacing = (3, 4), (2.0, 1.5)
    empty, mask = np.zeros((2, *shape), dtype=np.uint8)
    mask[1, 1:3] = 1
    pairs = {"both_empty": (empty, empty), "spurious": (empty, mask), "missed": (mask, empty), "present": (mask, mask)}
    counts = [
        CaseCounts(name, name, name, count_slices(*pair, 2), None, case_distances(*pair, 2, spacing, 1.0))
        for name, pair in pairs.items()
    ]
    found = evaluate(counts, ["background", "bone"], resamples=10)
    expected: dict[str, tuple[object, object]] = {
        "both_empty": ("", ""), "spurious": ("", ""), "missed": (8.485281374, 0), "present": (0, 1),
    }  # fmt: skip
    for write in (tables.cases_csv, tables.scans_csv, tables.patients_csv):
        rows = [row for row in csv.DictReader(io.StringIO(write(found))) if row["class"] == "bone"]
        assert len(rows) == 4
        for row in rows:
            assert row["outcome"] == row["patient"]
            values = [row[name] for name in DISTANCES]
            distance, share = expected[row["outcome"]]
            assert [value and float(value) for value in values] == [distance, distance, distance, share], row["outcome"]
    bone = found.summary["levels"]["slice"]["classes"]["bone"]
    assert (bone["hd95"]["n"], bone["missed"], bone["spurious"], bone["both_empty"]) == (2, 1, 1, 1)
    assert bone["hd95"]["mean"] == pytest.approx(8.485281374 / 2)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(6)))
def test_the_order_of_the_cases_changes_nothing(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    counts = []
    for number in range(6):
        masks = rng.integers(0, 3, size=(2, 4, 4), dtype=np.uint8)
        distances = case_distances(masks[0], masks[1], 3, (1.0, 2.0), 1.0)
        names = (f"c{number}", f"s{number % 3}", f"p{number % 2}")
        counts.append(CaseCounts(*names, count_slices(masks[0], masks[1], 3), None, distances))
    first, second = (evaluate(one, CLASSES, resamples=20) for one in (counts, [counts[place] for place in order]))
    assert first.summary == second.summary
    assert (first.cases, first.scans, first.patients) == (second.cases, second.scans, second.patients)


def test_distances_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="distances are not of 3 classes"):
        CaseCounts("a", "s", "p", PLAIN, None, measured({"hd95": [NONE, 1.0]}))
    for other in (measured({"hd95": [NONE, 1, 1]}, unit="pixels"), measured({"hd95": [NONE, 1, 1]}, tolerance=1.0)):
        mixed = [COUNTS[0], CaseCounts("x", "s", "p", PLAIN, None, other)]
        with pytest.raises(ValueError, match="several kinds"):
            evaluate(mixed, CLASSES)


def test_without_distances_there_are_none() -> None:
    found = evaluate([CaseCounts("a", "s", "p", PLAIN)], CLASSES)
    assert found.summary["distances"] is None
    assert found.cases[1]["hd95"] is None
    assert found.summary["levels"]["scan"]["foreground"]["hd95"]["mean"] is None


def table_of(found: Evaluation, width: int = 80) -> list[str]:
    return tables.terminal_table(found, title="Pelvis", width=width).splitlines()


def test_the_terminal_shows_hd95_by_scan_and_says_how() -> None:
    # With a third scan of A, bone has 2.5, 5.5 and 7 by scan, 4 and 7 by patient.
    third = CaseCounts("a4", "3", "A", PLAIN, None, measured({"hd95": [NONE, 5.5, NONE]}))
    found = evaluate([*COUNTS, third], CLASSES, resamples=100)
    lines = table_of(found)
    assert max(map(len, lines)) <= 80
    assert lines[3].split()[-5:] == ["per", "HD95", "n", "in", "slices"]
    assert lines[4].split()[7] == "mm"
    assert [line.split()[5] for line in lines[6:8]] == ["5.0", "6.5"]
    assert lines[10].split()[-1] == "5.8"
    assert "diagonal" in " ".join(lines)
    wide = table_of(found, width=100)
    assert "surf. Dice" in wide[3]
    assert wide[4].split()[7:10] == ["mm", "2", "mm"]
    assert [line.split()[5:7] for line in wide[6:8]] == [["5.0", "5.000"], ["6.5", "1.500"]]


def test_the_terminal_says_pixels() -> None:
    counts = [CaseCounts("a1", "1", "A", PLAIN, None, measured({"hd95": [NONE, 1, NONE]}, unit="pixels"))]
    lines = table_of(evaluate(counts, CLASSES, resamples=10))
    assert lines[4].split()[7] == "px"
    assert "px: pixels" in " ".join(lines)
    without = table_of(evaluate([CaseCounts("a1", "1", "A", PLAIN)], CLASSES, resamples=10))
    assert "HD95" not in " ".join(without)
