"""Volumes turned to RAS and cut: nibabel's own reorientation is the oracle, and the way back is exact."""

from __future__ import annotations

import itertools
import json
from copy import deepcopy
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform

from transforms.nifti import NiftiFile, ReadOptions
from transforms.planes import Plane, orientation_of, plane_from, plane_of

ORIENTATIONS = [
    "".join(ends)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for ends in itertools.product(*axes)
]  # fmt: skip
ANATOMY = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # in RAS order, every voxel known by its value


def stored(codes: str, spacing: tuple[float, float, float] = (1, 2, 3)) -> NiftiFile:
    """The anatomy as a file that lies in another orientation."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-7, 5, 90)
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return as_file(nib.Nifti1Image(ANATOMY.astype(np.int16), affine).as_reoriented(turn))


def as_file(image: nib.Nifti1Image) -> NiftiFile:
    zooms = tuple(float(side) for side in nib.affines.voxel_sizes(image.affine))
    return NiftiFile("a.nii", np.asanyarray(image.dataobj), image.affine, zooms, False, 0)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_one_anatomy_gives_one_stack(codes: str, axis: int | None) -> None:
    assert len(ORIENTATIONS) == 48
    file, options = stored(codes), ReadOptions(axis=axis)
    plane = plane_of(file, options)
    np.testing.assert_array_equal(plane.cut(file.array), np.moveaxis(ANATOMY, 2 if axis is None else axis, 0))
    np.testing.assert_array_equal(plane.restore(plane.cut(file.array)), file.array)
    assert orientation_of(file, options) == codes
    assert codes[plane.axis] in ("RL", "AP", "SI")[2 if axis is None else axis]


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_mirror_exchanges_left_and_right_and_comes_back(codes: str, axis: int | None) -> None:
    file = stored(codes)
    plane = plane_of(file, ReadOptions(axis=axis, mirrored=True))
    mirror_image = ANATOMY[::-1]  # of RAS the first axis runs from left to right
    np.testing.assert_array_equal(plane.cut(file.array), np.moveaxis(mirror_image, 2 if axis is None else axis, 0))
    np.testing.assert_array_equal(plane.restore(plane.cut(file.array)), file.array)


def test_nothing_is_mirrored_where_left_is_not_known() -> None:
    for options in UNBELIEVED:
        with pytest.raises(ValueError, match="which axis runs from left to right is not known"):
            plane_of(stored("PIL"), replace(options, mirrored=True))


def test_a_stack_by_hand() -> None:
    # LPS: the first two axes run the other way. Cut into axial slices, rows and columns are flipped; the order is not.
    assert plane_of(stored("LPS"), ReadOptions(axis=2)) == Plane((2, 0, 1), (False, True, True))
    # PIR: axis 0 points backwards, axis 1 down, axis 2 to the right.
    assert plane_of(stored("PIR"), ReadOptions(axis=0)) == Plane((2, 0, 1), (False, True, True))
    assert plane_of(stored("PIR"), ReadOptions(axis=1)) == Plane((0, 2, 1), (True, False, True))


@given(
    rotation=st.lists(st.floats(-1, 1), min_size=9, max_size=9),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 1.0, 3.0])] * 3),
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    axis=st.sampled_from([None, 0, 1, 2]),
    reorient=st.booleans(),
)
def test_oblique_volumes_are_turned_as_nibabel_turns_them(
    rotation: list[float], spacing: tuple[float, ...], shape: tuple[int, ...], axis: int | None, reorient: bool
) -> None:
    directions, _ = np.linalg.qr(np.eye(3) + np.array(rotation).reshape(3, 3))
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    image = nib.Nifti1Image(np.arange(np.prod(shape)).reshape(shape).astype(np.int16), affine)
    file, options = as_file(image), ReadOptions(axis=axis, reorient=reorient)

    plane = plane_of(file, options)
    stack = plane.cut(file.array)

    wanted = nib.as_closest_canonical(image) if reorient else image
    sides = [round(float(side), 3) for side in nib.affines.voxel_sizes(wanted.affine)]
    cut = max(number for number in range(3) if sides[number] == max(sides)) if axis is None else axis
    if axis is None and wanted.shape.count(1) == 1:
        cut = wanted.shape.index(1)  # that is the one slice which the file holds
    np.testing.assert_array_equal(stack, np.moveaxis(np.asanyarray(wanted.dataobj), cut, 0))
    np.testing.assert_array_equal(plane.restore(stack), file.array)
    assert orientation_of(file, options) == "".join(nib.aff2axcodes(affine))


def test_the_largest_spacing_is_sought_in_ras_order() -> None:
    # All sides alike: the last axis of RAS is cut, wherever the file has it.
    assert plane_of(stored("SRA", (1, 1, 1)), ReadOptions()).axis == 0
    assert plane_of(stored("SRA", (1, 1, 1)), ReadOptions(reorient=False)).axis == 2
    assert plane_of(stored("SRA", (3, 3, 1)), ReadOptions()).axis == 2, "of right-left and front-back the latter"


UNBELIEVED = [ReadOptions(reorient=False), ReadOptions(ignore_affine=True), ReadOptions(spacing_mm=(1, 2, 3))]


@pytest.mark.parametrize("options", UNBELIEVED, ids=["file", "ignored", "given"])
def test_where_the_affine_is_not_to_decide(options: ReadOptions) -> None:
    file = stored("PIL")
    plane = plane_of(file, options)
    wanted = file.spacing_mm.index(3.0)
    np.testing.assert_array_equal(plane.cut(file.array), np.moveaxis(file.array, wanted, 0))
    assert orientation_of(file, options) == ("" if options.reorient else "PIL")


def test_a_2d_file_is_never_turned() -> None:
    flipped = np.diag([-1.0, -1.0, 1.0, 1.0])
    file = NiftiFile("a.nii", ANATOMY[0], flipped, (1.0, 1.0), False, 0)
    plane = plane_of(file, ReadOptions())
    assert (plane, plane.axis, orientation_of(file, ReadOptions())) == (Plane(), -1, "")
    np.testing.assert_array_equal(plane.cut(file.array), ANATOMY[:1])
    np.testing.assert_array_equal(plane.restore(ANATOMY[:1]), ANATOMY[0])


@pytest.mark.parametrize("plane", [Plane(), plane_of(stored("PIR"), ReadOptions())], ids=repr)
def test_a_plane_is_written_down_in_plain_values(plane: Plane) -> None:
    meta = plane.as_meta()
    assert plane_from(deepcopy(meta)) == plane
    assert plane_from(json.loads(json.dumps(meta))) == plane
    assert meta["slice_axis"] == plane.axis
    assert all(type(value) in (int, bool) for value in (*meta["slice_order"], *meta["slice_flips"]))
