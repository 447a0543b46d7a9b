"""Two processes do what one does: the same gradients, the same validation, one end."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError, Interrupted, RunError
from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.validation import ScanDice
from tests.pipeline.training import ranks_worker as worker

ROOT = Path(__file__).resolve().parents[3]
FIRST = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "h", "MASTER_PORT": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def given(make_case: Callable[..., Any], make_bank: Callable[..., Any], tmp_path_factory: Any) -> dict[str, Any]:
    """16 slices of two sizes in batches of 5, 5, 5 and 1, of which one process has no share; three scans to choose by.

    No augmentation and no BatchNorm, so that the whole batch's loss is the mean over its slices.
    """
    import yaml

    from pipeline.config.load import load_config
    from tests.conftest import _CONFIG

    training = {
        "epochs": 3,
        "batch_size": 5,
        "learning_rate": 0.01,
        "device": "cpu",
        "precision": "float32",
        "ema": 0.5,
    }
    training |= {"clip_norm": 0.5}
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump({**_CONFIG, "training": training}), encoding="utf-8")
    bank = make_bank([make_case(f"t{n}", f"p{n}") for n in range(3)], [(8, 16, 16), (7, 16, 16), (1, 12, 20)])
    chosen = make_bank([make_case(f"v{n}", f"q{n}") for n in range(3)], [(3, 16, 16), (2, 16, 16), (5, 16, 16)], seed=9)
    return {"settings": load_config(path, (), {}).settings, "bank": bank, "chosen": chosen}


@pytest.fixture(scope="module")
def folder(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two processes leave what they find; a training of one process, stopped at step 2, is there before."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "given.pickle").write_bytes(pickle.dumps(given))
    trainer = worker.trainer_of(given, folder / "one-to-two")
    with pytest.raises(Interrupted):
        worker.fit(trainer, worker.StopAt(trainer, 2))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes found."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.pipeline.training.ranks_worker", str(folder)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, -signal.SIGKILL], said
    return [pickle.loads((folder / f"found-{rank}.pickle").read_bytes()) for rank in range(2)]


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_messages(found: list[dict[str, Any]]) -> None:
    first, second = found
    assert first["from_first"] == second["from_first"]
    for told in found:
        assert told["gathered"] == [0, 10]
        assert told["collected"] == [0, 1, 4, 9, 16, 25, 36]
        assert told["highest"] == [1.0, 0.0]
        assert told["total"] == [2.0, 1.0]
    assert first["seed"] == 5 != second["seed"]


def test_one_network_is_validated_to_the_same_figures(found: list[dict[str, Any]], given: dict[str, Any]) -> None:
    loss = worker.build_loss(given["settings"].loss)
    alone = ScanDice(given["chosen"], loss, worker.WINDOW)(worker.plain_network())
    assert [told["validation"] for told in found] == [(alone.loss, alone.dice.tolist())] * 2


def test_uneven_shares_make_the_steps_of_the_whole_batch(
    found: list[dict[str, Any]], given: dict[str, Any], tmp_path: Path
) -> None:
    trainer = worker.trainer_of(given, tmp_path)
    assert sorted(map(len, trainer._batches(0))) == [1, 5, 5, 5]
    begun = {name: value.clone() for name, value in trainer.step.network.state_dict().items()}
    alone = worker.fit(trainer)
    assert distance(alone["weights"], begun) > 0.02, "nothing was learnt: any gradient would do"
    assert distance(found[0]["whole"]["weights"], found[1]["whole"]["weights"]) == 0
    assert distance(found[0]["whole"]["weights"], alone["weights"]) < 1e-5
    for row, expected in zip(found[0]["whole"]["history"], alone["history"], strict=True):
        for name in ("epoch", "step", "learning_rate", "train_loss", "validation_loss", "validation_dice"):
            assert row[name] == pytest.approx(expected[name], abs=1e-5), name


def test_a_signal_to_one_process_stops_both_and_one_process_goes_on(
    found: list[dict[str, Any]], given: dict[str, Any], folder: Path
) -> None:
    assert [told["stopped"] for told in found] == ["SIGUSR1 at step 3"] * 2
    resumed = worker.trainer_of(given, folder / "two-to-one")
    resumed.resume()
    assert resumed.state.step == 3
    assert distance(worker.fit(resumed)["weights"], found[0]["whole"]["weights"]) < 1e-5


def test_two_processes_go_on_with_what_one_began(found: list[dict[str, Any]]) -> None:
    assert [told["resumed_at"] for told in found] == [2, 2]
    assert distance(found[0]["resumed"]["weights"], found[0]["whole"]["weights"]) < 1e-5


def test_both_come_to_the_end_of_a_time_at_the_same_step(found: list[dict[str, Any]]) -> None:
    assert found[0]["timed_steps"] == found[1]["timed_steps"] > 4


def test_a_loss_that_is_not_finite_in_one_process_stops_both(
    found: list[dict[str, Any]], given: dict[str, Any]
) -> None:
    assert found[0]["nan"] == found[1]["nan"]
    assert "the loss is nan at step 2" in found[0]["nan"]
    # The cases of the whole batch, not those of a share.
    trainer = worker.trainer_of(given, Path(os.devnull).parent)
    names = {given["bank"].cases[given["bank"].case[index]].id for index in trainer._batches(0)[2]}
    assert all(name in found[0]["nan"] for name in names)


def test_a_batch_smaller_than_the_processes_is_refused(found: list[dict[str, Any]]) -> None:
    for told in found:
        assert "1 slices cannot be shared out over 2 processes" in told["too_small"]
        assert "training.batch_size" in told["too_small"]


def test_a_process_that_is_killed_is_told_of_by_another(found: list[dict[str, Any]]) -> None:
    assert "another process of this run has ended without a word" in found[0]["lost"]


def test_checkpoints_are_those_of_the_bare_network_and_written_once(
    found: list[dict[str, Any]], folder: Path, given: dict[str, Any]
) -> None:
    saved = torch.load(folder / "whole" / "best.pt", weights_only=True)
    assert saved["network"].keys() == worker.plain_network().state_dict().keys()
    assert sorted(path.name for path in (folder / "whole").iterdir()) == ["best.pt", "last.previous.pt", "last.pt"]


PARTING = """
import sys
from pathlib import Path
from pipeline.training.parallel import Ranks

ranks = Ranks.from_environment()

def work():
    import torch  # not before the processes are together, as in bin/run_pipeline
    network = torch.nn.Linear(2, 1)
    parallel = ranks.parallel(network, torch.device("cpu"))
    parallel.circle = [parallel]  # freed by the garbage collector alone
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    parallel(torch.ones(3, 2)).mean().backward()
    optimizer.step()
    ranks.wait()
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]

with ranks.together():
    inside = work()
after = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
print(any("gloo" in name for name in inside), [name for name in after if "gloo" in name])
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of threads")
def test_no_thread_of_the_connections_outlives_them() -> None:
    """One that waits for the interpreter when that ends would abort the process."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PARTING], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in said] == ["True []\n"] * 2, said


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_make_up_the_batch(size: int, count: int) -> None:
    indices = np.arange(100, 100 + size)
    shares = [Ranks(rank, count, rank, count).share(indices) for rank in range(count)]
    assert sum(part for _, part in shares) == pytest.approx(1.0)
    assert all(len(own) for own, _ in shares)
    assert sorted(np.concatenate([own for own, part in shares if part])) == list(indices)
    assert all(part == len(own) / size for own, part in shares if part)


def test_the_environment_of_torchrun() -> None:
    assert Ranks.from_environment({}).count == 1
    assert Ranks.from_environment({"WORLD_SIZE": "1", "RANK": "0"}).is_first
    ranks = Ranks.from_environment(
        {**FIRST, "WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    )
    assert (ranks.rank, ranks.count, ranks.local_rank, ranks.local_count) == (5, 8, 1, 4)
    assert (ranks.log_name, ranks.is_first) == ("log-rank5.txt", False)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"RANK": None}, "RANK is not set"),
        ({"MASTER_PORT": None}, "MASTER_PORT is not set"),
        ({"RANK": "2"}, "rank 2 of 2"),
        ({"WORLD_SIZE": "two"}, "invalid literal"),
        ({"LOCAL_WORLD_SIZE": "3"}, "0 of 3 on this machine"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(changed: dict[str, str | None], told: str) -> None:
    environment = {name: value for name, value in {**FIRST, **changed}.items() if value is not None}
    with pytest.raises(ConfigError, match=told) as fault:
        Ranks.from_environment(environment)
    assert "torchrun" in str(fault.value)


def test_processes_that_do_not_meet_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.parallel._UNTIL_ALL_ARE_HERE", timedelta(seconds=1))
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="the 2 processes did not meet"), Ranks(1, 2, 1, 2).together():
        pytest.fail("there is nobody to join")


def test_one_process_alone_sends_nothing() -> None:
    with ALONE.together(), ALONE.quiet(), ALONE.first_alone():
        assert ALONE.from_first(lambda: 3) == 3
    values = np.array([1.5], dtype=np.float32)
    assert ALONE.total(values) is values
    network = worker.plain_network()
    assert ALONE.parallel(network, torch.device("cpu")) is network
    assert not torch.distributed.is_initialized()
