from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.evaluation import bootstrap
from pipeline.evaluation.aggregation import METRICS, Evaluation, evaluate
from pipeline.evaluation.confusion import CaseCounts, SliceCounts, count_slices

CLASSES = ["background", "bone", "rectum"]


def two(*found: tuple[int, int], scan: str, patient: str, lost: int = 2) -> CaseCounts:
    """Case of one slice: (found, spurious) voxels of bone and of rectum, of `lost` voxels each in the reference.

    (1, 0) of two has Dice 2/3 and (2, 0) has 1.
    """
    confusion = np.zeros((3, 3), int)
    confusion[0, 0] = 20
    for label, (true, false_positive) in enumerate(found, start=1):
        confusion[label, label], confusion[label, 0], confusion[0, label] = true, lost - true, false_positive
    return CaseCounts(f"{patient}_{scan}", scan, patient, SliceCounts.of(confusion[np.newaxis]))


def only(tp: int, fp: int, fn: int, *, scan: str, patient: str, case: str = "") -> CaseCounts:
    """One slice with a background and one class."""
    return CaseCounts(case or f"{patient}_{scan}", scan, patient, SliceCounts.of(np.array([[[9, fp], [fn, tp]]])))


def random_counts(seed: int, n_cases: int = 14, n_patients: int = 4) -> list[CaseCounts]:
    """Cases of one or two slices with three classes that come and go; each patient has up to two scans."""
    rng = np.random.default_rng(seed)
    counts = []
    for index in range(n_cases):
        shape = (2, 3, 3, int(rng.integers(1, 3)))
        reference, prediction = rng.integers(3, size=shape) * (rng.random(shape) < 0.3)
        patient, scan = f"p{rng.integers(n_patients)}", f"s{rng.integers(2)}"
        counts.append(CaseCounts(f"c{index}", scan, patient, count_slices(reference, prediction, 3), 1.5))
    return counts


def dice_of(evaluation: Evaluation, level: str, name: str) -> dict:
    return evaluation.summary["levels"][level]["classes"][name]["dice"]


def test_a_patient_with_seven_scans_weighs_as_one_with_one() -> None:
    # Seven scans of patient A with Dice 1/2 (TP 1, FP 1, FN 1), one scan of patient B with Dice 1.
    counts = [only(1, 1, 1, scan=f"week{week}", patient="A") for week in range(7)] + [
        only(2, 0, 0, scan="week0", patient="B")
    ]
    found = evaluate(counts, ["background", "bone"])
    assert dice_of(found, "scan", "bone")["mean"] == pytest.approx((7 * 0.5 + 1) / 8)
    assert dice_of(found, "patient", "bone")["mean"] == pytest.approx((0.5 + 1) / 2)
    assert [row["dice"] for row in found.patients if row["class"] == "bone"] == pytest.approx([0.5, 1])


def test_the_levels_of_one_scan() -> None:
    # One scan of three slices of the class: TP 1 FN 1 (Dice 2/3), TP 6 (Dice 1), one missed: FN 1 (Dice 0); then one
    # slice where it is spurious (FP 2) and one without it. Pooled TP 7, FP 2, FN 2: Dice 14/18.
    slices = [(1, 0, 1), (6, 0, 0), (0, 0, 1), (0, 2, 0), (0, 0, 0)]
    counts = [only(*one, scan="1", patient="A", case=f"slice{i}") for i, one in enumerate(slices)]
    found = evaluate(counts, ["background", "bone"])
    level = found.summary["levels"]["slice"]["classes"]["bone"]
    assert level["dice"] == {
        "mean": pytest.approx(5 / 9), "sd": pytest.approx(np.sqrt(7 / 27)), "median": pytest.approx(2 / 3),
        "interval": None, "n": 3, "n_patients": 1,
    }  # fmt: skip
    assert level["dice_with_empty"]["mean"] == pytest.approx((5 / 3 + 0) / 4)
    assert level["iou"]["mean"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert level["recall"]["mean"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert level["precision"]["mean"] == 1  # of the two slices where something was predicted
    assert level["precision"]["n"] == 2
    assert level["relative_difference"]["mean"] == pytest.approx((-1 / 2 + 0 - 1) / 3)
    assert {name: level[name] for name in ("both_empty", "spurious", "missed", "present")} == {
        "both_empty": 1, "spurious": 1, "missed": 1, "present": 2,
    }  # fmt: skip
    assert dice_of(found, "scan", "bone")["mean"] == pytest.approx(14 / 18)
    assert dice_of(found, "scan", "bone")["sd"] is None
    assert found.summary["confusion"] == [[45, 2], [2, 7]]
    assert [found.summary[f"n_{name}"] for name in ("cases", "slices", "scans", "patients")] == [5, 5, 1, 1]


def test_background_is_in_no_mean() -> None:
    counts = [two((1, 0), (2, 0), scan="1", patient="A"), two((2, 0), (2, 0), scan="1", patient="B")]
    found = evaluate(counts, CLASSES)
    for level in ("slice", "scan", "patient"):
        bone, rectum = (dice_of(found, level, name)["mean"] for name in CLASSES[1:])
        assert (bone, rectum) == pytest.approx(((2 / 3 + 1) / 2, 1))
        assert found.summary["levels"][level]["foreground"]["dice"]["mean"] == pytest.approx((bone + rectum) / 2)
        assert dice_of(found, level, "background")["mean"] == pytest.approx((40 / 41 + 1) / 2)
    assert {row["class"] for row in found.cases} == set(CLASSES)


def test_foreground_is_the_mean_over_the_classes_that_occur() -> None:
    counts = [only(1, 0, 1, scan="1", patient="A")]
    confusion = np.zeros((1, 3, 3), int)
    confusion[0, :2, :2] = counts[0].slices.confusion
    found = evaluate([CaseCounts("c", "1", "A", SliceCounts.of(confusion))], CLASSES)
    foreground = found.summary["levels"]["scan"]["foreground"]["dice"]
    assert foreground == {"mean": pytest.approx(2 / 3), "interval": None, "n_classes": 1, "n_patients": 1}
    rectum = dice_of(found, "scan", "rectum")
    assert rectum == {"mean": None, "sd": None, "median": None, "interval": None, "n": 0, "n_patients": 0}


def test_difference_in_ml_leaves_out_what_is_empty_on_both_sides() -> None:
    # 500 mm3 a voxel. Patient A: 4 voxels for 2, +1 ml. B: spurious, 2 voxels, +1 ml. C: nothing, nothing predicted.
    # D: 1 voxel for 5, -2 ml.
    made = {"A": (2, 2, 0), "B": (0, 2, 0), "C": (0, 0, 0), "D": (1, 0, 4)}
    counts = [CaseCounts(name, name, name, only(*one, scan="", patient="").slices, 500.0) for name, one in made.items()]
    found = evaluate(counts, ["background", "bone"]).summary["levels"]["patient"]["classes"]["bone"]
    assert found["difference_ml"]["n"] == 3
    assert found["difference_ml"]["mean"] == pytest.approx((1 + 1 - 2) / 3)
    assert found["relative_difference"]["mean"] == pytest.approx((1 - 4 / 5) / 2)


def test_two_patients_have_the_interval_that_can_be_worked_out() -> None:
    # A resample of two patients is both of one with probability 1/4 each: the 2.5th and 97.5th percentile are those.
    counts = [only(1, 1, 1, scan="1", patient="A"), only(2, 0, 0, scan="1", patient="B")]
    found = evaluate(counts, ["background", "bone"])
    for level in ("slice", "scan", "patient"):
        assert dice_of(found, level, "bone")["interval"] == pytest.approx([0.5, 1.0])
        assert found.summary["levels"][level]["foreground"]["dice"]["interval"] == pytest.approx([0.5, 1.0])
    # The middle 40 % of the resamples have one of each.
    narrow = evaluate(counts, ["background", "bone"], confidence=0.4)
    assert dice_of(narrow, "patient", "bone")["interval"] == pytest.approx([0.75, 0.75])


def test_a_class_of_one_patient_has_no_interval() -> None:
    counts = [two((1, 0), (1, 0), scan="1", patient="A"), two((2, 0), (0, 0), scan="1", patient="B")]
    counts[1].slices.tallies[0, :2, 2] = 0  # no rectum in the reference of B
    found = evaluate(counts, CLASSES)
    assert dice_of(found, "patient", "rectum")["n_patients"] == 1
    assert dice_of(found, "patient", "rectum")["interval"] is None
    assert dice_of(found, "patient", "bone")["interval"] is not None
    # Of the foreground: both of A give (2/3 + 2/3) / 2, both of B, which has bone only, 1.
    assert found.summary["levels"]["patient"]["foreground"]["dice"]["interval"] == pytest.approx([2 / 3, 1])


def test_intervals_equal_a_loop_over_the_same_draws() -> None:
    counts = random_counts(11)
    found = evaluate(counts, CLASSES, seed=5, resamples=300, confidence=0.8)
    patients = sorted({one.patient for one in counts})
    assert len(patients) == 4
    drawn = bootstrap.draw_patients(4, 300, seed=5)
    rows = {name: [row for row in found.scans if row["class"] == name] for name in CLASSES}
    means: dict[str, list[float]] = {"bone": [], "rectum": [], "foreground": []}
    for resample in drawn:
        by_class = []
        for name in CLASSES[1:]:
            bag = [
                row["dice"]
                for index in resample
                for row in rows[name]
                if row["patient"] == patients[index] and row["dice"] is not None
            ]
            if bag:
                means[name].append(float(np.mean(bag)))
                by_class.append(means[name][-1])
        if by_class:
            means["foreground"].append(float(np.mean(by_class)))
    level = found.summary["levels"]["scan"]
    for name in CLASSES[1:]:
        assert level["classes"][name]["dice"]["interval"] == pytest.approx(
            np.percentile(means[name], [10, 90]).tolist()
        )
    expected = np.percentile(means["foreground"], [10, 90]).tolist()
    assert level["foreground"]["dice"]["interval"] == pytest.approx(expected)


def test_the_interval_of_a_symmetric_case_holds_the_mean() -> None:
    # Eight patients with 10 to 90 of 100 voxels found, as many below the middle as above: recall has mean 0.5.
    counts = [only(found, 0, 100 - found, scan="1", patient=str(found)) for found in (10, 20, 30, 40, 60, 70, 80, 90)]
    recall = evaluate(counts, ["background", "bone"]).summary["levels"]["patient"]["classes"]["bone"]["recall"]
    low, high = recall["interval"]
    assert recall["mean"] == pytest.approx(0.5)
    assert 0.1 < low < 0.5 < high < 0.9
    assert low + high == pytest.approx(1, abs=0.03)
    # What is resampled has the standard error sd / sqrt(n), with n, not n - 1, in the variance.
    error = np.sqrt(np.mean((np.array([10, 20, 30, 40, 60, 70, 80, 90]) / 100 - 0.5) ** 2) / 8)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_the_cases_changes_nothing(seed: int, shuffle: random.Random) -> None:
    counts = random_counts(seed, n_cases=8)
    shuffled = list(counts)
    shuffle.shuffle(shuffled)
    first, second = (evaluate(one, CLASSES, resamples=50) for one in (counts, shuffled))
    assert first.summary == second.summary
    assert first.cases == second.cases
    assert first.scans == second.scans
    assert first.patients == second.patients


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_mean_of_a_column_is_the_mean_of_the_summary(seed: int) -> None:
    found = evaluate(random_counts(seed), CLASSES, resamples=10)
    for level, rows in (("scan", found.scans), ("patient", found.patients)):
        for name in CLASSES:
            for metric in set(METRICS) - {"difference_ml"}:
                column = [row[metric] for row in rows if row["class"] == name and row[metric] is not None]
                entry = found.summary["levels"][level]["classes"][name][metric]
                assert entry["n"] == len(column)
                assert entry["mean"] == (pytest.approx(np.mean(column)) if column else None)
    json.dumps(found.summary, allow_nan=False)


def test_the_seed_decides() -> None:
    counts = random_counts(2, n_cases=40, n_patients=12)
    first, again, other = (evaluate(counts, CLASSES, seed=seed, resamples=100) for seed in (1, 1, 2))
    assert first.summary == again.summary
    assert dice_of(first, "slice", "bone")["interval"] != dice_of(other, "slice", "bone")["interval"]
    assert dice_of(first, "slice", "bone")["mean"] == dice_of(other, "slice", "bone")["mean"]
    assert first.summary["bootstrap"] == {"unit": "patient", "resamples": 100, "seed": 1, "confidence": 0.95}


def test_counts_that_cannot_be_evaluated() -> None:
    one = only(1, 0, 0, scan="1", patient="A")
    names = ["background", "bone"]
    with pytest.raises(DataError, match="no case to evaluate"):
        evaluate([], names)
    with pytest.raises(DataError, match="twice: A_1"):
        evaluate([one, one], names)
    with pytest.raises(ValueError, match="for 2 classes, not 3"):
        evaluate([one], CLASSES)
    with pytest.raises(ValueError, match="distinct"):
        evaluate([one], ["bone", "bone"])
    for wrong in ({"resamples": 0}, {"confidence": 1.0}, {"confidence": 0.0}):
        with pytest.raises(ValueError, match="resamples is"):
            evaluate([one], names, **wrong)


def test_a_single_class_has_no_foreground() -> None:
    found = evaluate([CaseCounts("c", "s", "p", SliceCounts.of(np.array([[[4]]])))], ["background"])
    assert found.summary["levels"]["slice"]["foreground"]["dice"] == {
        "mean": None, "interval": None, "n_classes": 0, "n_patients": 0,
    }  # fmt: skip
