"""The images of a folder as cases to predict, named and grouped as the run's own data were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.data.cases import Case, nifti_files, reading_order, scan_key, stem, unfit_names
from pipeline.errors import ConfigError, DataError, Fault
from pipeline.inference.trained import Model

__all__ = ["Failed", "Images", "find_images", "shard_of"]

_CHANNEL = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)  # as nnU-Net numbers the files of an image's channels
_HIPMRI = re.compile(r"case_(\d+)_week_?(\d+)(?:_slice_(\d+))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Failed:
    """A case that cannot be predicted, and why."""

    case: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Images:
    """What a folder holds.

    Attributes
    ----------
    folder
        Where it is.
    cases
        To predict, by patient, scan and slice.
    failed
        Whose files are not what the model takes.
    lone
        Ids of the cases whose names say nothing of a scan: as 2D slices they would have no neighbours.
    """

    folder: Path
    cases: tuple[Case, ...]
    failed: tuple[Failed, ...] = ()
    lone: frozenset[str] = field(default_factory=frozenset)


def find_images(folder: Path, model: Model, patient: str | None = None, scan: str | None = None) -> Images:
    """The NIfTI files that lie directly in a folder, as cases; none is opened.

    Parameters
    ----------
    folder
        Each image is a file, or one a channel (CASE_0000.nii.gz, CASE_0001.nii.gz ...) where the run's layout was
        nnunet or its images had several files.
    model
        Which says how many channels there are, and how names are understood.
    patient, scan
        Expressions with one group, in the place of the run's.

    Raises
    ------
    DataError, ConfigError
        No such folder, no NIfTI file in it; an expression that was given and finds nothing in a name.
    """
    if not folder.is_dir():
        raise DataError("no such folder", where=f"--images {folder}", remedy="Name the folder that holds the images")
    files = nifti_files(folder)
    if not files:
        below = " (those of its subfolders are not gone through)" if any(p.is_dir() for p in folder.iterdir()) else ""
        raise DataError(f"no NIfTI file in it{below}", where=f"--images {folder}",
                        remedy="Name the folder of the .nii.gz or .nii files")  # fmt: skip
    data, facts = model.settings.data, model.facts
    numbered = data.layout == "nnunet" or facts.channels > facts.channels_in_file
    failed: list[Failed] = []
    grouped = _by_channel(files, failed) if numbered else {}
    for path in [] if numbered else files:
        grouped.setdefault(stem(path.name), []).append((0, path))
    wanted = facts.channels // facts.channels_in_file
    cases: list[Case] = []
    for name, members in sorted(grouped.items()):
        case, faults = _case(name, members, wanted, facts.channels_in_file)
        if faults:
            failed.append(Failed(name, faults))
        else:
            cases.append(case)
    _check_given({"--patient": patient, "--scan": scan}, [case.id for case in cases])
    patient, scan = patient or data.patient, scan or data.scan
    found, lone = _identified(cases, patient, scan, hipmri=data.layout == "hipmri")
    return Images(folder, tuple(sorted(found, key=reading_order)), tuple(failed), frozenset(lone))


def _by_channel(files: Sequence[Path], failed: list[Failed]) -> dict[str, list[tuple[int, Path]]]:
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in files:
        match = _CHANNEL.fullmatch(stem(path.name))
        if match is None:
            fault = DataError("its name has no channel, and the run's images have one file a channel", where=str(path),
                              remedy="Name the images CASE_0000.nii.gz, CASE_0001.nii.gz ...")  # fmt: skip
            failed.append(Failed(stem(path.name), (fault,)))
        else:
            found.setdefault(match[1], []).append((int(match[2]), path))
    return found


def _case(name: str, members: list[tuple[int, Path]], wanted: int, in_file: int) -> tuple[Case, tuple[DataError, ...]]:
    """A case with a name of its own for patient and scan; what keeps it from being one."""
    paths = [path for _, path in sorted(members)]
    case = Case(name, paths[0], None, name, name, further=tuple(paths[1:]), channels_in_file=in_file)
    unfit = unfit_names([case], str(paths[0]))
    numbers = sorted(number for number, _ in members)
    if unfit or numbers == list(range(wanted)):
        return case, tuple(unfit)
    if len(set(numbers)) < len(numbers):
        what, remedy = "several files for one image", "Keep one of each"
    else:
        have = ", ".join(f"{number:04d}" for number in numbers)
        what = f"has the channels {have}; the run's images have {wanted}, from 0000 on"
        remedy = "Add the files that are missing, or remove those of channels that the run does not know"
    files = ", ".join(path.name for path in paths)
    return case, (DataError(f"{what}: {files}", where=str(paths[0]), remedy=remedy),)


def _check_given(patterns: dict[str, str | None], names: Sequence[str]) -> None:
    for option, pattern in patterns.items():
        if pattern is None:
            continue
        try:
            groups, problem = re.compile(pattern).groups, f"{pattern!r} has no group"
        except re.error as error:
            groups, problem = 0, f"not a regular expression ({error})"
        lost = [name for name in names if groups and not _group(pattern, name)]
        if lost:
            problem = f"{pattern!r} finds nothing in {len(lost)} names, such as {lost[0]}"
        if lost or groups < 1:
            raise ConfigError(problem, where=option, remedy=f"Put what names it in parentheses: {option} '^([^_]+)_'")


def _identified(
    cases: Sequence[Case], patient: str | None, scan: str | None, *, hipmri: bool
) -> tuple[list[Case], set[str]]:  # fmt: skip
    """Cases with patient, scan and number of the slice, as far as their names say; and whose say nothing of a scan."""
    found: list[Case] = []
    lone: set[str] = set()
    for case in cases:
        known = _HIPMRI.fullmatch(case.id) if hipmri else None
        if known is not None:
            name = f"case_{int(known[1]):03d}_week_{int(known[2])}"
            case = replace(case, patient=f"{int(known[1]):03d}", scan=name, slice=int(known[3]) if known[3] else None)
        owner, group = _group(patient, case.id), _group(scan, case.id)
        if owner or (group and known is None):
            case = replace(case, patient=owner or group)
        if group:
            case = replace(case, scan=group, slice=_number(scan, case))
        if not group and (known is None or known[3] is None):
            lone.add(case.id)
        found.append(case)
    return found, lone


def _group(pattern: str | None, name: str) -> str:
    """What the group of an expression finds; empty where it finds nothing, and where there is no expression."""
    found = re.search(pattern, name) if pattern is not None else None
    return (found[1] or "").replace("/", "_") if found else ""


def _number(scan: str | None, case: Case) -> int | None:
    """A slice's number: the last one in its name outside of what names the scan, as in training."""
    found = re.search(scan, case.id) if scan is not None else None
    if case.slice is not None or found is None:
        return case.slice
    numbers = re.findall(r"\d+", f"{case.id[: found.start(1)]} {case.id[found.end(1) :]}")
    return int(numbers[-1]) if numbers else None


def shard_of(cases: Sequence[Case], index: int, count: int) -> list[Case]:
    """Every `count`-th scan, from the `index`-th on: the slices of a scan stay together, as neighbours.

    >>> from pathlib import Path
    >>> cases = [Case(f"{scan}{n}", Path("x"), None, "p", scan, n) for scan in "abc" for n in range(2)]
    >>> [case.id for case in shard_of(cases, 0, 2)], [case.id for case in shard_of(cases, 1, 2)]
    (['a0', 'a1', 'c0', 'c1'], ['b0', 'b1'])
    """
    scans: dict[tuple[str, str], int] = {}
    places = [scans.setdefault(scan_key(case), len(scans)) for case in cases]
    return [case for case, place in zip(cases, places, strict=True) if place % count == index]
