"""Find a dataset's cases on disk, or say everything that is missing or does not pair; one module a layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.config.load import Config
from pipeline.data.cases import Case, listing, mixed_channels, reading_order, unfit_names
from pipeline.data.layouts import decathlon, folders, hipmri, nnunet, table
from pipeline.data.layouts.folders import scattered_patients
from pipeline.data.layouts.hipmri import (
    HIPMRI_DOI,
    HIPMRI_FOLDERS,
    HIPMRI_VOLUMES,
    hipmri_has_volumes,
    hipmri_is_missing,
    hipmri_missing_message,
)
from pipeline.data.layouts.pairing import composed
from pipeline.errors import DataError, Fault, raise_all

__all__ = [
    "HIPMRI_DOI", "HIPMRI_FOLDERS", "HIPMRI_VOLUMES", "find_cases", "hipmri_has_volumes", "hipmri_is_missing",
    "hipmri_missing_message", "look_for_cases", "scattered_patients", "tells_patients",
]  # fmt: skip

_FIND: dict[str, Callable[[Config, Path, list[Fault]], list[Case]]] = {
    "hipmri": hipmri.find,
    "nnunet": nnunet.find,
    "decathlon": decathlon.find,
    "folders": folders.find,
    "table": table.find,
}
_WHERE_TO_LOOK = {
    "folders": "Check data.root, data.images and data.labels",
    "table": "Give each case a row",
}


def find_cases(config: Config) -> list[Case]:
    """Every case of a config's dataset, ordered by patient, scan and slice; no image is read.

    Raises
    ------
    DataError, ConfigError, Faults
        Missing folders, images without a label, labels without an image, names that are not understood, ids that stand
        twice, whatever else a layout must hold: all of it at once.
    """
    cases, faults = look_for_cases(config)
    raise_all(faults)
    return cases


def look_for_cases(config: Config) -> tuple[list[Case], list[Fault]]:
    """As `find_cases`, with the faults beside the cases that have none.

    Raises
    ------
    DataError, ConfigError, Faults
        Where nothing can be looked for: no such folder, or a table or dataset.json that cannot be read.
    """
    data = config.settings.data
    root = config.locate(data.root)
    faults: list[Fault] = []
    cases = [_in_one_form(case) for case in _FIND[data.layout](config, root, faults)]
    source = str(table.table_path(config, root) if data.layout == "table" else root)
    if not cases and not faults:
        raise DataError("no NIfTI file in it", where=source, remedy=_WHERE_TO_LOOK.get(data.layout, "Check data.root"))
    names = [folders.name_below(config, root, case) if data.layout == "folders" else case.id for case in cases]
    remedy = {"remedy": "Give the rows names of their own in a column 'id'"} if data.layout == "table" else {}
    if not faults:  # else they would be told again in other words
        faults += [*unfit_names(cases, source, **remedy), *mixed_channels(cases, source), *_lost(config, names)]
    if faults:
        pairs = zip(cases, names, strict=True) if not mixed_channels(cases, source) else ()
        fit = [(case, name) for case, name in pairs if _can_be_used(config, case, name, cases)]
        cases, names = [case for case, _ in fit], [name for _, name in fit]
    found = (_identified(config, case, name) for case, name in zip(cases, names, strict=True))
    return sorted(found, key=reading_order), faults


def _in_one_form(case: Case) -> Case:
    """A case whose names are equal to all that look like them."""
    return replace(case, id=composed(case.id), patient=composed(case.patient), scan=composed(case.scan))


def _can_be_used(config: Config, case: Case, name: str, cases: Sequence[Case]) -> bool:
    """Whether a case among faulty ones has none of the faults itself."""
    data = config.settings.data
    files = [*case.images, *([] if case.label is None else [case.label])]
    return (
        not unfit_names([other for other in cases if other.id == case.id], "")
        and all(_identity(pattern, name)[0] for pattern in (data.patient, data.scan) if pattern is not None)
        and all(path.is_file() for path in files)
    )


def tells_patients(config: Config) -> bool:
    """Whether the layout, or ``data.patient``, names the patient of each case: else each file counts as one."""
    data = config.settings.data
    return data.patient is not None or data.layout in ("hipmri", "table")


def _lost(config: Config, names: Sequence[str]) -> Iterator[DataError]:
    """Faults for the cases in whose names the config's regular expressions find nothing."""
    data = config.settings.data
    for key, pattern in (("patient", data.patient), ("scan", data.scan)):
        lost = [name for name in names if pattern is not None and not _identity(pattern, name)[0]]
        if lost:
            yield DataError(f"{pattern!r} finds nothing in {listing(lost)}", where=config.where("data", key),
                            remedy="Change the expression, or rename the files")  # fmt: skip


def _identified(config: Config, case: Case, name: str) -> Case:
    """A case with its patient and scan, where the config's expressions find them in its name."""
    patient, scan = config.settings.data.patient, config.settings.data.scan
    if patient is not None:
        case = replace(case, patient=_identity(patient, name)[0])
    return case if scan is None else _in_scan(case, scan, name)


def _identity(pattern: str, name: str) -> tuple[str, str]:
    """What the first group of an expression finds in a name, and the rest of the name; empty where it finds nothing."""
    found = re.search(pattern, name)
    if found is None or not found[1]:
        return "", name
    start, end = found.span(1)
    return found[1].replace("/", "_"), f"{name[:start]} {name[end:]}"


def _in_scan(case: Case, pattern: str, name: str) -> Case:
    scan, rest = _identity(pattern, name)
    numbers = re.findall(r"\d+", rest)
    number = int(numbers[-1]) if case.slice is None and numbers else case.slice
    return replace(case, scan=scan, slice=number)
