"""The reader as MONAI sees it: the same arrays and affines as MONAI's own, slices of volumes, masks as masks."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged

from transforms.faults import ChainError, ImageFileError
from transforms.nifti import ReadOptions, read_nifti
from transforms.reader import LOADING_PARAMETERS, CheckedLoadImaged, SliceReader

Write = Callable[..., Path]
ENTRY = {"_target_": "LoadImaged", "keys": ["image", "label"]}
OBLIQUE = np.array([[0.9, -0.3, 0.1, -7], [0.2, 1.1, 0.3, 5], [-0.1, 0.2, 2.4, 90], [0, 0, 0, 1]])
# Voxel (i, j, k) holds 100 i + 10 j + k, so that every slice tells where it was cut.
COUNTED = np.add.outer(np.add.outer(100 * np.arange(4), 10 * np.arange(3)), np.arange(2)).astype(np.int16)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i4", "float32", "float64"])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_same_as_monai_reads(tmp_path: Path, shape: tuple[int, ...], dtype: str, scaled: bool) -> None:
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    image = nib.Nifti1Image(array, OBLIQUE, dtype=array.dtype)
    if scaled:
        image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii.gz")
    sample = {"image": str(tmp_path / "a.nii.gz")}

    theirs = LoadImaged(keys="image", reader="NibabelReader", image_only=True)(sample)["image"]
    ours = CheckedLoadImaged({"keys": "image"}, ReadOptions(as_slices=False))(sample)["image"]

    assert ours.dtype == theirs.dtype
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, theirs.affine)
    assert ours.meta["filename_or_obj"] == theirs.meta["filename_or_obj"]
    assert tuple(ours.meta["spatial_shape"]) == tuple(theirs.meta["spatial_shape"])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_each_axis(tmp_path: Path, write_nifti: Write, axis: int) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", COUNTED, spacing=(1, 2, 3))
    stack = CheckedLoadImaged({"keys": "image"}, ReadOptions(axis=axis))({"image": path})["image"]

    plane = [size for number, size in enumerate(COUNTED.shape) if number != axis]
    assert tuple(stack.shape) == (COUNTED.shape[axis], *plane)
    for number in range(COUNTED.shape[axis]):
        np.testing.assert_array_equal(stack[number].numpy(), np.take(COUNTED, number, axis))
    spacing = [size for number, size in enumerate((1, 2, 3)) if number != axis]
    np.testing.assert_array_equal(stack.affine.numpy(), np.diag([*spacing, 1 + axis, 1]))
    assert stack.meta["slice_axis"] == axis
    assert stack.meta["slices"] == COUNTED.shape[axis]
    assert stack.meta["original_channel_dim"] == 0
    assert list(stack.meta["slice_order"]) == [axis, *(other for other in range(3) if other != axis)]
    assert not any(stack.meta["slice_flips"])


def test_the_axis_of_the_widest_spacing_is_cut_by_default(tmp_path: Path, write_nifti: Write) -> None:
    for spacing, axis in (((1, 3, 2), 1), ((1, 1, 1), 2), ((4, 1, 4), 2)):
        path = write_nifti(tmp_path / "a.nii", COUNTED, spacing=spacing)
        stack = CheckedLoadImaged({"keys": "image"}, ReadOptions())({"image": path})["image"]
        assert stack.meta["slice_axis"] == axis


def test_a_slice_file_is_one_slice_with_the_affine_of_its_plane(tmp_path: Path) -> None:
    coronal = np.array([[-1.5, 0, 0, 0], [0, 0, 2.0, 0], [0, 1.25, 0, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(COUNTED[..., :1], coronal, dtype=np.int16), tmp_path / "a.nii")
    image = CheckedLoadImaged({"keys": "image"}, ReadOptions())({"image": tmp_path / "a.nii"})["image"]
    assert tuple(image.shape) == (4, 3)
    np.testing.assert_array_equal(image.affine.numpy(), np.diag([1.5, 1.25, 1, 1]))
    assert (image.meta["slice_axis"], image.meta["slices"]) == (-1, 1)
    assert np.isnan(image.meta["original_channel_dim"])


def test_labels_are_read_as_masks(tmp_path: Path, write_nifti: Write) -> None:
    image = write_nifti(tmp_path / "i.nii", np.array([[0.5, 1], [2, 3]], np.float32))
    label = write_nifti(tmp_path / "l.nii", np.array([[0, 1], [2, 1]], np.float32))
    options = ReadOptions(label_map=((1, 2), (2, 1)))
    sample = CheckedLoadImaged(ENTRY, options)({"image": image, "label": label})
    assert sample["image"].tolist() == [[0.5, 1], [2, 3]]
    assert sample["label"].tolist() == [[0, 2], [1, 2]]
    with pytest.raises(ImageFileError, match=r"not whole: 0\.5"):
        CheckedLoadImaged(ENTRY, options)({"image": image, "label": image})


def test_a_bad_file_is_tried_by_no_other_reader(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))  # MONAI's NumpyReader would take it
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))
    for name in ("a.npy", "b.png"):
        with pytest.raises(ImageFileError, match="not a NIfTI file"):
            CheckedLoadImaged({"keys": "image"}, ReadOptions())({"image": tmp_path / name})
    assert SliceReader().verify_suffix("anything at all")


def test_several_files_are_not_one_image(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", COUNTED)
    with pytest.raises(ImageFileError, match="2 files for one image"):
        CheckedLoadImaged({"keys": "image"}, ReadOptions())({"image": [path, path]})


def test_a_volume_is_turned_to_ras_before_it_is_cut(tmp_path: Path) -> None:
    # The file's axes point back, down and to the right: COUNTED in RAS is seen again whatever the file's order.
    ras = nib.Nifti1Image(COUNTED, np.diag([1.0, 2, 3, 1]), dtype=np.int16)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt("PIR"))
    nib.save(ras.as_reoriented(turn), tmp_path / "a.nii.gz")
    for axis, order, flips in ((0, (2, 0, 1), (0, 1, 1)), (1, (0, 2, 1), (1, 0, 1)), (2, (1, 2, 0), (1, 0, 1))):
        stack = CheckedLoadImaged({"keys": "image"}, ReadOptions(axis=axis))({"image": tmp_path / "a.nii.gz"})["image"]
        np.testing.assert_array_equal(stack.numpy(), np.moveaxis(COUNTED, axis, 0))
        spacing = [size for number, size in enumerate((1, 2, 3)) if number != axis]
        np.testing.assert_allclose(stack.affine.numpy(), np.diag([*spacing, 1 + axis, 1]))
        assert (tuple(stack.meta["slice_order"]), tuple(stack.meta["slice_flips"])) == (order, flips)
        assert stack.meta["slice_axis"] == order[0]
        assert tuple(stack.meta["spatial_shape"]) == tuple(stack.shape[1:])
    kept = CheckedLoadImaged({"keys": "image"}, ReadOptions(axis=0, reorient=False))({"image": tmp_path / "a.nii.gz"})
    stored: Any = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(kept["image"].numpy(), np.asanyarray(stored.dataobj))


def test_what_was_read_can_be_written_to(tmp_path: Path, write_nifti: Write) -> None:
    # One column is contiguous in any order of axes: nothing but a copy makes it the chain's own.
    path = write_nifti(tmp_path / "a.nii", np.arange(5, dtype=np.uint8)[:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = CheckedLoadImaged({"keys": "image", "dtype": None}, ReadOptions())({"image": path})["image"]
    image += 1
    assert image.flatten().tolist() == [1, 2, 3, 4, 5]
    assert image.dtype == torch.uint8


def test_a_file_that_was_read_before_is_not_read_again(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", COUNTED)
    file = read_nifti(path)
    path.unlink()
    image = CheckedLoadImaged({"keys": "image"}, ReadOptions(axis=2))({"image": file})["image"]
    np.testing.assert_array_equal(image.numpy(), np.moveaxis(COUNTED, 2, 0))
    assert image.meta["filename_or_obj"] == str(path)
    with pytest.raises(ImageFileError, match="2 channels for one image") as caught:
        SliceReader().get_data(replace(file, spacing_mm=(1.0, 1.0)))
    assert caught.value.where == str(path)


def test_parameters_of_loadimaged(tmp_path: Path, write_nifti: Write) -> None:
    sample = {"image": write_nifti(tmp_path / "a.nii", COUNTED[..., 0]), "label": None}
    del sample["label"]
    entry = {**ENTRY, "allow_missing_keys": True}
    assert CheckedLoadImaged({**entry, "ensure_channel_first": True}, ReadOptions())(sample)["image"].shape == (1, 4, 3)
    assert CheckedLoadImaged({**entry, "dtype": "float64"}, ReadOptions())(sample)["image"].dtype == torch.float64
    pair = CheckedLoadImaged({**entry, "image_only": False}, ReadOptions())(sample)
    assert pair["image"].shape == (4, 3)
    assert pair["image_meta_dict"]["slice_axis"] == -1
    pair_of = {**entry, "image_only": False, "meta_keys": ["a", "b"]}
    named = CheckedLoadImaged(pair_of, ReadOptions())
    assert named(sample)["a"]["slices"] == 1
    with pytest.raises(KeyError, match="already exists"):
        named({**sample, "a": 1})
    over = CheckedLoadImaged(
        {**entry, "image_only": False, "meta_keys": ["a", "b"], "overwriting": True}, ReadOptions()
    )
    assert over({**sample, "a": 1})["a"]["slices"] == 1
    with pytest.raises(KeyError):
        CheckedLoadImaged(ENTRY, ReadOptions())(sample)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", None])
def test_the_type_that_is_asked_for(tmp_path: Path, write_nifti: Write, dtype: str | None) -> None:
    sample = {"image": write_nifti(tmp_path / "a.nii", COUNTED)}
    entry: dict[str, Any] = {"keys": "image", "dtype": dtype}
    theirs = LoadImaged(**entry, reader="NibabelReader")(sample)["image"]
    ours = CheckedLoadImaged(entry, ReadOptions(as_slices=False))(sample)["image"]
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())


@pytest.mark.parametrize(
    "parameters", [{"reader": "ITKReader"}, {"prune_meta_pattern": "slice.*"}, {"prune_meta_sep": "/"}, {"mmap": True}]
)
def test_what_cannot_be_honoured_is_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ChainError, match=f"does not take {next(iter(parameters))} here"):
        CheckedLoadImaged({**ENTRY, **parameters}, ReadOptions())
    with pytest.raises(ChainError, match="own reader"):
        CheckedLoadImaged(ENTRY, ReadOptions())({}, SliceReader())


def test_the_home_folder(tmp_path: Path, write_nifti: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nifti(tmp_path / "a.nii", COUNTED)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CheckedLoadImaged({"keys": "image"}, ReadOptions())({"image": "~/a.nii"})["image"].shape == (2, 4, 3)
    with pytest.raises(ImageFileError, match="no such file"):
        CheckedLoadImaged({"keys": "image", "expanduser": False}, ReadOptions())({"image": "~/a.nii"})


def test_every_parameter_of_loadimaged_is_honoured_or_refused() -> None:
    own = set(inspect.signature(LoadImaged.__init__).parameters) - {"self", "args", "kwargs"}
    assert own == LOADING_PARAMETERS | {"reader", "prune_meta_pattern", "prune_meta_sep"}
