from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet

from pipeline.reporting import colours
from pipeline.reporting.content import Example
from pipeline.reporting.overlays import agreement, mask_figure, overlay_figure, window

CLASSES = ("background", "bone", "rectum")


def drawing(text: str) -> np.ndarray:
    return np.array([[int(letter) for letter in line.split()] for line in text.strip().splitlines()], dtype=np.uint8)


#                    reference     prediction    bone in the prediction panel
REFERENCE = drawing("""1 1 0 0
                       1 1 0 0
                       0 0 2 0""")
PREDICTION = drawing("""0 1 1 0
                        0 1 1 0
                        0 0 0 0""")
#                         missed 2, both 1, spurious 3
BONE = drawing("""2 1 3 0
                  2 1 3 0
                  0 0 0 0""")


def shown_upright(array: np.ndarray) -> np.ndarray:
    """As the picture has it when directions are unknown: axis 0 to the right, axis 1 up."""
    return array.T[::-1]


def colours_of(codes: np.ndarray) -> np.ndarray:
    palette = ["#000000", *(colours.AGREEMENT[name] for name in ("both", "missed", "spurious"))]
    return np.array([to_rgb(colour) for colour in palette])[codes] * 255


def test_agreement_of_a_drawing() -> None:
    assert agreement(REFERENCE == 1, PREDICTION == 1).tolist() == BONE.tolist()


def test_mask_panels_of_a_drawing(make_example: Callable[..., Example]) -> None:
    figure = mask_figure(make_example(REFERENCE, PREDICTION), CLASSES, 1, synthetic=False)
    image, reference, prediction = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert [axes.get_title() for axes in figure.axes] == ["image", "reference mask", "predicted mask"]
    assert image.shape == (4, 3)
    np.testing.assert_allclose(prediction, colours_of(shown_upright(BONE)), atol=0.5)
    np.testing.assert_allclose(reference, colours_of(shown_upright((REFERENCE == 1).astype(int))), atol=0.5)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "both (true positive): 2 px", "missed (reference only): 2 px", "spurious (prediction only): 2 px",
    ]  # fmt: skip
    faces = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    assert faces == [to_rgb(colour) for colour in colours.AGREEMENT.values()]


@pytest.mark.parametrize(
    ("reference", "prediction", "said"),
    [
        (REFERENCE, PREDICTION, "Dice of this slice 0.500"),  # 2 * 2 / (4 + 4)
        (PREDICTION * 0, PREDICTION, "absent in the reference, 4 pixels predicted"),
        (REFERENCE * 0, PREDICTION * 0, "absent in the reference and in the prediction"),
        (REFERENCE, PREDICTION * 0, "Dice of this slice 0.000"),
    ],
)
def test_title_says_the_dice_or_why_there_is_none(
    make_example: Callable[..., Example], reference: np.ndarray, prediction: np.ndarray, said: str
) -> None:
    figure = mask_figure(make_example(reference, prediction), CLASSES, 1, synthetic=False)
    title, place = (text.get_text() for text in figure.texts)
    assert title == "bone (channel 1)"
    assert place == f"case_1, slice 7 · {said}"


def test_outlines_run_around_the_masks(make_example: Callable[..., Example]) -> None:
    figure = overlay_figure([make_example(REFERENCE, PREDICTION)], ["worst"], CLASSES, title="T", synthetic=False)
    (axes,) = figure.axes
    assert axes.get_title() == "worst\ncase_1, slice 7"
    lines = [one for one in axes.collections if isinstance(one, QuadContourSet)]
    # Bone of both masks, rectum of the reference; a picture has axis 0 from left to right, so bone spans columns 0-1.
    extents = [one.get_paths()[0].get_extents() for one in lines]
    assert [(box.x0, box.x1) for box in extents] == [(-0.5, 1.5), (-0.5, 1.5), (1.5, 2.5)]
    # Rows count from the top: axis 1 is 4 long and turned, so index 0 is row 3.
    assert [(box.y0, box.y1) for box in extents] == [(1.5, 3.5), (0.5, 2.5), (0.5, 1.5)]
    dashes: list[Any] = [one.get_linestyle() for one in lines]
    assert [dash[0][1] is None for dash in dashes] == [True, False, True]  # None is a solid line
    edges: list[Any] = [one.get_edgecolor() for one in lines]
    assert [to_rgb(edge[0]) for edge in edges][::2] == [to_rgb(colours.class_colour(index)) for index in (1, 2)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bone", "rectum", "reference", "prediction"]


def test_outlines_close_where_a_mask_fills_the_image(make_example: Callable[..., Example]) -> None:
    full = np.ones((3, 2), dtype=np.uint8)
    (axes,) = overlay_figure([make_example(full)], ["full"], CLASSES, title="T", synthetic=False).axes
    box = axes.collections[0].get_paths()[0].get_extents()
    assert (box.x0, box.x1, box.y0, box.y1) == (-0.5, 2.5, -0.5, 1.5)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 2.5), (1.5, -0.5))


def test_one_pixel_and_no_class_are_drawn(make_example: Callable[..., Example]) -> None:
    one = make_example(np.ones((1, 1), dtype=np.uint8))
    none = make_example(np.zeros((2, 90), dtype=np.uint8))
    figure = overlay_figure([one, none], ["one pixel", "long"], CLASSES, title="T", synthetic=False)
    figure.canvas.draw()
    assert len(figure.axes) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(1001.0), (5.0, 995.0)),  # 0.5 and 99.5 percent of 0 to 1000
        (np.append(np.arange(1001.0), [np.nan, np.inf]), (5.0, 995.0)),
        (np.append(np.zeros(999), 7.0), (0.0, 7.0)),
        (np.full(9, 3.0), (3.0, 4.0)),
        (np.full(9, np.nan), (0.0, 1.0)),
    ],
)
def test_window(values: np.ndarray, expected: tuple[float, float]) -> None:
    assert window(values[np.newaxis]) == pytest.approx(expected)


def test_colours_are_distinct_and_never_run_out() -> None:
    looks = [(colours.class_colour(index), colours.class_linestyle(index)) for index in range(256)]
    assert len(set(looks[:22])) == 22
    assert len(set(looks)) >= 80
    assert colours.class_colour(1) == colours.class_colour(22)  # a colour comes back after three tints of seven hues,
    assert colours.class_linestyle(1) != colours.class_linestyle(22)  # and then with another line
