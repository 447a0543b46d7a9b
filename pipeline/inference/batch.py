"""Many cases, some of them broken: each is predicted or told, and no fault in one keeps another from its mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from pipeline.data.cases import Case, reading_order, scan_key
from pipeline.errors import Fault, RunError
from pipeline.inference.folder import Failed

if TYPE_CHECKING:  # which brings torch
    from pipeline.inference.finishing import Prediction

__all__ = ["apart", "predict_each"]

Predict = Callable[[Sequence[Case]], "Iterator[Prediction]"]
_TOLD = (Fault, MemoryError)  # of a case; everything else is a defect of this program


def predict_each(predict: Predict, cases: Sequence[Case]) -> Iterator[Prediction | Failed]:
    """A prediction, or what is wrong, for each case.

    Parameters
    ----------
    predict
        Predicts cases scan by scan, in their order, and raises the first fault; see
        `pipeline.inference.scans.ScanPredictor`.
    cases
        In any order.

    Notes
    -----
    After a fault, the scans that were not predicted yet are tried one by one until the faulty one is found. Of its
    slices, those that can be predicted alone are predicted together, as if the others were not there.
    """
    waiting = {case.id: case for case in sorted(cases, key=reading_order)}
    while waiting:
        try:
            for prediction in predict(list(waiting.values())):
                del waiting[prediction.case.id]
                yield prediction
        except _TOLD:
            for outcome in _past_the_fault(predict, waiting):
                del waiting[outcome.case if isinstance(outcome, Failed) else outcome.case.id]
                yield outcome
        else:
            return


def apart(cases: Sequence[Case]) -> list[Case]:
    """Cases that are each a scan of their own, where no slice needs its neighbours: in their order, and none held long.

    Parameters
    ----------
    cases
        In the order in which they are to be predicted.
    """
    return [replace(case, patient="", scan=f"{number:09d}") for number, case in enumerate(cases)]


def _past_the_fault(predict: Predict, waiting: Mapping[str, Case]) -> Iterator[Prediction | Failed]:
    """The outcomes up to the first scan with a fault, and of that."""
    for _, members in groupby(list(waiting.values()), key=scan_key):
        scan = list(members)
        try:
            found = list(predict(scan))
        except _TOLD as error:
            yield from _salvaged(predict, scan, error)
            return
        yield from found


def _salvaged(predict: Predict, scan: Sequence[Case], error: Exception) -> Iterator[Prediction | Failed]:
    """The outcomes of a scan that cannot be predicted as a whole."""
    failed: dict[str, Failed] = {}
    for case in scan if len(scan) > 1 else ():
        try:
            list(predict([case]))
        except _TOLD as own:
            failed[case.id] = _failed(case, own)
    yield from failed.values()
    rest = [case for case in scan if case.id not in failed]
    if not failed:  # each is right by itself, but not with the others: their numbers, perhaps
        yield from (_failed(case, error) for case in rest)
        return
    try:
        yield from list(predict(rest))
    except _TOLD as own:
        yield from (_failed(case, own) for case in rest)


def _failed(case: Case, error: Exception) -> Failed:
    if not isinstance(error, Fault):
        error = RunError("does not fit into memory", where=str(case.image),
                         remedy="Use a machine with more, or cut the image into parts")  # fmt: skip
    faults = getattr(error, "faults", (error,))
    return Failed(case.id, tuple(fault.at(str(case.image)) for fault in faults))
