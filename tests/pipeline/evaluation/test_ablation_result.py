"""What is said of an ablation: pooling, few patients, runs that were not made alike; and which variant leads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluation.ablation_cells import read_cell
from pipeline.evaluation.ablation_result import CHOOSE, DONE, OPEN, Ablation, CellOutcome

Make = Callable[..., Ablation]


@pytest.fixture
def make(tmp_path: Path, write_cell: Callable[..., None]) -> Make:
    """An ablation of chains a, b ... and seeds, each cell with what is given for it; None for one that was not run."""

    def make(*given: dict[str, Any] | None, seeds: int = 1) -> Ablation:
        cells = []
        for number, more in enumerate(given):
            chain, seed = "abcdef"[number // seeds], str(number % seeds) if seeds > 1 else ""
            name = f"chain={chain}" + (f",seed={seed}" if seed else "")
            choices = (("chain", chain), *((("seed", seed),) if seed else ()))
            outcome = CellOutcome(name, f"chain={chain}", choices, seed)
            if more is not None:
                write_cell(tmp_path / name, **{"seed": number, **more})
                outcome = CellOutcome(name, f"chain={chain}", choices, seed, DONE, "", read_cell(tmp_path / name))
            cells.append(outcome)
        return Ablation("a title", "bin/ablate x.yaml", tuple(cells))

    return make


def test_the_best_is_the_best_on_validation(make: Make, tmp_path: Path, write_cell: Callable[..., None]) -> None:
    """The second chain is better on the test patients, and worse on those that choose."""
    write_cell(tmp_path / "strong", skill=60)
    write_cell(tmp_path / "weak", skill=5)
    ablation = make({"skill": 60}, {"skill": 5})
    for name, other in (("chain=a", "weak"), ("chain=b", "strong")):
        for file in ("scans.csv", "summary.json"):
            (tmp_path / name / "evaluation" / file).write_bytes((tmp_path / other / "evaluation" / file).read_bytes())
    cells = tuple(
        CellOutcome(one.name, one.variant, one.choices, one.seed, DONE, "", read_cell(tmp_path / one.name))
        for one in ablation.cells
    )
    ablation = Ablation("", "", cells)
    one, two = ablation.figures
    assert (one.sides["test"].own.mean or 0) < (two.sides["test"].own.mean or 0)
    assert ablation.best is one and ablation.notes()[0] == CHOOSE


def test_nothing_is_said_before_there_is_anything(make: Make) -> None:
    ablation = make(None, None)
    assert (ablation.notes(), ablation.figures, ablation.best, ablation.done) == ([], [], None, [])
    assert ablation.cells[0].state == OPEN and not ablation.synthetic and ablation.keys == ("chain",)


def test_one_finished_variant_is_no_best(make: Make) -> None:
    ablation = make(None, {})
    assert ablation.best is None and ablation.number("chain=b") == 2 and len(ablation.figures) == 1


def said(ablation: Ablation, words: str) -> bool:
    return words in " ".join(ablation.notes())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"git_commit": "c2"}, "same versions of Slicewise"),
        ({"versions": {"torch": "3"}}, "same versions of the libraries"),
        ({"dataset": {"fingerprint": "f2", "synthetic": False}}, "same data files"),
        ({"device": "GPU"}, "same devices"),
        ({"resumed": True}, "stopped and resumed"),
        ({"classes": ("background", "bone", "heart")}, "do not have the same classes"),
        ({"test": ("p1", "p2", "p3")}, "The test scans are not the same in all runs"),
        ({"test": ("p1",)}, "the 1 to 4 test patients"),
    ],
)
def test_what_is_not_alike_is_said(make: Make, given: dict[str, Any], words: str) -> None:
    assert said(make({}, given), words)
    assert not said(make({}, {}), words)


def test_seeds_are_pooled_by_variant(make: Make) -> None:
    ablation = make({}, {}, {}, None, seeds=2)
    assert [(one.name, list(one.cells)) for one in ablation.variants] == [("chain=a", ["0", "1"]), ("chain=b", ["0"])]
    assert [one.sides["test"].own.seeds for one in ablation.figures] == [2, 1]
    assert said(ablation, "Not the same seeds") and ablation.best is None, "it might lead for its seed alone"
    whole = make({}, {}, {}, {}, seeds=2)
    assert not said(whole, "Not the same seeds") and whole.best is not None
    assert said(ablation, "Seeds are pooled") and not said(make({}, {}), "Seeds are pooled")


def test_variants_that_were_validated_on_other_scans_are_not_ranked(make: Make) -> None:
    """One of the two may lead for its patients alone; with seeds that draw the split, patients may differ by seed."""
    why = "No variant is named as the best: they were not validated on the same scans."
    ablation = make({"skill": 60}, {"skill": 5, "validation": ("v1", "v3")})
    assert ablation.best is None and ablation.notes()[1] == why
    fewer = make({"skill": 60, "validation": ("v1",)}, {"skill": 5})
    assert fewer.best is None and why in fewer.notes()
    drawn = make({}, {"validation": ("v7",)}, {}, {"validation": ("v7",)}, seeds=2)
    assert drawn.best is not None and not said(drawn, "No variant is named")
    crossed = make({}, {"validation": ("v7",)}, {"validation": ("v7",)}, {}, seeds=2)
    assert crossed.best is None, "the same scans, but of other seeds"


def test_why_no_variant_is_named_is_said(make: Make) -> None:
    assert make({}, {}, {}, None, seeds=2).unranked == "not the same seeds of all variants are done"
    other = make({}, {"classes": ("background", "bone", "heart")})
    assert said(other, "No variant is named as the best: the runs do not have the same classes.")
    assert not make({}, {}).unranked and not make(None, None).unranked and not make({}, None).unranked


def test_few_patients_are_said(make: Make) -> None:
    many = make({"test": [f"p{number}" for number in range(10)]})
    assert said(many, "of the 10 test patients.") and not said(many, "Rough with so few")
    assert said(make({}), "of the 4 test patients. Rough with so few")
    assert said(make({"test": ["p1"]}), "One test patient: no interval")
    assert said(many, "Validation patients: 2. So few choose badly")
