"""What names of cases and of runs must not hold: they become names of files."""

from __future__ import annotations

import re

__all__ = ["UNSAFE_NAME"]

UNSAFE_NAME = re.compile(r"[/\\\x00-\x1f\x7f]|^\.|^\s|\s$")
