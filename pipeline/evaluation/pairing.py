"""Which prediction belongs to which label: two folders of masks, paired by the names of their files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pipeline.data.cases import listing, nifti_files, stem
from pipeline.errors import DataError, raise_all

__all__ = ["Identity", "MaskPair", "Naming", "Pairs", "files_by_case", "find_pairs", "hipmri_slices", "paired"]

# As data.layouts.hipmri names cases; its labels say seg_ for case_, and those of volumes SEMANTIC_LFOV at the end.
_HIPMRI = re.compile(
    r"(?:case|seg)_(\d+)_week_?(\d+)(?:_slice_(\d+))?(?:_semantic)?(?:_lfov)?", re.ASCII | re.IGNORECASE
)
_RENAME = "Rename the files, or change the expression"


class Identity(NamedTuple):
    """What a file's name says: which case it is, whose, and of which scan."""

    case: str
    patient: str
    scan: str


@dataclass(frozen=True)
class Naming:
    """How the names of files are understood. Each expression has one group.

    Attributes
    ----------
    case
        What a prediction and its label have in common; without it the whole name, less the suffix.
    patient
        Without it a scan, and without that a case, is a patient of its own.
    scan
        Without it a case is a scan of its own.
    hipmri
        Names are those of the HipMRI study, which say all three; expressions come first.
    known
        What is known of files by their names without the suffix, in Unicode's composed form; it comes before all else.
    unknown
        What to do about other names, where the expressions of patient and scan do not speak of names; else empty.
    """

    case: str | None = None
    patient: str | None = None
    scan: str | None = None
    hipmri: bool = False
    known: Mapping[str, Identity] = field(default_factory=dict)
    unknown: str = ""

    def identity(self, name: str) -> Identity | None:
        """What a name without its suffix says; None where an expression finds nothing."""
        listed = self._listed(name)
        if listed is not None or self.unknown:
            return listed
        found = [_group(pattern, name) for pattern in (self.case, self.patient, self.scan)]
        known = _hipmri(name) if self.hipmri else None
        if self.hipmri and known is None:
            return None
        case, patient, scan = (one if known is None or one != "" else known[place] for place, one in enumerate(found))
        if None in (case, patient, scan):
            return None
        case = case or name
        return Identity(case, patient or scan or case, scan or case)

    def _listed(self, name: str) -> Identity | None:
        """What is known of a name, or of the case that the expression finds in it."""
        case = _group(self.case, name)
        names = [unicodedata.normalize("NFC", one) for one in (name, case) if one]
        listed = next((self.known[one] for one in names if one in self.known), None)
        return None if listed is None or case is None else listed._replace(case=case or listed.case)

    @property
    def of_case(self) -> Naming:
        """The same for a label, whose name need not say whose it is and of which scan: its prediction's does."""
        return replace(self, patient=None, scan=None, unknown="")


@dataclass(frozen=True)
class MaskPair:
    """A label and the prediction to be held against it; None where that is missing, and counts as empty."""

    identity: Identity
    prediction: Path | None
    label: Path


@dataclass(frozen=True)
class Pairs:
    """The pairs of two folders, and the predictions that no label can score."""

    pairs: tuple[MaskPair, ...]
    unlabelled: tuple[Path, ...]

    @property
    def missing(self) -> tuple[MaskPair, ...]:
        """Those without a prediction."""
        return tuple(pair for pair in self.pairs if pair.prediction is None)


def find_pairs(predictions: Path, labels: Path, naming: Naming, *, count_missing: bool = False) -> Pairs:
    """Pair the NIfTI files that lie directly in two folders.

    Parameters
    ----------
    predictions, labels
        Folders.
    naming
        How the names of their files are understood.
    count_missing
        Keep labels that have no prediction, instead of refusing them.

    Raises
    ------
    DataError, Faults
        Folders that are missing or one and the same; files whose names are not understood or stand for one case; labels
        without a prediction.
    """
    folders = {"--predictions": predictions, "--labels": labels}
    raise_all(
        DataError("no such folder", where=f"{option} {folder}", remedy="Name the folder that holds the masks")
        for option, folder in folders.items() if not folder.is_dir()
    )  # fmt: skip
    if predictions.resolve() == labels.resolve():
        raise DataError("predictions and labels are the same folder: each mask would be held against itself",
                        where=str(labels), remedy="Give each a folder of its own")  # fmt: skip
    faults: list[DataError] = []
    predicted = files_by_case(nifti_files(predictions), predictions, naming, faults)
    labelled = files_by_case(nifti_files(labels), labels, naming.of_case, faults)
    faults += [
        DataError("no NIfTI file in it", where=str(folder), remedy="Name the folder of the .nii.gz or .nii files")
        for folder in folders.values() if not nifti_files(folder)
    ]  # fmt: skip
    there = {one.case for path in nifti_files(predictions) if (one := naming.of_case.identity(stem(path.name)))}
    alone = [path for case, (_, path) in labelled.items() if case not in there]
    if alone and there and not count_missing:
        faults.append(_without_prediction(alone, labels, predictions, len(labelled)))
    elif alone and there:
        whose = [(naming.identity(stem(path.name)), path) for path in alone]
        faults += _strange([path.name for one, path in whose if one is None], labels, naming)
        labelled |= {one.case: (one, path) for one, path in whose if one is not None}
    raise_all(faults)
    pairs = tuple(paired(labelled[case], predicted.get(case)) for case in sorted(labelled))
    return Pairs(pairs, tuple(predicted[case][1] for case in sorted(predicted.keys() - labelled.keys())))


def paired(label: tuple[Identity, Path], prediction: tuple[Identity, Path] | None) -> MaskPair:
    """The prediction's name decides on patient and scan; that of a label only where there is no prediction."""
    if prediction is None:
        return MaskPair(label[0], None, label[1])
    return MaskPair(prediction[0], prediction[1], label[1])


def _without_prediction(alone: Sequence[Path], labels: Path, predictions: Path, total: int) -> DataError:
    names = listing(path.name for path in alone)
    hint = "; where the names differ by more, --case takes an expression for what they share"
    return DataError(f"{len(alone)} of {total} labels have no prediction of the same name in {predictions}: {names}",
                     where=str(labels), remedy="Add the predictions, remove the labels, or count them as empty "
                     f"predictions with --missing count{hint if len(alone) == total else ''}")  # fmt: skip


def files_by_case(
    files: Iterable[Path], folder: Path, naming: Naming, faults: list[DataError]
) -> dict[str, tuple[Identity, Path]]:
    """Files of a folder, there or yet to be written, with what their names say, by case; faults are added."""
    found: dict[str, tuple[Identity, Path]] = {}
    strange, twice = [], []
    for path in files:
        name = stem(path.name)
        identity = naming.identity(name) if _is_text(name) else None
        if identity is None:
            strange.append(ascii(path.name)[1:-1] if not _is_text(name) else path.name)
            continue
        if identity.case in found:
            twice.append(f"{found[identity.case][1].name} and {path.name}")
        found[identity.case] = (identity, path)
    faults += _strange(strange, folder, naming)
    if twice:
        faults.append(DataError(f"two files for one case: {listing(twice)}", where=str(folder),
                                remedy="Keep one of each"))  # fmt: skip
    return found


def _strange(names: Sequence[str], folder: Path, naming: Naming) -> list[DataError]:
    """A fault where names say too little."""
    what = f"names that are not understood: {listing(names)}"
    return [DataError(what, where=str(folder), remedy=naming.unknown or _RENAME)] if names else []


def _group(pattern: str | None, name: str) -> str | None:
    """What the group of an expression finds, None where that is nothing; empty where there is no expression."""
    if pattern is None:
        return ""
    found = re.search(pattern, name)
    return (found[1] or None) if found else None


def _hipmri(name: str) -> Identity | None:
    found = _HIPMRI.fullmatch(name)
    if found is None:
        return None
    patient = f"{int(found[1]):03d}"
    scan = f"case_{patient}_week_{int(found[2])}"
    return Identity(scan if found[3] is None else f"{scan}_slice_{int(found[3])}", patient, scan)


def hipmri_slices(pairs: Pairs) -> bool:
    """Whether every file bears the name of a 2D slice of the HipMRI study."""
    files = [path for pair in pairs.pairs for path in (pair.prediction, pair.label) if path is not None]
    found = [_HIPMRI.fullmatch(stem(path.name)) for path in files]
    return bool(found) and all(one is not None and one[3] is not None for one in found)


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8: tables could not hold another."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
