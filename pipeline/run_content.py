"""What is in the folder of a run: nothing yet, nothing to keep, or a training."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["LOCK", "PARTS", "TRACKED", "UNFINISHED", "is_unborn", "never_trained"]

PARTS = ("checkpoints", "predictions", "evaluation", "plots")
UNFINISHED = ".part-"  # how a file's name begins while it is written
TRACKED = {"tensorboard", "mlflow"}  # what trackers were told: nothing of value before an epoch was saved
LOCK = ".lock"  # held by the process that is at work on the run


def never_trained(folder: Path) -> bool:
    """Whether a folder is a run that ended, for its data say, before there was anything to keep."""
    files = [path for path in folder.iterdir() if not _is_leftover(path)]
    folds = [path for path in files if re.fullmatch(r"fold_\d+", path.name)]
    names = {path.name for path in files} - {fold.name for fold in folds} - TRACKED
    if not {"config.yaml", "log.txt"} <= names <= {"config.yaml", "log.txt", "split.json", *PARTS}:
        return False
    kept = [file for part in names.intersection(PARTS) for file in (folder / part).iterdir() if file.suffix != ".json"]
    return all(map(_is_leftover, kept)) and all(never_trained(fold) for fold in folds)


def is_unborn(folder: Path) -> bool:
    """Whether a folder is empty, or that of a run that was killed before its config was written."""
    for path in folder.iterdir():
        empty = path.name == "log.txt" and not path.stat().st_size
        if not empty and not _is_leftover(path) and not (path.name in PARTS and not any(path.iterdir())):
            return False
    return True


def _is_leftover(path: Path) -> bool:
    """Whether a file is the lock of a run, the log of a further process, or what a killed one left half written."""
    further = re.fullmatch(r"log-rank\d+\.txt", path.name)
    return path.name == LOCK or further is not None or path.name.startswith(UNFINISHED)
