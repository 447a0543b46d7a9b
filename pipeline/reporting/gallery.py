"""The slices of the tested scans, packed so small that all of them fit into one page.

A scan is a mosaic: its slices side by side in one image (WebP, grey), and its masks as class ids, deflated. The page
draws the outlines from the ids; nothing is lost of them but by the factor that large slices are reduced by.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from skimage.transform import downscale_local_mean

from pipeline.reporting.content import Example
from pipeline.reporting.orientation import hang
from pipeline.reporting.overlays import window
from pipeline.reporting.stack import Gallery, Stack

__all__ = ["pack_gallery", "pack_stack"]

MOST_BYTES = 2_600_000  # of all stacks; base64 in a page makes a third more of them
_LONGEST_SIDE = 256  # pixels of a slice as it is shown
_QUALITIES = ((4e6, 80), (9e6, 65), (18e6, 50), (math.inf, 35))  # of WebP, up to so many pixels in all
_MARGIN = 2  # slices that are shown beyond those with a class
_FEW = 40  # slices of a scan up to which all are shown
_MOST_CLASSES = 256
_MOST_MISSES = 8  # scans that do not fit, after which no smaller one is looked for
_SAMPLED = 4_000_000  # voxels of a scan, of which its window is taken

ScanKey = tuple[str, str]  # patient and scan, as `pipeline.data.cases.scan_key` gives them


def pack_gallery(
    scans: Mapping[ScanKey, Callable[[], Sequence[Example]]], rows: Iterable[Mapping[str, Any]], n_slices: int,
    classes: Sequence[str], most_bytes: int = MOST_BYTES, done: Callable[[], None] = lambda: None,
) -> Gallery:  # fmt: skip
    """Pack scans until the room is used up: the worst, the median and the best, then the others from the worst on.

    One that is too large for what is left is passed over; after eight of them it is done.

    Parameters
    ----------
    scans
        What loads the slices of a scan, by its patient and its name.
    rows
        Of `Evaluation.scans`.
    n_slices
        In all scans, by which the quality of the images is chosen.
    classes
        K names; of more than 256, whose ids take more than a byte, nothing is packed.
    most_bytes
        That the stacks may take together.
    done
        Called after each scan that was packed.
    """
    stacks: dict[ScanKey, Stack] = {}
    left, quality, missed = most_bytes, 0, 0
    for key in _in_turn(scans, rows) if len(classes) <= _MOST_CLASSES else ():
        slices = scans[key]()
        quality = quality or _quality(slices[0].image.size * n_slices)
        stack = pack_stack(key[1], slices, classes, quality)
        if stack.bytes > left:
            missed += 1
            if missed == _MOST_MISSES:
                break
            continue
        left -= stack.bytes
        stacks[key] = stack
        done()
    return Gallery(tuple(stacks[key] for key in scans if key in stacks), len(scans))


def _in_turn(scans: Iterable[ScanKey], rows: Iterable[Mapping[str, Any]]) -> list[ScanKey]:
    """Scans: the worst, the median and the best by their mean Dice, then the others, the worst first."""
    scores: dict[ScanKey, list[float]] = {}
    for row in rows:
        if row["class_id"] != 0 and row["dice"] is not None:
            scores.setdefault((row["patient"], row["scan"]), []).append(row["dice"])
    known = {key: float(np.mean(scores[key])) if key in scores else math.inf for key in scans}
    ranked = sorted(known, key=lambda key: (known[key], key))
    return list(dict.fromkeys([ranked[0], ranked[len(ranked) // 2], ranked[-1], *ranked]))


def _quality(pixels: int) -> int:
    return next(quality for most, quality in _QUALITIES if pixels <= most)


def pack_stack(name: str, slices: Sequence[Example], classes: Sequence[str], quality: int) -> Stack:
    """Pack the slices of a scan.

    Parameters
    ----------
    name
        Of the scan.
    slices
        At least one. Each is hung by its own directions; smaller ones are set at the top left of a tile.
    classes
        Names, the background first.
    quality
        Of the images, 1 to 100.
    """
    shown = _shown(slices)
    hangings = [hang(one) for one in shown]
    factor = max(1, math.ceil(max(max(one.image.shape) for one in shown) / _LONGEST_SIDE))
    stride = math.ceil(sum(one.image.size for one in shown) / _SAMPLED)
    low, high = window(np.concatenate([one.image.ravel()[::stride] for one in shown]))
    tiles = [
        (_grey(_reduced(hanging(one.image), factor), low, high), *(
            hanging(mask)[factor // 2 :: factor, factor // 2 :: factor] for mask in (one.reference, one.prediction)
        ))
        for one, hanging in zip(shown, hangings, strict=True)
    ]  # fmt: skip
    size = tuple(max(tile[0].shape[axis] for tile in tiles) for axis in (0, 1))
    images, references, predictions = (
        np.stack([_padded(part, size) for part in parts]) for parts in zip(*tiles, strict=True)
    )
    columns = math.ceil(math.sqrt(len(shown) * size[0] / size[1]))
    letters = hangings[0].letters if len({one.letters for one in hangings}) == 1 else None
    wrong = [int((one.reference != one.prediction).sum()) for one in shown]
    return Stack(
        name, tuple(one.case for one in shown), tuple(one.slice for one in shown),
        tuple(tuple(one.dice[class_name] for class_name in classes) for one in shown),
        (size[0], size[1]), columns, factor, hangings[0].aspect, letters, int(np.argmax(wrong)),
        _webp(_mosaic(images, columns), quality),
        zlib.compress(np.concatenate([references, predictions]).astype(np.uint8).tobytes(), 9),
    )  # fmt: skip


def _shown(slices: Sequence[Example]) -> Sequence[Example]:
    """Without the slices of a long scan that lie beyond those with a class in one of the masks."""
    there = [index for index, one in enumerate(slices) if one.reference.any() or one.prediction.any()]
    if len(slices) <= _FEW or not there:
        return slices[:_FEW] if not there else slices
    return slices[max(0, there[0] - _MARGIN) : there[-1] + 1 + _MARGIN]


def _reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    """Means of blocks; those at the far edges are made of what is there."""
    if factor == 1:
        return picture
    padding = [(0, -length % factor) for length in picture.shape]
    reduced: np.ndarray = downscale_local_mean(np.pad(picture, padding, mode="edge"), (factor, factor))
    rows, columns = (len(range(factor // 2, length, factor)) for length in picture.shape)
    return reduced[:rows, :columns]  # as many as the masks have


def _grey(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    shades = np.clip(np.nan_to_num(picture, nan=low, posinf=high, neginf=low), low, high)
    return np.round((shades - low) * (255 / (high - low))).astype(np.uint8)


def _padded(part: np.ndarray, size: Sequence[int]) -> np.ndarray:
    return np.pad(part, [(0, most - length) for most, length in zip(size, part.shape, strict=True)])


def _mosaic(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Tiles (S, H, W) side by side, `columns` in a row; what is left over is black."""
    count, height, width = tiles.shape
    rows = math.ceil(count / columns)
    whole = np.zeros((rows * columns, height, width), dtype=tiles.dtype)
    whole[:count] = tiles
    return whole.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def _webp(picture: np.ndarray, quality: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="WEBP", quality=quality, method=4)
    return content.getvalue()
