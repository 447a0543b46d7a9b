"""The statistics of a comparison against patients.csv, naive loops, SciPy and hand counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation import bootstrap
from pipeline.evaluation.comparison import Comparison, compare, patient_figures
from pipeline.evaluation.differences import Row
from pipeline.evaluation.matching import match
from pipeline.evaluation.signed_ranks import holm, signed_rank_p

Make = Callable[..., Any]


@pytest.fixture
def three(draw_masks: Make, store: Make) -> Comparison:
    """Two evaluations compared with a first one: one of more errors, one of fewer."""
    first, worse, better = (store(name, draw_masks(seed, errors=errors))
                            for name, seed, errors in (("a", 1, 0.2), ("b", 2, 0.3), ("c", 3, 0.05)))  # fmt: skip
    return compare([match(first, worse), match(first, better)])


def test_figures_per_patient_are_those_of_the_evaluation(draw_masks: Make, store: Make, score_masks: Make) -> None:
    masks = draw_masks(1)
    evaluation = score_masks(masks)
    found = store("a", masks)
    figures = patient_figures(found, found)
    rows = {(row["patient"], row["class"]): row for row in evaluation.patients}
    for index, patient in enumerate(dict.fromkeys(found.patients)):
        for place, name in enumerate(found.classes):
            for metric in ("dice", "hd95", "surface_dice"):
                expected = rows[patient, name][metric]
                assert figures[metric][index, place] == pytest.approx(
                    np.nan if expected is None else expected, nan_ok=True, abs=1e-9
                )
    assert np.isnan(figures["dice"][1, 2])  # whom the class lacks


def test_means_differences_and_signs_are_those_of_a_loop(three: Comparison, draw_masks: Make, score_masks: Make) -> None:  # noqa: E501 # fmt: skip
    one, two = (
        {(row["patient"], row["class"]): row for row in score_masks(draw_masks(seed, errors=errors)).patients}
        for seed, errors in ((1, 0.2), (3, 0.05))
    )
    for metric, sign in (("dice", 1), ("hd95", -1), ("surface_dice", 1)):
        mean, *classes = three.pairs[1].rows[metric]
        by_patient: dict[str, list[float]] = {}
        for row in classes:
            patients = [key[0] for key in one if key[1] == row.name and one[key][metric] is not None]
            differences = [two[p, row.name][metric] - one[p, row.name][metric] for p in patients]
            for patient, difference in zip(patients, differences, strict=True):
                by_patient.setdefault(patient, []).append(difference)
            assert row.n_patients == len(patients) == (4 if row.name == "rectum" else 5)
            assert row.difference == pytest.approx(np.mean(differences), abs=1e-9)
            assert row.first == pytest.approx(np.mean([one[p, row.name][metric] for p in patients]), abs=1e-9)
            assert (row.wins, row.losses) == tuple(sum(d * sign * side > 1e-6 for d in differences) for side in (1, -1))
            assert row.wins + row.losses + row.ties == row.n_patients
            assert row.p == signed_rank_p(np.array(differences))
        foreground = [float(np.mean(values)) for values in by_patient.values()]
        assert mean.difference == pytest.approx(np.mean(foreground), abs=1e-9)
        assert mean.p == signed_rank_p(np.array(foreground))
        assert (mean.name, mean.place, mean.n_patients) == ("foreground", None, 5)


def test_intervals_are_those_of_a_naive_loop(draw_masks: Make, store: Make) -> None:
    first, other = store("a", draw_masks(1)), store("b", draw_masks(2))
    rows = compare([match(first, other)]).pairs[0].rows["dice"]
    differences = patient_figures(other, first)["dice"] - patient_figures(first, other)["dice"]
    for row, column in zip(rows, [np.nanmean(differences[:, 1:], axis=1), *differences.T[1:]], strict=True):
        means = []
        for drawn in bootstrap.draw_patients(5, 200, 3):
            values = [column[patient] for patient in drawn if not np.isnan(column[patient])]
            if values:
                means.append(sum(values) / len(values))
        assert row.interval == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=1e-9)


def test_holm_goes_over_classes_of_all_evaluations_and_apart_over_the_means(three: Comparison) -> None:
    for metric in ("dice", "hd95", "surface_dice"):
        means = [pair.rows[metric][0] for pair in three.pairs]
        classes = [row for pair in three.pairs for row in pair.rows[metric][1:]]
        assert [row.p_holm for row in means] == holm([row.p for row in means])
        assert [row.p_holm for row in classes] == holm([row.p for row in classes])
        assert three.means[metric].tests == 2
        assert three.classes[metric].tests == 4
        family = three.classes[metric]
        assert family.patients == (5, 4, 5, 4)  # one of the five lacks the second class
        assert family.least_p(5) == pytest.approx(4 * 2 / 2**5)
        assert family.least_p(4) == pytest.approx(2 * 2 / 2**4)
        assert family.needed(5, three.alpha) == 8  # 4 x 2 / 2**8 is 0.03, 4 x 2 / 2**7 is 0.06
        assert not family.can_tell(5, three.alpha)


def test_one_metric_is_shown_better_where_less_is_better(draw_masks: Make, store: Make) -> None:
    first = store("a", draw_masks(1, patients=9, errors=0.4))
    other = store("b", draw_masks(2, patients=9, errors=0.02))
    there, back = compare([match(first, other)]), compare([match(other, first)])
    for metric in ("dice", "hd95", "surface_dice"):
        mean = there.pairs[0].rows[metric][0]
        assert mean.p_holm == 2 / 2**9
        assert mean.shown(there.alpha) == "better"
        assert back.pairs[0].rows[metric][0].shown(back.alpha) == "worse"
        assert mean.wins == back.pairs[0].rows[metric][0].losses == 9
    assert there.pairs[0].rows["hd95"][0].difference < 0 < there.pairs[0].rows["dice"][0].difference  # type: ignore[operator]


def test_a_mean_that_contradicts_the_ranks_is_unclear() -> None:
    row = Row("dice", "bone", 1, 9, 0.5, 0.4, -0.1, None, 0.01, 0.01, 1, 8, 1, 0)
    assert row.shown(0.05) == "unclear"
    assert replace(row, leaning=-1).shown(0.05) == "worse"
    assert replace(row, p_holm=0.06).shown(0.05) == ""


def test_metrics_that_one_lacks_or_measures_otherwise_are_left_out(draw_masks: Make, store: Make) -> None:
    masks = draw_masks(1)
    first = store("a", masks)
    for name, more, metrics, told in (
        ("none", {"distances": False}, ["dice"], "none measured none"),
        ("mm", {"spacing": (1.0, 1.0)}, ["dice"], "a has them in pixels, mm in mm"),
        ("wide", {"tolerance": 3.0}, ["dice", "hd95"], "its tolerance is 2 in a, 3 in wide"),
    ):
        pair = compare([match(first, store(name, masks, **more))]).pairs[0]
        assert list(pair.rows) == metrics
        assert told in " ".join(pair.notes)


def test_distances_that_one_lacks_are_left_out_of_both(draw_masks: Make, store: Make) -> None:
    first, other = store("a", draw_masks(1)), store("b", draw_masks(2))
    first = replace(first, hd95=first.hd95 + np.arange(18.0)[:, np.newaxis] ** 2)  # no two alike
    hd95 = other.hd95.copy()
    hd95[:3] = np.nan  # both cases of p0, and one of the first scan of p1
    pair = compare([match(first, replace(other, hd95=hd95))]).pairs[0]
    assert pair.notes == ["Distances of 3 cases were measured in one evaluation only: left out."]
    row = pair.rows["hd95"][1]
    assert row.n_patients == 4
    p1 = [first.hd95[index, 1] for index in (3, 4, 5)]  # the rest of p1: one of w0, two of w1
    mine = (p1[0] + (p1[1] + p1[2]) / 2) / 2
    rest = [np.mean([first.hd95[index, 1] for index in range(start, start + 4)]) for start in (6, 10, 14)]
    assert row.first == pytest.approx(np.mean([mine, *rest]))


def test_missed_and_spurious_are_counted_in_cases(store: Make) -> None:
    has, none = np.array([[1, 1, 0, 0]]), np.zeros((1, 4), dtype=int)
    masks = {("p", "s", name): value for name, value in {
        "hit": (has, has), "missed": (has, none), "spurious": (none, has), "empty": (none, none)}.items()}  # fmt: skip
    clean = {key: (one, one) for key, (one, _) in masks.items()}
    first, other = (store(name, one, classes=("background", "x")) for name, one in (("a", clean), ("b", masks)))
    counts = compare([match(first, other)]).pairs[0].counts
    assert [(one.name, one.missed, one.spurious) for one in counts] == [("x", (0, 1), (0, 1))]


def test_regressions_are_the_largest_falls(draw_masks: Make, store: Make) -> None:
    masks, others = draw_masks(1, errors=0.1), draw_masks(2, errors=0.4)
    first, other = store("a", masks), store("b", others)
    found = compare([match(first, other)]).pairs[0].regressions

    falls = []
    for key in masks:
        for place, name in ((1, "bone"), (2, "rectum")):
            reference = masks[key][0] == place
            scores = [2 * (reference & (two == place)).sum() / (reference.sum() + (two == place).sum())
                      if reference.any() else np.nan for _, two in (masks[key], others[key])]  # fmt: skip
            falls.append((scores[1] - scores[0], key[2], name, *scores))
    falls = sorted(fall for fall in falls if fall[0] < 0)[:10]
    assert [(one.case, one.name) for one in found] == [fall[1:3] for fall in falls]
    assert [one.difference for one in found] == pytest.approx([fall[0] for fall in falls])
    assert [one.other for one in found] == pytest.approx([fall[4] for fall in falls])
    assert all(one.hd95 is not None for one in found)
    assert not compare([match(first, replace(first, name="same"))]).pairs[0].regressions
