"""The dataset's table as people and machines see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.commands.checks.table import dataset_statistics, table_lines, table_values
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts


def case(name: str) -> Case:
    return Case(name, Path(f"{name}.nii"), Path(f"{name}_seg.nii"), name, name)


def facts(name: str, voxels: list[int], orientation: str = "RAS") -> CaseFacts:
    return CaseFacts(
        name, (4, 5, 6), (1.0, 1.0, 3.0), orientation, 2, 6, 0.0, 99.0, 12.5, np.array(voxels), np.array([6, 2]),
        np.array([0, 1]), b"", b"", np.zeros(0),
    )  # fmt: skip


SIDES = {"train": [case("a"), case("b")], "test": [case("c")], "validation": [case("unread")]}
FACTS = {"a": facts("a", [90, 10]), "b": facts("b", [70, 30]), "c": facts("c", [100, 0])}


def test_lines() -> None:
    statistics = dataset_statistics(SIDES, FACTS)
    assert [one.side for one in statistics] == ["train", "test"], "a side without a readable case is left out"
    lines = table_lines(statistics, ["background", "liver"], known_spacing=True)
    cells = {" ".join(line.split()) for line in lines}
    assert {"train test", "patients 2 1", "slices 12 6", "size 4 x 5 x 6 4 x 5 x 6", "spacing, mm 1 x 1 x 3 1 x 1 x 3",
            "orientation RAS RAS", "intensity 0 to 99 0 to 99"} <= cells  # fmt: skip
    assert "liver 20.00 0.00 4 2 2 1" in cells, "40 of 200 voxels, and none of 100"


def test_a_spacing_that_is_not_known_is_not_shown() -> None:
    statistics = dataset_statistics(SIDES, {"a": facts("a", [1, 1], orientation="")})
    text = "\n".join(table_lines(statistics, ["background", "liver"], known_spacing=False))
    assert "class       voxels, %  slices with it  patients with it" in text, "one side needs no second line"
    assert "spacing" not in text and "orientation" not in text


def test_values() -> None:
    (value, _) = table_values(dataset_statistics(SIDES, FACTS), ["background", "liver"])
    assert value["side"] == "train" and value["cases"] == 2 and value["intensity"]["high"] == 99.0
    assert value["classes"]["liver"] == {"voxels": 40, "slices": 4, "cases": 2, "patients": 2}
