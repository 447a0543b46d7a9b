"""The header as plain values: whatever a header says, it is what nibabel makes of it, or it is refused."""

from __future__ import annotations

import io
import logging
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from transforms.faults import ImageFileError
from transforms.nifti_header import Header, judged_header

LIMIT = 10_000
OBLIQUE = np.array([[0.9, -0.3, 0.1, -7], [0.2, 1.1, 0.3, 5], [-0.1, 0.2, 2.4, 90], [0, 0, 0, 1]])
USUAL = (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280)
KINDS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}


def binary(size: int = 348, order: str = "<", **fields: Any) -> bytes:
    """A good header of 4 x 3 x 2 int16 voxels, with some fields set as they are."""
    header = KINDS[size](endianness=order)
    header.set_data_dtype(np.int16)
    header.set_data_shape((4, 3, 2))
    header.set_qform(OBLIQUE, 1, strip_shears=True)
    header.set_sform(OBLIQUE, 2)
    header["vox_offset"] = size + 4
    header["magic"] = header.single_magic
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock)


def theirs(raw: bytes) -> tuple[Any, Any]:
    """nibabel's header as it was written, and as it mends it."""
    written = KINDS[len(raw)].from_fileobj(io.BytesIO(raw), check=False)
    mended = written.copy()
    silent = logging.getLogger("silent")
    silent.setLevel(logging.CRITICAL + 1)
    with np.errstate(all="ignore"):
        mended.check_fix(logger=silent, error_level=40)
    return written, mended


def check_equal(found: Header, raw: bytes) -> None:
    written, mended = theirs(raw)
    assert found.shape == tuple(mended.get_data_shape())
    assert found.dtype == mended.get_data_dtype()
    assert found.offset == mended.get_data_offset()
    assert (found.slope, found.inter) == mended.get_slope_inter()
    np.testing.assert_array_equal(found.zooms, written["pixdim"][1:].astype(float))
    assert found.unit == int(written["xyzt_units"]) & 7
    try:
        affine = mended.get_best_affine()
    except ValueError:
        with pytest.raises(ValueError):
            found.best_affine()
        return
    assert found.best_affine().dtype == np.float64
    np.testing.assert_array_equal(found.best_affine(), affine)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [348, 540])
def test_a_good_header(size: int, order: str) -> None:
    raw = binary(size, order)
    found = judged_header(raw, "a.nii", LIMIT)
    check_equal(found, raw)
    assert (found.shape, found.dtype, found.offset) == ((4, 3, 2), np.dtype(f"{order}i2"), size + 4)
    assert (found.scaled, found.needed_bytes) == (False, size + 4 + 48)
    assert (found.rows is not None) == (size == 348), "the common kind does without nibabel"


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 4), (1, 5), (1, 77), (3, -2)])
def test_which_form_gives_the_affine(codes: tuple[int, int]) -> None:
    raw = binary(qform_code=codes[0], sform_code=codes[1])
    check_equal(judged_header(raw, "a.nii", LIMIT), raw)


def test_a_surface_of_freesurfer_s() -> None:
    raw = binary(dim=[3, 27307, 1, 6, 1, 1, 1, 1])
    assert judged_header(raw, "a.nii", 10**6).shape == (163842, 1, 1)


@settings(max_examples=300, deadline=None)
@given(
    size=st.sampled_from([348, 348, 540]),
    order=st.sampled_from("<>"),
    code=st.sampled_from([*USUAL, 1536, 0, 1, 32, 128, 999, -4]),
    forms=st.tuples(st.integers(-1, 6), st.integers(-1, 6)),
    scaling=st.sampled_from([(0, 0), (1, 0), (2, 0.5), (1, 1), (np.nan, 3), (0, np.nan), (-1, 0)]),
    pixdim=st.lists(st.sampled_from([-1, 0, 1, 0.7, 1.3, np.nan]), min_size=8, max_size=8),
    unit=st.integers(0, 30),
    changes=st.lists(st.tuples(st.integers(0, 539), st.integers(0, 255)), max_size=3),
)
@example(348, "<", 4, (1, 2), (1, 0), [1] * 8, 2, [(347, 120)])  # the last letter of the magic number
@example(540, "<", 4, (1, 2), (1, 0), [1] * 8, 2, [(8, 7)])  # what line ends would have become
def test_any_header_is_what_nibabel_makes_of_it(
    size: int, order: str, code: int, forms: tuple[int, int], scaling: tuple[float, float], pixdim: list[float],
    unit: int, changes: list[tuple[int, int]],
) -> None:  # fmt: skip
    raw = bytearray(binary(
        size, order, datatype=code, qform_code=forms[0], sform_code=forms[1], scl_slope=scaling[0],
        scl_inter=scaling[1], pixdim=pixdim, xyzt_units=unit,
    ))  # fmt: skip
    for place, value in changes:
        raw[place % size] = value
    try:
        found = judged_header(bytes(raw), "a.nii", LIMIT)
    except ImageFileError as fault:
        event("refused")
        assert fault.where == "a.nii"
        assert changes or code not in USUAL, fault.what
        return
    event("usual" if found.rows is not None else "unusual")
    check_equal(found, bytes(raw))
