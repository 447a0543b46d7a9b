"""Precision: what is computed in it and what is not; a compiler that gives up is left, and nothing else is hidden."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.training import precision
from pipeline.training.precision import choose_precision, compiled, has_fast_bfloat16

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("fast", [False, True])
def test_auto_takes_bfloat16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: fast)
    assert choose_precision("auto", CPU).name == ("bfloat16" if fast else "float32")
    assert choose_precision("bfloat16", CPU).name == "bfloat16"
    assert choose_precision("float32", CPU).name == "float32"


@pytest.mark.parametrize(("instructions", "tiles"), [(False, False), (True, False), (False, True)])
def test_a_processor_is_asked_for_its_instructions(
    monkeypatch: pytest.MonkeyPatch, instructions: bool, tiles: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert has_fast_bfloat16(CPU) == (instructions or tiles)


def test_a_gpu_without_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old GPU")
    assert choose_precision("auto", GPU).name == "float32"
    with pytest.raises(ConfigError, match="Old GPU has no bfloat16"):
        choose_precision("bfloat16", GPU)


def test_layers_are_computed_in_it_and_weights_are_not() -> None:
    layer = nn.Conv2d(1, 2, 3)
    image = torch.randn(1, 1, 8, 8)
    with choose_precision("bfloat16", CPU)():
        low = layer(image)
    with choose_precision("float32", CPU)():
        full = layer(image)
    assert (low.dtype, full.dtype, layer.weight.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert torch.equal(full, layer(image))
    assert torch.allclose(low.float(), full, atol=0.05)
    assert not torch.equal(low.float(), full)


@pytest.mark.parametrize(
    ("wanted", "device", "made"),
    [("never", GPU, 0), ("auto", CPU, 0), ("auto", GPU, 1), ("always", CPU, 1)],
)
def test_where_a_network_is_compiled(
    monkeypatch: pytest.MonkeyPatch, wanted: str, device: torch.device, made: int
) -> None:
    asked: list[nn.Module] = []

    def compiler(network: nn.Module) -> nn.Module:
        asked.append(network)
        return network

    monkeypatch.setattr(torch, "compile", compiler)
    network = nn.Conv2d(1, 1, 1)
    call = compiled(network, wanted, device, pytest.fail)
    assert torch.equal(call(torch.ones(1, 1, 2, 2)), network(torch.ones(1, 1, 2, 2)))
    assert asked == [network] * made


def test_a_compiler_that_fails_is_left_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException

    assert issubclass(BackendCompilerFailed, TorchDynamoException)
    said: list[str] = []
    tried: list[int] = []

    def broken(network: nn.Module) -> object:
        def call(image: torch.Tensor) -> torch.Tensor:
            tried.append(1)
            raise TorchDynamoException("no C++ compiler was found\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    network = nn.Conv2d(1, 1, 1)
    call = compiled(network, "always", CPU, said.append)
    for _ in range(3):
        assert torch.equal(call(torch.ones(1, 1, 2, 2)), network(torch.ones(1, 1, 2, 2)))
    assert len(tried) == 1
    assert said == [
        "torch.compile cannot be used here (no C++ compiler was found): going on without it, which is slower"
    ]


def test_a_fault_of_the_network_is_no_fault_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", lambda network: network)
    call = compiled(Failing(), "always", CPU, pytest.fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        call(torch.ones(1))
