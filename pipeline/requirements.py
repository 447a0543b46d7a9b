"""What setup.cfg asks for, and what of it an interpreter has. For pipeline.environment, and as old a Python as that."""

import configparser
import re
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

__all__ = ["installed", "lacking", "numbers", "requirements"]


def installed(name: str) -> Optional[str]:
    """The version of an installed distribution, or None."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> Tuple[int, ...]:
    """The numeric part of a version, without closing zeros: ``2.10.0rc1+cpu`` gives (2, 10)."""
    parts = [int(part) for part in re.findall(r"\d+", re.findall(r"^[\d.]*", version)[0])]
    while parts[-1:] == [0]:
        parts.pop()
    return tuple(parts)


def requirements(setup_cfg: Path, extras: Sequence[str] = ()) -> Dict[str, str]:
    """What setup.cfg asks for, with the extras, which may name each other: the lowest version (or "") of each name."""
    parser = configparser.RawConfigParser()
    parser.read(str(setup_cfg), encoding="utf-8")
    lines = parser.get("options", "install_requires").split("\n")
    for extra in extras:
        lines += parser.get("options.extras_require", extra).split("\n")
    wanted = {}  # type: Dict[str, str]
    for line in filter(None, map(str.strip, lines)):
        name, more, bounds = re.findall(r"^([\w.-]+)(?:\[(.*)\])?(.*)", line)[0]
        if name == parser.get("metadata", "name"):
            wanted.update(requirements(setup_cfg, more.split(",")))
        else:
            wanted[name] = "".join(re.findall(r">=\s*([\w.]+)", bounds))
    return wanted


def lacking(
    setup_cfg: Path, extras: Sequence[str] = (), version_of: Callable[[str], Optional[str]] = installed
) -> List[str]:
    """What is not installed, or older than setup.cfg asks for, in words. Upper bounds are for pip, not for here.

    Parameters
    ----------
    setup_cfg
        The file to read.
    extras
        Extras whose requirements count too.
    version_of
        The version of a distribution, or None.
    """
    missing = []
    for name, lowest in requirements(setup_cfg, extras).items():
        version = version_of(name)
        if version is None or numbers(version) < numbers(lowest):
            has = f" (has {version})" if version else ""
            missing.append(f"{name}>={lowest}{has}" if lowest else name)
    return missing
