"""What read_nifti and read_label make of a file that is whole: voxels, scaling, affine, spacing, label values."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.faults import ImageFileError
from transforms.nifti import ReadOptions, read_label, read_nifti, remap, slice_axis

Write = Callable[..., Path]
OBLIQUE = np.array([[0.9, -0.3, 0.1, -7], [0.2, 1.1, 0.3, 5], [-0.1, 0.2, 2.4, 90], [0, 0, 0, 1]])
DTYPES = "uint8 int8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **header: Any) -> Path:
    """Write a NIfTI-1 file and then set fields of its header as they are, past nibabel's own checks."""
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype)
    raw = bytearray(image.to_bytes())
    written = nib.Nifti1Header(bytes(raw[:348]))
    for name, value in header.items():
        if name == "pixdim":
            written["pixdim"][1 : 1 + len(value)] = value
        else:
            written[name] = value
    raw[:348] = written.binaryblock
    path.write_bytes(raw)
    return path


def refused(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(ImageFileError) as caught:
        read_nifti(path, options)
    assert caught.value.where == str(path)
    return caught.value.what


@settings(max_examples=120, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    dtype=st.sampled_from(DTYPES),
    big_endian=st.booleans(),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    scale=st.sampled_from([None, (2.0, 0.0), (0.25, -1024.0), (1.0, 3.0), (-1.0, 0.0)]),
    codes=st.sampled_from([(0, 0), (0, 1), (1, 0), (2, 1)]),
    seed=st.integers(0, 2**16),
)
def test_array_and_affine_are_nibabel_s_own(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], dtype: str, big_endian: bool, kind: Any, suffix: str,
    scale: tuple[float, float] | None, codes: tuple[int, int], seed: int,
) -> None:  # fmt: skip
    generator = np.random.default_rng(seed)
    values = generator.integers(-100, 100, shape) if dtype[0] != "u" else generator.integers(0, 200, shape)
    header = kind.header_class(endianness=">" if big_endian else "<")
    array = values.astype(np.dtype(dtype).newbyteorder(">" if big_endian else "<"))
    image = kind(array, OBLIQUE, header, dtype=array.dtype)
    image.set_qform(OBLIQUE, codes[0], strip_shears=True)
    image.set_sform(OBLIQUE, codes[1])
    if scale is not None:
        image.header.set_slope_inter(*scale)
    path = tmp_path_factory.mktemp("same") / f"a{suffix}"
    nib.save(image, path)

    ours, theirs = read_nifti(path), kind.load(path)

    wanted = np.asanyarray(theirs.dataobj)
    trimmed = shape if len(shape) == 2 or shape[2] > 1 else shape[:2]
    assert ours.array.shape == tuple(trimmed)
    np.testing.assert_array_equal(ours.array, wanted.reshape(trimmed).astype(ours.array.dtype))
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    np.testing.assert_allclose(
        np.array(ours.spacing_mm), nib.affines.voxel_sizes(theirs.affine)[: len(trimmed)], rtol=1e-12
    )
    assert ours.array.dtype.isnative
    scaled = scale is not None
    assert ours.scaled is scaled
    assert ours.array.dtype == (np.float32 if scaled or dtype[0] == "f" else np.dtype(dtype))
    assert ours.zeroed == 0


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 1, 1), (6, 5, 1, 1, 1)])
def test_trailing_axes_of_one_make_a_slice(tmp_path: Path, write_nifti: Write, shape: tuple[int, ...]) -> None:
    array = np.arange(30, dtype=np.int16).reshape(shape)
    file = read_nifti(write_nifti(tmp_path / "a.nii.gz", array))
    np.testing.assert_array_equal(file.array, array.reshape(6, 5))
    assert file.spacing_mm == (1, 1)


def test_other_axes_of_one_stay(tmp_path: Path, write_nifti: Write) -> None:
    assert read_nifti(write_nifti(tmp_path / "a.nii", np.zeros((1, 5)))).array.shape == (1, 5)
    assert read_nifti(write_nifti(tmp_path / "b.nii", np.zeros((1, 5, 4)))).array.shape == (1, 5, 4)
    assert read_nifti(write_nifti(tmp_path / "c.nii", np.zeros((5, 1, 1)))).array.shape == (5, 1)


def test_an_intent_changes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.ones((4, 3), np.uint8), intent_code=1002, intent_name=b"labels")
    assert read_nifti(path).array.sum() == 12


def test_a_slice_without_any_form_has_the_spacing_of_its_header(tmp_path: Path) -> None:
    path = save(tmp_path / "png.nii", np.zeros((4, 6), np.uint8), qform_code=0, sform_code=0, pixdim=(0.5, 0.7, 0, 0))
    file = read_nifti(path)
    assert file.spacing_mm == pytest.approx((0.5, 0.7))
    np.testing.assert_array_equal(file.affine, nib.nifti1.load(path).affine)


@pytest.mark.parametrize("codes", [(0, 0), (1, 0)])
def test_no_spacing_is_wanted_beyond_the_rank(tmp_path: Path, codes: tuple[int, int]) -> None:
    array = np.zeros((4, 6, 1), np.uint8)
    path = save(tmp_path / "a.nii", array, qform_code=codes[0], sform_code=codes[1], pixdim=(2, 3, 0, 0, -1))
    assert read_nifti(path).spacing_mm == (2, 3)


@pytest.mark.parametrize(
    "pixdim", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan), (np.inf, 1, 1), (1, 1, 0)], ids=str
)  # fmt: skip
def test_zero_negative_and_infinite_spacing(tmp_path: Path, pixdim: tuple[float, ...]) -> None:
    for codes in ((0, 0), (1, 0), (0, 1)):
        array = np.zeros((4, 3, 2), np.uint8)
        path = save(tmp_path / "a.nii", array, pixdim=pixdim, qform_code=codes[0], sform_code=codes[1])
        assert "its spacing is" in refused(path)
        assert read_nifti(path, ReadOptions(ignore_affine=True)).spacing_mm == (1, 1, 1)
        assert read_nifti(path, ReadOptions(spacing_mm=(2, 3, 4))).spacing_mm == (2, 3, 4)


def test_affines_that_give_no_grid(tmp_path: Path) -> None:
    array = np.zeros((4, 3, 2), np.uint8)
    nothing = [0.0, 0, 0, 0]
    flat = save(tmp_path / "flat.nii", array, srow_z=nothing, sform_code=1)
    same = save(tmp_path / "same.nii", array, srow_x=[1, 1, 0, 0], srow_y=[1, 1, 0, 0], sform_code=1)
    null = save(tmp_path / "null.nii", array, srow_x=nothing, srow_y=nothing, srow_z=nothing, sform_code=1)
    for path in (flat, same, null):
        assert "singular" in refused(path)
    bad = save(tmp_path / "nan.nii", array, srow_x=[np.nan, 0, 0, 0], sform_code=1)
    assert "not finite" in refused(bad)
    away = save(tmp_path / "away.nii", array, srow_x=[1, 0, 0, np.inf], sform_code=1)
    assert "not finite" in refused(away)
    turned = save(tmp_path / "turned.nii", array, quatern_b=1, quatern_c=1, quatern_d=1, qform_code=1, sform_code=0)
    assert "cannot be read" in refused(turned)
    wide = save(tmp_path / "wide.nii", array, srow_x=[20_000, 0, 0, 0], sform_code=1)
    assert "its spacing is" in refused(wide)
    for path in (flat, same, null, bad, away, turned, wide):
        file = read_nifti(path, ReadOptions(ignore_affine=True))
        np.testing.assert_array_equal(file.affine, np.eye(4))
        assert file.spacing_mm == (1, 1, 1)


def test_fine_and_sheared_grids_are_grids(tmp_path: Path, write_nifti: Write) -> None:
    tiny = write_nifti(tmp_path / "tiny.nii", np.zeros((3, 3, 3)), spacing=(1e-4, 1e-4, 1e-4))
    assert read_nifti(tiny).spacing_mm == pytest.approx((1e-4,) * 3)
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    path = save(tmp_path / "sheared.nii", np.zeros((3, 3, 3), np.uint8), sheared)
    assert read_nifti(path).spacing_mm == pytest.approx((1, np.sqrt(1.25), 1))


def test_units_other_than_mm_are_told(tmp_path: Path) -> None:
    array = np.zeros((3, 3), np.uint8)
    for code, unit in ((1, "metres"), (3, "micrometres"), (3 | 8, "micrometres")):
        path = save(tmp_path / "a.nii", array, xyzt_units=code)
        assert f"in {unit}, not mm" in refused(path)
        assert read_nifti(path, ReadOptions(spacing_mm=(0.005, 0.005))).spacing_mm == (0.005, 0.005)
    for code in (0, 2, 2 | 8):
        assert read_nifti(save(tmp_path / "b.nii", array, xyzt_units=code)).spacing_mm == (1, 1)


def test_spacing_of_the_config(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((4, 3)), spacing=(7, 7))
    file = read_nifti(path, ReadOptions(spacing_mm=(1.5, 2.5, 3.5)))
    assert file.spacing_mm == (1.5, 2.5)
    np.testing.assert_array_equal(file.affine, np.diag([1.5, 2.5, 1, 1]))
    volume = write_nifti(tmp_path / "b.nii", np.zeros((4, 3, 2)))
    assert "3D file, but data.spacing_mm has 2 values" in refused(volume, ReadOptions(spacing_mm=(1, 1)))


def test_voxels_that_are_not_finite(tmp_path: Path, write_nifti: Write) -> None:
    array = np.arange(20, dtype=np.float32).reshape(4, 5)
    array[0, 0], array[1, 2], array[3, 4] = np.nan, np.inf, -np.inf
    path = write_nifti(tmp_path / "a.nii.gz", array)
    assert refused(path).startswith("3 of 20 voxels are NaN")
    file = read_nifti(path, ReadOptions(nonfinite="zero"))
    assert file.zeroed == 3
    np.testing.assert_array_equal(file.array, np.where(np.isfinite(array), array, 0))


def test_what_float32_cannot_hold_is_not_finite(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", np.array([[1.0, 1e300], [-1e300, 2.0]]))
    assert refused(path).startswith("2 of 4 voxels")


def test_scaled_integers(tmp_path: Path, write_nifti: Write) -> None:
    stored = np.array([[0, 1], [2, -3]], np.int16)
    file = read_nifti(save(tmp_path / "a.nii", stored, scl_slope=0.5, scl_inter=10))
    assert file.scaled
    np.testing.assert_array_equal(file.array, np.array([[10, 10.5], [11, 8.5]], np.float32))
    for slope, inter in ((0, 5), (np.nan, 5), (0, np.inf), (1, 0)):  # no scaling, says the standard
        file = read_nifti(save(tmp_path / "b.nii", stored, scl_slope=slope, scl_inter=inter))
        assert not file.scaled
        np.testing.assert_array_equal(file.array, stored)


def test_the_limit_of_voxels(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 5)))
    assert read_nifti(path, ReadOptions(max_voxels=20)).array.size == 20
    assert "20 voxels, more than 19" in refused(path, ReadOptions(max_voxels=19))


@pytest.mark.parametrize("dtype", [*DTYPES, ">i2", ">f4"])
def test_labels_of_every_type(tmp_path: Path, write_nifti: Write, dtype: str) -> None:
    values = np.array([[0, 1, 2], [3, 4, 5]])
    file = read_label(write_nifti(tmp_path / "a.nii.gz", values.astype(dtype)))
    assert file.array.dtype == np.uint8
    np.testing.assert_array_equal(file.array, values)


def test_labels_above_a_byte_keep_their_value(tmp_path: Path, write_nifti: Write) -> None:
    file = read_label(write_nifti(tmp_path / "a.nii", np.array([[0, 300], [1, 70_000]], np.int32)))
    assert file.array.max() == 70_000


def test_labels_that_are_not_whole(tmp_path: Path, write_nifti: Write) -> None:
    smooth = write_nifti(tmp_path / "a.nii.gz", np.array([[0, 0.25], [1, 1.75]], np.float32))
    with pytest.raises(ImageFileError, match=r"not whole: 0\.25, 1\.75") as caught:
        read_label(smooth)
    assert caught.value.where == str(smooth)
    many = write_nifti(tmp_path / "b.nii.gz", np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6))
    with pytest.raises(ImageFileError, match=r"not whole: .* \.\.\."):
        read_label(many)


def test_a_scaled_label_is_refused_unless_whole(tmp_path: Path) -> None:
    stored = np.array([[0, 1], [2, 3]], np.int16)
    np.testing.assert_array_equal(read_label(save(tmp_path / "a.nii", stored, scl_slope=2)).array, 2 * stored)
    with pytest.raises(ImageFileError, match=r"not whole: 0\.5, 1\.5; it is scaled by scl_slope"):
        read_label(save(tmp_path / "b.nii", stored, scl_slope=0.5))


def test_negative_labels(tmp_path: Path, write_nifti: Write) -> None:
    for dtype in ("int16", "float32"):
        path = write_nifti(tmp_path / "a.nii", np.array([[0, -1], [1, 2]], dtype))
        with pytest.raises(ImageFileError, match="a label with the value -1"):
            read_label(path)
        renamed = read_label(path, ReadOptions(label_map=((-1, 3),)))
        np.testing.assert_array_equal(renamed.array, [[0, 3], [1, 2]])


def test_a_label_with_nan(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", np.array([[0, np.nan], [1, 2]], np.float32))
    with pytest.raises(ImageFileError, match="1 of 4 voxels"):
        read_label(path)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "uint64"])
def test_labels_are_renamed_all_at_once(dtype: str) -> None:
    values = np.array([0, 1, 2, 3, 200], dtype)
    swapped = remap(values, [(1, 2), (2, 1), (200, 4), (-7, 9)])
    np.testing.assert_array_equal(swapped, [0, 2, 1, 3, 4])
    np.testing.assert_array_equal(values, np.array([0, 1, 2, 3, 200], dtype))
    assert remap(values, ()) is values


def test_images_are_not_renamed(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", np.array([[1, 2], [3, 4]], np.uint8))
    np.testing.assert_array_equal(read_nifti(path, ReadOptions(label_map=((1, 9),))).array, [[1, 2], [3, 4]])


def test_the_axis_that_is_cut() -> None:
    assert slice_axis((1.0, 1.0, 1.0), None) == 2
    assert slice_axis((3.0, 1.0, 1.0), None) == 0
    assert slice_axis((1.0, 3.0, 3.0), None) == 2
    assert slice_axis((1.00002, 1.0, 1.00001), None) == 2, "rounding of the header"
    assert slice_axis((3.0, 1.0, 1.0), 1) == 1


@pytest.mark.parametrize(
    ("shape", "kept"), [((4, 3, 2, 5), (4, 3, 2, 5)), ((4, 3, 1, 5), (4, 3, 5)), ((4, 3, 2, 5, 1, 1), (4, 3, 2, 5))]
)  # fmt: skip
def test_channels_of_one_file(tmp_path: Path, shape: tuple[int, ...], kept: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = save(tmp_path / "a.nii.gz", values, OBLIQUE)
    file = read_nifti(path, ReadOptions(channels=5))
    np.testing.assert_array_equal(file.array, values.reshape(kept))
    assert len(file.spacing_mm) == len(kept) - 1
    assert len(file.channels) == 5
    for number, channel in enumerate(file.channels):
        np.testing.assert_array_equal(channel.array, values.reshape(kept)[..., number])
        assert (channel.spacing_mm, channel.path) == (file.spacing_mm, str(path))
        assert channel.channels == (channel,)
    assert "4 axes" in refused(path)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 3, 5), (4, 3, 2, 4), (4, 3, 2, 1, 5), (4, 3, 5, 1)])
def test_channels_lie_along_the_fourth_axis_or_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "a.nii", np.zeros(shape, np.uint8))
    assert "5 channels lie along a fourth axis" in refused(path, ReadOptions(channels=5))


def test_a_label_has_no_channels(tmp_path: Path) -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(3, 2, 1)
    options = ReadOptions(channels=5)
    assert read_label(save(tmp_path / "a.nii", labels), options).array.shape == (3, 2)
    with pytest.raises(ImageFileError, match="4 axes"):
        read_label(save(tmp_path / "b.nii", np.zeros((3, 2, 2, 5), np.uint8)), options)


def test_a_nifti2_file_has_its_own_offsets(tmp_path: Path) -> None:
    raw = bytearray(nib.Nifti2Image(np.zeros((4, 3), np.uint8), np.eye(4)).to_bytes())
    raw[168:176] = struct.pack("<q", 12)  # vox_offset
    (tmp_path / "a.nii").write_bytes(raw)
    assert "voxels begin at byte 12" in refused(tmp_path / "a.nii")
    raw[16:32] = struct.pack("<2q", 2, 2**62)  # dim
    (tmp_path / "a.nii").write_bytes(raw)
    assert "more than" in refused(tmp_path / "a.nii")
