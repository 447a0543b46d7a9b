"""A dataset's table: what each side of a split holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.cases import Case, scan_key
from pipeline.data.facts import CaseFacts


@dataclass(frozen=True, eq=False)
class SideStatistics:
    """What the cases of one side hold.

    Attributes
    ----------
    side
        Such as ``train``.
    patients, scans, cases, slices
        How many there are.
    sizes
        Of the images' axes in voxels, each as one value or a range, such as ``256 x 128-144``.
    spacing_mm
        As `sizes`; not to be believed where the affine is not.
    orientations
        Where the axes of the volumes point, such as ``RAS``; empty for slices.
    low, high
        The least and the largest intensity of any image.
    mean_low, mean_high
        The range of the images' means: how differently they are scaled.
    voxels, slices_with, cases_with, patients_with
        (K,) voxels of each class, and the slices, cases and patients that show it.
    """

    side: str
    patients: int
    scans: int
    cases: int
    slices: int
    sizes: str
    spacing_mm: str
    orientations: tuple[str, ...]
    low: float
    high: float
    mean_low: float
    mean_high: float
    voxels: np.ndarray
    slices_with: np.ndarray
    cases_with: np.ndarray
    patients_with: np.ndarray


def side_statistics(side: str, cases: Sequence[Case], facts: Mapping[str, CaseFacts]) -> SideStatistics:
    """Count what one side of a split holds.

    Parameters
    ----------
    side
        Its name.
    cases
        At least one.
    facts
        By case id, of these cases and perhaps others.
    """
    known = [facts[case.id] for case in cases]
    presence = np.array([fact.slices_with > 0 for fact in known])
    patients = np.array([case.patient for case in cases])
    means = [fact.mean for fact in known]
    return SideStatistics(
        side=side,
        patients=len(set(patients.tolist())),
        scans=len({scan_key(case) for case in cases}),
        cases=len(cases),
        slices=sum(fact.slices for fact in known),
        sizes=range_text([fact.shape for fact in known]),
        spacing_mm=range_text([fact.spacing_mm for fact in known]),
        orientations=tuple(sorted({fact.orientation for fact in known if fact.orientation})),
        low=min(fact.low for fact in known),
        high=max(fact.high for fact in known),
        mean_low=min(means),
        mean_high=max(means),
        voxels=np.sum([fact.voxels for fact in known], axis=0),
        slices_with=np.sum([fact.slices_with for fact in known], axis=0),
        cases_with=presence.sum(axis=0),
        patients_with=np.array([len(set(patients[shown].tolist())) for shown in presence.T]),
    )


def span_text(low: float, high: float) -> str:
    """The least and the largest of some values, as one value or both.

    >>> span_text(0, 1234.5), span_text(2.0, 2.0)
    ('0 to 1234', '2')
    """
    texts = f"{low:.4g}", f"{high:.4g}"
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def range_text(values: Sequence[Sequence[float]]) -> str:
    """Sizes or spacings of many files: each axis as one value or as a range.

    >>> range_text([(256, 128), (256, 144)]), range_text([(256, 128), (40, 50, 60)])
    ('256 x 128-144', 'mixed')
    """
    if len({len(value) for value in values}) != 1:
        return "mixed"
    ranges = [(min(axis), max(axis)) for axis in zip(*values, strict=True)]
    return " x ".join(f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}" for low, high in ranges)
