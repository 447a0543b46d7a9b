"""The device that a run uses, and what the CPU needs to be fast on it."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from pipeline.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES = 2**30


def choose_device(name: str) -> torch.device:
    """The device of ``training.device``: ``auto`` is a GPU when there is one.

    Raises
    ------
    ConfigError
        When a GPU is asked for that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"{name} is not there: {torch.cuda.device_count()} CUDA devices are", where="training.device",
            remedy="Set training.device: auto",
        )  # fmt: skip
    return device


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
