"""The run folder: its name, its log, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, RunError
from pipeline.run_content import PARTS, UNFINISHED, forget_tracked, is_unborn, never_trained
from pipeline.run_lock import sole_process
from pipeline.terminal import detail, say

_LEAST_FREE_BYTES = 100_000_000


def create_run_folder(project_root: Path, name: str, out: Path | None = None) -> Path:
    """Make the folder of a new run.

    Parameters
    ----------
    project_root
        Where ``runs/`` is.
    name
        Of the config; the run is ``runs/<name>/001``, or the next number.
    out
        The folder that the user asked for instead; new, empty, or of a run that was refused before it was trained.

    Raises
    ------
    ConfigError
        When `out` holds files already.
    RunError
        When the folder cannot be written, its disk is nearly full, or another process is at work there.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            folder = out.resolve()
            _clear(folder)
        else:
            folder = next_numbered(project_root / "runs" / name)
        for part in PARTS:
            (folder / part).mkdir(exist_ok=True)
        write_text(folder / "log.txt", "")
    except OSError as error:
        raise RunError(
            f"the run's folder cannot be written ({error.strerror})", where=str(error.filename or out or project_root),
            remedy="Name a folder that you may write to with --out DIR",
        ) from error  # fmt: skip
    _check_space(folder)
    return folder


def _clear(folder: Path) -> None:
    """Let nothing of a run that was refused before it was trained be taken for a part of the one that comes now."""
    if is_unborn(folder):
        return
    if not never_trained(folder):
        raise ConfigError("the folder of --out is not empty", where=str(folder),
                          remedy="Name a new one, or go on with the run in it by --resume")  # fmt: skip
    with sole_process(folder):  # it may be about to train
        forget_tracked(folder)


def create_fold_folder(folder: Path, number: int, config_text: str) -> Path:
    """Make ``fold_<number>/`` in a run's folder, or find it there, with the config that would run this fold alone.

    Raises
    ------
    RunError
        When it cannot be written.
    """
    fold = folder / f"fold_{number}"
    try:
        (fold / "checkpoints").mkdir(parents=True, exist_ok=True)
        (fold / "evaluation").mkdir(exist_ok=True)
        (fold / "log.txt").touch()
    except OSError as error:
        raise RunError(f"the fold's folder cannot be written ({error.strerror})", where=str(fold),
                       remedy="Free some space, or mend the folder's rights") from error  # fmt: skip
    write_text(fold / "config.yaml", config_text)
    return fold


def discard_untrained(folder: Path) -> None:
    """Remove a numbered run that was refused before it was trained, so that `latest` is a run worth going on with."""
    latest = folder.parent / "latest"
    if not latest.is_symlink() or not re.fullmatch(r"\d{3,}", folder.name) or not never_trained(folder):
        return
    shutil.rmtree(folder)
    left = sorted(path for path in folder.parent.iterdir() if re.fullmatch(r"\d{3,}", path.name))
    if left:
        _point_latest(left[-1])
    else:
        latest.unlink()


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise RunError(f"only {free // 1_000_000} MB are free there", where=str(folder),
                       remedy="Free some space, or name another folder with --out DIR")  # fmt: skip


def existing_run_folder(project_root: Path, name: str, out: Path | None = None) -> Path:
    """The folder of a run to go on with: `out`, or the newest of that name.

    One that was killed before its ``config.yaml`` was written has a folder without it.

    Raises
    ------
    ConfigError
        When there is none.
    """
    folder = (project_root / "runs" / name / "latest" if out is None else out).resolve()
    if not (folder / "config.yaml").is_file() and not (folder.is_dir() and is_unborn(folder)):
        raise ConfigError("no run to resume here", where=str(folder), remedy="Start one without --resume")
    return folder


def next_numbered(parent: Path) -> Path:
    """Make the next of the folders ``001``, ``002`` ... in a folder, which ``latest`` points to then."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        taken = [int(path.name) for path in parent.iterdir() if re.fullmatch(r"\d{3,}", path.name)]
        folder = parent / f"{max(taken, default=0) + 1:03d}"
        try:
            folder.mkdir()
        except FileExistsError:  # another run took the number just now
            continue
        _point_latest(folder)
        return folder


def _point_latest(folder: Path) -> None:
    fresh = folder.parent / f".latest-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    fresh.replace(folder.parent / "latest")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it appears whole or not at all.

    Raises
    ------
    RunError
        When it cannot be written; what stood there before is untouched.
    """
    # Not the file's own name with something added: that could be longer than a name may be.
    fresh = path.parent / f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(6)}"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise RunError(
            f"cannot be written ({error.strerror}); what was there before is untouched", where=str(path),
            remedy="Free some space, or mend the folder's rights",
        ) from error  # fmt: skip
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """`write_text` of a value as JSON; NaN and infinity, which JSON lacks, are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


class RunLog:
    """``log.txt``: what was said during a run, each line with the seconds since its start.

    Parameters
    ----------
    path
        Of the file.
    within, name
        The log of the run that this is a fold of, which gets every line as well, after the fold's name.
    """

    def __init__(self, path: Path, within: RunLog | None = None, name: str = "") -> None:
        self.path, self.within, self.name = path, within, name
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        """Add a line, and show it."""
        self._add(line)
        mark = "warning: " if line.startswith("warning: ") else ""  # stays in front: it says what kind of line it is
        say(f"{mark}{self.name}: {line.removeprefix(mark)}" if self.name else line)

    def __call__(self, line: str) -> None:
        """Add a line, and show it only where everything is to be shown.

        Raises
        ------
        RunError
            When it cannot be written.
        """
        self._add(line)
        detail(f"{self.name}: {line}" if self.name else line)

    def _add(self, line: str) -> None:
        """Add a line; each is flushed at once, so that a crash leaves what led to it.

        Raises
        ------
        RunError
            When it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{time.monotonic() - self._began:9.1f} s  {line}\n")
        except OSError as error:
            raise RunError(f"cannot be written ({error.strerror})", where=str(self.path),
                           remedy="Free some space, or mend the folder's rights") from error  # fmt: skip
        if self.within is not None:
            self.within._add(f"{self.name}: {line}")
