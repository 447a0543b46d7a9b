"""What reading every file once finds, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import inspect_cases, knows_spacing
from pipeline.data.leakage.leaks import repeated_images
from pipeline.data.splitting.splits import Split
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
    assert facts.parts.tolist() == [0, 1, 2]
    assert counted == [1]


def test_facts_of_a_2d_slice(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    flat = store("p1", np.eye(2, 3), np.array([[0, 2, 0], [0, 2, 0]]), (0.5, 2.0))
    (facts,) = inspect_cases(make_config(), [flat])
    assert (facts.shape, facts.spacing_mm, facts.slices) == ((2, 3), (0.5, 2.0), 1)
    assert facts.voxels.tolist() == [4, 0, 2]
    assert facts.slices_with.tolist() == [1, 0, 1]
    assert facts.parts.tolist() == [0, 0, 1]


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
        name, (2, 2), (1.0, 1.0), "", -1, 1, 0.0, high, 0.0, nothing, nothing, nothing, digest, b"", np.zeros(0)
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


def turned(path: Path, codes: str) -> None:
    """Store a file in another orientation."""
    image: Any = nib.load(path)
    array = np.asanyarray(image.dataobj)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    nib.save(nib.Nifti1Image(array, image.affine).as_reoriented(turn), path)


@pytest.mark.parametrize(("codes", "axis"), [("RAS", 1), ("LPS", 1), ("PIR", 0), ("SRP", 2)])
def test_facts_of_volumes_of_any_orientation(
    make_config: Callable[..., Any], store: Callable[..., Case], codes: str, axis: int
) -> None:
    case = store("p1", np.arange(18, dtype=np.float32).reshape(2, 3, 3), LABEL, (1.0, 2.0, 1.5))
    assert case.label
    turned(case.image, codes)
    turned(case.label, codes)
    (facts,) = inspect_cases(make_config(), [case])  # the largest spacing is front to back: columns
    assert (facts.orientation, facts.axis, facts.slices) == (codes, axis, 3)
    assert facts.slices_with.tolist() == [3, 1, 1]
    assert facts.shape[axis] == 3 and facts.spacing_mm[axis] == pytest.approx(2)
    (facts,) = inspect_cases(make_config(data={"axis": "sagittal"}), [case])
    assert (facts.axis, facts.slices_with.tolist()) == (codes.index(next(iter({"R", "L"} & set(codes)))), [2, 2, 1])
    (facts,) = inspect_cases(make_config(data={"ignore_affine": True}), [case])
    assert (facts.orientation, facts.axis) == ("", 2)


def test_one_plane_for_all_volumes(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    volume = np.zeros((3, 3, 3))
    volume[0, 0, 0] = 1
    axial, other = store("p1", volume, volume, (1, 1, 3)), store("p2", volume, volume, (1, 1, 3))
    assert other.label
    for path in (other.image, other.label):
        turned(path, "SAR")
    assert [fact.axis for fact in inspect_cases(make_config(), [axial, other])] == [2, 0], "one plane, two axes"
    with pytest.raises(DataError, match=r"along different axes: axis 0 such as p2 .* axis 2 such as p1"):
        inspect_cases(make_config(data={"orientation": "file"}), [axial, other])
    sagittal = store("p3", volume, volume, (3, 1, 1))
    with pytest.raises(DataError, match=r"different planes: axial such as p1 .* sagittal such as p3") as fault:
        inspect_cases(make_config(), [axial, sagittal])
    assert fault.value.where.endswith("data.axis")
    assert len(inspect_cases(make_config(data={"axis": "coronal"}), [axial, sagittal, other])) == 3


def test_image_and_label_between_two_orientations(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    volume = np.zeros((3, 3, 3))
    volume[0, 0, 0] = 1
    case = store("p1", volume, volume)
    assert case.label
    for path, angle in ((case.image, 0.7853), (case.label, 0.7855)):  # an eighth of a turn is 0.78540
        rotation = np.eye(4)
        rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        nib.save(nib.Nifti1Image(volume.astype(np.uint8), rotation), path)
    with pytest.raises(DataError, match=r"turned from ALS to RAS, .* from RAS: .* half-way") as fault:
        inspect_cases(make_config(), [case])
    assert fault.value.where == str(case.label)
    assert len(inspect_cases(make_config(data={"orientation": "file"}), [case])) == 1


@pytest.fixture
def two_channels(tmp_path: Path, write_nifti: Callable[..., Path]) -> tuple[Case, Case]:
    """A case of two channels, as files and as one file; the second channel is 100 above the first."""
    values = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    paths = [write_nifti(tmp_path / f"c{number}.nii.gz", values + 100 * number) for number in range(2)]
    whole = write_nifti(tmp_path / "whole.nii.gz", np.stack([values, values + 100], -1))
    label = write_nifti(tmp_path / "label.nii.gz", LABEL, dtype=np.uint8)
    return (
        Case("files", paths[0], label, "p1", "s", further=(paths[1],)),
        Case("one", whole, label, "p1", "s", channels_in_file=2),
    )


def test_facts_of_several_channels(make_config: Callable[..., Any], two_channels: tuple[Case, Case]) -> None:
    files, one = (inspect_cases(make_config(), [case])[0] for case in two_channels)
    for facts in (files, one):
        assert (facts.shape, facts.slices) == ((2, 3, 3), 3)
        assert (facts.low, facts.high, facts.mean) == (0.0, 117.0, 8.5 + 50)
    assert files.digest == one.digest
    swapped = replace(two_channels[0], image=two_channels[0].further[0], further=(two_channels[0].image,))
    single = replace(two_channels[0], further=())
    digests = {fact.digest for fact in inspect_cases(make_config(), [two_channels[0], swapped, single])}
    assert len(digests) == 3


def test_channels_share_one_grid(
    make_config: Callable[..., Any], two_channels: tuple[Case, Case], write_nifti: Callable[..., Path]
) -> None:
    case = two_channels[0]
    write_nifti(case.further[0], np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"the channel's shape \(2, 3, 4\) is not the image's \(2, 3, 3\)") as fault:
        inspect_cases(make_config(), [case])
    assert fault.value.where == str(case.further[0])
    write_nifti(case.further[0], np.zeros((2, 3, 3)), (1, 1, 1.5))
    with pytest.raises(DataError, match=r"the channel's affine differs .* by 0\.5"):
        inspect_cases(make_config(), [case])
    case.further[0].unlink()
    with pytest.raises(ImageFileError, match="no such file") as missing:
        inspect_cases(make_config(), [case])
    assert missing.value.where == str(case.further[0])


def test_replaced_voxels_of_channels(
    make_config: Callable[..., Any], two_channels: tuple[Case, Case], write_nifti: Callable[..., Path]
) -> None:
    values = np.zeros((2, 3, 3, 2), dtype=np.float32)
    values[0, 0, 0, 0], values[1, 1, 1, 1], values[0, 1, 1, 1] = np.nan, np.inf, np.nan
    files, one = two_channels
    write_nifti(one.image, values)
    for number, path in enumerate(files.images):
        write_nifti(path, values[..., number])
    found = (
        inspect_cases(make_config(data={"nonfinite": "zero"}), [files]),
        inspect_cases(make_config(data={"nonfinite": "zero"}), [one]),
    )
    assert [facts.zeroed for (facts,) in found] == [3, 3]


@pytest.mark.parametrize("how", [{"orientation": "file"}, {"ignore_affine": True}, {"spacing_mm": [1, 1, 1]}])
def test_a_plane_of_the_body_needs_affines(
    make_config: Callable[..., Any], store: Callable[..., Case], how: dict[str, Any]
) -> None:
    volume, flat = np.eye(3)[None] * np.ones((2, 1, 1)), np.eye(3)
    with pytest.raises(DataError, match=r"axial is a plane .* \(such as p1\)") as fault:
        inspect_cases(make_config(data={"axis": "axial", **how}), [store("p1", volume, volume)])
    assert fault.value.where.endswith("data.axis")
    assert len(inspect_cases(make_config(data={"axis": 2, **how}), [store("p1", volume, volume)])) == 1
    assert len(inspect_cases(make_config(data={"axis": "axial", **how}), [store("p2", flat, flat)])) == 1


@pytest.mark.parametrize(
    ("data", "folders", "known"),
    [
        ({"layout": "folders"}, [], True),
        ({"layout": "folders", "ignore_affine": True}, [], False),
        ({"layout": "hipmri"}, ["keras_slices_train"], False),
        ({"layout": "hipmri", "spacing_mm": [1.6, 1.5]}, ["keras_slices_train"], True),
        ({"layout": "hipmri"}, ["semantic_MRs_anon", "semantic_labels_anon"], True),
        ({"layout": "hipmri", "ignore_affine": True}, ["semantic_MRs_anon", "semantic_labels_anon"], False),
    ],
)
def test_whose_spacing_is_believed(
    make_config: Callable[..., Any], tmp_path: Path, data: dict[str, Any], folders: list[str], known: bool
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    assert knows_spacing(make_config(data={**data, "patient": None})) is known


@pytest.mark.parametrize("shape", [(1, 20, 16), (20, 1, 16), (20, 16, 1), (20, 16)])
def test_a_file_of_one_slice_is_a_slice_however_it_lies(
    make_config: Callable[..., Any], store: Callable[..., Case], shape: tuple[int, ...]
) -> None:
    label = np.zeros((20, 16), np.uint8)
    label[2:5, 3:9] = 1
    image = np.arange(320.0).reshape(20, 16)
    case = store("p1_a", image.reshape(shape), label.reshape(shape))
    (fact,) = inspect_cases(make_config(), [case])
    assert fact.flat and fact.slices == 1 and fact.slices_with.tolist() == [1, 1, 0]
    with pytest.raises(DataError, match="2D slices, and nothing says whose"):
        inspect_cases(make_config(data={"patient": None}), [case])


def test_a_slice_is_not_cut_into_lines(make_config: Callable[..., Any], store: Callable[..., Case]) -> None:
    case = store("p1_a", np.arange(320.0).reshape(1, 20, 16), np.zeros((1, 20, 16)))
    with pytest.raises(DataError, match="one slice along axis 0, which data"):
        inspect_cases(make_config(data={"axis": "axial"}), [case])


def test_a_mask_with_nan_is_refused_whatever_images_may_hold(
    make_config: Callable[..., Any], tmp_path: Path, write_nifti: Callable[..., Path]
) -> None:
    label = np.zeros((4, 5, 3), np.float32)
    label[1, 1] = np.nan
    image = write_nifti(tmp_path / "a.nii", np.arange(60.0).reshape(4, 5, 3), dtype=np.float32)
    case = Case("p1", image, write_nifti(tmp_path / "b.nii", label), "p1", "p1")
    with pytest.raises(ImageFileError, match="3 of 60 voxels are NaN"):
        inspect_cases(make_config(data={"nonfinite": "zero"}), [case])
