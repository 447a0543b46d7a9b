"""Runs of MLflow, read back by its own client from the database in the run's folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="needs mlflow: pip install -e '.[tracking]' -c constraints.txt")
pytest.importorskip("sqlalchemy", reason="needs sqlalchemy: pip install -e '.[tracking]' -c constraints.txt")
pytest.importorskip("alembic", reason="needs alembic: pip install -e '.[tracking]' -c constraints.txt")

from pipeline.errors import RunError
from pipeline.reporting.tracking.figures import epoch_figures
from pipeline.reporting.tracking.mlflow_runs import MlflowClient, MlflowRun, store_of
from pipeline.runs import create_run_folder

CLASSES = ("background", "bone", "rectum")
SETTINGS = {
    "name": "small", "training": {"epochs": 4, "budget": None}, "data": {"classes": list(CLASSES), "fold": "all"},
    "transforms": {"prepare": [{"_target_": "LoadImaged", "keys": ["image"]}, {"_target_": "ToTensord"}]},
    "network": {"_target_": "UNet", "channels": [4, 8]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without a run: it takes seconds to make one."""
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "mlflow").mkdir()
    MlflowClient(store_of(folder)).search_experiments()
    return folder / "mlflow"


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copytree(empty_store, tmp_path / "run/mlflow")
    (tmp_path / "run/checkpoints").mkdir()
    return tmp_path / "run"


@pytest.fixture
def history(make_epoch: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    return [make_epoch(number, CLASSES) for number in (1, 2, 3, 4)]


def runs_in(folder: Path) -> list[Any]:
    client = MlflowClient(store_of(folder))
    experiment = client.get_experiment_by_name("small")
    return list(client.search_runs([experiment.experiment_id]))


def metrics_of(folder: Path, run_id: str) -> dict[str, list[tuple[int, float]]]:
    client = MlflowClient(store_of(folder))
    names = client.get_run(run_id).data.metrics
    return {name: [(one.step, one.value) for one in client.get_metric_history(run_id, name)] for name in names}


def expected(history: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    return {name: [(row["epoch"], epoch_figures(row)[name]) for row in history] for name in epoch_figures(history[0])}


def test_a_run_from_its_beginning_to_its_end(folder: Path, history: list[dict[str, Any]]) -> None:
    tracker = MlflowRun(folder, "small", "small/001", SETTINGS)
    tracker.begin([])
    (run,) = runs_in(folder)
    assert run.info.status == "RUNNING"
    tracker.epochs(history, all_now=True)
    tracker.results({"test/dice_per_scan": 0.5})
    tracker.close(finished=True)
    (run,) = runs_in(folder)
    assert (run.info.run_name, run.info.status) == ("small/001", "FINISHED")
    assert metrics_of(folder, run.info.run_id) == expected(history) | {"test/dice_per_scan": [(4, 0.5)]}
    assert run.data.params == {
        "name": "small", "training.epochs": "4", "training.budget": "null",
        "data.classes": "[background, bone, rectum]", "data.fold": "all",
        "transforms.prepare.0": "{_target_: LoadImaged, keys: [image]}",
        "transforms.prepare.1": "{_target_: ToTensord}",
        "network": "{_target_: UNet, channels: [4, 8]}",
    }  # fmt: skip
    assert run.info.artifact_uri.startswith((folder / "mlflow/artifacts").as_uri())


def test_epochs_gather_where_sending_takes_long(folder: Path, history: list[dict[str, Any]]) -> None:
    tracker = MlflowRun(folder, "small", "small/001", SETTINGS)
    tracker.begin([])
    tracker.epochs(history[:2])  # at once after the beginning: nothing may be spent yet
    (run,) = runs_in(folder)
    assert run.data.metrics == {}
    tracker.epochs(history[:3], all_now=True)
    assert metrics_of(folder, run.info.run_id) == expected(history[:3])
    tracker.close(finished=True)


@pytest.mark.parametrize(("told", "kept"), [(2, 2), (1, 2), (3, 2)], ids=["all", "not the last", "more than was kept"])
def test_going_on_appends_to_the_same_run(folder: Path, history: list[dict[str, Any]], told: int, kept: int) -> None:
    first = MlflowRun(folder, "small", "small/001", SETTINGS)
    first.begin([])
    first.epochs(history[:told], all_now=True)
    first.close(finished=False)
    (stopped,) = runs_in(folder)
    assert stopped.info.status == "KILLED"
    again = MlflowRun(folder, "small", "small/001", SETTINGS)
    again.begin(history[:kept])
    (run,) = runs_in(folder)
    assert run.info.status == "RUNNING"
    again.epochs(history, all_now=True)
    again.close(finished=True)
    (run,) = runs_in(folder)
    assert run.info.run_id == stopped.info.run_id
    assert metrics_of(folder, run.info.run_id) == expected(history), "each epoch once"


def test_folds_are_nested_in_their_run(folder: Path, history: list[dict[str, Any]]) -> None:
    parent = MlflowRun(folder, "small", "small/001", SETTINGS)
    (folder / "fold_1/checkpoints").mkdir(parents=True)
    fold = parent.fold(1, folder / "fold_1", "")
    fold.begin([])
    fold.epochs(history, all_now=True)
    fold.close(finished=True)
    parent.results({"test/dice_per_scan": 0.25})
    parent.close(finished=True)
    runs = {run.info.run_name: run for run in runs_in(folder)}
    assert set(runs) == {"small/001", "small/001, fold 1"}
    assert runs["small/001, fold 1"].data.tags["mlflow.parentRunId"] == runs["small/001"].info.run_id
    assert runs["small/001, fold 1"].data.params["data.fold"] == "1"
    assert runs["small/001"].data.metrics == {"test/dice_per_scan": 0.25}


def test_a_server_that_does_not_answer_is_told_at_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody is at the port for discarding
    with pytest.raises(RunError, match=r"MLFLOW_TRACKING_URI=http://127.0.0.1:9: MLflow does not answer"):
        MlflowRun(folder, "small", "small/001", SETTINGS)


def test_the_store_that_the_environment_names(
    folder: Path, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, history: list[dict[str, Any]]
) -> None:
    elsewhere = tmp_path / "shared"
    shutil.copytree(empty_store, elsewhere / "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_of(elsewhere))
    tracker = MlflowRun(folder, "small", "small/001", SETTINGS)
    tracker.begin(history)
    tracker.close(finished=True)
    (run,) = runs_in(elsewhere)
    assert json.loads((folder / "checkpoints/mlflow.json").read_text()) == {
        "store": store_of(elsewhere), "run": run.info.run_id,
    }  # fmt: skip
    assert metrics_of(elsewhere, run.info.run_id) == expected(history)


def test_another_run_in_the_folder_of_a_refused_one_is_a_run_of_its_own(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shared = tmp_path / "run", tmp_path / "shared"
    shutil.copytree(empty_store, shared / "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_of(shared))
    for epochs in (4, 2):
        create_run_folder(tmp_path, "small", folder)
        (folder / "config.yaml").write_text(f"training: {{epochs: {epochs}}}")
        tracker = MlflowRun(folder, "small", "small/001", {"training": {"epochs": epochs}})
        tracker.begin([])
        tracker.close(finished=False)
    assert sorted(run.data.params["training.epochs"] for run in runs_in(shared)) == ["2", "4"]


def test_nothing_is_reported_to_the_makers_of_mlflow() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"]
