"""Which cases a report shows is chosen by the reference and the scores, never by chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.data.cases import Case
from pipeline.reporting import examples
from pipeline.reporting.examples import choose_cases, load_example, load_slices
from transforms.nifti import ReadOptions


def rows(scores: dict[str, list[float | None]]) -> list[dict[str, Any]]:
    """Rows of cases.csv: one score a foreground class, None where the reference lacks it."""
    table = []
    for case, values in scores.items():
        table.append({"case": case, "class_id": 0, "reference_voxels": 100, "dice": 1.0})
        for index, value in enumerate(values, start=1):
            voxels = 0 if value is None else 10 * index
            table.append({"case": case, "class_id": index, "reference_voxels": voxels, "dice": value})
    return table


def cases(*names: str) -> list[Case]:
    return [Case(name, Path(f"{name}.nii.gz"), Path(f"{name}_label.nii.gz"), name, name) for name in names]


def test_the_richest_then_worst_median_and_best() -> None:
    # mean Dice: a .9, b .2, c .6, d .7; all of them show both classes, but e shows one, so its .1 is not ranked
    table = rows({"a": [0.9, 0.9], "b": [0.2, 0.2], "c": [0.5, 0.7], "d": [0.7, 0.7], "e": [0.1, None]})
    captions = choose_cases(cases("a", "b", "c", "d", "e"), table, None)
    assert list(captions) == ["a", "b", "d"]  # "a" is the richest and the best at once
    assert captions["b"] == "worst case, whose mean Dice is 0.200"
    assert captions["d"] == "median case, whose mean Dice is 0.700"


def test_the_config_names_the_first_case() -> None:
    table = rows({"a": [0.9, 0.9], "b": [0.2, 0.2], "c": [0.5, 0.7]})
    captions = choose_cases(cases("a", "b", "c"), table, "c")
    assert next(iter(captions)) == "c" and captions["c"] == "chosen in the config"


def test_no_class_anywhere_shows_the_first_case() -> None:
    assert list(choose_cases(cases("a", "b"), rows({"a": [None], "b": [None]}), None)) == ["a"]


def test_of_a_volume_the_slice_that_shows_most(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    # along axis 1: slice 0 has class 1 only (more voxels), slice 2 has both
    label = np.zeros((4, 3, 5), dtype=np.uint8)
    label[:, 0] = 1
    label[0, 2, :2], label[1, 2, :3] = 1, 2
    prediction = label.copy()
    prediction[0, 2, 0] = 0
    image = np.arange(label.size, dtype=np.float32).reshape(label.shape)
    paths = [
        write_nifti(tmp_path / name, array, (1.0, 3.0, 2.0))
        for name, array in (("image.nii.gz", image), ("label.nii.gz", label), ("prediction.nii.gz", prediction))
    ]
    case = Case("x", paths[0], paths[1], "x", "x")
    shown = load_example(case, paths[2], ("background", "one", "two"), ReadOptions(), known_spacing=True)
    assert shown.slice == 2 and shown.pixel_size == (1.0, 2.0) and shown.axis_codes == ("R", "S")
    np.testing.assert_array_equal(shown.image, image[:, 2])
    np.testing.assert_array_equal(shown.prediction, prediction[:, 2])
    assert shown.dice["one"] == 2 * 1 / (2 + 1) and shown.dice["two"] == 1.0


def test_of_several_channels_the_first_is_shown(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    values = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2)
    label = np.zeros((4, 3, 2), dtype=np.uint8)
    label[1, 2, 1] = 1
    paths = [
        write_nifti(tmp_path / name, array, (1.0, 1.0, 1.0))
        for name, array in (("image.nii.gz", values), ("label.nii.gz", label), ("prediction.nii.gz", label))
    ]
    case = Case("x", paths[0], paths[1], "x", "x", channels_in_file=2)
    shown = load_example(case, paths[2], ("background", "one"), ReadOptions(channels=2), known_spacing=True)
    assert shown.slice == 1 and shown.dice["one"] == 1
    np.testing.assert_array_equal(shown.image, values[:, :, 1, 0])


def test_a_volume_of_another_orientation_is_shown_as_it_lies_in_the_file(tmp_path: Path) -> None:
    label = np.zeros((4, 3, 5), dtype=np.uint8)
    label[3, 1, 2] = 1
    affine = np.array([[0, 0, -2.0, 9], [-1, 0, 0, 9], [0, 3, 0, 9], [0, 0, 0, 1]])  # the axes point to P, S and L
    image = np.arange(label.size, dtype=np.float32).reshape(label.shape)
    for name, array in (("image", image), ("label", label), ("prediction", label)):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    case = Case("x", tmp_path / "image.nii.gz", tmp_path / "label.nii.gz", "x", "x")
    # axis 0 of RAS, right-left, is the last of the file; slices of it have the axes P and S.
    options = ReadOptions(axis=0)
    shown = load_example(case, tmp_path / "prediction.nii.gz", ("background", "one"), options, known_spacing=True)
    assert shown.slice == 2 and shown.axis_codes == ("P", "S") and shown.pixel_size == (1.0, 3.0)
    np.testing.assert_array_equal(shown.image, image[:, :, 2])
    options = ReadOptions(axis=0, ignore_affine=True)
    shown = load_example(case, tmp_path / "prediction.nii.gz", ("background", "one"), options, known_spacing=True)
    assert shown.slice == 3 and shown.axis_codes is None
    np.testing.assert_array_equal(shown.image, image[3])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_cut_and_it_is_the_fullest_of_all(
    tmp_path: Path, write_nifti: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, axis: int
) -> None:
    random = np.random.default_rng(axis)
    arrays = random.normal(size=(6, 7, 8)), random.choice(4, (6, 7, 8), p=[0.9, 0.04, 0.04, 0.02]), np.zeros((6, 7, 8))
    image, label, prediction = (
        write_nifti(tmp_path / f"{number}.nii.gz", array.astype(np.uint8 if number else np.float32), (1.0, 1.0, 1.0))
        for number, array in enumerate(arrays)
    )
    case, options, classes = Case("x", image, label, "x", "x"), ReadOptions(axis=axis), ("background", "a", "b", "c")
    every = load_slices(case, prediction, classes, options, True)
    ranks = [(len(np.unique(one.reference)), int((one.reference > 0).sum())) for one in every]
    cut: list[int] = []
    own = examples.slice_example

    def watched(*given: Any) -> Any:
        cut.append(given[1])
        return own(*given)

    monkeypatch.setattr(examples, "slice_example", watched)
    shown = load_example(case, prediction, classes, options, True)
    assert cut == [shown.slice] == [ranks.index(max(ranks))]
    np.testing.assert_array_equal(shown.image, every[ranks.index(max(ranks))].image)
    assert len(set(ranks)) > 1, "no slice is fuller than another"
