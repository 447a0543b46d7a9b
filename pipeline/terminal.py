"""What is said on a terminal: how much of it, in which colours, and without breaking a bar."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TextIO

__all__ = ["Voice", "columns", "detail", "has_colour", "is_quiet", "painted", "painter", "result", "say", "speaking",
           "tell", "width_of", "wrapped", "writing_through"]  # fmt: skip

Voice = Literal["quiet", "normal", "verbose"]
_STYLES = {"error": "1;31", "warning": "33", "heading": "1", "muted": "2"}
_MARKS = {"error: ": "error", "warning: ": "warning", "interrupted": "warning"}  # how a line begins that is coloured
_SCREEN = 80  # columns, where no terminal tells its own


class _Saying:
    """How much this process says, and through what: one for all, as its standard error is."""

    voice: Voice = "normal"
    through: Callable[[str], None] | None = None  # writes above a bar that is being drawn


def has_colour(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream is to have colours: a terminal, unless the environment says otherwise.

    ``NO_COLOR`` (https://no-color.org) forbids them, ``FORCE_COLOR`` asks for them anywhere, and ``TERM=dumb`` says
    that the terminal has none; the first that is set decides.
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return environment.get("TERM") != "dumb" and stream.isatty()


def painted(text: str, style: str, stream: TextIO) -> str:
    """A text as ``error``, ``warning``, ``heading`` or ``muted``, where the stream has colours."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if has_colour(stream) else text


def painter(stream: TextIO) -> Callable[[str, str], str]:
    """`painted` for one stream: of a text and a style."""
    return lambda text, style: painted(text, style, stream)


def columns(stream: TextIO) -> int | None:
    """How many columns a terminal has; None where a stream is none."""
    if not stream.isatty():
        return None
    try:
        wide = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        wide = shutil.get_terminal_size((_SCREEN, 24)).columns
    return wide or _SCREEN


def width_of(text: str) -> int:
    """Columns that the text takes in a terminal: East Asian wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def wrapped(line: str, wide: int | None, indent: str = "  ") -> list[str]:
    """A line for a terminal of so many columns (None: no terminal), broken between words: no path is ever broken.

    >>> wrapped("error: /data/a.nii.gz: is empty", 20), wrapped("error: it is empty", None)
    (['error:', '  /data/a.nii.gz: is', '  empty'], ['error: it is empty'])
    """
    if wide is None or width_of(line) <= wide:
        return [line]
    return textwrap.wrap(line, wide, break_long_words=False, break_on_hyphens=False, subsequent_indent=indent)


@contextmanager
def speaking(voice: Voice) -> Iterator[None]:
    """Say as much as was asked for: ``quiet``, ``normal`` or ``verbose``."""
    before, _Saying.voice = _Saying.voice, voice
    try:
        yield
    finally:
        _Saying.voice = before


@contextmanager
def writing_through(write: Callable[[str], None]) -> Iterator[None]:
    """Let lines be written by something that knows of a bar."""
    before, _Saying.through = _Saying.through, write
    try:
        yield
    finally:
        _Saying.through = before


def is_quiet() -> bool:
    """Whether only warnings, errors and results are wanted."""
    return _Saying.voice == "quiet"


def say(line: str) -> None:
    """Tell how it goes, on standard error; where it is to be quiet, only a line that begins with ``warning:``."""
    if not is_quiet() or line.startswith("warning: "):
        _write(line)


def tell(line: str) -> None:
    """Tell, also to those who want it quiet: an error, a warning, how it ended."""
    _write(line)


def detail(line: str) -> None:
    """Tell what is otherwise in the log alone, where it was asked for."""
    if _Saying.voice == "verbose":
        _write(line, style="muted")


def result(text: str) -> None:
    """Print what the command was started for, on standard output."""
    print(text, flush=True)


def _write(text: str, style: str = "") -> None:
    stream = sys.stderr
    wide = columns(stream)
    for line in text.split("\n"):
        for place, part in enumerate(wrapped(line, wide)):
            shown = painted(part, style, stream) if style else part if place else _marked(part, stream)
            if _Saying.through is None:
                print(shown, file=stream, flush=True)
            else:
                _Saying.through(shown)


def _marked(line: str, stream: TextIO) -> str:
    for mark, style in _MARKS.items():
        if line.startswith(mark):
            return painted(mark.rstrip(), style, stream) + line[len(mark.rstrip()) :]
    return line
