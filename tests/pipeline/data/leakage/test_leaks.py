"""The same image on two sides of a split: under its own voxels, and as every kind of copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import inspect_cases
from pipeline.data.leakage import leaks as module
from pipeline.data.leakage.leaks import repeated_images
from pipeline.data.leakage.thumbnails import find_candidates
from pipeline.data.phantom.writing import scan_volume
from pipeline.data.splitting.splits import Split
from pipeline.errors import DataError, Faults

ALLOWED = {"kind": "holdout", "allow_leakage": True}


def smooth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return (100 * (field - field.min()) / np.ptp(field)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., Case]:
    """Writes an image and a label; gives the case."""

    def write(name: str, image: np.ndarray) -> Case:
        label = np.zeros(image.shape, np.uint8)
        return Case(
            id=name,
            image=write_nifti(tmp_path / "images" / f"{name}.nii.gz", image, dtype=image.dtype),
            label=write_nifti(tmp_path / "labels" / f"{name}.nii.gz", label),
            patient=name,
            scan=name,
        )

    return write


@pytest.fixture
def found_between(make_config: Callable[..., Any], store: Callable[..., Case]) -> Callable[..., list[str]]:
    """What is found between one image in train and another in test; a third one is in validation."""

    def find(one: np.ndarray, other: np.ndarray) -> list[str]:
        config = make_config(splits=ALLOWED, data={"patient": "^(.+)$"})
        cases = [store("p1", one), store("p2", smooth(99, one.shape)), store("p3", other)]
        split = Split((cases[0],), (cases[1],), (cases[2],))
        return repeated_images(config, split, inspect_cases(config, cases))

    return find


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rounded": lambda image: np.rint(20 * image).astype(np.int16),
    "scaled": lambda image: 0.01 * image - 7,
    "noisy": lambda image: image + np.random.default_rng(0).normal(0, 2, image.shape).astype(np.float32),
    "mirrored": lambda image: image[::-1],
    "turned": lambda image: np.moveaxis(image, 0, -1)[::-1],
    "cropped": lambda image: image[tuple([slice(1, -3)] * image.ndim)],
    "padded": lambda image: np.pad(image, [(2, 0), *[(1, 3)] * (image.ndim - 1)]),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("shape", [(90, 64), (40, 36, 44)])
def test_each_kind_of_copy_is_found(found_between: Callable[..., list[str]], kind: str, shape: tuple[int, ...]) -> None:
    (found,) = found_between(smooth(1, shape), COPIES[kind](smooth(1, shape)))
    assert found.startswith("nearly the same image on two sides: ")
    assert "p1.nii.gz (train)" in found and "p3.nii.gz (test)" in found
    assert "correlation of their fine structure is " in found
    assert ("mirrored" in found) == (kind in ("mirrored", "turned"))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 2), st.sampled_from([(90, 64), (33, 30), (32, 36, 30)]))
def test_strangers_are_not(found_between: Callable[..., list[str]], seed: int, shape: tuple[int, ...]) -> None:
    assert found_between(smooth(seed, shape), smooth(seed + 1, shape)) == []


def test_not_even_where_the_thumbnails_are_taken_for_alike(
    found_between: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CANDIDATE", -2.0)
    for seed in range(4):
        assert found_between(smooth(seed, (33, 30)), smooth(seed + 1, (33, 30))) == []


def test_what_may_be_a_copy_is_told_and_not_refused(
    make_config: Callable[..., Any], store: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(data={"patient": "^(.+)$"})
    cases = [store("p1", smooth(1, (90, 64))), store("p2", smooth(9, (90, 64))), store("p3", 3 * smooth(1, (90, 64)))]
    split, facts = Split((cases[0],), (cases[1],), (cases[2],)), inspect_cases(config, cases)
    with pytest.raises(DataError, match="nearly the same"):
        repeated_images(config, split, facts)
    monkeypatch.setattr(module, "ALIKE", 1.01)
    (told,) = repeated_images(config, split, facts)
    assert told.startswith("perhaps the same image on two sides: ") and "p1.nii.gz" in told and "p3.nii.gz" in told


def test_images_of_a_few_voxels_show_too_little(found_between: Callable[..., list[str]]) -> None:
    tiny = smooth(1, (14, 18))
    assert found_between(tiny, 3 * tiny) == []
    (found,) = found_between(tiny, tiny)
    assert "the same image" in found, "but the same voxels are the same"


def test_of_hippocampus_crops_no_two_are_one(make_config: Callable[..., Any], hippocampus: Path) -> None:
    """The two that are most alike of all: both sides of one head, perhaps."""
    config = make_config(splits=ALLOWED, data={"patient": "^(.+)$"})
    files = sorted((hippocampus / "images").iterdir())
    cases = [
        Case(files[number].name, files[number], hippocampus / "labels" / files[number].name, str(number), str(number))
        for number in (119, 120, 0)
    ]
    facts = inspect_cases(config, cases)
    likest = find_candidates(facts[0].thumbnail[None], facts[1].thumbnail[None], module.CANDIDATE)
    assert list(likest), "they are compared"
    assert repeated_images(config, Split((cases[0],), (cases[2],), (cases[1],)), facts) == []


def test_the_same_voxels_are_told_once(found_between: Callable[..., list[str]]) -> None:
    (found,) = found_between(smooth(1, (40, 40)), smooth(1, (40, 40)))
    assert found.startswith("the same image on two sides: ")


def test_slices_of_other_patients_and_the_ends_of_scans_are_not(
    make_config: Callable[..., Any], store: Callable[..., Case]
) -> None:
    config = make_config(splits=ALLOWED, data={"patient": "^(.+)$"})
    sides: list[list[Case]] = [[], [], []]
    for side, patient in zip(sides, (4, 5, 6), strict=True):
        volume = scan_volume(patient, 0, 0)[0]
        side += [store(f"p{patient}s{number}", volume[:, :, number]) for number in (0, 1, 20, 40, 59)]
        side.append(store(f"p{patient}blank", np.zeros((256, 128), np.float32)))
        spot = np.zeros((256, 128), np.float32)
        spot[100 + patient, 60] = 1.0
        side.append(store(f"p{patient}spot", spot))
    facts = inspect_cases(config, [case for side in sides for case in side])
    train, validation, test = map(tuple, sides)
    assert repeated_images(config, Split(train, validation, test), facts) == []


def test_copies_on_one_side_are_no_leak(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    config = make_config(data={"patient": "^(.+)$"})
    image = smooth(1, (50, 50))
    cases = [
        store("p1", image),
        store("p2", 2 * image),
        store("p3", smooth(2, (50, 50))),
        store("p4", smooth(3, (50, 50))),
    ]
    facts = inspect_cases(config, cases)
    assert repeated_images(config, Split((cases[0], cases[1]), (cases[2],), (cases[3],)), facts) == []
    with pytest.raises(DataError, match=r"p1.*\(train\) and .*p2.*\(validation\)") as caught:
        repeated_images(config, Split((cases[0],), (cases[1],), (cases[3],)), facts)
    assert "allow_leakage" in str(caught.value.remedy)


def test_slices_are_not_held_against_volumes(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    config = make_config(splits=ALLOWED, data={"patient": "^(.+)$"})
    volume = smooth(1, (40, 40, 40))
    cases = [store("p1", volume), store("p2", volume[:, :, 20]), store("p3", 2 * volume[:, :, 20])]
    facts = inspect_cases(config, cases)
    (found,) = repeated_images(config, Split((cases[0],), (cases[1],), (cases[2],)), facts)
    assert "p2" in found and "p3" in found


def test_the_rim_of_a_field_of_view_is_no_evidence(found_between: Callable[..., list[str]]) -> None:
    """Two CT slices with the same round field of view, dark outside of it by ten times the range within."""
    inside = np.hypot(*np.mgrid[-1:1:128j, -1:1:128j]) < 0.97
    one, other = (np.where(inside, smooth(seed, (128, 128)), np.float32(-1000)) for seed in (1, 2))
    assert found_between(one, other) == []
    assert len(found_between(one, one[2:, :-3] + 1)) == 1


def exact(name: str, digest: int) -> CaseFacts:
    """Facts of a case whose voxels are told by a number alone."""
    zeros = np.zeros(3, int)
    none = np.zeros(0, np.float32)
    return CaseFacts(
        name, (8, 8), (1.0, 1.0), "", -1, 1, 0.0, 1.0, 0.5, zeros, zeros, zeros, bytes([digest]), b"", none
    )


def test_many_pairs_are_counted(make_config: Callable[..., Any], make_case: Callable[..., Any]) -> None:
    train, test = ([make_case(f"{side}{number}", f"{side}{number}") for number in range(25)] for side in "ab")
    facts = [exact(case.id, number) for side in (train, test) for number, case in enumerate(side)]
    split = Split(tuple(train), (make_case("v", "v"),), tuple(test))
    with pytest.raises(Faults) as caught:
        repeated_images(make_config(), split, facts)
    assert len(caught.value.faults) == 21
    assert caught.value.faults[-1].what == "5 more pairs of images on two sides are the same, or nearly so"
    few = replace(split, train=split.train[:20])
    assert len(repeated_images(make_config(splits=ALLOWED), few, facts)) == 20


def test_what_was_not_compared_is_told(
    make_config: Callable[..., Any], store: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies, the better one is compared."""
    config = make_config(splits=ALLOWED, data={"patient": "^(.+)$"})
    image = smooth(1, (60, 60))
    noisy = image + np.random.default_rng(0).normal(0, 3, image.shape).astype(np.float32)
    cases = [store("p1", image), store("p2", noisy), store("p3", 2 * image)]
    monkeypatch.setattr(module, "_MOST_COMPARED", 1)
    found = repeated_images(config, Split((cases[0],), (cases[1],), (cases[2],)), inspect_cases(config, cases))
    assert "p1" in found[0] and "p3" in found[0]
    assert found[1:] == ["2 more pairs of images on two sides look alike, and were not compared"]
