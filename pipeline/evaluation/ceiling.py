"""The resampling ceiling: what a network would score that predicts the prepared masks without an error.

Reference masks go through the prepare chain, are taken for probabilities of 0 and 1, and come back to the original grid
as predictions do: through the inverse of the chain, then the argmax. What differs from the reference then is lost by
the chain alone, whatever the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import one_hot

from pipeline.data.caching.prepared import sample_of
from pipeline.data.cases import Case, scan_key
from pipeline.evaluation import aggregation
from pipeline.evaluation.confusion import CaseCounts, count_slices
from pipeline.evaluation.means import group_means
from pipeline.evaluation.surfaces import surface_figures
from pipeline.inference.original_grid import highest, mean_of_views, most_probable
from pipeline.networks.apply import chunks
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions, read_label
from transforms.planes import plane_from

_AT_ONCE = 128  # slices times classes that are probabilities at one time, to bound memory


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The best that a chain allows, by class; NaN where no case shows a class.

    Attributes
    ----------
    dice
        (K,) mean hard Dice per scan, over scans that show the class.
    hd95
        (K,) mean 95th percentile Hausdorff distance per case that shows the class, in mm or in pixels.
    missed
        (K,) scans in which the class is lost altogether.
    scans, cases
        How many were measured.
    keys
        Patient and name of the scans that were measured.
    """

    dice: np.ndarray
    hd95: np.ndarray
    missed: np.ndarray
    scans: int
    cases: int
    keys: frozenset[tuple[str, str]] = frozenset()


def spread_scans(cases: Sequence[Case], slices: Callable[[Case], int], limit: int) -> list[Case]:
    """Whole scans of at most about `limit` slices, evenly spread over all; at least one.

    Parameters
    ----------
    cases
        In any order; the scans are taken in the order of patients.
    slices
        How many slices a case gives.
    limit
        Of slices.
    """
    scans: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(cases, key=scan_key):
        scans.setdefault(scan_key(case), []).append(case)
    members = list(scans.values())
    total = sum(slices(case) for case in cases)
    count = min(len(members), max(1, int(len(members) * limit / max(1, total))))
    places = np.unique(np.linspace(0, len(members) - 1, count).round().astype(int))
    return [case for place in places for case in members[place]]


def resampling_ceiling(
    chains: Sequence[PrepareChain], cases: Sequence[Case], options: ReadOptions, classes: Sequence[str],
    spacing_of: Callable[[Case], Sequence[float]], done: Callable[[], None] = lambda: None,
) -> Ceiling:  # fmt: skip
    """Measure the ceiling of a chain on cases.

    Parameters
    ----------
    chains
        Of image and label; one a view, whose probabilities are averaged.
    cases
        With labels.
    options
        How files are read.
    classes
        K names.
    spacing_of
        The spacing that distances of a case are measured by, one an axis of its label.
    done
        Called after each case.

    Raises
    ------
    Fault
        With the case, when it cannot be prepared.
    """
    counts: list[CaseCounts] = []
    distances: list[np.ndarray] = []
    for case in cases:
        mask, axis = _there_and_back(chains, case, len(classes))
        assert case.label is not None
        label = read_label(case.label, options).array
        counts.append(CaseCounts(case.id, case.scan, case.patient, count_slices(label, mask, len(classes), axis=axis)))
        distances.append(surface_figures(label, mask, range(len(classes)), spacing_of(case), tolerance=0).hd95)
        done()
    summary = aggregation.evaluate(counts, classes, resamples=1).summary
    rows = [summary["levels"]["scan"]["classes"][name] for name in classes]
    return Ceiling(
        dice=np.array([np.nan if row["dice"]["mean"] is None else row["dice"]["mean"] for row in rows]),
        hd95=group_means(np.array(distances), np.zeros(len(cases), dtype=np.intp), 1)[0],
        missed=np.array([row["missed"] for row in rows]),
        scans=summary["n_scans"],
        cases=len(cases),
        keys=frozenset(scan_key(case) for case in cases),
    )


def _there_and_back(chains: Sequence[PrepareChain], case: Case, classes: int) -> tuple[np.ndarray, int]:
    """A case's mask as it comes back, on the file's axes, and the axis that was cut in the first view."""
    samples = [chain(sample_of(case)) for chain in chains]
    labels = [torch.as_tensor(sample["label"]).as_subclass(torch.Tensor) for sample in samples]
    plane = plane_from(samples[0]["image"].meta)
    if len(chains) == 1:  # some slices at a time
        parts = [
            most_probable(chains[0], _hot(labels[0][part], classes), samples[0]["image"])
            for part in chunks(len(labels[0]), max(1, _AT_ONCE // classes))
        ]
    else:
        views = ((_hot(label, classes), sample["image"]) for label, sample in zip(labels, samples, strict=True))
        parts = [highest(back)[1] for back in mean_of_views(chains, views)]
    return np.ascontiguousarray(plane.restore(np.concatenate(parts))), plane.axis


def _hot(label: torch.Tensor, classes: int) -> torch.Tensor:
    """(S, K, H, W) float32 of a label (S, H, W)."""
    return one_hot(label.long(), classes).movedim(-1, 1).float()
