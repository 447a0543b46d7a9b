"""Pooled figures, intervals and paired differences against loops that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.ablation import Resampling, Variant, compare
from pipeline.evaluation.ablation_cells import FinishedCell, ScanScores, read_cell

Seeds = Mapping[str, Mapping[tuple[int, str, str], list[float]]]  # seed -> scan -> Dice of each class
NAN = float("nan")
UNITS = [(0, "p1", "w0"), (0, "p1", "w1"), (0, "p2", "w0"), (0, "p3", "w0")]


def cell(scores: Mapping[tuple[int, str, str], list[float]], classes: tuple[str, ...] = ("a", "b"), **more: Any) -> Any:
    """A finished cell whose validation scans have the same Dice as its test scans."""
    side = ScanScores(classes, tuple(scores), np.array(list(scores.values())))
    source = {"training_seconds": 10.0, "peak_memory_bytes": 100} | more
    return FinishedCell(side, side, 0.5, {}, source, int(more.get("steps", 7)))


def naive(seeds: Seeds, drawn: list[str] | None = None) -> float:
    """The mean over classes of the mean over scans of the mean over seeds; of drawn patients, some more than once."""
    units = list(dict.fromkeys(unit for scores in seeds.values() for unit in scores))
    patients = drawn if drawn is not None else list(dict.fromkeys(unit[1] for unit in units))
    by_class: dict[int, list[float]] = {}
    for patient in patients:
        for unit in units:
            if unit[1] != patient:
                continue
            for k in range(2):
                found = [scores[unit][k] for scores in seeds.values() if unit in scores]
                known = [value for value in found if not np.isnan(value)]
                if known:
                    by_class.setdefault(k, []).append(sum(known) / len(known))
    means = [sum(column) / len(column) for column in by_class.values()]
    return sum(means) / len(means) if means else NAN


def naive_interval(seeds: Seeds, resampling: Resampling) -> list[float]:
    patients = list(dict.fromkeys(unit[1] for scores in seeds.values() for unit in scores))
    drawn = np.random.default_rng(resampling.seed).integers(len(patients), size=(resampling.resamples, len(patients)))
    means = [naive(seeds, [patients[index] for index in row]) for row in drawn]
    tail = (1 - resampling.confidence) / 2
    return np.nanquantile(means, [tail, 1 - tail]).tolist()


def drawn_scores(seed: int, units: list[tuple[int, str, str]] | None = None) -> dict[tuple[int, str, str], list[float]]:
    """Random Dice; class b is not shown in the first scan, by any seed."""
    rng = np.random.default_rng(seed)
    scores = {unit: rng.random(2).tolist() for unit in UNITS}
    scores[UNITS[0]][1] = NAN
    return {unit: scores[unit] for unit in units or UNITS}


def variant(name: str, seeds: Seeds) -> Variant:
    return Variant(name, {seed: cell(scores) for seed, scores in seeds.items()})


RESAMPLING = Resampling(300, 5, 0.9)


@pytest.mark.parametrize("n_seeds", [1, 2, 3])
def test_figures_are_those_of_loops(n_seeds: int) -> None:
    first = {str(seed): drawn_scores(seed) for seed in range(n_seeds)}
    other = {str(seed): drawn_scores(seed + 50) for seed in range(n_seeds)}
    one, two = compare([variant("one", first), variant("two", other)], RESAMPLING)
    assert one.sides["test"].difference is None and one.name == "one" and two.seeds == tuple(first)
    for found, seeds in ((one, first), (two, other)):
        own = found.sides["test"].own
        assert own.mean == pytest.approx(naive(seeds))
        assert own.interval == pytest.approx(naive_interval(seeds, RESAMPLING))
        means = [naive({"": scores}) for scores in seeds.values()]
        assert own.sd == (None if n_seeds == 1 else pytest.approx(np.std(means, ddof=1)))
        assert own.mean == pytest.approx(np.mean(means)), "all seeds have the same scans"
        assert (own.patients, own.seeds) == (3, n_seeds)
        assert own.by_class["a"] == pytest.approx(
            np.mean([row[0] for scores in seeds.values() for row in scores.values()])
        )
        assert found.sides["validation"] == found.sides["test"]
    less = {
        seed: {unit: [b - a for a, b in zip(first[seed][unit], other[seed][unit], strict=True)] for unit in UNITS}
        for seed in first
    }
    difference = two.sides["test"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(naive(less)) == pytest.approx(naive(other) - naive(first))
    assert difference.interval == pytest.approx(naive_interval(less, RESAMPLING))


def test_a_difference_is_of_what_both_have() -> None:
    """Seed 1 of the second variant failed, and its seed 0 was tested on fewer scans: neither moves the difference."""
    first = {"0": drawn_scores(0), "1": drawn_scores(1)}
    shifted = {unit: [value + 0.125 for value in row] for unit, row in drawn_scores(0, UNITS[1:]).items()}
    difference = (
        compare([variant("one", first), variant("two", {"0": shifted})], RESAMPLING)[1].sides["test"].difference
    )
    assert difference is not None
    assert difference.mean == pytest.approx(0.125)
    assert difference.interval == pytest.approx((0.125, 0.125)), "paired: what differs between patients cancels out"
    assert (difference.patients, difference.seeds, difference.sd) == (3, 1, None)


def test_nothing_in_common_is_no_difference() -> None:
    one = variant("one", {"0": drawn_scores(0)})
    other_seed = variant("two", {"1": drawn_scores(0)})
    other_scans = variant("three", {"0": {(0, "q", "w"): [0.5, 0.5]}})
    other_classes = Variant("four", {"0": cell(drawn_scores(0), ("a", "c"))})
    found = compare([one, other_seed, other_scans, other_classes, Variant("five", {})], RESAMPLING)
    assert [one.name for one in found] == ["one", "two", "three", "four"], (
        "nothing is said of what has no finished cell"
    )
    assert [one.sides["test"].difference for one in found[1:]] == [None, None, None]
    assert found[2].sides["test"].own.interval is None, "of one patient"
    assert (
        compare([Variant("one", {}), variant("two", {"0": drawn_scores(0)})], RESAMPLING)[0].sides["test"].difference
        is None
    )


def test_costs_are_means_and_the_most() -> None:
    cells = {
        "0": cell(drawn_scores(0)),
        "1": cell(drawn_scores(1), training_seconds=20.0, peak_memory_bytes=7, steps=8),
    }
    (found,) = compare([Variant("one", cells)], RESAMPLING)
    assert (found.seconds, found.steps, found.memory) == (15.0, 7.5, 100)


def test_one_seed_is_what_the_run_says_of_itself(tmp_path: Path, write_cell: Callable[..., None]) -> None:
    write_cell(tmp_path / "one")
    done = read_cell(tmp_path / "one")
    (found,) = compare([Variant("one", {"": done})], Resampling.of_summary(done.summary))
    scan = done.summary["levels"]["scan"]
    own = found.sides["test"].own
    assert own.mean == pytest.approx(scan["foreground"]["dice"]["mean"], abs=1e-9)
    assert own.interval == pytest.approx(scan["foreground"]["dice"]["interval"], abs=1e-9)
    assert own.by_class == {name: pytest.approx(scan["classes"][name]["dice"]["mean"], abs=1e-9)
                            for name in ("bone", "rectum")}  # fmt: skip
