"""The device that a run uses, and what the CPU needs to be fast on it."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from pipeline.errors import ConfigError
from pipeline.training.parallel import ALONE, Ranks

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES = 2**30


def choose_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device of ``training.device``: ``auto`` is a GPU when there is one, and each process has one of its own.

    Raises
    ------
    ConfigError
        When a GPU is asked for that is not there, or one for several processes.
    """
    device = torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda" and (ranks.local_count > 1 or (ranks.count > 1 and device.index is None)):
        return _own_gpu(device, ranks)
    if name == "auto":
        return device
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"{name} is not there: {torch.cuda.device_count()} CUDA devices are", where="training.device",
            remedy="Set training.device: auto",
        )  # fmt: skip
    return device


def _own_gpu(device: torch.device, ranks: Ranks) -> torch.device:
    """The GPU of one of several processes of this machine, by its number among them."""
    if device.index is not None:
        raise ConfigError(f"{device} cannot be shared by {ranks.local_count} processes", where="training.device",
                          remedy="Set training.device: auto")  # fmt: skip
    if ranks.local_count > torch.cuda.device_count():
        raise ConfigError(
            f"{ranks.local_count} processes of one machine need as many GPUs, and it has {torch.cuda.device_count()}",
            where="training.device", remedy="Start as many processes as there are GPUs, or set training.device: cpu",
        )  # fmt: skip
    return torch.device("cuda", ranks.local_rank)


def tune_cpu(threads: int | None) -> None:
    """Set the number of threads, and make the allocator keep freed blocks.

    glibc gives each freed block back to the kernel, so that every training step pays for the same pages again; keeping
    them about doubled a UNet's rate on the CPU.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        # Some releases of glibc take no more than 32 MiB as the first threshold; 0 says that it was refused.
        if not libc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES):
            libc.mallopt(_M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _KEEP_BYTES - 1)


def describe(device: torch.device) -> str:
    """The device in words, for tables and provenance."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads of {os.cpu_count()} cores)"
