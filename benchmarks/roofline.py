"""The least time that operations need on a machine: the roofline of Williams et al. (2009), operation by operation.

An operation takes at least as long as its arithmetic at the machine's best rate, and at least as long as reading what
goes in and writing what comes out at the memory's. What fits into a cache may be quicker than that, and operations that
a compiler joins read and write less: the share is a guide, not a law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Roofline(TorchDispatchMode):
    """Notes what every operation inside computes and moves.

    Attributes
    ----------
    needs
        Of each: floating-point operations, of products and convolutions alone; bytes read and written; and what it is
        computed in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.needs: list[tuple[int, int, str]] = []

    @property
    def operations(self) -> int:
        """Of all together."""
        return sum(operations for operations, _, _ in self.needs)

    @property
    def bytes(self) -> int:
        """Of all together."""
        return sum(moved for _, moved, _ in self.needs)

    def seconds(self, limits: Mapping[str, float]) -> float:
        """The least time of all together on a machine of such limits, see `benchmarks.machine`."""
        return sum(least_seconds(*need, limits) for need in self.needs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and note what it needs."""
        result = func(*args, **(kwargs or {}))
        if func.is_view:
            return result
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        count = flop_registry.get(func.overloadpacket)
        operations = int(count(*args, **(kwargs or {}), out_val=result)) if count is not None else 0
        moved = sum({id(tensor): tensor.nbytes for tensor in tensors}.values())
        dtype = "bfloat16" if any(one.dtype in (torch.bfloat16, torch.float16) for one in tensors) else "float32"
        self.needs.append((operations, moved, dtype))
        return result


def least_seconds(operations: float, moved: float, dtype: str, limits: Mapping[str, float]) -> float:
    """The longer of the two: arithmetic at the best measured rate, or memory.

    >>> machine = {"matmul_float32_gflops": 100.0, "convolution_float32_gflops": 80.0, "memory_gb_per_s": 10.0}
    >>> least_seconds(1e9, 1e6, "float32", machine), least_seconds(1e6, 1e9, "float32", machine)
    (0.01, 0.1)
    """
    best = max(limits[f"matmul_{dtype}_gflops"], limits[f"convolution_{dtype}_gflops"])
    return max(operations / best / 1e9, moved / limits["memory_gb_per_s"] / 1e9)


def needs_of(step: Callable[[], Any]) -> Roofline:
    """What one call computes and moves."""
    with Roofline() as roofline:
        step()
    return roofline
