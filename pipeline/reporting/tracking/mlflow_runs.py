"""Runs of MLflow: in a database in the run's folder, or on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.resolved import flow_text
from pipeline.errors import RunError
from pipeline.pacing import Allowance
from pipeline.reporting.tracking.figures import epoch_figures
from pipeline.run_content import MLFLOW_NOTE
from pipeline.runs import write_json

# Before MLflow is imported, and only where the user has not said otherwise: no message to its makers of what is done
# here, no chatter between the lines of a run, and no minutes of waiting for a server that has gone.
for _key, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}.items():  # fmt: skip
    os.environ.setdefault(_key, _value)

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException
except ImportError as error:
    raise ImportError(f"mlflow: {error}") from error

__all__ = ["MlflowRun", "store_of"]

_URI = "MLFLOW_TRACKING_URI"
_TAKES_S = 0.05  # to send an epoch, as a rule
_MOST_AT_ONCE = {"metrics": 1000, "params": 100}  # what MLflow takes in one message
_LONGEST = 500  # of a parameter's text: what every version of MLflow's server takes
_TOLD = "training/loss"  # every epoch has it


def store_of(folder: Path) -> str:
    """The address of the database in a run's folder."""
    return f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').resolve()}"


class MlflowRun:
    """A `Tracker` that keeps a run of MLflow; a fold's is nested in that of its run.

    Parameters
    ----------
    folder
        Of the run or of the fold: ``checkpoints/mlflow.json`` says which run of MLflow it is, to go on with.
    experiment
        Its name: that of the config.
    run_name
        Such as ``hipmri/003``.
    settings
        The config as plain values, which become parameters such as ``training.epochs``.
    parent
        The run that this one is a fold of.

    Raises
    ------
    RunError
        When the server does not answer.
    """

    name = "mlflow"

    def __init__(
        self, folder: Path, experiment: str, run_name: str, settings: Mapping[str, Any], parent: MlflowRun | None = None
    ) -> None:
        self._note = folder / MLFLOW_NOTE
        self._experiment, self._run_name, self._settings, self._parent = experiment, run_name, settings, parent
        self._store: Path = parent._store if parent else folder / "mlflow"
        self._uri = os.environ.get(_URI) or ""  # none: the database in the run's folder
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._told: set[int] = set()  # epochs
        self._allowance = Allowance(_TAKES_S)
        if self._uri and parent is None:
            self._knock()

    def _knock(self) -> None:
        try:
            self._connected().get_experiment_by_name(self._experiment)
        except MlflowException as error:
            raise RunError(f"MLflow does not answer: {' '.join(str(error).split()):.300}", where=f"{_URI}={self._uri}",
                           remedy="Start it, name another, or set report.tracker to none") from error  # fmt: skip

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Begin, or go on: every epoch that the run of MLflow lacks is told."""
        self._open()
        self._allowance = Allowance(_TAKES_S)
        self.epochs(history, all_now=True)

    def epochs(self, history: Sequence[Mapping[str, Any]], *, all_now: bool = False) -> None:
        """Tell the epochs that have not been told; in bundles, where sending takes long beside an epoch."""
        rows = [row for row in history if row["epoch"] not in self._told]
        if not rows or not (all_now or self._allowance.is_due):
            return
        client, now = self._open(), _milliseconds()
        metrics = [
            Metric(name, value, now, row["epoch"]) for row in rows for name, value in epoch_figures(row).items()
        ]  # fmt: skip
        with self._allowance.spending():
            for part in _parts(metrics, _MOST_AT_ONCE["metrics"]):
                client.log_batch(self._run_id, metrics=part)
        self._told.update(row["epoch"] for row in rows)

    def results(self, figures: Mapping[str, float]) -> None:
        """Tell the figures of the test cases."""
        client, now, step = self._open(), _milliseconds(), max(self._told, default=0)
        metrics = [Metric(name, value, now, step) for name, value in figures.items()]
        for part in _parts(metrics, _MOST_AT_ONCE["metrics"]):
            client.log_batch(self._run_id, metrics=part)

    def fold(self, number: int, folder: Path, config_text: str) -> MlflowRun:
        """A run of MLflow within this one."""
        settings = {**self._settings, "data": {**self._settings["data"], "fold": number}}
        return MlflowRun(folder, self._experiment, f"{self._run_name}, fold {number}", settings, self)

    def close(self, *, finished: bool) -> None:
        """End the run of MLflow."""
        if self._run_id:
            self._connected().set_terminated(self._run_id, "FINISHED" if finished else "KILLED")
            self._run_id = ""

    # The run of MLflow

    def _connected(self) -> MlflowClient:
        if self._client is None:
            logging.getLogger("alembic").setLevel(logging.WARNING)
            if not self._uri:
                self._store.mkdir(exist_ok=True)
            self._client = MlflowClient(self._uri or store_of(self._store.parent))
        return self._client

    def _open(self) -> MlflowClient:
        """The client, with the run begun or gone on with."""
        client = self._connected()
        if not self._run_id:
            known = json.loads(self._note.read_text(encoding="utf-8")) if self._note.exists() else {}
            if known.get("store") == self._uri:
                self._run_id = known["run"]
                client.update_run(self._run_id, status="RUNNING")
                self._told = {metric.step for metric in client.get_metric_history(self._run_id, _TOLD)}
            else:
                self._run_id = self._create(client)
                write_json(self._note, {"store": self._uri, "run": self._run_id})
        return client

    def _create(self, client: MlflowClient) -> str:
        tags = {"slicewise.folder": str(self._note.parents[1])}
        if self._parent is not None:
            self._parent._open()
            tags["mlflow.parentRunId"] = self._parent._run_id
        run = client.create_run(self._experiment_id(client), run_name=self._run_name, tags=tags)
        params = [Param(key[:250], text[:_LONGEST]) for key, text in _flat(self._settings)]
        for part in _parts(params, _MOST_AT_ONCE["params"]):
            client.log_batch(run.info.run_id, params=part)
        run_id: str = run.info.run_id
        return run_id

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is not None:
            experiment_id: str = found.experiment_id
            return experiment_id
        place = None if self._uri else (self._store / "artifacts").resolve().as_uri()
        created: str = client.create_experiment(self._experiment, artifact_location=place)
        return created


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The config as keys and texts: ``training.epochs``, ``transforms.prepare.0``."""
    if isinstance(value, Mapping) and value and "_target_" not in value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}.{place}")
    else:
        yield path, flow_text(value)


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
