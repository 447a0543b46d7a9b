"""What a check finds, as it finds it: lines for people, or one JSON value for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.errors import Fault, Faults
from pipeline.terminal import columns, is_quiet, painted, result, wrapped

_NAME_WIDTH = 12
_LEVELS = ("error", "warning", "note")
_SHOWN = 30  # faults of one section on a terminal; the JSON has all


class Findings:
    """Collects a check's findings section by section, and prints them at once where people read.

    Parameters
    ----------
    as_json
        Print nothing until `close`, and then one JSON value.

    Attributes
    ----------
    sections
        ``{name: values}``: the figures of each section, ready for JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.sections: dict[str, Any] = {}
        self._found: list[dict[str, str]] = []
        self._section = ""

    def section(self, name: str, summary: str = "") -> None:
        """Begin a section, with the line that sums it up."""
        self._section = name
        self.sections.setdefault(name, {})
        self._told(name, "heading", summary)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines of the present section."""
        for line in lines:
            self._print(" " * _NAME_WIDTH + line if line else "")

    def values(self, **values: Any) -> None:
        """Keep figures of the present section for the JSON."""
        self.sections[self._section] |= values

    def faults(self, faults: Iterable[Fault]) -> None:
        """Tell faults, each an error of the present section."""
        flat = [one for fault in faults for one in (fault.faults if isinstance(fault, Faults) else (fault,))]
        for number, fault in enumerate(flat):
            self._add("error", fault.what, fault.where, fault.remedy)
            if number < _SHOWN:
                self._told("  error", "error", str(fault), always=True)
        if len(flat) > _SHOWN:
            self._told("  error", "error", f"{len(flat) - _SHOWN} more; --json has them all", always=True)

    def warning(self, text: str) -> None:
        """Tell something that a reader of the results should know."""
        self._add("warning", text)
        self._told("  warning", "warning", _sentence(text), always=True)

    def note(self, text: str) -> None:
        """Tell something that may be of use."""
        self._add("note", text)
        self._told("  note", "plain", _sentence(text))

    def count(self, level: str) -> int:
        """How many findings of a level there are."""
        return sum(found["level"] == level for found in self._found)

    def close(self) -> None:
        """The verdict: its last line, or the whole as JSON."""
        counts = {level: self.count(level) for level in _LEVELS}
        if self.as_json:
            value = {"format": 1, "counts": counts, "findings": self._found, **self.sections}
            print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))
            return
        told = ", ".join(counted(number, level) for level, number in counts.items() if number and level != "note")
        verdict = "a run would be refused" if counts["error"] else "a run can start"
        self._told("verdict", "heading", f"{told}: {verdict}" if told else f"nothing is wrong: {verdict}", always=True)

    def _add(self, level: str, what: str, where: str = "", remedy: str = "") -> None:
        found = {"level": level, "section": self._section, "what": what, "where": where, "remedy": remedy}
        self._found.append({key: value for key, value in found.items() if value or key == "what"})

    def _told(self, name: str, style: str, text: str, *, always: bool = False) -> None:
        """Print a text after its name; on a terminal, in lines that fit it, the name in its colour."""
        head = name.ljust(_NAME_WIDTH)
        lines = wrapped(f"{head}{text}".rstrip(), columns(sys.stdout), " " * _NAME_WIDTH)
        if style != "plain":
            name = lines[0][:_NAME_WIDTH]
            lines[0] = painted(name, style, sys.stdout) + lines[0][_NAME_WIDTH:]
        self._print("\n".join(lines), always=always)

    def _print(self, line: str, *, always: bool = False) -> None:
        if not self.as_json and (always or not is_quiet()):
            result(line)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "case"), counted(2, "case")
    ('1 case', '2 cases')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Rows as lines of even columns: the first `left` columns to the left, the others to the right.

    >>> aligned([("a", "10"), ("bcd", "9")])
    ['a    10', 'bcd   9']
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _sentence(text: str) -> str:
    first = text.split(" ", 1)[0]
    if not set("._/=") & set(first.rstrip(".,:;")):  # a key or a path keeps its letters
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
