"""Checkpoints: tensors and plain values only, written whole or not at all, loaded without running anything."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import RunError
from pipeline.runs import write_bytes

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values.

    Raises
    ------
    RunError
        When it cannot be written; the one that stood there stays.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True`` and no fallback.

    Raises
    ------
    RunError
        When it is missing, damaged, holds anything but tensors and plain values, or is of another format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        if damaged is not None:
            raise zipfile.BadZipFile(damaged)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError("no such checkpoint", where=str(path), remedy="Let the run that writes it finish") from error
    except OSError as error:
        raise RunError(
            f"cannot be read ({error.strerror})", where=str(path), remedy="Check it and its rights"
        ) from error
    except pickle.UnpicklingError as error:
        raise RunError(
            "holds more than tensors and plain values, or is damaged; it was not loaded", where=str(path),
            remedy="Use a checkpoint that this program wrote",
        ) from error  # fmt: skip
    except Exception as error:  # PyTorch has many words for a file that is cut off or damaged
        raise RunError(f"a damaged checkpoint ({type(error).__name__})", where=str(path),
                       remedy="Use the one before it, or train again") from error  # fmt: skip
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise RunError(f"is of format {found!r}; this program reads format {FORMAT}", where=str(path),
                       remedy="Use the program that wrote it, or train again")  # fmt: skip
    return state
