"""Several processes that train one network: who each of them is, its share of the work, and what they tell each other.

Control messages are of the CPU, by gloo, so that none of them waits for a GPU; gradients of GPUs go by NCCL. PyTorch is
imported where there are several processes, and not before: one alone says what is wrong with a config at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pipeline.errors import ConfigError, RunError
from pipeline.training.ending import Ending
from pipeline.training.signals import hold_signals, ignore_signals

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ALONE", "Ranks"]

T = TypeVar("T")
_UNTIL_ALL_ARE_HERE = timedelta(minutes=30)
_PATIENCE = timedelta(hours=12)  # the first process may read and prepare for long while the others wait


class Ranks:
    """One of several processes, its rank counted from 0; the first one writes, and tells how it goes.

    What is said here to be of all processes has to be called by all of them, in the same order. Where there is one
    alone, nothing is sent anywhere.

    Parameters
    ----------
    rank, count
        Of this process, and of how many.
    local_rank, local_count
        The same among those of this machine.
    """

    def __init__(self, rank: int = 0, count: int = 1, local_rank: int = 0, local_count: int = 1) -> None:
        self.rank, self.count, self.local_rank, self.local_count = rank, count, local_rank, local_count

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """As torchrun tells it: RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE.

        Raises
        ------
        ConfigError
            When they do not fit together.
        """
        try:
            count = int(environment.get("WORLD_SIZE", "1"))
            if count == 1:
                return cls()
            rank, local_rank = int(environment["RANK"]), int(environment["LOCAL_RANK"])
            local_count = int(environment.get("LOCAL_WORLD_SIZE", count))
            if not 0 <= rank < count or not 0 <= local_rank < local_count <= count:
                raise ValueError(f"rank {rank} of {count}, {local_rank} of {local_count} on this machine")
            for name in ("MASTER_ADDR", "MASTER_PORT"):
                environment[name]
        except (KeyError, ValueError) as error:
            what = f"{error.args[0]} is not set" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"WORLD_SIZE is set, but {what}", where="environment", remedy="Start several processes "
                              "with torchrun --nproc-per-node N bin/run_pipeline CONFIG") from None  # fmt: skip
        return cls(rank, count, local_rank, local_count)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    @property
    def log_name(self) -> str:
        """The file of this process's log."""
        return "log.txt" if self.is_first else f"log-rank{self.rank}.txt"

    @contextmanager
    def together(self) -> Iterator[None]:
        """Join the others, and part from them at the end: a fault of one ends all, and is told once; see `Ending`.

        Raises
        ------
        RunError
            When they do not come, or one has gone without a word.
        Elsewhere
            In place of an error, where another process tells what happened.
        """
        if self.count == 1:
            yield
            return
        with hold_signals():
            import torch
            import torch.distributed as dist

            # Before there is a group: the functions in it take the group that there is when they are imported for a
            # default, and would keep it, with its threads, to the end of the process; see `Ending`.
            import torch.distributed.nn.functional

        try:
            store, _, _ = next(iter(dist.rendezvous("env://", timeout=_UNTIL_ALL_ARE_HERE)))
        except RuntimeError as error:
            where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            raise RunError(
                f"the {self.count} processes did not meet ({str(error).splitlines()[0]:.200})", where=where,
                remedy="Start all of them, with a free port of a machine that they reach",
            ) from error  # fmt: skip
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        ending = Ending(store, self.rank, self.count)
        with ending.told_once():
            dist.init_process_group(
                backend, store=dist.PrefixStore("group", store), rank=self.rank, world_size=self.count,
                timeout=_PATIENCE,
            )  # fmt: skip
            try:
                yield
            except BaseException:
                ignore_signals()  # torchrun sends one to all as soon as one has gone
                raise

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Let nothing but the first process print."""
        if self.is_first:
            yield
            return
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield

    # What the processes tell each other

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all; they wait for it."""
        if self.count == 1:
            return make()
        import torch.distributed as dist

        box: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(box, src=0)
        made: T = box[0]
        return made

    def gathered(self, value: T) -> list[T]:
        """The value of each process, for all."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        box: list[Any] = [None] * self.count
        dist.all_gather_object(box, value)
        return box

    def collected(self, results: Sequence[T]) -> list[T]:
        """What all processes made of the items that were `dealt`, in the order of the items, for all."""
        hands = self.gathered(list(results))
        return [hands[place % self.count][place // self.count] for place in range(sum(map(len, hands)))]

    def highest(self, values: Sequence[float]) -> list[float]:
        """The highest of each value of all processes, in one message."""
        return self._reduced(np.array(values, dtype=np.float64), "MAX").tolist()

    def total(self, values: np.ndarray) -> np.ndarray:
        """(N,) the sums over all processes, float64; the values themselves where there is one."""
        return self._reduced(values.astype(np.float64), "SUM") if self.count > 1 else values

    def wait(self) -> None:
        """Wait for all others to come here as well."""
        self.highest([0.0])

    def _reduced(self, values: np.ndarray, how: str) -> np.ndarray:
        if self.count == 1:
            return values
        import torch
        import torch.distributed as dist

        tensor = torch.from_numpy(values)
        dist.all_reduce(tensor, getattr(dist.ReduceOp, how))
        return tensor.numpy()

    @contextmanager
    def first_alone(self, wanted: bool = True) -> Iterator[None]:
        """Let the first process do something before the others do, such as to fill a folder that all use."""
        if wanted and not self.is_first:
            self.wait()
        yield
        if wanted and self.is_first:
            self.wait()

    # The share of each

    def dealt(self, items: Sequence[T]) -> Sequence[T]:
        """The share of this process in some items, which are dealt out like cards."""
        return items[self.rank :: self.count]

    def share(self, indices: np.ndarray) -> tuple[np.ndarray, float]:
        """The share of this process in a batch, and how much it counts.

        Parameters
        ----------
        indices
            (B,) of the batch of all processes together.

        Returns
        -------
        tuple
            (b,) indices, b >= 1, and the part b / B; where there are fewer than processes, those that go without take
            one that counts 0, so that every process makes every step.
        """
        own = indices[self.rank :: self.count]
        return (own, len(own) / len(indices)) if len(own) else (indices[:1], 0.0)

    def seed(self, base: int) -> int:
        """A seed for this process, which follows from one for all; that one itself for the first process."""
        if self.is_first:
            return base
        return int(np.random.SeedSequence([base, self.rank]).generate_state(1)[0]) % 2**31

    # The network

    def check_device(self, device: torch.device) -> None:
        """Let messages of GPUs go by this one; of all processes.

        Raises
        ------
        ConfigError
            When some processes have a GPU and others have none.
        """
        kinds = set(self.gathered(device.type))
        if len(kinds) > 1:
            raise ConfigError(f"the processes are on different devices: {', '.join(sorted(kinds))}",
                              where="training.device", remedy="Set it to cuda, or to cpu")  # fmt: skip
        if self.count > 1 and device.type == "cuda":
            import torch

            torch.cuda.set_device(device)

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """A network that averages its gradients over all processes; with the same weights, those of the first.

        On GPUs its BatchNorm layers are turned, in place, into those that take the statistics of the whole batch.
        """
        if self.count == 1:
            return network
        from torch import nn

        on_gpu = device.type == "cuda"
        if on_gpu:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return nn.parallel.DistributedDataParallel(network, device_ids=[device] if on_gpu else None)

    def follow_first(self, buffers: Iterable[torch.Tensor]) -> None:
        """Give all processes the buffers of the first, which each step has changed: the statistics of BatchNorm."""
        if self.count == 1:
            return
        import torch.distributed as dist

        for buffer in buffers:
            dist.broadcast(buffer, src=0)


ALONE = Ranks()
