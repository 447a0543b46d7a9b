"""Which cases a report shows is chosen by the reference and the scores, never by chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.cases import Case
from pipeline.reporting.examples import choose_cases, load_example
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
