"""Which device, and what it is called."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.training.device import choose_device, describe, tune_cpu


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
