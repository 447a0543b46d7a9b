"""The checkpoints of one training: the newest, the one before it and the best weights, safe at any moment.

``last.pt`` holds all that is needed to go on, a copy of the best weights included: ``best.pt``, which is written
before it, can always be made what it was at that moment. ``last.previous.pt`` is the one before, for when the newest
is damaged. A new one is first written as ``last.next.pt``, whole or not at all; then the names move up, each at once:

    ============================  ================  ==================
    killed                        the newest is     the one before is
    ============================  ================  ==================
    while last.next.pt is written  last.pt           last.previous.pt
    before last.pt moves           last.pt           last.previous.pt
    before last.next.pt moves      last.next.pt      last.previous.pt
    after that                     last.pt           last.previous.pt
    ============================  ================  ==================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import RunError
from pipeline.training.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint

__all__ = ["Checkpoints"]


class Checkpoints:
    """Saves where a training is, and finds it again.

    Parameters
    ----------
    folder
        ``checkpoints/`` of the run.
    say
        Is told in a sentence when a file was not what it should be, and what was done.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._say = say
        names = ("last.pt", "last.next.pt", "last.previous.pt", "best.pt")
        self._last, self._next, self._previous, self._best = (folder / name for name in names)
        self._is_whole = False  # last.pt, as far as is known: nothing else takes the place of the one before
        self._kept: dict[str, Any] | None = None  # what best.pt holds

    def exist(self) -> bool:
        """Whether there is anything to go on from."""
        return any(path.exists() for path in (self._last, self._next, self._previous))

    def save(self, state: Mapping[str, Any]) -> None:
        """Write ``last.pt``; the one that stood there becomes the one before.

        Raises
        ------
        RunError
            When it cannot be written; those that are there stay.
        """
        save_checkpoint(self._next, {**state, "best": self._kept})
        self._move_up()

    def _move_up(self) -> None:
        try:
            if self._is_whole:
                os.replace(self._last, self._previous)
            os.replace(self._next, self._last)
        except OSError as error:
            raise RunError(
                f"cannot be moved ({error.strerror}); the checkpoints before it are whole", where=str(self._next),
                remedy="Mend the folder's rights, then go on with --resume",
            ) from error  # fmt: skip
        self._is_whole = True

    def save_best(self, weights: Mapping[str, torch.Tensor], epoch: int, dice: float) -> None:
        """Write ``best.pt``: the weights of an epoch (from 1) and their mean validation Dice."""
        # A copy: the weights themselves go on to be trained, and every last.pt from now on holds these.
        copied = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self._kept = {"network": copied, "epoch": epoch, "validation_dice": dice}
        save_checkpoint(self._best, self._kept)

    def newest(self) -> tuple[Path, dict[str, Any]]:
        """The newest checkpoint that is whole, and its file; nothing is changed.

        Only for damage it is gone back to the one before, and that is said. One that is of another format, cannot be
        read, or holds what must not be loaded was not left by a crash: it is refused.

        Raises
        ------
        RunError
            When there is none, none is whole, or the newest is refused.
        """
        path = self._last if self._last.exists() or not self._next.exists() else self._next
        before = self._previous.exists()
        try:
            if not path.exists() and before:
                raise DamagedCheckpoint("is missing", where=str(path))
            found = load_checkpoint(path)
        except DamagedCheckpoint as fault:
            unmoved = self._unmoved() if path == self._last else None
            if unmoved is not None:
                self._say(f"{path.name}: {fault.what}: going on from {self._next.name}, of step "
                          f"{unmoved['state']['step']}")  # fmt: skip
                return self._next, unmoved
            if not before:
                raise
            found = self._one_before(fault)
            self._say(f"{path.name}: {fault.what}: going back to the one before it, of step {found['state']['step']}")
            return self._previous, found
        self._is_whole = path == self._last
        return path, found

    def _unmoved(self) -> dict[str, Any] | None:
        """A newer checkpoint that was written whole and had not taken its place yet, where there is one."""
        try:
            return load_checkpoint(self._next) if self._next.exists() else None
        except DamagedCheckpoint:
            return None

    def _one_before(self, fault: DamagedCheckpoint) -> dict[str, Any]:
        try:
            return load_checkpoint(self._previous)
        except DamagedCheckpoint as other:
            raise DamagedCheckpoint(
                f"{fault.what}, and so is the one before it, {self._previous.name}", where=fault.where,
                remedy="Put one of them back from a copy, or start a new run without --resume",
            ) from other  # fmt: skip

    def settle(self, path: Path, saved: Mapping[str, Any]) -> None:
        """Make the folder what it was when the `newest` was written, before going on from there.

        A name that did not move moves up. ``best.pt`` may be newer, when an epoch that is trained again was the best
        so far; or damaged, or gone: it is put back, and that is said.

        Raises
        ------
        RunError
            When it cannot be written, or what stands there is refused.
        """
        if path == self._next:
            self._move_up()
        self._next.unlink(missing_ok=True)
        there, why = self._best_there()
        if saved["best"] is None and saved["state"]["best_epoch"]:
            self._kept = self._of_format_1(there, path, saved["state"]["best_epoch"])
            return
        self._kept = saved["best"]
        if self._kept is None:
            self._best.unlink(missing_ok=True)  # of an epoch that is trained again
        elif there is None or not _same(there, self._kept):
            why = why or f"is of epoch {there['epoch'] if there else '?'}"
            self._say(f"{self._best.name}: {why}: put back from {path.name}, as of epoch {self._kept['epoch']}")
            save_checkpoint(self._best, self._kept)

    def _best_there(self) -> tuple[dict[str, Any] | None, str]:
        """What ``best.pt`` holds; None, and why, where that cannot be known."""
        if not self._best.exists():
            return None, "is missing"
        try:
            return load_checkpoint(self._best), ""
        except DamagedCheckpoint as fault:
            return None, fault.what

    def _of_format_1(self, there: dict[str, Any] | None, path: Path, epoch: int) -> dict[str, Any]:
        if there is None or there.get("epoch") != epoch:
            raise RunError(
                f"is not that of epoch {epoch}, which {path.name} (of format 1) names as the best",
                where=str(self._best), remedy="Put it back from a copy, or start a new run without --resume",
            )  # fmt: skip
        return {name: there[name] for name in ("network", "epoch", "validation_dice")}


def _same(there: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    """Whether two are of one epoch, and their weights equal to the bit."""
    if any(there.get(name) != kept[name] for name in ("epoch", "validation_dice")):
        return False
    one, other = there["network"], kept["network"]
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
