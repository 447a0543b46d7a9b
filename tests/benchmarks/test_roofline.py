"""The least time of operations, counted by hand."""

from __future__ import annotations

import pytest
import torch

from benchmarks.machine import convolution_gflops, described, matmul_gflops, memory_gb_per_s
from benchmarks.roofline import needs_of

CPU = torch.device("cpu")
# A machine on which a product costs its arithmetic, and one on which it costs its memory.
BUSY = {"matmul_float32_gflops": 1.0, "convolution_float32_gflops": 0.5, "memory_gb_per_s": 1e9}
STARVED = {"matmul_float32_gflops": 1e9, "convolution_float32_gflops": 1e9, "memory_gb_per_s": 1.0}


def test_a_product_by_its_arithmetic_and_by_its_memory() -> None:
    one, other = torch.ones(10, 20), torch.ones(20, 30)
    needs = needs_of(lambda: one @ other)
    assert needs.operations == 2 * 10 * 20 * 30
    assert needs.seconds(BUSY) == pytest.approx(12_000 / 1e9)
    assert needs.bytes == 4 * (10 * 20 + 20 * 30 + 10 * 30)
    assert needs.seconds(STARVED) == pytest.approx(needs.bytes / 1e9)


def test_views_cost_nothing_and_a_sum_its_memory() -> None:
    one = torch.ones(8, 8)
    assert needs_of(lambda: one.view(64).reshape(4, 16).T).seconds(STARVED) == 0
    assert needs_of(lambda: one + one).bytes == 4 * 2 * 64  # the same tensor is read once


def test_a_gradient_is_counted_as_well() -> None:
    layer = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    image = torch.ones(2, 3, 8, 8)
    forward = 2 * 2 * 8 * 8 * 3 * 5 * 9
    assert needs_of(lambda: layer(image)).operations == forward
    # Backward: the weight's gradient alone, as the image needs none.
    assert needs_of(lambda: layer(image).sum().backward()).operations == 2 * forward


def test_the_machine_has_limits() -> None:
    found = [matmul_gflops(CPU, torch.float32, True), convolution_gflops(CPU, torch.float32, True),
             memory_gb_per_s(CPU, True)]  # fmt: skip
    assert all(0.1 < value < 1e5 for value in found)
    machine = described()
    assert 1 <= machine["cores_allowed"] <= machine["cores"] and machine["memory_bytes"] > 1e8
