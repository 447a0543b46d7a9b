"""bin/run_pipeline: prepare, train, predict the test split, evaluate and report, from one YAML file."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pipeline.commands.arguments import (
    add_config_arguments,
    add_voice_arguments,
    command_parser,
    guarded,
    how_to_go_on,
    voice_of,
)
from pipeline.commands.dataset import Dataset, open_dataset
from pipeline.config.load import load_config
from pipeline.config.notes import plugin_notes
from pipeline.config.printed import printed_text
from pipeline.config.resolved import changed_keys, resolved_text
from pipeline.data.splitting.splits import split_folds
from pipeline.errors import EXIT_DONE, EXIT_USER, ConfigError, Elsewhere, Fault, Interrupted
from pipeline.reporting.tracking.choice import opened_trackers
from pipeline.reporting.tracking.trackers import NO_TRACKERS, Trackers
from pipeline.run_lock import sole_process
from pipeline.runs import RunLog, create_run_folder, discard_untrained, existing_run_folder, write_text
from pipeline.terminal import result, say
from pipeline.training.parallel import Ranks
from pipeline.training.signals import hold_signals, interrupt_on_signals

EPILOG = """examples:
  bin/run_pipeline configs/phantom.yaml
  bin/run_pipeline configs/hipmri.yaml --set data.root=/data/hipmri
  bin/run_pipeline configs/folders.yaml --set data.images=DIR --set data.labels=DIR
  bin/run_pipeline configs/hippocampus.yaml --set data.fold=all
  bin/run_pipeline configs/hipmri.yaml --resume
  torchrun --nproc-per-node 4 bin/run_pipeline configs/hipmri.yaml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser("bin/run_pipeline", "Train, test and report a 2D network from one YAML file.", EPILOG)
    add_config_arguments(parser)
    add_voice_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder; else runs/<name>/<number>")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the newest run of this config, or that in --out"
    )
    parser.add_argument("--no-stand-in", action="store_true", help="stop when the data are missing")
    parser.add_argument("--print-config", action="store_true", help="show every value and where it comes from; no run")
    arguments = parser.parse_args(argv)
    command = ["bin/run_pipeline", *(sys.argv[1:] if argv is None else argv)]
    hint = f"bin/check {shlex.quote(arguments.config)}, with the same --set, tells all that is wrong at once."
    return guarded(
        lambda: _run(arguments, command), show_traceback=arguments.traceback, hint=hint, voice=voice_of(arguments)
    )  # fmt: skip


def _run(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    ranks = Ranks.from_environment()
    if arguments.print_config:
        with ranks.quiet():
            print(printed_text(load_config(Path(arguments.config), arguments.overrides)), end="")
        return EXIT_DONE
    folders: list[Path] = []
    try:
        with ranks.together(), ranks.quiet():
            return _run_with(ranks, arguments, command, time.time(), folders)
    except Elsewhere as other:
        if ranks.is_first and other.code == EXIT_USER:  # refused, but by another process
            for folder in folders:
                discard_untrained(folder)
        raise


def _run_with(
    ranks: Ranks, arguments: argparse.Namespace, command: Sequence[str], started: float, folders: list[Path]
) -> int:  # fmt: skip
    """Run in this process, which may be one of several; the run's folder is noted in `folders`."""
    with interrupt_on_signals():
        dataset, folder = ranks.from_first(lambda: _opened(arguments))
        folders.append(folder)
        with sole_process(folder) if ranks.is_first else nullcontext():
            table = _work(ranks, dataset, folder, command, started, resume=arguments.resume)
    result(f"\n{table}\n\nReport: {folder / 'report.html'}")
    return EXIT_DONE


def _work(
    ranks: Ranks, dataset: Dataset, folder: Path, command: Sequence[str], started: float, *, resume: bool
) -> str:  # fmt: skip
    """All that is done in the run's folder; gives the table for the terminal."""
    log = RunLog(folder / ranks.log_name)
    log(f"started: {shlex.join(command)}")
    say(f"{dataset.name}: {len(dataset.cases)} cases -> {folder}")
    try:
        with _trackers(ranks, dataset, log) as trackers:
            table = _stages(ranks, dataset, folder, log, command, started, trackers, resume=resume)
    except (Interrupted, KeyboardInterrupt) as stop:
        name = str(stop) or "SIGINT"
        log(f"stopped by {name}")
        raise Interrupted(f"{name}; {how_to_go_on(folder)}") from None
    except Fault:
        if ranks.is_first:
            discard_untrained(folder)
        raise
    log("finished")
    return table


def _trackers(ranks: Ranks, dataset: Dataset, log: RunLog) -> AbstractContextManager[Trackers]:
    """What the first process tells how it goes, beside its own log."""
    if not ranks.is_first:
        return nullcontext(NO_TRACKERS)
    return opened_trackers(dataset.config, f"{dataset.name}/{log.path.parent.name}", log)


def _opened(arguments: argparse.Namespace) -> tuple[Dataset, Path]:
    """The dataset and the run's folder."""
    dataset = open_dataset(Path(arguments.config), arguments.overrides, allow_stand_in=not arguments.no_stand_in)
    split_folds(dataset.config, dataset.cases)  # what is wrong with the patients is told before any file is read
    return dataset, _folder(dataset, arguments)


def _stages(
    ranks: Ranks, dataset: Dataset, folder: Path, log: RunLog, command: Sequence[str], started: float,
    trackers: Trackers, *, resume: bool,
) -> str:  # fmt: skip
    """From the files to the report; gives the table for the terminal."""
    # From here on PyTorch and MONAI are needed, which take seconds to import.
    with hold_signals():
        from pipeline.commands.folds import side_text, train_and_test, train_folds
        from pipeline.commands.intake import take_in
        from pipeline.commands.outcome import conclude
        from pipeline.commands.stages import keep_to_data
        from pipeline.training.device import choose_device, describe, tune_cpu

    settings = dataset.config.settings
    tune_cpu(settings.training.threads)
    device = choose_device(settings.training.device, ranks)
    ranks.check_device(device)
    log(f"device: {describe(device)}" + (f", process {ranks.rank} of {ranks.count}" if ranks.count > 1 else ""))
    for note in plugin_notes(dataset.config):
        log.say(f"plugin: {note}")
    intake = ranks.from_first(lambda: take_in(dataset))
    folds = len(intake.folds)
    log.say(f"split: {folds} folds, which test {len(intake.tested)} cases" if folds else f"split: {side_text(intake)}")
    for warning in intake.warnings:
        log.say(f"warning: {warning}")
    if ranks.is_first:
        keep_to_data(folder, intake, resume=resume)
    if folds:
        trained = train_folds(intake, folder, device, log, resume=resume, ranks=ranks, trackers=trackers)
    else:
        masks = folder / "predictions"
        trained = [train_and_test(intake, folder, masks, device, log, resume=resume, ranks=ranks, trackers=trackers)]
    table = ""
    if ranks.is_first:
        table = conclude(
            intake, trained, folder, command=command, device=describe(device), started=started, resumed=resume,
            processes=ranks.count, trackers=trackers,
        )  # fmt: skip
    ranks.wait()  # for the first one: it may fail yet
    return table


def _folder(dataset: Dataset, arguments: argparse.Namespace) -> Path:
    text, root, out = resolved_text(dataset.config), dataset.config.project_root, arguments.out
    if arguments.resume:
        out = existing_run_folder(root, dataset.name, out)
    if not arguments.resume or not (out / "config.yaml").exists():  # a run begins when its config is written
        folder = create_run_folder(root, dataset.name, out)
        write_text(folder / "config.yaml", text)
        return folder
    folder = out
    if changed := changed_keys(folder / "config.yaml", text):
        raise ConfigError(
            f"the config is not the one that the run was started with: {', '.join(changed)}",
            where=str(folder / "config.yaml"),
            remedy="Resume with the same file and --set, or start a new run without --resume",
        )  # fmt: skip
    if (folder / "report.html").exists():
        raise ConfigError("the run is finished", where=str(folder), remedy="Start a new one without --resume")
    return folder
