"""Checkpoints: tensors and plain values only, written whole or not at all, loaded without running anything."""

from __future__ import annotations

import errno
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import RunError
from pipeline.provenance import own_version
from pipeline.runs import write_bytes

__all__ = ["FORMAT", "DamagedCheckpoint", "load_checkpoint", "save_checkpoint"]

FORMAT = 2  # 1 had no copy of the best weights in last.pt
_PICKLE = b"\x80"  # how a bare pickle begins, which no checkpoint of ours is


_version = cache(own_version)  # to look it up takes a tenth of a second


class DamagedCheckpoint(RunError):
    """A file that is cut off, or that its checksums do not fit: what a crash or a bad disk leaves."""


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values.

    Raises
    ------
    RunError
        When it cannot be written; the one that stood there stays.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "slicewise": _version(), **state}, buffer)
    write_bytes(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True`` and no fallback; one of an older format comes as if it were new.

    Raises
    ------
    DamagedCheckpoint
        When it is cut off or its checksums do not fit.
    RunError
        When it is missing, holds anything but tensors and plain values, or is of a format that is not known.
    """
    content = _content(path)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path) from error
    except Exception as error:  # PyTorch has many words for what it cannot read
        raise RunError(f"no checkpoint of this program ({type(error).__name__})", where=str(path),
                       remedy="Use a checkpoint that this program wrote") from error  # fmt: skip
    return _of_this_format(state, path)


def _content(path: Path) -> bytes:
    """The bytes of a checkpoint whose checksums fit: ``torch.load`` does not look at them."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RunError("no such checkpoint", where=str(path), remedy="Let the run that writes it finish") from error
    except OSError as error:
        kind = DamagedCheckpoint if error.errno == errno.EIO else RunError
        raise kind(f"cannot be read ({error.strerror})", where=str(path), remedy="Check it and its rights") from error
    if content.startswith(_PICKLE):
        raise _refused(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(damaged)
    except Exception as error:  # whatever a flipped bit makes zipfile trip over
        raise DamagedCheckpoint(f"a damaged checkpoint ({type(error).__name__})", where=str(path),
                                remedy="Use the one before it, or train again") from error  # fmt: skip
    return content


def _refused(path: Path) -> RunError:
    return RunError("holds more than tensors and plain values; it was not loaded", where=str(path),
                    remedy="Use a checkpoint that this program wrote")  # fmt: skip


def _of_this_format(state: Any, path: Path) -> dict[str, Any]:
    """What was loaded, brought up to the present format."""
    found = state.get("format") if isinstance(state, dict) else type(state).__name__
    if type(found) is not int or not (found == FORMAT or found in _MIGRATIONS):
        writer = f", of Slicewise {state['slicewise']}" if isinstance(state, dict) and "slicewise" in state else ""
        raise RunError(
            f"is of format {found!r}{writer}; this program, Slicewise {_version()}, reads formats "
            f"{min(_MIGRATIONS)} to {FORMAT}", where=str(path), remedy="Use the program that wrote it, or train again",
        )  # fmt: skip
    for number in range(found, FORMAT):
        state = _MIGRATIONS[number](state)
    return {**state, "format": FORMAT}


def _from_1(state: dict[str, Any]) -> dict[str, Any]:
    """``last.pt`` left the best weights to ``best.pt``; the others were as they are."""
    return {**state, "best": None} if "optimizer" in state else state


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}  # each to the next format
