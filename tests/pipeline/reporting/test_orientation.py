"""Which end of the patient lies at which edge of the picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.reporting.content import Example
from pipeline.reporting.orientation import hang
from pipeline.reporting.overlays import mask_figure, overlay_figure

CLASSES = ("background", "bone", "rectum")
AXES = ("RL", "AP", "SI")
PAIRS = [
    (first, second) for one, other in itertools.permutations(AXES, 2) for first, second in itertools.product(one, other)
]


def marked(codes: tuple[str, str], towards: str) -> np.ndarray:
    """A slice (5, 4) of zeros whose last line towards a direction is 1."""
    image = np.zeros((5, 4), dtype=np.float32)
    axis = next(index for index, code in enumerate(codes) if any({code, towards} <= set(pair) for pair in AXES))
    end = -1 if codes[axis] == towards else 0
    image[(end, slice(None)) if axis == 0 else (slice(None), end)] = 1
    return image


def edge_of(picture: np.ndarray) -> str:
    """The edge of a picture, row 0 on top, that is all 1."""
    edges = {"left": picture[:, 0], "right": picture[:, -1], "top": picture[0], "bottom": picture[-1]}
    (found,) = [name for name, line in edges.items() if line.all()]
    return found


@pytest.mark.parametrize("codes", PAIRS, ids="".join)
def test_each_end_lies_where_radiology_has_it(make_example: Callable[..., Example], codes: tuple[str, str]) -> None:
    plane = {next(pair for pair in AXES if code in pair) for code in codes}
    across = "RL" if "RL" in plane else "AP"
    down = "SI" if "SI" in plane else "AP"
    mask = np.zeros((5, 4), dtype=np.uint8)
    where = dict(zip(("left", "right", "top", "bottom"), across + down, strict=True))
    assert dict(zip(where, hang(make_example(mask, axis_codes=codes)).letters or (), strict=True)) == where
    for edge, direction in where.items():
        shown = make_example(mask, axis_codes=codes, image=marked(codes, direction))
        assert edge_of(hang(shown)(shown.image)) == edge, f"{direction} of {codes}"


@pytest.mark.parametrize("codes", [("L", "S"), ("P", "I"), ("R", "A")], ids="".join)  # coronal, sagittal, axial
def test_pictures_are_drawn_that_way_up(make_example: Callable[..., Example], codes: tuple[str, str]) -> None:
    mask = np.zeros((5, 4), dtype=np.uint8)
    left, top = ("A", "S") if codes == ("P", "I") else ("R", "A" if "A" in codes else "S")
    for direction, edge in ((left, "left"), (top, "top")):
        image = marked(codes, direction)
        shown = make_example(image.astype(np.uint8), axis_codes=codes, image=image)
        masks = mask_figure(shown, CLASSES, 1, synthetic=False)
        outlines = overlay_figure(
            [make_example(mask, axis_codes=codes, image=image)], ["one"], CLASSES, title="T", synthetic=False
        )
        for axes in (*masks.axes, *outlines.axes):
            picture = np.asarray(axes.images[0].get_array())
            assert edge_of(picture if picture.ndim == 2 else picture[..., 0] > 0) == edge
            assert axes.yaxis_inverted()  # row 0 is on top
            assert not axes.xaxis_inverted()


def test_letters_stand_at_their_edges(make_example: Callable[..., Example]) -> None:
    shown = make_example(np.zeros((5, 4), dtype=np.uint8), axis_codes=("L", "S"))
    for axes in mask_figure(shown, CLASSES, 1, synthetic=False).axes:
        assert axes.images[0].origin == "upper"
        found = {text.get_text(): text.get_position() for text in axes.texts}
        assert set(found) == {"R", "L", "S", "I"}
        assert found["R"][0] < 0.1 < 0.9 < found["L"][0]
        assert found["I"][1] < 0.1 < 0.9 < found["S"][1]  # in the axes' frame, 1 is on top


def test_unknown_directions_as_in_hipmri(make_example: Callable[..., Example]) -> None:
    # Axis 0 left to right, axis 1 bottom to top: [i, j] is i from the left and j from the bottom.
    image = np.zeros((5, 4), dtype=np.float32)
    image[0, 0], image[4, 1] = 1, 2
    shown = make_example(np.zeros((5, 4), dtype=np.uint8), image=image)
    drawn = mask_figure(shown, CLASSES, 1, synthetic=False)
    picture = np.asarray(drawn.axes[0].images[0].get_array())
    assert picture.shape == (4, 5)
    assert (picture[3, 0], picture[2, 4]) == (1, 2)
    assert np.count_nonzero(picture) == 2
    assert [len(axes.texts) for axes in drawn.axes] == [0, 0, 0]


@pytest.mark.parametrize(("codes", "transposed"), [(None, True), (("R", "S"), True), (("S", "R"), False)])
def test_pixels_keep_their_shape(
    make_example: Callable[..., Example], codes: tuple[str, str] | None, transposed: bool
) -> None:
    # 5 x 4 pixels of 2 mm x 6 mm: 10 mm x 24 mm in the slice.
    shown = make_example(np.zeros((5, 4), dtype=np.uint8), axis_codes=codes, pixel_size=(2.0, 6.0))
    figure = overlay_figure([shown], ["one"], CLASSES, title="T", synthetic=False)
    figure.canvas.draw()
    (axes,) = figure.axes
    box = axes.get_window_extent()
    assert box.width / box.height == pytest.approx(10 / 24 if transposed else 24 / 10, rel=1e-3)
    assert hang(shown).ratio(shown.image.shape) == pytest.approx(10 / 24 if transposed else 24 / 10)
