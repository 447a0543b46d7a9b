"""How large the largest images are, by their headers alone: what reading them will take follows from it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from isal import igzip, igzip_lib

from pipeline.data.cases import Case
from transforms.faults import ImageFileError
from transforms.nifti_header import LONGEST_HEADER, judged_header

_LOOKED_AT = 3  # a file that compresses well may hold more voxels than a longer one
_GZIP_MAGIC = b"\x1f\x8b"
_ISAL_ERROR: type[Exception] = igzip_lib.error  # type: ignore[assignment]  # its stub gives an instance


def largest_voxels(cases: Sequence[Case], max_voxels: int) -> int:
    """The most voxels, of all channels, that the cases with the longest files declare.

    Parameters
    ----------
    cases
        Any number.
    max_voxels
        A header that declares more is refused when it is read, and not counted here.

    Returns
    -------
    int
        0 where no header can be read: nothing large will be read of those either.
    """
    longest = heapq.nlargest(_LOOKED_AT, cases, key=lambda case: sum(map(_length, case.images)))
    return max((sum(_voxels(path, max_voxels) for path in case.images) for case in longest), default=0)


def _length(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _voxels(path: Path, max_voxels: int) -> int:
    with suppress(OSError, EOFError, ImageFileError, _ISAL_ERROR):  # told when the file is read
        with path.open("rb") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            head = igzip.IGzipFile(fileobj=file).read(LONGEST_HEADER) if packed else file.read(LONGEST_HEADER)
        return math.prod(judged_header(head, str(path), max_voxels).shape)
    return 0
