"""A phantom's folder: made whole or not at all, with a file that says what it is and how to make it again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from pipeline.data.phantom.specs import PhantomSpec, VolumeSpec
from pipeline.errors import ConfigError, DataError, RunError

__all__ = ["MARKER", "Progress", "make_whole", "read_phantom_marker"]

MARKER = "PHANTOM.json"
FORMAT = 1
NOTE = "Synthetic images of a male pelvis, made by equations: they show no patient, and scores on them mean little."
README = (
    "These are synthetic images made by equations, not images of patients; {layout}.\n"
    "bin/make_phantom makes them again from the settings in PHANTOM.json; scores on them say nothing about patients.\n"
)
_SPECS = (PhantomSpec, VolumeSpec)

Progress = Callable[[int, int], None]
Scan = TypeVar("Scan")


def read_phantom_marker(root: Path) -> dict[str, Any] | None:
    """What PHANTOM.json in a folder says.

    Parameters
    ----------
    root
        The folder that may be a phantom.

    Returns
    -------
    marker
        "format", "synthetic" (True), "spec" (the fields of `PhantomSpec`, or of `VolumeSpec`) and "note"; None where
        there is no phantom.

    Raises
    ------
    DataError
        When the file is there and cannot be read, or does not hold those.
    """
    path = Path(root) / MARKER
    remedy = "Remove the folder and make the phantom again"
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"a phantom's marker cannot be read: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(marker, dict) or marker.get("synthetic") is not True:
        raise DataError("a phantom's marker is damaged: it does not say synthetic", where=str(path), remedy=remedy)
    found = marker.get("format")
    if found != FORMAT:
        raise DataError(f"the phantom has format {found!r}, expected {FORMAT}", where=str(path), remedy=remedy)
    spec = marker.get("spec")
    if not isinstance(spec, dict) or set(spec) not in [{field.name for field in fields(kind)} for kind in _SPECS]:
        raise DataError("a phantom's marker is damaged: its spec is incomplete", where=str(path), remedy=remedy)
    return marker


def _is_done(root: Path, spec: PhantomSpec | VolumeSpec) -> bool:
    """Whether the root holds this very phantom; refuse one that holds anything else."""
    marker = read_phantom_marker(root)
    if marker is not None:
        if marker["spec"] == asdict(spec):
            return True
        raise DataError(
            f"holds a phantom with other settings: {marker['spec']}, wanted {asdict(spec)}",
            where=str(root), remedy="Name another folder (data.root), or remove this one",
        )  # fmt: skip
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise DataError(
            "exists, and is not a phantom or an empty folder", where=str(root), remedy="Name another folder"
        )
    return False


def make_whole(
    root: Path, spec: PhantomSpec | VolumeSpec, folders: Sequence[str], scans: Sequence[Scan],
    write: Callable[[Path, Scan], None], *, layout: str, workers: int = 1, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Make a phantom's folder, all of it or nothing; where the root is that phantom already, it stays.

    Parameters
    ----------
    root
        The folder to make; it must not exist, or be empty. Its parent is made when missing.
    spec
        What it is to hold; written down in it.
    folders
        The folders in it.
    scans, write
        Called for each scan with the folder that is being filled.
    layout
        What the README says of how the files lie.
    workers
        Scans made at the same time, each in about 0.2 GB of memory.
    progress
        Called with (scans done, scans in all) after each scan, in the caller's thread.

    Raises
    ------
    ConfigError
        When `workers` is less than 1.
    DataError
        When the root holds something else.
    RunError
        When it cannot be written: no room, no right.
    """
    root = Path(root).resolve()  # a link to a scratch disk is followed, not replaced
    if workers < 1:
        raise ConfigError(f"workers is {workers}, expected at least 1", where="phantom: workers")
    if _is_done(root, spec):
        return
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}.", suffix=".partial", dir=root.parent) as partial:
            folder = Path(partial) / root.name  # one level down, so that it has the usual rights
            for name in folders:
                (folder / name).mkdir(parents=True)
            _fill(folder, scans, write, workers, progress)
            _mark(folder, spec, layout)
            if not _is_done(root, spec):  # another run may have been quicker
                folder.rename(root)
    except OSError as error:
        what, remedy = f"the phantom cannot be written: {error}", "Check its free space and your rights"
        raise RunError(what, where=str(root), remedy=remedy) from error


def _mark(folder: Path, spec: PhantomSpec | VolumeSpec, layout: str) -> None:
    """Say in the folder what it holds: for people, and for the next run."""
    marker = {"format": FORMAT, "synthetic": True, "spec": asdict(spec), "note": NOTE}
    (folder / "README.txt").write_text(README.format(layout=layout), encoding="utf-8")
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _fill(
    folder: Path, scans: Sequence[Scan], write: Callable[[Path, Scan], None], workers: int, progress: Progress | None
) -> None:
    # Threads do: numpy and isal let go of the interpreter's lock, and nothing has to be started or pickled.
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(write, folder, scan) for scan in scans]
        try:
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                if progress is not None:
                    progress(done, len(scans))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
