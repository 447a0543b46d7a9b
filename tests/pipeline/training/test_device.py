"""Which device, and what it is called."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.training.device import choose_device, describe, tune_cpu
from pipeline.training.parallel import Ranks


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cuda") == torch.device("cuda")
    with pytest.raises(ConfigError, match="cuda:2 is not there: 2 CUDA devices"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError) as fault:
        choose_device("cuda")
    assert fault.value.where == "training.device"


def test_the_cpu_is_described_by_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        tune_cpu(2)
        assert describe(torch.device("cpu")).startswith("cpu (2 threads of ")
        tune_cpu(None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_each_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    second = Ranks(rank=5, count=8, local_rank=1, local_count=4)
    assert choose_device("auto", second) == choose_device("cuda", second) == torch.device("cuda:1")
    assert choose_device("cpu", second) == torch.device("cpu")
    with pytest.raises(ConfigError, match="cuda:1 cannot be shared by 4 processes"):
        choose_device("cuda:1", second)
    # One process a machine chooses as one alone does.
    assert choose_device("cuda:3", Ranks(1, 2, 0, 1)) == torch.device("cuda:3")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for rank in range(2):  # all of them say so, also the one that there is a GPU for
        with pytest.raises(ConfigError, match="2 processes of one machine need as many GPUs, and it has 1") as fault:
            choose_device("auto", Ranks(rank, 2, rank, 2))
        assert fault.value.where == "training.device"


def test_a_process_alone_on_its_machine_knows_its_gpu_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = Ranks(rank=1, count=2, local_rank=0, local_count=1)  # one process on each of two machines
    assert choose_device("auto", ranks) == choose_device("cuda", ranks) == torch.device("cuda:0")
    assert choose_device("cuda:1", ranks) == torch.device("cuda:1")
