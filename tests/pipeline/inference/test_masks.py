"""A mask file has the header of its image, whatever the image's is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.inference.masks import mask_bytes, probabilities_bytes

OBLIQUE = np.array([[0.9, -0.3, 0.1, -12.5], [0.2, 1.4, 0.3, 7.25], [-0.1, 0.2, 2.9, 40.0], [0, 0, 0, 1]])


def write(path: Path, shape: tuple[int, ...], kind: Any = nib.Nifti1Image) -> Path:
    image = kind(np.linspace(-5, 5, int(np.prod(shape))).reshape(shape).astype(np.float32), OBLIQUE)
    image.set_sform(OBLIQUE, code=2)
    image.set_qform(OBLIQUE, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"T2 coronal"
    image.header["cal_max"] = 400
    nib.save(image, path)
    return path


def read(content: bytes, path: Path) -> Any:
    path.write_bytes(content)
    return nib.load(path)


@pytest.mark.parametrize(
    ("shape", "mask_shape"),
    [((6, 4), (6, 4)), ((6, 4, 1), (6, 4)), ((6, 4, 5), (6, 4, 5)), ((6, 4, 5, 1), (6, 4, 5)), ((6, 4, 1), (6, 4, 1))],
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_header_is_the_images(
    tmp_path: Path, shape: tuple[int, ...], mask_shape: tuple[int, ...], kind: Any, suffix: str
) -> None:
    source = write(tmp_path / f"image{suffix}", shape, kind)
    mask = np.random.default_rng(0).integers(0, 6, mask_shape).astype(np.uint8)
    found: Any = read(mask_bytes(mask, source), tmp_path / "mask.nii.gz")
    image: Any = nib.load(source)
    assert type(found) is type(image)
    assert found.shape == shape
    assert found.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(found.dataobj).reshape(mask_shape), mask)
    for name in ("get_sform", "get_qform"):
        for one, other in zip(getattr(found, name)(coded=True), getattr(image, name)(coded=True), strict=True):
            assert np.array_equal(one, other)
    assert np.array_equal(found.affine, image.affine)
    assert found.header.get_xyzt_units() == ("mm", "sec")
    assert found.header["descrip"] == b"T2 coronal"
    assert np.array_equal(found.header["pixdim"], image.header["pixdim"])
    assert found.header["cal_max"] == 0, "a viewer's window for the image would hide the mask"


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("shape", "mask_shape"), [((6, 4, 5, 3), (6, 4, 5)), ((6, 4, 1, 3), (6, 4))])
def test_a_mask_has_no_axis_of_channels(
    tmp_path: Path, shape: tuple[int, ...], mask_shape: tuple[int, ...], kind: Any
) -> None:
    source = write(tmp_path / "image.nii.gz", shape, kind)
    image: Any = nib.load(source)
    image.header["pixdim"][4] = 2.5
    nib.save(image, source)
    mask = np.random.default_rng(0).integers(0, 6, mask_shape).astype(np.uint8)
    found: Any = read(mask_bytes(mask, source), tmp_path / "mask.nii.gz")
    assert found.shape == shape[:3]
    assert list(found.header["dim"]) == [3, *shape[:3], 1, 1, 1, 1]
    assert np.array_equal(found.header["pixdim"][:4], image.header["pixdim"][:4])
    assert np.array_equal(found.header["pixdim"][4:], [1, 1, 1, 1])
    assert np.array_equal(found.affine, image.affine)
    assert np.array_equal(np.asanyarray(found.dataobj).reshape(mask_shape), mask)
    with pytest.raises(ValueError, match="for an image of shape"):
        mask_bytes(np.zeros(shape, np.uint8), source)


def test_a_scaled_source_does_not_scale_its_mask(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(6, dtype=np.int16).reshape(2, 3), np.eye(4))
    image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / "image.nii.gz")
    mask = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8)
    found = read(mask_bytes(mask, tmp_path / "image.nii.gz"), tmp_path / "mask.nii.gz")
    assert np.array_equal(found.dataobj.get_unscaled(), mask), "tools that know no scaling read classes"
    assert np.array_equal(found.get_fdata(), mask)


def test_many_classes_keep_their_numbers(tmp_path: Path) -> None:
    source = write(tmp_path / "image.nii.gz", (2, 2))
    mask = np.array([[0, 255], [256, 300]], dtype=np.uint16)
    found = read(mask_bytes(mask, source), tmp_path / "mask.nii.gz")
    assert found.get_data_dtype() == np.uint16
    assert np.array_equal(np.asanyarray(found.dataobj), mask)


def test_the_name_of_the_source_may_lie_about_its_compression(tmp_path: Path) -> None:
    # The checked reader looks at the bytes, so such a file gets as far as having a prediction.
    packed, plain = write(tmp_path / "a.nii.gz", (3, 2)), write(tmp_path / "b.nii", (3, 2))
    mask = np.ones((3, 2), dtype=np.uint8)
    expected = mask_bytes(mask, packed)
    assert mask_bytes(mask, plain.rename(tmp_path / "plain.nii.gz")) == expected
    assert mask_bytes(mask, packed.rename(tmp_path / "packed.nii")) == expected


def test_a_foreign_byte_order_is_kept_whole(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.float32)
    header.set_sform(OBLIQUE, code=1)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), OBLIQUE, header), tmp_path / "image.nii.gz")
    mask = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    found = read(mask_bytes(mask, tmp_path / "image.nii.gz"), tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asanyarray(found.dataobj), mask)
    image: Any = nib.load(tmp_path / "image.nii.gz")
    assert np.array_equal(found.affine, image.affine)


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write(tmp_path / "image.nii.gz", (4, 4))
    mask = np.eye(4, dtype=np.uint8)
    content = mask_bytes(mask, source)
    assert content == mask_bytes(mask, str(source))
    assert content[:2] == b"\x1f\x8b"
    assert content[4:8] == bytes(4), "no time stamp"


@pytest.mark.parametrize("mask_shape", [(4, 6), (6, 4, 5), (6,), (6, 4, 2), (24,)])
def test_a_mask_of_another_shape_is_refused(tmp_path: Path, mask_shape: tuple[int, ...]) -> None:
    source = write(tmp_path / "image.nii.gz", (6, 4, 1))
    with pytest.raises(ValueError, match=r"for an image of shape \(6, 4, 1\)"):
        mask_bytes(np.zeros(mask_shape, dtype=np.uint8), source)


def test_a_flawed_header_is_mended_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "image.nii", (3, 2))
    raw = bytearray(source.read_bytes())
    raw[80:84] = np.float32(-1.5).tobytes()  # pixdim[1]: nibabel mends it, and says so in its log
    source.write_bytes(raw)
    found = read(mask_bytes(np.ones((3, 2), dtype=np.uint8), source), tmp_path / "mask.nii.gz")
    assert found.header["pixdim"][1] == 1.5
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shape", "own", "stored"),
    [
        ((6, 4), (6, 4), (6, 4, 1)), ((6, 4, 1), (6, 4), (6, 4, 1)), ((6, 4, 5), (6, 4, 5), (6, 4, 5)),
        ((6, 4, 5, 3), (6, 4, 5), (6, 4, 5)), ((6, 4, 1, 3), (6, 4), (6, 4, 1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("quantised", [False, True])
def test_probabilities_are_read_back(
    tmp_path: Path, shape: tuple[int, ...], own: tuple[int, ...], stored: tuple[int, ...], kind: Any, quantised: bool
) -> None:
    source = write(tmp_path / "image.nii.gz", shape, kind)
    given = np.random.default_rng(0).dirichlet([1, 1, 1, 1], own).astype(np.float32)
    given.reshape(-1)[:3] = (0, 1, 1 + 1e-6)  # what rounding may leave
    found = read(probabilities_bytes(np.moveaxis(given, -1, 0), source, quantised=quantised), tmp_path / "p.nii.gz")
    assert type(found) is kind
    assert found.shape == (*stored, 4)
    assert found.get_data_dtype() == (np.uint8 if quantised else np.float32)
    error = np.abs(found.get_fdata().reshape(*own, 4) - given).max()
    assert error <= (0.5 / 255 + 2e-6 if quantised else 0)
    image: Any = nib.load(source)
    for name in ("get_sform", "get_qform"):
        for one, other in zip(getattr(found, name)(coded=True), getattr(image, name)(coded=True), strict=True):
            assert np.array_equal(one, other)
    assert list(found.header["dim"]) == [4, *stored, 4, 1, 1, 1]
    assert (found.header["cal_min"], found.header["cal_max"]) == (0, 1)


def test_probabilities_of_a_foreign_byte_order(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.float32)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), OBLIQUE, header), tmp_path / "image.nii.gz")
    given = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    found = read(probabilities_bytes(given, tmp_path / "image.nii.gz"), tmp_path / "p.nii.gz")
    assert np.array_equal(np.moveaxis(found.get_fdata(), -1, 0), given)


@pytest.mark.parametrize("shape", [(2, 4, 6), (2, 6), (2, 6, 4, 5), (6, 4)])
def test_probabilities_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = write(tmp_path / "image.nii.gz", (6, 4, 1))
    with pytest.raises(ValueError, match=r"for an image of shape \(6, 4, 1\)"):
        probabilities_bytes(np.zeros(shape, np.float32), source)
