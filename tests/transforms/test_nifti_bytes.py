"""Every way in which one file can be wrong before its voxels are looked at."""

from __future__ import annotations

import gzip
import logging
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.faults import ImageFileError
from transforms.nifti import ReadOptions, read_nifti
from transforms.nifti_bytes import read_checked

Write = Callable[..., Path]
VOXELS = np.random.default_rng(0).normal(100, 20, (12, 9)).astype(np.float32)
LIMIT = 10_000


def plain_bytes(array: np.ndarray = VOXELS, kind: type = nib.Nifti1Image) -> bytearray:
    image = kind(array, np.eye(4), dtype=array.dtype)
    return bytearray(image.to_bytes())


def refusal(path: Path, raw: bytes | bytearray, max_voxels: int = LIMIT) -> str:
    path.write_bytes(raw)
    with pytest.raises(ImageFileError) as caught:
        read_nifti(path, ReadOptions(max_voxels=max_voxels))
    assert caught.value.where == str(path)
    assert caught.value.remedy
    return caught.value.what


def test_bytes_and_headers_of_a_good_file(tmp_path: Path) -> None:
    raw = bytes(plain_bytes())
    for name, content in (("a.nii", raw), ("a.nii.gz", gzip.compress(raw))):
        (tmp_path / name).write_bytes(content)
        unpacked, header = read_checked(str(tmp_path / name), LIMIT)
        assert unpacked == raw
        assert header.shape == (12, 9)


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(gzip.compress(bytes(plain_bytes())))
    (tmp_path / "b.nii.gz").write_bytes(bytes(plain_bytes()))
    for name in ("a.nii", "b.nii.gz"):
        np.testing.assert_array_equal(read_nifti(tmp_path / name).array, VOXELS)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="no such file"):
        read_nifti(tmp_path / "none.nii.gz")


def test_a_path_with_a_null_character() -> None:
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_nifti("a\0b.nii.gz")


def test_a_folder_and_a_pipe_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")  # reading it would wait for ever
    for path in (tmp_path, tmp_path / "pipe.nii.gz"):
        with pytest.raises(ImageFileError, match="not a file"):
            read_nifti(path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(plain_bytes()))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ImageFileError, match=r"cannot be read \(Permission denied\)"):
        read_nifti(path)


def test_a_symlink_loop_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    with pytest.raises(ImageFileError, match="symbolic links"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    "name", ["größe µ 影像.nii.gz", "two words.nii.gz", "a[0-9]{x}(1)*?.nii.gz", "-rf '$HOME'.nii"]
)
def test_odd_paths_work(tmp_path: Path, write_nifti: Write, name: str) -> None:
    path = write_nifti(tmp_path / "a folder [1]" / name, VOXELS)
    np.testing.assert_array_equal(read_nifti(path).array, VOXELS)
    np.testing.assert_array_equal(read_nifti(str(path)).array, VOXELS)


def test_an_empty_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.nii.gz", b"") == "an empty file"


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
    assert "Git LFS pointer" in refusal(tmp_path / "a.nii.gz", pointer)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(1000), bytes(1000), struct.pack("<i", 348), b"<html>404</html>" * 100],
)
def test_what_is_not_nifti(tmp_path: Path, content: bytes) -> None:
    assert "not a NIfTI file" in refusal(tmp_path / "a.nii", content)
    assert "not a NIfTI file" in refusal(tmp_path / "a.nii.gz", gzip.compress(content))


def test_analyze_and_pairs_of_files_are_told_apart_from_nifti(tmp_path: Path) -> None:
    raw = plain_bytes()
    raw[344:348] = bytes(4)
    assert "magic number" in refusal(tmp_path / "analyze.nii", raw)
    raw[344:348] = b"ni1\0"
    assert "half of a pair" in refusal(tmp_path / "half.nii", raw)
    raw = plain_bytes(kind=nib.Nifti2Image)
    raw[4:8] = b"ni2\0"
    assert "half of a pair" in refusal(tmp_path / "half2.nii", raw)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, kind: type) -> None:
    raw = bytes(plain_bytes(kind=kind))
    packed = gzip.compress(raw)
    for cut in range(1, len(raw), 7):
        refusal(tmp_path / "a.nii", raw[:-cut])
    for cut in range(1, len(packed)):
        refusal(tmp_path / "a.nii.gz", packed[:-cut])


def test_every_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    raw = bytes(plain_bytes(np.arange(30, dtype=np.int16).reshape(6, 5)))
    packed = gzip.compress(raw, mtime=0)
    path = tmp_path / "a.nii.gz"
    good = refused = 0
    for bit in range(8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            unpacked, _ = read_checked(str(path), LIMIT)
        except ImageFileError as fault:
            refused += 1
            assert str(path) in str(fault)
        else:
            good += 1
            assert unpacked == raw, f"bit {bit} went unnoticed"
    # What may change freely is in the ten bytes of the gzip header (a time, hints, the system's name) or fills up the
    # stream's last byte.
    assert good <= 8 * 10
    assert refused >= 8 * (len(packed) - 10)


@settings(max_examples=150, deadline=None)
@given(
    position=st.integers(0, 347), value=st.integers(0, 255), other=st.integers(0, 347), second=st.integers(0, 255),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
)  # fmt: skip
def test_a_damaged_header_never_ends_in_a_foreign_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, other: int, second: int, kind: type
) -> None:
    raw = plain_bytes(kind=kind)
    raw[position], raw[other] = value, second
    path = tmp_path_factory.mktemp("header") / "a.nii"
    path.write_bytes(raw)
    try:
        file = read_nifti(path, ReadOptions(max_voxels=LIMIT, nonfinite="zero"))
    except ImageFileError:
        return
    assert file.array.ndim in (2, 3)
    assert np.isfinite(file.array).all()
    assert np.isfinite(file.affine).all()
    assert min(file.spacing_mm) > 0


def declaring(shape: tuple[int, ...], dtype: type = np.float32) -> bytes:
    """A header that declares a shape, with no voxels behind it."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header["dim"][: 1 + len(shape)] = [len(shape), *shape]
    header["pixdim"][:] = 1
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return bytes(header.binaryblock) + bytes(4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["nii", "nii.gz"])
def test_huge_dimensions_are_refused_before_anything_is_allocated(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    for shape in ((30_000, 30_000, 30_000), (32_767,) * 7, (1_000, 1_000, 600)):
        path = tmp_path / "a.nii.gz"
        path.write_bytes(pack(declaring(shape)))
        tracemalloc.start()
        try:
            with pytest.raises(ImageFileError, match="voxels, more than 536870912"):
                read_nifti(path)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("padding", [0, 512])
def test_what_a_small_stream_cannot_hold_is_not_allocated_either(tmp_path: Path, padding: int) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(declaring((800, 800, 800))) + bytes(padding))  # 2 GB, within max_voxels
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match="is cut off"):
            read_nifti(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("padding", [0, 512])
def test_a_gzip_bomb_behind_a_small_header_is_not_unpacked(tmp_path: Path, padding: int) -> None:
    path = tmp_path / "a.nii.gz"
    bomb = bytes(plain_bytes()) + bytes(80_000_000)
    path.write_bytes(gzip.compress(bomb, 9) + bytes(padding))
    assert path.stat().st_size < 100_000
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match="unpacks to more than"):
            read_nifti(path)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_file_larger_than_any_image_of_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(plain_bytes()))
    os.truncate(path, 50_000_000_000)  # sparse: it takes no space
    with pytest.raises(ImageFileError, match="has 50000000000 bytes"):
        read_nifti(path)


def test_a_little_more_than_the_header_needs_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    for packed in (gzip.compress(bytes(plain_bytes()) + b"footer"), gzip.compress(bytes(plain_bytes())) + bytes(512)):
        path.write_bytes(packed)
        np.testing.assert_array_equal(read_nifti(path).array, VOXELS)


def test_a_stream_of_several_members_is_one_file(tmp_path: Path) -> None:
    raw = bytes(plain_bytes())
    path = tmp_path / "a.nii.gz"  # as bgzip writes
    path.write_bytes(b"".join(gzip.compress(raw[start : start + 100]) for start in range(0, len(raw), 100)))
    np.testing.assert_array_equal(read_nifti(path).array, VOXELS)
    assert "gzip stream" in refusal(path, gzip.compress(raw) + b"not a member of it at all")


@pytest.mark.parametrize(
    ("dim", "told"),
    [
        ([2, 0, 9], "declares dimensions"),
        ([2, 12, -16], "declares dimensions"),
        ([3, 12, 9, 0], "declares dimensions"),
        ([0, 12, 9], "declares dimensions"),
        ([-1, 12, 9], "declares dimensions"),
        ([8, 12, 9], "declares dimensions"),
        ([1, 108], "1 axes"),
        ([4, 3, 2, 9, 2], "4 axes"),
        ([5, 3, 2, 3, 3, 2], "5 axes"),
        ([4, 12, 3, 1, 3], "4 axes"),
    ],
)
def test_dimensions_that_give_no_slice(tmp_path: Path, dim: list[int], told: str) -> None:
    raw = plain_bytes()
    raw[40 : 40 + 2 * len(dim)] = struct.pack(f"<{len(dim)}h", *dim)
    assert told in refusal(tmp_path / "a.nii", raw)


def test_voxels_that_are_not_one_number(tmp_path: Path) -> None:
    rgb = np.zeros((4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "RGB" in refusal(tmp_path / "rgb.nii", plain_bytes(rgb))
    assert "complex" in refusal(tmp_path / "complex.nii", plain_bytes(np.zeros((4, 5), np.complex64)))
    raw = plain_bytes()
    codes = {1: "RGB or structured", 999: "unknown data type 999", 0: "RGB or structured", 1536: "128-bit"}
    for code, told in codes.items():
        raw[70:72] = struct.pack("<h", code)
        assert told in refusal(tmp_path / "code.nii", raw)


@pytest.mark.parametrize("offset", [0.0, 10.0, 348.0, -5.0, 1e30, float("nan"), float("inf")])
def test_voxels_that_begin_nowhere(tmp_path: Path, offset: float) -> None:
    raw = plain_bytes()  # nibabel takes 0 as it is, and reads the header as voxels
    raw[108:112] = struct.pack("<f", offset)
    assert "voxels begin at byte" in refusal(tmp_path / "a.nii", raw)


@pytest.mark.parametrize(
    ("slope", "inter"), [(1.0, np.inf), (2.0, np.nan), (np.inf, 0.0), (-np.inf, 0.0)]
)  # fmt: skip
def test_scaling_that_is_not_finite(tmp_path: Path, slope: float, inter: float) -> None:
    raw = plain_bytes(np.zeros((4, 5), np.int16))
    raw[112:120] = struct.pack("<ff", slope, inter)
    assert "scl_slope" in refusal(tmp_path / "a.nii", raw)


def test_extensions_are_skipped(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5_000))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz").array, VOXELS)


def test_what_nibabel_mends_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    raw = plain_bytes(VOXELS[..., None])
    raw[76:92] = struct.pack("<4f", 0, 1, 1, 0)  # neither a handedness nor a thickness
    (tmp_path / "a.nii").write_bytes(raw)
    with caplog.at_level(logging.DEBUG):
        assert read_nifti(tmp_path / "a.nii").array.shape == (12, 9)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
