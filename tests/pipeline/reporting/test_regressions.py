"""Pictures of regressions: the right slice, one class, and nothing shown that is not what was counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.evaluation.differences import Regression
from pipeline.reporting.regressions import CaseFiles, load_pair
from transforms.nifti import ReadOptions

CLASSES = ("background", "bone", "rectum")
FALL = Regression("c1", "rectum", 2, 0.9, 0.5, -0.4, None, 18)


@pytest.fixture
def files(tmp_path: Path, write_nifti: Callable[..., Path]) -> CaseFiles:
    """A volume cut along its last axis; the second prediction lost most in slice 2, but there the first had, too."""
    label = np.zeros((5, 6, 4), dtype=np.uint8)
    label[1:4, 1:3, 1:4] = 7  # the value of rectum in the label
    label[0, 0, :] = 1
    first, other = (np.where(label == 7, 2, label) for _ in range(2))
    first[1:3, 1, 2] = 0
    other[1:4, 1, 2] = 0
    other[1, 1:3, 3] = 0
    image = np.arange(120, dtype=np.float32).reshape(5, 6, 4)
    paths = [write_nifti(tmp_path / f"{name}.nii.gz", array, (1.0, 2.0, 3.0))
             for name, array in (("image", image), ("label", label), ("one", first), ("two", other))]  # fmt: skip
    options = ReadOptions()
    return CaseFiles(paths[0], options, paths[1], options, (paths[2], paths[3]), (options, options), (7, 2, 2),
                     (18, 16, 13), True)  # fmt: skip


def test_the_slice_that_got_worst_is_shown_of_that_class_alone(files: CaseFiles) -> None:
    picture = load_pair(FALL, files, CLASSES)
    assert picture.examples is not None and picture.note == ""
    first, other = picture.examples
    assert (first.slice, other.slice, first.case) == (3, 3, "c1")
    assert set(np.unique(first.reference)) == {0, 2}
    assert (first.prediction == first.reference).all()
    assert (other.prediction == 2).sum() == 4
    assert first.dice == {"background": 1.0, "bone": None, "rectum": 1.0}
    assert other.dice["rectum"] == pytest.approx(2 * 4 / (6 + 4))
    assert (first.image == np.arange(120).reshape(5, 6, 4)[..., 3]).all()
    assert first.pixel_size == (1.0, 2.0)


def test_without_an_image_the_outlines_are_on_black(files: CaseFiles) -> None:
    picture = load_pair(FALL, replace(files, image=None), CLASSES)
    assert picture.examples is not None
    assert not picture.examples[0].image.any()
    assert picture.note == "The image is not known: outlines alone."


@pytest.mark.parametrize(("change", "told"), [
    ({"voxels": (18, 16, 12)}, "two.nii.gz: has 13 voxels of the class, 12 were counted"),
    ({"class_ids": (1, 2, 2)}, "label.nii.gz: has 4 voxels of the class, 18 were counted"),
])  # fmt: skip
def test_files_that_are_not_those_that_were_counted_are_not_shown(
    files: CaseFiles, change: dict[str, tuple[int, ...]], told: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_pair(FALL, replace(files, **change), CLASSES)  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_an_image_of_another_grid_is_not_shown(files: CaseFiles, write_nifti: Callable[..., Path]) -> None:
    assert files.image is not None
    write_nifti(files.image, np.zeros((5, 6, 3), dtype=np.float32))
    with pytest.raises(DataError, match=r"its shape \(5, 6, 3\) is not the label's \(5, 6, 4\)"):
        load_pair(FALL, files, CLASSES)


def test_what_is_far_from_the_class_is_cut_off_alike_in_both(
    files: CaseFiles, write_nifti: Callable[..., Path]
) -> None:
    label = np.zeros((200, 300), dtype=np.uint8)
    label[100:140, 200:220] = 2
    first, other = label.copy(), np.roll(label, 30, axis=1)
    image = np.arange(60_000, dtype=np.float32).reshape(200, 300)
    assert files.image is not None
    for path, array in zip((files.image, files.label, *files.predictions), (image, label, first, other), strict=True):
        write_nifti(path, array, (1.0, 1.0))
    flat = replace(files, class_ids=(2, 2, 2), voxels=(800, 800, 800))
    picture = load_pair(FALL, flat, CLASSES)
    assert picture.examples is not None
    # rows 100 to 140 and columns 200 to 250 of any mask, as much around on each side: 60 to 180 and 150 to 300
    for example, mask in zip(picture.examples, (first, other), strict=True):
        assert (example.image == image[60:180, 150:300]).all()
        assert (example.reference == label[60:180, 150:300]).all()
        assert (example.prediction == mask[60:180, 150:300]).all()
    assert picture.examples[1].dice["rectum"] == 0.0
