"""The pieces of a surface: their codes voxel by voxel, their sizes by hand and by DeepMind's tables."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.evaluation import surface_pieces
from pipeline.evaluation.surface_pieces import Corners, find_corners, piece_sizes

LABELS = hnp.array_shapes(min_dims=2, max_dims=3, max_side=5).flatmap(
    lambda shape: hnp.arrays(np.uint8, (2, *shape), elements=st.integers(0, 3))
)


def codes_by_hand(mask: np.ndarray) -> dict[tuple[int, ...], int]:
    """The code of every corner of the grid, read voxel by voxel, the last axis fastest."""
    padded = np.pad(mask, 1)
    corners = itertools.product(*(range(length + 1) for length in mask.shape))
    boxes = {corner: padded[tuple(slice(at, at + 2) for at in corner)].ravel() for corner in corners}
    return {corner: int("".join(str(int(bit)) for bit in box), 2) for corner, box in boxes.items()}


def codes_of(corners: Corners, index: int, *, turned: bool) -> list[dict[tuple[int, ...], int]]:
    """The codes found at the corners that have the class about them, of the reference and of the prediction."""
    places, codes = corners.of(index)
    assert (np.diff(places) > 0).all()
    at = [tuple(map(int, place)) for place in zip(*np.unravel_index(places, corners.grid.shape), strict=True)]
    at = [place[::-1] for place in at] if turned else at
    return [dict(zip(at, side.tolist(), strict=True)) for side in codes]


@settings(max_examples=60, deadline=None)
@given(LABELS, st.sampled_from("CF"), st.sampled_from([1, 60, 1 << 19]), st.sampled_from([np.uint8, np.int16, np.int8]))
def test_codes_are_read_voxel_by_voxel(labels: np.ndarray, order: Any, block: int, kind: Any) -> None:
    """In either layout, whole or a few planes at a time; a corner that is left out is on no surface."""
    pair = [np.array(mask, dtype=kind, order=order) for mask in labels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface_pieces, "_BLOCK", block)
        patch.setattr(surface_pieces, "_CORNERS", block)
        corners = find_corners(pair[0], pair[1], (1.0,) * pair[0].ndim, range(4))
    assert (np.diff(corners.places) > 0).all()
    whole = 2**2 ** pair[0].ndim - 1
    turned = pair[0].flags.fnc
    for index in range(4):
        for mask, found in zip(pair, codes_of(corners, index, turned=turned), strict=True):
            for corner, code in codes_by_hand(mask == index).items():
                assert found.get(corner, code) == code
                assert corner in found or code in (0, whole)


def test_only_corners_on_a_surface_are_kept() -> None:
    """A square of 4 in 8 x 8: 16 corners of its own, 32 of the border of the image, where the background ends.

    When the background is not asked for, its border is nobody's.
    """
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 1
    assert len(find_corners(mask, mask, (1.0, 1.0), [1]).places) == 16
    assert len(find_corners(mask, mask, (1.0, 1.0), [0, 1]).places) == 16 + 32
    assert len(find_corners(mask, 0 * mask, (1.0, 1.0), [1]).places) == 16


@pytest.mark.parametrize(
    ("values", "kind"),
    [((-1, 255), np.int16), ((255, 254), np.uint8), ((300, 44), np.int64), ((70000, 4464), np.uint32), ((1, 0), bool)],
)
def test_values_of_any_type_are_told_apart(values: tuple[int, int], kind: Any) -> None:
    """Values that would be one in fewer bits; all 256 of a byte, and what lies outside is none of them."""
    mask = np.array([[values[0], values[1]]]).astype(kind)
    for classes in ([int(value) for value in values], range(256)):
        corners = find_corners(mask, mask, (1.0, 1.0), classes)
        for place, index in enumerate(values):
            expected = codes_by_hand(np.arange(2)[np.newaxis] == place)
            for found in codes_of(corners, index, turned=False):
                assert dict.fromkeys(expected, 0) | found == expected


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 2.9), (3.0, 0.5, 0.5)])
def test_areas_are_those_of_deepmind(spacing: tuple[float, ...]) -> None:
    tables = surface_distance.lookup_tables
    expected = tables.create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(piece_sizes(spacing), expected, rtol=1e-12)
    lengths = tables.create_table_neighbour_code_to_contour_length(spacing[:2])
    np.testing.assert_allclose(piece_sizes(spacing[:2]), lengths, rtol=1e-12)


def test_areas_by_hand() -> None:
    """One voxel of eight: a triangle between the middles of three edges; a plane: the face of a voxel."""
    areas = piece_sizes((1.0, 1.0, 1.0))
    assert areas[0b00000001] == areas[0b11111110] == pytest.approx(math.sqrt(3) / 8)
    assert areas[0b00001111] == areas[0b11110000] == pytest.approx(1.0)
    assert areas[0] == areas[255] == 0
    assert piece_sizes((2.0, 3.0, 5.0))[0b00001111] == pytest.approx(15.0)  # across the first axis
    assert piece_sizes((2.0, 3.0))[0b0011] == 3.0
