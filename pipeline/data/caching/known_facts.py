"""What files were found to hold, remembered on disk, so that a start reads only those that have changed since.

A case is known again by the paths, sizes, times (of content and of status) and inodes of its files. A file that was
changed less than two seconds before it was read is not remembered, as git does it: it could be changed once more within
the resolution of its times.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.load import Config
from pipeline.data.caching.digests import digest_of, sources_digest, versions
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import examine_cases
from pipeline.data.reading import read_options
from pipeline.errors import RunError, raise_all
from pipeline.runs import write_bytes

FORMAT = 1
_RACY_NS = 2_000_000_000
_DIGEST_BYTES = 16
# They change neither what is read nor what is checked.
_NO_MATTER = {"cache", "cache_folder", "context", "fold", "phantom", "stand_in"}

Seen = tuple[str, ...]  # a case's id, then of each of its files: size, times, inode, path
Known = dict[Seen, CaseFacts]


def take_facts(
    config: Config, cases: Sequence[Case], progress: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[CaseFacts, ...]:  # fmt: skip
    """The facts of cases in which nothing may be wrong: remembered where ``data.cache`` is disk, else read.

    Parameters
    ----------
    config
        The dataset's config.
    cases
        With labels.
    progress
        Called after each case.
    say
        Takes a line for the user.

    Raises
    ------
    Fault, Faults
        Everything that is wrong with any file that is read, all at once.
    """
    if config.settings.data.cache != "disk":
        examination = examine_cases(config, cases, progress)
        raise_all(examination.faults)
        return examination.facts
    path = config.locate(config.settings.data.cache_folder) / "facts" / f"{facts_key(config, cases)}.bin"
    before = time.time_ns()
    seen = [files_seen(case) for case in cases]
    known = load_facts(path, say)
    facts = {case.id: known[files] for case, files in zip(cases, seen, strict=True) if files in known}
    for _ in facts:
        progress()
    unknown = [case for case in cases if case.id not in facts]
    examination = examine_cases(config, unknown, progress, tuple(facts.values()))
    facts |= {fact.case: fact for fact in examination.facts}
    if examination.facts:
        others = {files: fact for files, fact in known.items() if files[0] not in facts}
        now = [(files, facts[files[0]]) for files in seen if files and files[0] in facts]
        _remember(path, others | {files: fact for files, fact in now if not is_racy(files, before)}, say)
    raise_all(examination.faults)
    return tuple(facts[case.id] for case in cases)


def facts_key(config: Config, cases: Sequence[Case]) -> str:
    """What the facts of a file follow from, besides the file."""
    data = config.settings.data.model_dump(mode="json", exclude=_NO_MATTER)
    options = sorted({str(read_options(config, case.channels_in_file)) for case in cases})
    return digest_of([FORMAT, data, options, versions(), sources_digest("transforms", "pipeline/data")])


def files_seen(case: Case) -> Seen:
    """By what a case's files are known again; empty where one of them is not there."""
    found = []
    for path in (*case.images, case.label):
        try:
            status = os.stat(path) if path is not None else None
        except OSError:
            return ()
        if status is not None:
            numbers = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            found.append(f"{' '.join(map(str, numbers))} {os.path.abspath(path)}")  # type: ignore[arg-type]
    return (case.id, *found)


def is_racy(seen: Seen, read_at_ns: int) -> bool:
    """Whether any of the files was changed so shortly before it was read that its times do not tell."""
    times = [int(text) for file in seen[1:] for text in file.split(" ", 3)[1:3]]
    return not times or max(times) > read_at_ns - _RACY_NS


def load_facts(path: Path, say: Callable[[str], None] = lambda line: None) -> Known:
    """What was remembered in a file; nothing where there is none, or where it is damaged, which is said."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        say(f"warning: {path} cannot be read ({error.strerror}): all files are read again")
        return {}
    packed = memoryview(content)[_DIGEST_BYTES:]
    if _digest(packed) != content[:_DIGEST_BYTES]:
        say(f"warning: {path} is damaged: all files are read again")
        return {}
    return _unpacked(packed)


def _remember(path: Path, known: Known, say: Callable[[str], None]) -> None:
    packed = _packed(known)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, _digest(packed) + packed)
    except (OSError, RunError) as error:  # only the next start is the slower for it
        what = error.what if isinstance(error, RunError) else error
        say(f"warning: what the files hold is not remembered: {path.parent}: {what}")


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _packed(known: Known) -> bytes:
    """The length of a text, the text, and the voxels of all arrays; the text is a list a field, in JSON."""
    columns: dict[str, list[Any]] = {"seen": list(known)}
    arrays: list[bytes] = []
    for field in fields(CaseFacts):
        values = [getattr(fact, field.name) for fact in known.values()]
        if field.type == "np.ndarray":
            arrays += [value.tobytes() for value in values]
            values = [[value.dtype.str, value.shape] for value in values]
        columns[field.name] = [value.hex() for value in values] if field.type == "bytes" else values
    text = json.dumps(columns).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *arrays])


def _unpacked(packed: memoryview) -> Known:
    end = 8 + int.from_bytes(packed[:8], "little")
    columns = json.loads(bytes(packed[8:end]))
    rows: list[Iterable[Any]] = []
    for field in fields(CaseFacts):
        values = columns[field.name]
        if field.type == "np.ndarray":
            values, end = _arrays(values, packed, end)
        elif field.type == "bytes":
            values = map(bytes.fromhex, values)
        elif str(field.type).startswith("tuple"):
            values = map(tuple, values)
        rows.append(values)
    facts = itertools.starmap(CaseFacts, zip(*rows, strict=True))
    return dict(zip(map(tuple, columns["seen"]), facts, strict=True))


def _arrays(kinds: Sequence[tuple[str, list[int]]], packed: memoryview, start: int) -> tuple[list[np.ndarray], int]:
    """Arrays of given types and shapes that lie one after the other, and where they end."""
    found = []
    for name, shape in kinds:
        array = np.frombuffer(packed, np.dtype(name), math.prod(shape), start)
        start += array.nbytes
        found.append(array.reshape(shape))
    return found, start
