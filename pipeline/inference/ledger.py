"""What was predicted into a folder, by which model and from which files: so that a stopped batch goes on where it was.

Each process writes lines of its own into a hidden folder, whole or not at all where the disk is; a line that is cut off
counts for nothing, and its case is predicted again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.data.cases import Case
from pipeline.errors import Fault, RunError
from pipeline.inference.folder import Failed

__all__ = ["FOLDER", "Ledger", "Record", "Sources", "sources_of", "writable"]

FOLDER = ".predicted"
Mark = tuple[int, int]  # a file's size and the time of its last change, in ns


@dataclass(frozen=True)
class Sources:
    """The files of a case, as they are: their marks, and digests of what they hold, where those were taken."""

    marks: tuple[Mark, ...]
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """One case's end.

    Attributes
    ----------
    case
        Its id.
    model
        The digest of what predicted it.
    sources
        Its files.
    faults
        (what, where, remedy) of each; empty where the masks were written.
    review
        The case's row of review.csv; empty where that was not asked for.
    review_mark
        Of what the row holds, and is held against.
    time
        Seconds since 1970; the latest record of a case holds.
    """

    case: str
    model: str
    sources: Sources
    faults: tuple[tuple[str, str, str], ...] = ()
    review: Mapping[str, Any] = field(default_factory=dict)
    review_mark: str = ""
    time: float = 0.0


def sources_of(case: Case) -> Sources | None:
    """The marks of a case's files now; None where one is not there."""
    try:
        stats = [path.stat() for path in case.images]
    except OSError:
        return None
    return Sources(tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


def with_digests(case: Case, sources: Sources | None) -> Sources:
    """Sources with digests of the files, where those are what they were when `sources` was taken."""
    digests = tuple(_digest(path) for path in case.images)
    return Sources(sources.marks, digests) if sources is not None and sources_of(case) == sources else Sources(())


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""


class Ledger:
    """The records of a folder of masks.

    Parameters
    ----------
    folder
        Of the masks; it is there.
    part
        Names this process among those that share the work, such as ``0-of-4``.

    Raises
    ------
    RunError
        When another process is at work on the same part, or the folder cannot be written.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self.path = folder / FOLDER / f"{part}.jsonl"
        self._lock = FileLock(folder / FOLDER / f"{part}.lock")
        try:
            self.path.parent.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
            self._file = self.path.open("a+b")
            self._end_line()
        except Timeout as error:
            raise RunError(
                "another process is predicting into this folder", where=str(folder),
                remedy="Let it finish, or share the work: --shard 0/2 and --shard 1/2",
            ) from error  # fmt: skip
        except OSError as error:
            raise _unwritable(error, self.path) from error
        self.records = _latest(folder)

    def _end_line(self) -> None:
        """End what a process that was killed may have left unfinished, so that it spoils no line after it."""
        if self._file.seek(0, 2):
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def note(self, record: Record) -> None:
        """Add a record; it is handed to the system at once.

        Raises
        ------
        RunError
            When it cannot be written.
        """
        stamped = {**asdict(record), "time": time.time()}
        try:
            self._file.write(json.dumps(stamped).encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            raise _unwritable(error, self.path) from error
        self.records[record.case] = record

    def close(self) -> None:
        """Let others have this part."""
        self._file.close()
        self._lock.release()

    def is_finished(self, case: Case, model: str, sources: Sources | None) -> bool:
        """Whether a case was predicted by this model, and from these files or from others that hold the same."""
        record = self.records.get(case.id)
        if record is None or record.faults or record.model != model or sources is None:
            return False
        if record.sources.marks == sources.marks:
            return True
        digests = record.sources.digests
        return bool(digests) and "" not in digests and tuple(_digest(path) for path in case.images) == digests

    def reviews(self, cases: Iterable[str], model: str, mark: str) -> list[Mapping[str, Any]]:
        """The rows of review.csv that are known of these cases, by this model and with this mark."""
        found = (self.records[case] for case in cases if case in self.records)
        return [one.review for one in found if one.review and (one.model, one.review_mark) == (model, mark)]

    def failures(self, cases: Iterable[str], model: str) -> list[Failed]:
        """Those of these cases that this model could not predict, whichever process tried."""
        found = (self.records[case] for case in cases if case in self.records)
        return [_failed(record) for record in found if record.faults and record.model == model]

    def refresh(self) -> None:
        """Take in what other processes have written since."""
        self.records = _latest(self.path.parent.parent)


def _failed(record: Record) -> Failed:
    faults = (Fault(what, where=where, remedy=remedy) for what, where, remedy in record.faults)
    return Failed(record.case, tuple(faults))


def failure_record(failed: Failed, model: str) -> Record:
    """What a ledger keeps of a failure, in UTF-8, which names of files need not be."""
    faults = tuple((writable(one.what), writable(one.where), writable(one.remedy)) for one in failed.faults)
    return Record(failed.case, model, Sources(()), faults)


def writable(text: str) -> str:
    r"""A text with what is no UTF-8 escaped.

    >>> writable("naïve"), writable("na\udcefve")
    ('naïve', 'na\\udcefve')
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _latest(folder: Path) -> dict[str, Record]:
    """The latest record of each case."""
    found: dict[str, Record] = {}
    for path in sorted((folder / FOLDER).glob("*.jsonl")):
        for record in _records(path):
            if record.case not in found or found[record.case].time <= record.time:
                found[record.case] = record
    return found


def _records(path: Path) -> Iterator[Record]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", where=str(path), remedy="Mend its rights") from error
    for line in lines:
        try:
            yield _record(json.loads(line))
        except (ValueError, TypeError, KeyError):  # cut off: the process was killed
            continue


def _record(values: Mapping[str, Any]) -> Record:
    sources = values["sources"]
    marks = tuple((int(size), int(changed)) for size, changed in sources["marks"])
    digests = tuple(str(digest) for digest in sources["digests"])
    faults = tuple((str(what), str(where), str(remedy)) for what, where, remedy in values["faults"])
    return Record(
        str(values["case"]), str(values["model"]), Sources(marks, digests), faults, dict(values["review"]),
        str(values.get("review_mark", "")), float(values["time"]),
    )  # fmt: skip


def _unwritable(error: OSError, path: Path) -> RunError:
    return RunError(f"cannot be written ({error.strerror})", where=str(path),
                    remedy="Free some space, or mend the folder's rights")  # fmt: skip
