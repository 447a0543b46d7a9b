"""The nearest known name to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where none is like it.

    >>> nearest("Resize", ["Resized", "Rotated"])
    'Resized'
    >>> nearest("epoch", ["epochs", "seed"])
    'epochs'
    >>> nearest("xyz", ["epochs", "seed"]) is None
    True
    """
    by_fold = {option.lower(): option for option in known}
    matches = get_close_matches(name.lower(), by_fold, n=3, cutoff=0.6)
    if not matches:
        return None
    return by_fold[max(matches, key=lambda match: SequenceMatcher(None, name.lower(), match).ratio())]


def suggestion(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """A remedy for an unknown name: the nearest one, or the list of all when it is short."""
    options = sorted(known)
    match = nearest(name, options)
    if match is not None:
        return f"The nearest known name is {match!r}"
    if len(options) <= limit:
        return f"Known here: {', '.join(options)}"
    return f"Known here: {', '.join(options[:limit])} and {len(options) - limit} more"
