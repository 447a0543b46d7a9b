"""One error family for the user's faults, and the exit codes that it ends in."""

from __future__ import annotations

from collections.abc import Iterable

from transforms.faults import ChainError, Fault, ImageFileError

__all__ = [
    "ChainError", "ConfigError", "DataError", "EXIT_DEFECT", "EXIT_DONE", "EXIT_INTERRUPTED", "EXIT_USER", "Elsewhere",
    "Fault", "Faults", "ImageFileError", "Interrupted", "RunError", "raise_all",
]  # fmt: skip

EXIT_DONE = 0
EXIT_DEFECT = 1  # an error of this program
EXIT_USER = 2  # the user's config, arguments or data are wrong
EXIT_INTERRUPTED = 3  # stopped by a signal; can be resumed


class ConfigError(Fault):
    """A config, or an argument of a command, that cannot be run."""


class DataError(Fault):
    """Data that must not get as far as training."""


class RunError(Fault):
    """A run that cannot go on: no space, no memory, a loss that is not finite."""


class Interrupted(Exception):
    """A signal asked for a stop, and what is needed to go on has been saved."""


class Elsewhere(Exception):
    """Another process of the same run cannot go on, and tells why; this one ends with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"another process ended with exit code {code}")
        self.code = code


class Faults(Fault):
    """Several faults, told together.

    Parameters
    ----------
    faults
        At least one fault; those of a `Faults` among them are taken out of it.
    """

    faults: tuple[Fault, ...]

    def __init__(self, faults: Iterable[Fault]) -> None:
        flat: list[Fault] = []
        for fault in faults:
            flat += fault.faults if isinstance(fault, Faults) else (fault,)
        if not flat:
            raise ValueError("no fault to tell")
        super().__init__("; ".join(str(fault) for fault in flat))
        self.faults = tuple(flat)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)

    def __reduce__(self) -> tuple[type[Faults], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)

    def at(self, where: str) -> Faults:
        """The same faults, with a place put on each that has none yet."""
        return Faults([fault.at(where) for fault in self.faults])


def raise_all(faults: Iterable[Fault]) -> None:
    """Raise what was found: nothing, the one fault, or all of them together."""
    found = list(faults)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Faults(found)
