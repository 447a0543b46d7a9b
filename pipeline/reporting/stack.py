"""What of a scan the page can leaf through: plain values, as `pipeline.reporting.gallery` packs them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gallery", "Stack"]


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one scan, as the page shows them.

    Attributes
    ----------
    name
        Of the scan.
    cases, numbers
        Of each of the S slices: its case, and its index in it; None for a case that is one slice.
    dice
        Of each slice, one a class, the background first; None where the reference lacks the class.
    tile
        Rows and columns of a slice, as it is hung.
    columns
        Slices in a row of the mosaic.
    factor
        By which the slices were reduced: 1 for not at all.
    aspect
        Height of a pixel over its width.
    letters
        What lies at the left, right, top and bottom; None when unknown.
    first
        The slice to begin with: where the masks differ most.
    image
        WebP, grey, of the mosaic.
    masks
        zlib stream of the class ids, uint8: S tiles of the reference, then S of the prediction.
    """

    name: str
    cases: tuple[str, ...]
    numbers: tuple[int | None, ...]
    dice: tuple[tuple[float | None, ...], ...]
    tile: tuple[int, int]
    columns: int
    factor: int
    aspect: float
    letters: tuple[str, str, str, str] | None
    first: int
    image: bytes
    masks: bytes

    @property
    def bytes(self) -> int:
        """Of image and masks."""
        return len(self.image) + len(self.masks)


@dataclass(frozen=True)
class Gallery:
    """The scans that can be leafed through, and how many there are in all."""

    stacks: tuple[Stack, ...] = ()
    scans: int = 0
