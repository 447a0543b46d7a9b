"""Views: which axis of the file each cuts, and how many slices it gives, for any orientation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.data.inspection import inspect_cases
from pipeline.data.views import faults_of_views, view_options, views_of
from pipeline.errors import Fault
from transforms.nifti import read_nifti
from transforms.planes import plane_of

SHAPE = (3, 4, 5)  # of RAS: 3 sagittal, 4 coronal and 5 axial slices


def oriented(codes: str) -> tuple[np.ndarray, np.ndarray]:
    """A label of `SHAPE` in RAS as a file of another orientation holds it, and its affine."""
    ras = nib.Nifti1Image(np.arange(60, dtype=np.uint8).reshape(SHAPE) % 2, np.diag([1.0, 1.0, 2.0, 1.0]))
    change = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    turned: Any = ras.as_reoriented(change)
    return np.asarray(turned.dataobj), turned.affine


ORIENTATIONS = ["".join(ends) for order in permutations(("LR", "PA", "IS")) for ends in product(*order)]


@pytest.mark.parametrize("codes", ORIENTATIONS[::5])
@pytest.mark.parametrize("orientation", ["ras", "file"])
def test_facts_of_a_view_are_those_of_the_reader(
    codes: str, orientation: str, tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any]
) -> None:
    array, affine = oriented(codes)
    for name in ("image", "label"):
        values = array.astype(np.float32 if name == "image" else np.uint8)
        nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
    case = make_case("c", "p", image=tmp_path / "image.nii.gz", label=tmp_path / "label.nii.gz")
    config = make_config(data={"views": [2, 0, 1], "axis": None, "orientation": orientation,
                               "classes": ["background", "thing"]})  # fmt: skip
    facts = {fact.case: fact for fact in inspect_cases(config, [case])}
    views = views_of(config, facts)
    assert [view.options for view in views] == list(view_options(config))
    assert [view.options.axis for view in views] == [2, 0, 1]
    for view in views:
        plane = plane_of(read_nifti(case.image, view.options), view.options)
        assert (view.facts["c"].axis, view.facts["c"].slices) == (plane.axis, array.shape[plane.axis])
    assert views[0].facts["c"].axis == facts["c"].axis, "the facts are those of the first view"
    if orientation == "ras":
        assert [view.facts["c"].slices for view in views] == [5, 3, 4]
        assert [view.name for view in views] == ["axial", "sagittal", "coronal"]


@pytest.mark.parametrize("views", [None, [2, 0]])
def test_mirror_images_are_views_behind_the_others(
    views: list[int] | None, tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any]
) -> None:
    array, affine = oriented("PSR")
    for name, kind in (("image", np.float32), ("label", np.uint8)):
        nib.save(nib.Nifti1Image(array.astype(kind), affine), tmp_path / f"{name}.nii.gz")
    case = make_case("c", "p", image=tmp_path / "image.nii.gz", label=tmp_path / "label.nii.gz")
    config = make_config(data={"views": views, "axis": None, "mirrored": True, "classes": ["background", "thing"]})
    found = views_of(config, {fact.case: fact for fact in inspect_cases(config, [case])})
    assert [view.options for view in found] == list(view_options(config))
    half = len(found) // 2
    assert [view.options.mirrored for view in found] == [False] * half + [True] * half
    for view, mirrored in zip(found[:half], found[half:], strict=True):
        assert view.options.axis == mirrored.options.axis
        assert view.facts["c"].slices == mirrored.facts["c"].slices
        plane = plane_of(read_nifti(case.image, mirrored.options), mirrored.options)
        assert (mirrored.facts["c"].axis, mirrored.facts["c"].slices) == (plane.axis, array.shape[plane.axis])
    names = ["axial", "sagittal", "axial, mirrored", "sagittal, mirrored"] if views else ["as it is", "mirrored"]
    assert [view.name for view in found] == names


def test_mirrors_are_refused_where_left_is_not_known(
    tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    image = write_nifti(tmp_path / "image.nii.gz", np.random.default_rng(0).random((6, 5, 4)), dtype=np.float32)
    label = write_nifti(tmp_path / "label.nii.gz", np.ones((6, 5, 4)), dtype=np.uint8)
    case = make_case("c", "p", image=image, label=label)
    for data in ({"orientation": "file", "axis": 0}, {"ignore_affine": True, "axis": 0}, {}):
        config = make_config(data={"mirrored": True, "patient": "^(.+)$", **data})
        facts = {fact.case: fact for fact in inspect_cases(config, [case])}
        faults = [str(fault) for fault in faults_of_views(config, facts)]
        assert len(faults) == bool(data)
        assert all("which axis of the volumes runs from left to right is not known" in fault for fault in faults)


def test_without_views_there_is_one(make_config: Callable[..., Any]) -> None:
    config = make_config()
    (view,) = views_of(config, {})
    assert view.name == ""
    assert view.options == view_options(config)[0]


def test_single_slices_have_one_view(
    tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    cases = []
    for name, shape in (("flat", (6, 6)), ("thick", (6, 6, 4))):
        image = write_nifti(tmp_path / f"{name}.nii.gz", np.random.default_rng(0).random(shape), dtype=np.float32)
        label = write_nifti(tmp_path / f"{name}_seg.nii.gz", np.ones(shape), dtype=np.uint8)
        cases.append(make_case(name, name, image=image, label=label))
    config = make_config(data={"views": [0, 1], "patient": "^(.+)$"})
    facts = {fact.case: fact for fact in inspect_cases(config, cases)}
    (fault,) = faults_of_views(config, facts)
    (mirror,) = faults_of_views(make_config(data={"mirrored": True, "patient": "^(.+)$"}), facts)
    assert "single slices" in str(mirror) and "RandFlipBatchd" in str(mirror) and "data.mirrored" in str(mirror)
    assert "1 of the files are single slices, which have one view (such as flat)" in str(fault)
    assert not list(faults_of_views(config, {"thick": facts["thick"]}))
    assert not list(faults_of_views(make_config(data={"patient": "^(.+)$"}), facts))


def test_planes_of_the_body_are_refused_where_volumes_are_not_turned(
    tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    image = write_nifti(tmp_path / "image.nii.gz", np.random.default_rng(0).random((6, 5, 4)), dtype=np.float32)
    label = write_nifti(tmp_path / "label.nii.gz", np.ones((6, 5, 4)), dtype=np.uint8)
    case = make_case("c", "p", image=image, label=label)
    for data in ({"orientation": "file"}, {"ignore_affine": True}):
        with pytest.raises(Fault) as found:
            inspect_cases(make_config(data={"views": ["sagittal", 2, "coronal"], **data}), [case])
        assert str(found.value).count("is a plane of the body, but volumes are not turned") == 2
        assert "data.views" in str(found.value)
        inspect_cases(make_config(data={"views": [0, 2, 1], **data}), [case])
    inspect_cases(make_config(data={"views": ["sagittal", "axial", "coronal"]}), [case])
