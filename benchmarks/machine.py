"""The machine: what it is, and what it can do at most. Runs as a program of its own, so that it starts afresh."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.peers.speak import cores_allowed, serve, timed

_REPEATS = 7


def described() -> dict[str, Any]:
    """Processor, cores, memory and system, as plain values."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": _processor(), "cores": os.cpu_count() or 1, "cores_allowed": cores_allowed(),
            "memory_bytes": pages, "system": platform.platform(terse=True)}  # fmt: skip


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def limits(quick: bool) -> Callable[[], dict[str, Any]]:
    """Make ready to measure what PyTorch reaches here at most, on the device that trains."""
    from pipeline.training.device import choose_device, describe, tune_cpu

    tune_cpu(None)
    device = choose_device("auto")

    return lambda: {"device": describe(device), **measured_limits(device, quick)}


def measured_limits(device: Any, quick: bool = False) -> dict[str, float]:
    """GFLOP/s of matrix products and convolutions in float32 and bfloat16, and GB/s of the memory."""
    import torch

    found = {}
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        found[f"matmul_{name}_gflops"] = matmul_gflops(device, dtype, quick)
        found[f"convolution_{name}_gflops"] = convolution_gflops(device, dtype, quick)
    return {**found, "memory_gb_per_s": memory_gb_per_s(device, quick)}


def matmul_gflops(device: Any, dtype: Any, quick: bool = False) -> float:
    """Of a square matrix product that is too large for the caches; two operations a multiplication with addition."""
    import torch

    side = (1024 if quick else 2048) if device.type == "cpu" else 8192
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2e-9 * side**3 / _median_seconds(lambda: one @ other, quick)


def convolution_gflops(device: Any, dtype: Any, quick: bool = False) -> float:
    """Of 3 x 3 kernels from 64 to 64 channels, without a gradient, channels last."""
    import torch

    batch, channels, height, width = (4 if quick else 16) if device.type == "cpu" else 256, 64, 128, 64
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(batch, channels, height, width, device=device, dtype=dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    operations = 2 * batch * height * width * channels * channels * 9
    with torch.inference_mode():
        return 1e-9 * operations / _median_seconds(lambda: layer(image), quick)


def memory_gb_per_s(device: Any, quick: bool = False) -> float:
    """Of a copy that is too large for the caches: what is read and what is written, together."""
    import torch

    numbers = 2**25 if quick else 2**27
    source = torch.zeros(numbers, device=device)
    target = torch.ones_like(source)
    return 2e-9 * source.nbytes / _median_seconds(lambda: target.copy_(source), quick)


def _median_seconds(way: Callable[[], Any], quick: bool) -> float:
    way()
    return statistics.median(timed(way)[0] for _ in range(3 if quick else _REPEATS))


if __name__ == "__main__":
    serve({"limits": limits})
