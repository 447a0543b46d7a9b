"""The sections of a check, one after the other; a fault in one keeps none of the others that can still be made."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.commands.checks.findings import Findings, counted
from pipeline.commands.checks.readable import Readable
from pipeline.commands.checks.table import dataset_statistics, table_lines, table_values
from pipeline.commands.dataset import Dataset, find_dataset
from pipeline.commands.intake import Intake, divide
from pipeline.config.document import KeyFault
from pipeline.config.lenient import load_leniently
from pipeline.config.load import Config
from pipeline.config.notes import plugin_notes
from pipeline.config.suggestions import suggestion
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import examine_cases, knows_spacing
from pipeline.data.leakage.leaks import repeated_images
from pipeline.data.splitting.splits_file import absent_names, read_folds
from pipeline.errors import EXIT_DONE, EXIT_USER, ConfigError, Fault
from pipeline.progress import stage
from pipeline.reporting.tracking.choice import tracker_faults
from transforms.advice import advice


def run_checks(arguments: argparse.Namespace) -> int:
    """Make every section that can be made; gives the exit code: 2 where a run would be refused."""
    findings = Findings(as_json=arguments.json)
    config = check_config(findings, arguments)
    dataset = None if config is None else check_layout(findings, config, arguments)
    if dataset is not None:
        _check_case(dataset, arguments.case)
    readable = None if dataset is None else check_files(findings, dataset)
    if readable is not None and readable.facts:
        from pipeline.commands.checks.chain import check_chain  # PyTorch and MONAI, which take seconds to import

        check_chain(findings, readable, arguments)
    elif dataset is not None:
        findings.section("case", "not traced: no case could be read")
    findings.close()
    return EXIT_USER if findings.count("error") else EXIT_DONE


def _check_case(dataset: Dataset, name: str | None) -> None:
    """Refuse a ``--case`` that is none, before any file is read for it."""
    known = [case.id for case in dataset.cases]
    if name is not None and name not in known:
        raise ConfigError(f"no such case: {name!r}", where="--case", remedy=suggestion(name, known))


def check_config(findings: Findings, arguments: argparse.Namespace) -> Config | None:
    """The config's own faults, then those of its chains; the config as far as it can be used."""
    loaded = load_leniently(Path(arguments.config), arguments.overrides)
    of_chains = [fault for fault in loaded.faults if isinstance(fault, KeyFault) and fault.path[:1] == ("transforms",)]
    others = [fault for fault in loaded.faults if fault not in of_chains]
    others += tracker_faults(loaded.config) if loaded.config is not None else []
    findings.section("config", f"{arguments.config}: {_verdict(len(others))}")
    findings.faults(others)
    config = loaded.config
    entries = ([], []) if config is None else (config.settings.transforms.prepare, config.settings.transforms.augment)
    findings.section("chains", f"{counted(len(entries[0]), 'step')} prepare, {len(entries[1])} augment: "
                     f"{_verdict(len(of_chains))}" if config else _verdict(len(of_chains)))  # fmt: skip
    findings.faults(of_chains)
    if loaded.left_out:
        findings.note(f"what follows is found without {', '.join(loaded.left_out)}")
    for hint in advice(*entries, config.settings.data.classes) if config is not None and not of_chains else ():
        findings.note(hint)
    for line in plugin_notes(config) if config is not None else ():
        findings.note(line)
    if config is None:
        findings.note("the data cannot be looked at until the config can be read")
    return config


def _verdict(faults: int) -> str:
    return counted(faults, "error") if faults else "no error"


def check_layout(findings: Findings, config: Config, arguments: argparse.Namespace) -> Dataset | None:
    """Find the cases; what does not pair is told, and what pairs is gone on with."""
    faults: list[Fault] = []
    allowed = not arguments.no_stand_in
    try:
        dataset = find_dataset(config, arguments.overrides, allow_stand_in=allowed, faults=faults)
    except Fault as fault:
        findings.section("data", f"{config.settings.data.layout}: no dataset could be made of it")
        findings.faults([*faults, fault])
        return None
    used = dataset.config.settings.data
    synthetic = ", PHANTOM: synthetic images" if dataset.synthetic else ""
    channels = f", {dataset.channels} channels" if dataset.cases and dataset.channels > 1 else ""
    root = dataset.config.locate(used.root)
    findings.section("data", f"{used.layout}, {counted(len(dataset.cases), 'case')}{channels} in {root}{synthetic}")
    findings.values(layout=used.layout, root=str(root), cases=len(dataset.cases), synthetic=dataset.synthetic)
    findings.faults(faults)
    return dataset if dataset.cases else None


def check_files(findings: Findings, dataset: Dataset) -> Readable:
    """Read every file, divide the dataset, and print its table."""
    began = time.perf_counter()
    with stage("check", len(dataset.cases), "cases") as progress:
        examination = examine_cases(dataset.config, dataset.cases, progress.advance)
    seconds = time.perf_counter() - began
    facts = {fact.case: fact for fact in examination.facts}
    broken = len(dataset.cases) - len(facts)
    told = f"{counted(broken, 'case')} of {len(dataset.cases)} with faults" if broken else "read whole, no fault"
    findings.section("files", told)
    findings.faults(examination.faults)
    intake = _divided(findings, dataset, facts)
    sides = {"all": dataset.cases} if intake is None else intake.split.sides()
    statistics = dataset_statistics(sides, facts)
    if statistics:
        classes = dataset.config.settings.data.classes
        findings.section("table")
        findings.lines(table_lines(statistics, classes, known_spacing=knows_spacing(dataset.config)))
        findings.values(sides=table_values(statistics, classes))
    return Readable(dataset, facts, intake, seconds)


def _divided(findings: Findings, dataset: Dataset, facts: Mapping[str, CaseFacts]) -> Intake | None:
    """The dataset as a run would divide it; where it cannot, as far as that goes, with every reason told."""
    kind = dataset.config.settings.splits.kind
    if not facts:
        findings.section("split", f"{kind}: not judged, for no case could be read")
        return None
    try:
        intake = divide(dataset, facts)
    except Fault as fault:
        findings.section("split", f"{kind}: it cannot be used as it is")
        findings.faults([fault])
        return _divided_as_far_as_it_goes(findings, dataset, facts, str(fault))
    findings.section("split", f"{kind}: {_sides_text(intake)}")
    findings.values(kind=kind, folds=intake.split_json())
    for warning in intake.warnings:
        findings.warning(warning)
    return intake


def _sides_text(intake: Intake) -> str:
    if intake.folds:
        patients = len({case.patient for case in intake.tested})
        return f"{len(intake.folds)} folds, which test {counted(patients, 'patient')}; the sides below are fold 0's"
    return ", ".join(
        f"{side} {counted(len({case.patient for case in cases}), 'patient')}"
        for side, cases in intake.split.sides().items()
    )


def _divided_as_far_as_it_goes(
    findings: Findings, dataset: Dataset, facts: Mapping[str, CaseFacts], told: str
) -> Intake | None:
    """The sides of a faulty split without the cases that it lacks, and the leaks that were not looked for yet."""
    config = dataset.config
    splits = config.settings.splits.model_copy(update={"allow_leakage": True})
    lenient = replace(config, settings=config.settings.model_copy(update={"splits": splits}))
    try:
        cases = (*dataset.cases, *_absent_cases(config, dataset.cases))
        intake = divide(replace(dataset, config=lenient, cases=cases), facts)
    except Fault:  # the split gives no sides at all: what keeps it from that was told
        return None
    findings.values(kind=config.settings.splits.kind, folds=intake.split_json())
    for part in intake.parts:
        try:
            repeated_images(config, part.split, list(facts.values()))
        except Fault as fault:
            found = getattr(fault, "faults", (fault,))
            findings.faults([one for one in found if str(one) not in told])
            told += str(fault)
    return intake


def _absent_cases(config: Config, cases: Sequence[Case]) -> list[Case]:
    """What stands for the cases that a splits file names and the data lack."""
    splits = config.settings.splits
    if splits.kind != "file":
        return []
    path = config.locate(config.settings.data.root) / Path(str(splits.file)).expanduser()
    return [Case(name, Path(name), None, name, name) for name in absent_names(read_folds(path), cases)]
