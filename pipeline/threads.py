"""How the threads of the numerical libraries wait for each other; to be said before those are imported."""

from __future__ import annotations

import os

__all__ = ["wait_briefly"]

# GNU OpenMP takes 300,000 by itself: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
_SPINS = "1000"
_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> None:
    """Let a thread that waits for the others sleep soon, unless the environment says how threads wait.

    The threads of GNU OpenMP, which PyTorch's Linux builds use on the CPU, keep their cores busy while they wait. Where
    anything else runs on those cores, such as what reads, prepares and writes beside a network, that is in its way.
    It has no effect once torch is imported.
    """
    if not any(name in os.environ for name in _BY_USER):
        os.environ["GOMP_SPINCOUNT"] = _SPINS
