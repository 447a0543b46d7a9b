"""Writing predictions while the next are computed, and never more of them waiting than memory has room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np

from pipeline.data.cases import Case
from pipeline.errors import ImageFileError
from pipeline.inference.masks import mask_bytes, probabilities_bytes
from pipeline.runs import write_bytes

if TYPE_CHECKING:  # which brings torch
    from pipeline.inference.finishing import Prediction

__all__ = ["BackgroundWriter", "Form", "mask_path", "probabilities_path", "write_prediction"]

Form = Literal["float32", "uint8"]  # of probabilities
Written = TypeVar("Written")
_THREADS = 2
_WAITING = 4  # predictions that wait to be written, whatever their size
_WAITING_BYTES = 64_000_000  # up to which more of them may wait: a batch of small scans ends all at once ...
_MOST_WAITING = 64  # ... but no more than this


class BackgroundWriter(Generic[Written]):
    """Takes predictions, and gives back what became of each, in their order and in the thread that hands them over.

    Parameters
    ----------
    write
        Writes one prediction; runs in another thread.
    done
        Called with what `write` gave.
    """

    def __init__(self, write: Callable[[Prediction], Written], done: Callable[[Written], None]) -> None:
        self._write, self._done = write, done
        self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[tuple[Future[Written], int]] = deque()
        self._held = 0  # bytes of what waits

    def __call__(self, prediction: Prediction) -> None:
        """Take one prediction; waits where too many are not written yet.

        Raises
        ------
        Fault
            What writing one of those before it raised.
        """
        own = _bytes(prediction)
        self._waiting.append((self._pool.submit(self._write, prediction), own))
        self._held += own
        while self._waiting and (self._is_full() or self._waiting[0][0].done()):
            self._tell()

    def _is_full(self) -> bool:
        count = len(self._waiting)
        return count > _MOST_WAITING or (count > _WAITING and self._held > _WAITING_BYTES)

    def _tell(self) -> None:
        """Wait for the first, and tell what became of it."""
        future, own = self._waiting.popleft()
        self._held -= own
        self._done(future.result())

    def close(self) -> None:
        """Wait for what is being written; those that could not be written raise what was in their way."""
        try:
            while self._waiting:
                self._tell()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)


def write_prediction(prediction: Prediction, folder: Path, form: Form | None = None) -> None:
    """Write a case's mask, and its probabilities where `form` says how, in files that appear whole or not at all.

    Raises
    ------
    ImageFileError
        When the image, whose header they take, is gone.
    RunError
        When they cannot be written.
    """
    case = prediction.case
    try:
        mask = mask_bytes(prediction.mask, case.image)
        packed = None
        if form is not None and prediction.probabilities is not None:
            probabilities = np.asarray(prediction.probabilities)
            packed = probabilities_bytes(probabilities, case.image, quantised=form == "uint8")
    except OSError as error:
        raise ImageFileError(f"is gone since it was predicted ({error.strerror})", where=str(case.image),
                             remedy="Put it back, and start again") from error  # fmt: skip
    if packed is not None:
        write_bytes(probabilities_path(folder, case), packed)
    write_bytes(mask_path(folder, case), mask)


def _bytes(prediction: Prediction) -> int:
    probabilities = prediction.probabilities
    return prediction.mask.nbytes + (0 if probabilities is None else probabilities.nbytes)


def mask_path(folder: Path, case: Case) -> Path:
    """Where a case's mask is written."""
    return folder / f"{case.id}.nii.gz"


def probabilities_path(folder: Path, case: Case) -> Path:
    """Where a case's probabilities are written: not among the masks, which other programs read as a folder."""
    return folder / "probabilities" / f"{case.id}.nii.gz"
