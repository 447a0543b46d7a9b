"""The trackers that a config asks for: whether they can be had, and how they begin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from pipeline.config.load import Config
from pipeline.config.report_settings import TrackerName
from pipeline.config.resolved import plain_values, resolved_text
from pipeline.errors import ConfigError, raise_all
from pipeline.reporting.tracking.trackers import Tracker, Trackers
from pipeline.runs import RunLog
from pipeline.training.signals import hold_signals

__all__ = ["check_trackers", "opened_trackers", "tracker_faults"]

_INSTALL = ".venv/bin/pip install -e '.[tracking]' -c constraints.txt, or set report.tracker to none"


def tracker_faults(config: Config) -> list[ConfigError]:
    """What report.tracker asks for and is not installed."""
    found = []
    for name in config.settings.report.trackers:
        missing = [module for module in _modules(name) if find_spec(module) is None]
        if missing:
            found.append(ConfigError(
                f"{name} needs what is not installed: {', '.join(missing)}", where=config.where("report", "tracker"),
                remedy=_INSTALL,
            ))  # fmt: skip
    return found


def check_trackers(config: Config) -> None:
    """Refuse what `tracker_faults` finds."""
    raise_all(tracker_faults(config))


def _modules(name: TrackerName) -> tuple[str, ...]:
    if name == "tensorboard":
        return ("tensorboard",)
    # Its store in the run's folder is a database; where the environment names a server, that one has its own.
    return ("mlflow",) if os.environ.get("MLFLOW_TRACKING_URI") else ("mlflow", "sqlalchemy", "alembic")


@contextmanager
def opened_trackers(config: Config, run_name: str, log: RunLog) -> Iterator[Trackers]:
    """The trackers of a run, which lies where its log does; they are closed with the run's end, however it comes.

    Raises
    ------
    ConfigError
        When one cannot be imported.
    RunError
        When a server does not answer: at the start of a run this can be mended.
    """
    check_trackers(config)
    folder, text = log.path.parent, resolved_text(config)
    trackers: list[Tracker] = []
    try:
        for name in config.settings.report.trackers:
            with hold_signals():  # a library that is interrupted while it is imported may abort the process
                if name == "tensorboard":
                    from pipeline.reporting.tracking.event_files import EventFiles
                else:
                    from pipeline.reporting.tracking.mlflow_runs import MlflowRun
            if name == "tensorboard":
                trackers.append(EventFiles(folder, run_name, text))
            else:
                trackers.append(MlflowRun(folder, config.settings.name, run_name, plain_values(config.settings)))
    except ImportError as error:
        raise ConfigError(
            f"{name} cannot be imported ({error})", where=config.where("report", "tracker"), remedy=_INSTALL
        ) from error  # fmt: skip
    all_of_them, finished = Trackers(trackers, log.say), False
    try:
        yield all_of_them
        finished = True
    finally:
        all_of_them.close(finished=finished)
