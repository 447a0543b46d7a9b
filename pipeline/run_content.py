"""What is in the folder of a run: nothing yet, nothing to keep, or a training."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = [
    "LOCK", "MLFLOW_NOTE", "PARTS", "TRACKED", "UNFINISHED", "forget_tracked", "is_unborn", "never_trained",
]  # fmt: skip

PARTS = ("checkpoints", "predictions", "evaluation", "plots")
UNFINISHED = ".part-"  # how a file's name begins while it is written
TRACKED = {"tensorboard", "mlflow"}  # what trackers were told: nothing of value before an epoch was saved
MLFLOW_NOTE = "checkpoints/mlflow.json"  # which run of MLflow this one is told to
LOCK = ".lock"  # held by the process that is at work on the run


def never_trained(folder: Path) -> bool:
    """Whether a folder is a run that ended, for its data say, before there was anything to keep."""
    files = [path for path in folder.iterdir() if not _is_leftover(path)]
    folds = [path for path in files if _is_fold(path)]
    names = {path.name for path in files} - {fold.name for fold in folds} - TRACKED
    if not {"config.yaml", "log.txt"} <= names <= {"config.yaml", "log.txt", "split.json", *PARTS}:
        return False
    kept = [file for part in names.intersection(PARTS) for file in (folder / part).iterdir() if file.suffix != ".json"]
    return all(map(_is_leftover, kept)) and all(never_trained(fold) for fold in folds)


def forget_tracked(folder: Path) -> None:
    """Remove what trackers keep in the folder of a run, and of its folds: the run that comes there is another one."""
    for one in (folder, *(path for path in folder.iterdir() if _is_fold(path))):
        (one / MLFLOW_NOTE).unlink(missing_ok=True)
        for name in TRACKED:
            if (one / name).is_symlink():  # to a place where the user gathers them: that is left alone
                (one / name).unlink()
            elif (one / name).is_dir():
                shutil.rmtree(one / name)


def is_unborn(folder: Path) -> bool:
    """Whether a folder is empty, or that of a run that was killed before its config was written."""
    for path in folder.iterdir():
        empty = path.name == "log.txt" and not path.stat().st_size
        if not empty and not _is_leftover(path) and not (path.name in PARTS and not any(path.iterdir())):
            return False
    return True


def _is_fold(path: Path) -> bool:
    return re.fullmatch(r"fold_\d+", path.name) is not None


def _is_leftover(path: Path) -> bool:
    """Whether a file is the lock of a run, the log of a further process, or what a killed one left half written."""
    further = re.fullmatch(r"log-rank\d+\.txt", path.name)
    return path.name == LOCK or further is not None or path.name.startswith(UNFINISHED)
