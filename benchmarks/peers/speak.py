"""How a measured program is told what to do: JSON lines in, JSON lines out. It needs nothing but Python.

    {"job": "read", "with": {"folder": "..."}}    made ready, not timed       {"ready": true}
    {"run": true}                                 done once, and timed        {"seconds": 1.2, "peak_bytes": 5, ...}

With a request as its argument, a program makes ready and does it once, unasked, and ends. What it prints otherwise goes
to its standard error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Job = Callable[..., Callable[[], Any]]


def serve(jobs: Mapping[str, Job]) -> None:
    """Answer requests until there are none.

    Parameters
    ----------
    jobs
        Each makes ready, with the arguments of the request, what is then done again and again. That may return a value
        for JSON; a dictionary with ``seconds`` has timed itself.
    """
    if len(sys.argv) > 1:
        request = json.loads(sys.argv[1])
        jobs[request["job"]](**request["with"])()
        os._exit(0)  # what it has started is ended by whoever waits
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    way: Callable[[], Any] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "job" in request:
                way = jobs[request["job"]](**request["with"])
                answer: dict[str, Any] = {"ready": True}
            else:
                assert way is not None, "nothing was made ready"
                answer = measured(way)
        except Exception:  # told to whoever asked, who stops
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def measured(way: Callable[[], Any]) -> dict[str, Any]:
    """Do it once; the seconds, by the device's own events where there is a GPU, the result, and the peak memory."""
    seconds, result = timed(way)
    found: dict[str, Any] = {"seconds": seconds, "result": result, "peak_bytes": peak_bytes()}
    if isinstance(result, dict) and "seconds" in result:
        found["seconds"] = result["seconds"]
    if (cuda := cuda_in_use()) is not None:
        found["device_peak_bytes"] = cuda.max_memory_allocated()
    return found


def timed(way: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of doing it once; a GPU is waited for, and its events are the clock."""
    cuda = cuda_in_use()
    if cuda is None:
        began = time.perf_counter()
        result = way()
        return time.perf_counter() - began, result
    first, last = (cuda.Event(enable_timing=True) for _ in range(2))
    cuda.synchronize()
    first.record()
    result = way()
    last.record()
    cuda.synchronize()
    return first.elapsed_time(last) / 1e3, result


def cuda_in_use() -> Any:
    """torch.cuda where this program has begun to use a GPU; None elsewhere."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None


def peak_bytes() -> int:
    """The most memory that this process has held, since it is this program.

    `getrusage` would not do: on Linux it begins with what the process that started this one held.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cores_allowed() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
