"""From a file to its unpacked bytes and its header, each judged before it is believed.

The header is read and judged before any voxel is unpacked, so that a file which declares too much costs nothing; a
compressed stream is then read to its very end, where its checksum is verified.
"""

from __future__ import annotations

import gzip
import io
import os
import stat

from isal import igzip, igzip_lib

from transforms.faults import ImageFileError
from transforms.nifti_header import LONGEST_HEADER, SLACK_BYTES, Header, judged_header, too_large

_GZIP_MAGIC = b"\x1f\x8b"
_LFS_POINTER = b"version https://git-lfs"
_LARGEST_ITEM = 16  # bytes of the widest voxel type that is accepted
_MAX_RATIO = 1100  # deflate shrinks by no more than 1032 to 1

_ISAL_ERROR: type[Exception] = igzip_lib.error  # type: ignore[assignment]  # its stub gives an instance
_COPY_AGAIN = "Copy it again from its source"


def read_checked(where: str, max_voxels: int) -> tuple[bytes, Header]:
    """Read one file whole.

    Parameters
    ----------
    where
        The file.
    max_voxels
        A header that declares more is refused.

    Returns
    -------
    bytes, Header
        The unpacked file, and what its header says.

    Raises
    ------
    ImageFileError
        For a file that is missing, truncated, damaged, not NIfTI, too large, or of an unfit type.
    """
    raw = _file_bytes(where, max_voxels)
    if raw[:2] == _GZIP_MAGIC:
        raw, header = _unpack(raw, where, max_voxels)
    else:
        header = judged_header(raw, where, max_voxels)
    if len(raw) < header.needed_bytes:
        raise _cut_off(len(raw), header.needed_bytes, where)
    return raw, header


def _file_bytes(where: str, max_voxels: int) -> bytes:
    try:
        status = os.stat(where)
        if not stat.S_ISREG(status.st_mode):
            raise ImageFileError("not a file", where=where, remedy="Give a .nii or .nii.gz file")
        if status.st_size > _LARGEST_ITEM * max_voxels + SLACK_BYTES:
            raise too_large(f"has {status.st_size} bytes, too many for {max_voxels} voxels", where)
        with open(where, "rb", buffering=0) as file:
            raw = file.readall()
    except FileNotFoundError as error:
        raise ImageFileError("no such file", where=where, remedy="Check the path in the config or the table") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"cannot be read ({reason})", where=where, remedy="Check it and its rights") from error
    if not raw:
        raise ImageFileError("an empty file", where=where, remedy=_COPY_AGAIN)
    if raw.startswith(_LFS_POINTER):
        raise ImageFileError("a Git LFS pointer, not the image itself", where=where, remedy="Run 'git lfs pull'")
    return raw


def _unpack(packed: bytes, where: str, max_voxels: int) -> tuple[bytes, Header]:
    """The unpacked file and its header; no more is unpacked than the header needs, and a little slack."""
    try:
        stream = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        head = stream.decompress(packed, LONGEST_HEADER)
        if stream.eof and stream.unused_data:
            return _unpack_members(packed, where, max_voxels)
        header, needed = _affordable(head, packed, where, max_voxels)
        raw = head
        if not stream.eof:  # from the start: to go on would mean to join the two, which is to copy the whole
            stream = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            # One byte more than is needed has the end of the stream read, with its checksum, where nothing comes after.
            raw = stream.decompress(packed, max(needed, len(head)) + 1)
        if not stream.eof:
            raw += stream.decompress(b"", SLACK_BYTES)
        if stream.eof and stream.unused_data:
            return _unpack_members(packed, where, max_voxels)
    except _ISAL_ERROR as error:
        raise _damaged(error, where) from error
    _check_end(len(raw), needed, where)
    if not stream.eof:
        raise _damaged("it has no end", where)
    return raw, header


def _unpack_members(packed: bytes, where: str, max_voxels: int) -> tuple[bytes, Header]:
    """As `_unpack`, where more follows the first member of the stream: others, as bgzip writes, or zeros."""
    try:
        with igzip.IGzipFile(fileobj=io.BytesIO(packed)) as stream:
            head = stream.read(LONGEST_HEADER)
            header, needed = _affordable(head, packed, where, max_voxels)
            raw = head + stream.read(max(0, needed - len(head)))
            beyond = stream.read(SLACK_BYTES + 1)  # to the end of the stream, where its checksum is
    except (gzip.BadGzipFile, EOFError, _ISAL_ERROR) as error:
        raise _damaged(error, where) from error
    _check_end(len(raw) + len(beyond), needed, where)
    return raw, header


def _affordable(head: bytes, packed: bytes, where: str, max_voxels: int) -> tuple[Header, int]:
    """The header, and the bytes that it needs, when a stream of that length may hold them."""
    header = judged_header(head, where, max_voxels)
    needed = header.needed_bytes
    if needed > _MAX_RATIO * len(packed) + SLACK_BYTES:
        raise _cut_off(len(packed), needed, where, "compressed ")
    return header, needed


def _check_end(unpacked: int, needed: int, where: str) -> None:
    if unpacked > needed + SLACK_BYTES:
        raise too_large(f"unpacks to more than the {needed} bytes that its header needs", where)


def _damaged(reason: object, where: str) -> ImageFileError:
    return ImageFileError(f"the gzip stream is damaged or cut off ({reason})", where=where, remedy=_COPY_AGAIN)


def _cut_off(available: int, needed: int, where: str, kind: str = "") -> ImageFileError:
    what = f"is cut off: {available} {kind}bytes, but its header needs {needed}"
    return ImageFileError(what, where=where, remedy=_COPY_AGAIN)
