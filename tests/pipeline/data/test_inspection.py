"""What reading every file once finds, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import inspect_cases
from pipeline.data.leaks import repeated_images
from pipeline.data.splits import Split
from pipeline.errors import DataError, Fault, Faults, ImageFileError


@pytest.fixture
def store(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., Case]:
    """Writes an image and its label; gives the case."""

    def write(name: str, image: Any, label: Any, spacing: Any = (1.0, 1.0, 1.0), label_spacing: Any = None) -> Case:
        return Case(
            id=name,
            image=write_nifti(tmp_path / "images" / f"{name}.nii.gz", image, spacing, np.float32),
            label=write_nifti(tmp_path / "labels" / f"{name}.nii.gz", label, label_spacing or spacing, np.uint8),
            patient=name[:2],
            scan=name,
        )

    return write


def whats(error: Fault) -> list[str]:
    return [one.what for one in (error.faults if isinstance(error, Faults) else (error,))]


#   slice 0    slice 1    slice 2 (along axis 2)
#   0 0 1      0 0 0      0 0 0
#   0 2 1      0 0 0      0 2 0
LABEL = np.stack([[[0, 0, 1], [0, 2, 1]], [[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 2, 0]]], axis=2)


@pytest.mark.parametrize(
    ("axis", "spacing", "slices", "slices_with"),
    [
        (None, (1.0, 1.0, 3.0), 3, [3, 1, 2]),  # the largest spacing
        (None, (3.0, 1.0, 1.0), 2, [2, 2, 1]),
        (0, (1.0, 1.0, 3.0), 2, [2, 2, 1]),  # rows: class 2 is in the second alone
        (1, (1.0, 1.0, 3.0), 3, [3, 1, 1]),  # columns: class 1 in the last, class 2 in the middle
        (2, (3.0, 1.0, 1.0), 3, [3, 1, 2]),
    ],
)
def test_facts_by_hand(
    make_config: Callable[..., Any],
    store: Callable[..., Case],
    axis: int | None,
    spacing: tuple[float, ...],
    slices: int,
    slices_with: list[int],
) -> None:
    image = np.arange(18, dtype=np.float32).reshape(2, 3, 3) - 2
    counted: list[int] = []
    (facts,) = inspect_cases(
        make_config(data={"axis": axis}), [store("p1", image, LABEL, spacing)], lambda: counted.append(1)
    )
    assert (facts.case, facts.shape, facts.spacing_mm, facts.slices) == ("p1", (2, 3, 3), spacing, slices)
    assert (facts.low, facts.high, facts.mean) == (-2.0, 15.0, 6.5)
    assert facts.voxels.tolist() == [14, 2, 2]
    assert facts.slices_with.tolist() == slices_with
    assert counted == [1]


def test_facts_of_a_2d_slice(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    flat = store("p1", np.eye(2, 3), np.array([[0, 2, 0], [0, 2, 0]]), (0.5, 2.0))
    (facts,) = inspect_cases(make_config(), [flat])
    assert (facts.shape, facts.spacing_mm, facts.slices) == ((2, 3), (0.5, 2.0), 1)
    assert facts.voxels.tolist() == [4, 0, 2]
    assert facts.slices_with.tolist() == [1, 0, 1]


def test_labels_outside_of_the_classes_are_told_with_file_and_values(
    make_config: Callable[..., Any], store: Callable[..., Case]
) -> None:
    case = store("p1", np.eye(3), np.array([[0, 1, 2], [3, 9, 0], [0, 0, 9]]))
    with pytest.raises(DataError, match=r"holds 3, 9, outside the 3 classes \(0 to 2\)") as fault:
        inspect_cases(make_config(), [case])
    assert fault.value.where == str(case.label)
    (facts,) = inspect_cases(make_config(data={"label_map": {3: 1, 9: 0}}), [case])
    assert facts.voxels.tolist() == [6, 2, 1]


def test_shapes_that_differ_are_told_with_both_files(
    make_config: Callable[..., Any], store: Callable[..., Case]
) -> None:
    case = store("p1", np.eye(3), np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"shape \(3, 4\) is not the image's \(3, 3\)") as fault:
        inspect_cases(make_config(), [case])
    assert fault.value.where == str(case.label)
    assert str(case.image) in fault.value.what


def test_affines_that_differ_are_told_with_both_files(
    make_config: Callable[..., Any], store: Callable[..., Case]
) -> None:
    volume = np.zeros((2, 3, 4))
    volume[0, 0, 0] = 1
    case = store("p1", volume, volume, (1, 1, 3), (1, 1.5, 3))
    with pytest.raises(DataError, match=r"affine differs .* by 0\.5") as fault:
        inspect_cases(make_config(), [case])
    assert fault.value.where == str(case.label)
    assert all(text in fault.value.what for text in (str(case.image), "0 1.5 0 0", "0 1 0 0"))
    assert len(inspect_cases(make_config(data={"affine_tolerance": 0.6}), [case])) == 1
    assert len(inspect_cases(make_config(data={"ignore_affine": True}), [case])) == 1


def test_image_and_label_are_cut_along_one_axis(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    volume = np.zeros((3, 3, 3))
    volume[0, 0, 0] = 1
    # Within the tolerance for affines; but the largest spacing of the image is its last axis, of the label its first.
    case = store("p1", volume, volume, (1.0, 1.0, 1.01), (1.02, 1.0, 1.01))
    with pytest.raises(DataError, match=r"cut along axis 0, .* along axis 2") as fault:
        inspect_cases(make_config(data={"affine_tolerance": 0.1}), [case])
    assert "data.axis" in fault.value.remedy
    assert len(inspect_cases(make_config(data={"affine_tolerance": 0.1, "axis": 1}), [case])) == 1


def test_all_that_is_wrong_is_told_at_once(
    make_config: Callable[..., Any], store: Callable[..., Case], tmp_path: Path
) -> None:
    good = store("p0", np.eye(4), np.eye(4))
    outside = store("p1", np.eye(3), np.full((3, 3), 7))
    shapes = store("p2", np.eye(3), np.full((2, 2), 8))
    both = store("p3", np.eye(3), np.eye(3))
    for path in (both.image, both.label):
        assert path
        path.write_bytes(b"no image")
    cut = store("p4", np.eye(3), np.eye(3))
    cut.image.write_bytes(cut.image.read_bytes()[:-9])
    gone = Case("p5", tmp_path / "gone.nii.gz", cut.label, "p5", "p5")
    bare = Case("p6", good.image, None, "p6", "p6")
    with pytest.raises(Faults) as fault:
        inspect_cases(make_config(), [good, outside, shapes, both, cut, gone, bare])
    assert [one.where for one in fault.value.faults] == [
        str(path)
        for path in (
            outside.label,
            shapes.label,
            shapes.label,
            both.image,
            both.label,
            cut.image,
            gone.image,
            good.image,
        )
    ]
    assert "without a label" in fault.value.faults[-1].what
    assert all(isinstance(one, DataError | ImageFileError) for one in fault.value.faults)


def test_a_defect_names_the_case(
    make_config: Callable[..., Any], store: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline.data.inspection.read_nifti", broken)
    with pytest.raises(ZeroDivisionError) as error:
        inspect_cases(make_config(), [store("p1", np.eye(3), np.eye(3))])
    assert "case p1" in error.value.__notes__[0]


def test_2d_slices_without_patients_are_refused(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    volume = np.zeros((2, 3, 4))
    cases = [store("v1", volume, volume), store("f1", np.eye(3), np.eye(3)), store("f2", np.eye(3), np.eye(3))]
    with pytest.raises(DataError, match=r"2 of the files are 2D slices.*such as f1") as fault:
        inspect_cases(make_config(data={"patient": None}), cases)
    assert fault.value.where.endswith("data.patient")
    assert len(inspect_cases(make_config(data={"patient": None}), cases[:1])) == 1
    assert len(inspect_cases(make_config(data={"patient": "^(.+)$"}), cases)) == 3


def facts(name: str, digest: bytes, high: float = 1.0) -> CaseFacts:
    nothing = np.zeros(2)
    return CaseFacts(
        name, (2, 2), (1.0, 1.0), "", -1, 1, 0.0, high, 0.0, nothing, nothing, digest, b"", thumbnail=np.zeros(0)
    )


def test_the_same_image_on_two_sides_is_refused(make_config: Callable[..., Any], make_case: Callable[..., Any]) -> None:
    a, b, c, d, e = (make_case(name, name) for name in "abcde")
    split = Split((a, b), (c,), (d, e))
    twins = [facts(case.id, digest) for case, digest in zip((a, b, c, d, e), b"1 1 2 1 3".split(), strict=True)]
    with pytest.raises(DataError, match=r"images/a\.nii\.gz \(train\) and images/d\.nii\.gz \(test\)"):
        repeated_images(make_config(), split, twins)
    allowed = make_config(splits={"kind": "holdout", "allow_leakage": True})
    (found,) = repeated_images(allowed, split, twins)
    assert found == "the same image on two sides: images/a.nii.gz (train) and images/d.nii.gz (test)"


def test_only_the_same_image_on_two_sides_is_refused(
    make_config: Callable[..., Any], make_case: Callable[..., Any]
) -> None:
    a, b, c, d = (make_case(name, name) for name in "abcd")
    split = Split((a, b), (c,), (d,))
    # a and b are the same, on one side; c and d are blank, as all blank images are.
    several = [facts("a", b"1"), facts("b", b"1"), facts("c", b"0", high=0.0), facts("d", b"0", high=0.0)]
    assert repeated_images(make_config(), split, several) == []


def test_the_same_voxels_are_found_under_another_name_and_coding(
    make_config: Callable[..., Any], store: Callable[..., Case], tmp_path: Path
) -> None:
    image, label = np.eye(3), np.zeros((3, 3))
    one, other = store("p1", image, label), store("p2", image + np.eye(3)[0], label)
    uncompressed = tmp_path / "images" / "p3.nii"
    nib.save(nib.Nifti1Image(image.astype(">f4"), np.eye(4)), uncompressed)
    copy = Case("p3", uncompressed, one.label, "p3", "p3")
    found = inspect_cases(make_config(), [one, other, copy])
    assert found[0].digest == found[2].digest != found[1].digest
    assert found[0].label_digest == found[1].label_digest
    with pytest.raises(DataError, match=r"p1\.nii\.gz \(train\) and .*p3\.nii \(test\)"):
        repeated_images(make_config(), Split((one,), (other,), (copy,)), found)
    turned = inspect_cases(make_config(), [store("p4", image.reshape(1, 9), label.reshape(1, 9))])
    assert turned[0].digest != found[0].digest, "the shape counts"


def test_replaced_voxels_are_counted(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    """[1, nan; 2, inf] has two voxels that `data.nonfinite: zero` replaces, and a mean of 3/4 after that."""
    case = store("p1_a", [[1, np.nan], [2, np.inf]], [[0, 1], [0, 2]])
    config = make_config(data={"nonfinite": "zero", "patient": "^(p1)"})
    facts = inspect_cases(config, [case])[0]
    assert (facts.zeroed, facts.mean) == (2, 0.75)
