"""The base of the project's error family: where it is, what is wrong, what to do."""

from __future__ import annotations

from typing import Any


class Fault(Exception):
    """Something that the user can mend.

    Parameters
    ----------
    what
        What is wrong, as a sentence without a full stop: what was found, and what was expected.
    where
        The file, or ``file:line: key``, that it concerns. Empty when there is none.
    remedy
        What to do about it, as a sentence without a full stop. Empty when nothing is to be said.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(_sentence(part) for part in (head, self.remedy) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword arguments are lost in pickling otherwise, and with them the fault of a worker process.
        return _restored, (type(self), self.what, self.where, self.remedy)

    def at(self, where: str) -> Fault:
        """The same fault with a place put on it, when it has none yet."""
        return self if self.where else type(self)(self.what, where=where, remedy=self.remedy)


def _sentence(text: str) -> str:
    """With one full stop at its end, also where a library's own words brought one along."""
    text = text.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _restored(kind: type[Fault], what: str, where: str, remedy: str) -> Fault:
    return kind(what, where=where, remedy=remedy)


class ImageFileError(Fault):
    """An image or label file that cannot be trusted."""


class ChainError(Fault):
    """A transform chain that cannot be built or run as it is written."""
