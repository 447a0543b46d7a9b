"""What is not wrong with a dataset, and is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.cases import Case
from pipeline.data.cautions import cautions
from pipeline.data.facts import CaseFacts
from pipeline.data.splitting.splits import Split


def some(patients: Sequence[str]) -> tuple[Case, ...]:
    return tuple(
        Case(f"c{number}", Path(f"c{number}.nii"), Path(f"m{number}.nii"), name, f"s{number}")
        for number, name in enumerate(patients)
    )


def facts_of(cases: Sequence[Case]) -> dict[str, CaseFacts]:
    """Facts of volumes that have nothing in common."""
    found = {}
    for number, case in enumerate(cases):
        digest = number.to_bytes(16)
        found[case.id] = CaseFacts(
            case.id, (4, 4, 3), (1.0, 1.0, 1.0), "RAS", 2, 3, 0.0, 1.0, 0.5, np.array([9, 60, 60]), np.array([3, 3, 3]),
            np.array([0, 1, 1]), digest, digest, np.zeros(0),
        )  # fmt: skip
    return found


def told(cases: Sequence[Case], facts: Mapping[str, CaseFacts]) -> list[str]:
    return cautions(Split(tuple(cases), (), ()), facts)


def same_masks(patients: Sequence[str], voxels: int = 50) -> list[str]:
    """What is told of the masks of cases that all have one mask, of patients named so."""
    cases = some(patients)
    counts = np.array([9999, voxels // 2, voxels - voxels // 2])
    facts = {name: replace(fact, label_digest=b"same", voxels=counts) for name, fact in facts_of(cases).items()}
    return told(cases, facts)


def test_nothing_is_told_of_a_plain_dataset() -> None:
    cases = some(["p1", "p1", "p2", "p3"])
    assert told(cases, facts_of(cases)) == []


def test_equal_masks_of_two_patients() -> None:
    assert same_masks(["p1", "p2"]) == ["two patients have the same mask: m0.nii and m1.nii"]
    assert same_masks(["p1", "p2"], voxels=49) == [], "a few voxels are equal by chance"
    assert same_masks(["p1", "p2"], voxels=0) == [], "blank masks are all alike"
    assert same_masks(["p1", "p1"]) == [], "of one patient they may be"
    assert same_masks(["p1", "p1", "p2", "p1"]) == [
        "two patients have the same mask: m0.nii and m2.nii",
        "two patients have the same mask: m2.nii and m3.nii",
    ]
    assert len(same_masks([f"p{number}" for number in range(11)])) == 10
    assert same_masks([f"p{number}" for number in range(14)])[9:] == [
        "two patients have the same mask: m0.nii and m10.nii", "3 more masks are equal to another patient's"
    ]  # fmt: skip


def test_one_file_of_two_masks_and_cases_without_facts_are_not_told() -> None:
    cases = some(["p1", "p2"])
    facts = {name: replace(fact, label_digest=b"same") for name, fact in facts_of(cases).items()}
    assert told([cases[0], replace(cases[1], label=cases[0].label)], facts) == [], "that is a fault of the table"
    del facts["c0"]
    assert told(cases, facts) == []


def test_equal_images_of_two_patients_on_one_side() -> None:
    cases = some(["p1", "p2", "p1"])
    facts = {name: replace(fact, digest=b"same") for name, fact in facts_of(cases).items()}
    assert told(cases[:2], facts) == ["two patients have the same image, both in train: c0.nii and c1.nii"]
    assert told([cases[0], cases[2]], facts) == [], "of one patient they may be"
    assert cautions(Split((cases[0],), (cases[1],), ()), facts) == [], "on two sides that is a leak"
    blank = {name: replace(fact, high=0.0, voxels=np.array([9, 0, 0])) for name, fact in facts.items()}
    assert not [one for one in told(cases, blank) if "same image" in one]


def test_images_of_one_value() -> None:
    cases = some(["p1", "p2", "p3"])
    facts = facts_of(cases)
    facts["c0"] = replace(facts["c0"], high=0.0)
    facts["c1"] = replace(facts["c1"], high=0.0, slices=1, shape=(4, 4), voxels=np.array([16, 0, 0]))
    facts["c2"] = replace(facts["c2"], high=0.0, slices=1, shape=(4, 4))
    assert told(cases, facts) == ["images that hold one value alone: c0, c2"]


def test_replaced_voxels_are_told_and_counted() -> None:
    cases = some([f"p{number}" for number in range(12)])
    facts = {name: replace(fact, zeroed=7) for name, fact in facts_of(cases).items()}
    found = told(cases, facts)
    assert found[0] == "7 voxels of c0 were NaN or infinite, and are read as 0"
    assert len(found) == 11 and found[-1] == "2 more cases had voxels that are read as 0"
