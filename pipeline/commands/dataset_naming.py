"""Whose masks are, by the dataset of a config: names of flat files no longer say what its folders or table did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.config.load import Config
from pipeline.data.cases import Case
from pipeline.data.layouts import look_for_cases, tells_patients
from pipeline.errors import Fault
from pipeline.evaluation.pairing import Identity, Naming

__all__ = ["with_dataset"]


def with_dataset(naming: Naming, config: Config, given: Mapping[str, str]) -> Naming:
    """Add what a config's dataset says of its cases, where that is more than their names do; no image is read.

    In the layouts ``folders`` and ``table`` patients and scans come from paths and columns, while a run's predictions
    are named ``p01_week1`` for ``p01/week1``. Where the dataset is not there, the config's expressions are tried on the
    names; those that speak of folders are not, since they could only find something else.

    Parameters
    ----------
    naming
        With the config's own expressions.
    config
        Of the dataset.
    given
        Expressions of the command line, by what they find; they come before what the dataset says.
    """
    data = config.settings.data
    patterns = {"patient": data.patient, "scan": data.scan}
    if not (data.layout == "table" or (data.layout == "folders" and any(patterns.values()))):
        return naming
    cases, problem = _cases(config)
    known = _identities(config, cases, Naming(patient=given.get("patient"), scan=given.get("scan")))
    wanted = [name for name, pattern in patterns.items() if name not in given and "/" in (pattern or "")]
    if data.layout != "folders" or not wanted:
        return replace(naming, known=known)
    keys = " and ".join(f"data.{name}" for name in wanted)
    options = " and ".join(f"--{name} REGEX" for name in wanted)
    why = f"the dataset was not found ({problem})" if problem else "they are not of the config's dataset"
    return replace(naming, known=known, unknown=(
        f"{keys} of the config speaks of paths below data.images, and {why}. Say where it is in data.root, or give "
        f"{options} for the names as they are"
    ))  # fmt: skip


def _cases(config: Config) -> tuple[Sequence[Case], str]:
    """The cases of a dataset that have no fault; what is wrong where there are none."""
    try:
        cases, faults = look_for_cases(config)
    except Fault as fault:
        return [], _told(getattr(fault, "faults", (fault,))[0])
    return cases, "" if cases or not faults else _told(faults[0])


def _told(fault: Fault) -> str:
    """Without its remedy, which is not the one that is wanted here."""
    return f"{fault.where}: {fault.what}"


def _identities(config: Config, cases: Sequence[Case], given: Naming) -> dict[str, Identity]:
    """What is known of each case by its id, less those in whose ids an expression of the command line finds nothing."""
    data = config.settings.data
    known = {}
    for case in cases:
        named = given.identity(case.id)
        if named is None:
            continue
        scan = named.scan if given.scan else case.scan
        of_scan = given.scan or data.scan or data.layout == "table"
        patient = case.patient if tells_patients(config) else (scan if of_scan else case.id)
        known[case.id] = Identity(case.id, named.patient if given.patient else patient, scan)
    return known
