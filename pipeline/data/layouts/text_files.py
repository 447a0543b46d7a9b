"""Texts that come with a dataset, read as what they are: plain data of a bounded size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import DataError

MAX_BYTES = 50_000_000  # a table of some hundred thousand rows


def read_text(path: Path, remedy: str, most_bytes: int | None = None) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Parameters
    ----------
    path
        The file.
    remedy
        What to do where there is none.
    most_bytes
        A larger file is refused before it is read; `MAX_BYTES` where it is not given.

    Raises
    ------
    DataError
        For a file that is missing, is too large, or is not UTF-8.
    """
    most = MAX_BYTES if most_bytes is None else most_bytes
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= most else b""
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path), remedy=remedy) from error
    if size > most:
        raise DataError(f"{size} bytes is more than is read ({most})", where=str(path), remedy="Is it that file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text ({error.reason} at byte {error.start})", where=str(path),
                        remedy="Save it as UTF-8") from error  # fmt: skip


def read_json(path: Path, remedy: str, most_bytes: int | None = None) -> dict[str, Any]:
    """A JSON object: plain values, no key twice.

    Raises
    ------
    DataError
        As `read_text`; for what is not JSON, is nested too deeply, names a key twice or is no object.
    """
    text = read_text(path, remedy, most_bytes)
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise DataError("nested too deeply", where=str(path), remedy=remedy) from error
    except ValueError as error:
        raise DataError(f"not JSON: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}, expected an object in braces", where=str(path),
                        remedy=remedy)  # fmt: skip
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the key {repeated[0]!r:.60} stands twice")
    return known
