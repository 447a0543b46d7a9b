"""What is packed for the page comes out again as it was."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.reporting import gallery
from pipeline.reporting.content import Example
from pipeline.reporting.gallery import pack_gallery, pack_stack
from pipeline.reporting.orientation import hang
from pipeline.reporting.stack import Stack

CLASSES = ("background", "bone", "rectum")
Make = Callable[..., Example]


def masks_of(stack: Stack) -> np.ndarray:
    """Class ids (2, S, rows, columns): of the reference, then of the prediction."""
    ids = np.frombuffer(zlib.decompress(stack.masks), np.uint8)
    return ids.reshape(2, len(stack.cases), *stack.tile)


def tile_of(stack: Stack, number: int) -> np.ndarray:
    """The image of one slice, cut from the mosaic as the page cuts it."""
    picture = np.asarray(Image.open(io.BytesIO(stack.image)).convert("L"))
    (rows, columns), (row, column) = stack.tile, divmod(number, stack.columns)
    return picture[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]


def slices(make_example: Make, count: int, shape: tuple[int, int], **changes: Any) -> list[Example]:
    rng = np.random.default_rng(count)
    found = []
    for number in range(count):
        reference, prediction = rng.integers(0, 3, (2, *shape)).astype(np.uint8)
        rows, columns = np.indices(shape)
        smooth = (100 * number + 3 * rows + 5 * columns).astype(np.float32)
        found.append(make_example(reference, prediction, case=f"c{number}", slice=None, image=smooth, **changes))
    return found


@pytest.mark.parametrize("codes", [None, ("R", "S"), ("L", "P"), ("A", "S")])
def test_masks_and_images_come_out_as_they_are_hung(make_example: Make, codes: tuple[str, str] | None) -> None:
    given = slices(make_example, 5, (12, 20), axis_codes=codes)
    stack = pack_stack("scan", given, CLASSES, 90)
    ids = masks_of(stack)
    low, high = np.percentile(np.stack([one.image for one in given]), [0.5, 99.5])
    for number, one in enumerate(given):
        hanging = hang(one)
        np.testing.assert_array_equal(ids[0, number], hanging(one.reference))
        np.testing.assert_array_equal(ids[1, number], hanging(one.prediction))
        grey = np.clip((hanging(one.image) - low) / (high - low), 0, 1) * 255
        assert np.abs(tile_of(stack, number) - grey).mean() < 4  # WebP is lossy
        assert stack.dice[number] == tuple(one.dice[name] for name in CLASSES)
    assert stack.letters == hang(given[0]).letters and stack.factor == 1
    wrong = [(one.reference != one.prediction).sum() for one in given]
    assert wrong[stack.first] == max(wrong)


@settings(max_examples=20, deadline=None)
@given(st.integers(257, 700), st.integers(3, 600), st.integers(1, 3))
def test_large_slices_are_reduced_alike(height: int, width: int, count: int) -> None:
    def example(number: int) -> Example:
        mask = np.zeros((height, width), np.uint8)
        mask[number::2] = 1
        return Example("c", number, mask.astype(np.float32), mask, mask, (1, 1), ("S", "R"), dict.fromkeys(CLASSES))

    given = [example(number) for number in range(count)]
    stack = pack_stack("scan", given, CLASSES, 50)
    factor = -(-max(height, width) // 256)
    assert stack.factor == factor and max(stack.tile) <= 256
    hanging = hang(given[0])
    expected = hanging(given[-1].reference)[factor // 2 :: factor, factor // 2 :: factor]
    np.testing.assert_array_equal(masks_of(stack)[0, -1], expected)
    rows, columns = Image.open(io.BytesIO(stack.image)).size[::-1]
    assert (rows % stack.tile[0], columns) == (0, stack.columns * stack.tile[1])


def test_means_of_blocks_and_of_what_is_left_at_the_edge() -> None:
    found = gallery._reduced(np.arange(10, dtype=np.float32).reshape(2, 5), 2)
    np.testing.assert_allclose(found, [[3.0, 5.0]])  # of 0 1 5 6, and of 2 3 7 8; the mask has two columns, 1 and 3


def test_slices_of_several_sizes_share_a_tile(make_example: Make) -> None:
    given = [*slices(make_example, 1, (4, 9)), *slices(make_example, 2, (7, 5))]
    ids = masks_of(pack_stack("scan", given, CLASSES, 80))
    assert ids.shape == (2, 3, 9, 7)  # hung: axis 0 runs across
    np.testing.assert_array_equal(ids[0, 0, :9, :4], hang(given[0])(given[0].reference))
    assert not ids[0, 0, :, 4:].any()


def test_a_long_scan_is_shown_where_it_shows_a_class(make_example: Make) -> None:
    empty, full = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    given = [make_example(empty, empty, slice=number) for number in range(60)]
    assert len(pack_stack("scan", given, CLASSES, 80).cases) == 40
    given[20], given[30] = make_example(full, empty, slice=20), make_example(empty, full, slice=30)
    assert pack_stack("scan", given, CLASSES, 80).numbers == tuple(range(18, 33))
    assert pack_stack("scan", given[:40], CLASSES, 80).numbers == tuple(range(40))


def row(scan: str, dice: float | None, class_id: int = 1) -> dict[str, Any]:
    return {"patient": "p", "scan": scan, "class_id": class_id, "dice": dice}


def test_the_worst_the_median_and_the_best_come_first(make_example: Make) -> None:
    loaded: list[str] = []

    def load(name: str) -> list[Example]:
        loaded.append(name)
        return slices(make_example, 2, (16, 16))

    scans = {("p", name): partial(load, name) for name in "abcde"}
    rows = [row("a", 0.9), row("b", 0.1), row("c", 0.5), row("d", 0.7), row("e", None), row("e", 1.0, class_id=0)]
    whole = pack_gallery(scans, rows, 10, CLASSES)
    assert loaded == ["b", "d", "e", "c", "a"]  # e shows no class, and is ranked behind all that do
    assert [stack.name for stack in whole.stacks] == list("abcde") and whole.scans == 5
    each = whole.stacks[0].bytes
    some = pack_gallery(scans, rows, 10, CLASSES, most_bytes=3 * each + each // 2)
    assert [stack.name for stack in some.stacks] == ["b", "d", "e"] and some.scans == 5


def test_more_pixels_are_packed_more_tightly_and_many_classes_not_at_all(make_example: Make) -> None:
    scans = {("p", "a"): lambda: slices(make_example, 6, (40, 40))}
    few, many = (pack_gallery(scans, [], number, CLASSES).stacks[0].image for number in (6, 100_000))
    assert len(many) < len(few)
    assert pack_gallery(scans, [], 6, [str(number) for number in range(257)]).stacks == ()
