"""Digests that tell whether what was kept on disk is still what this program would make."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.provenance import own_version

ROOT = Path(__file__).parents[3]
_LIBRARIES = ("torch", "monai", "numpy", "scipy", "scikit-image", "nibabel")


def digest_of(value: Any) -> str:
    """32 hexadecimal digits for plain values, however their mappings are ordered."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


@cache
def sources_digest(*folders: str) -> str:
    """A digest of the Python sources in folders of this project, and below them, such as ``transforms``."""
    found = hashlib.blake2b(digest_size=16)
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            content = path.read_bytes()
            found.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
            found.update(content)
    return found.hexdigest()


def foreign_sources(steps: Iterable[object]) -> dict[str, str]:
    """A digest of the file of each class that is neither this project's nor MONAI's, such as a plugin's."""
    files = {}
    for kind in {type(step) for step in steps}:
        spec = sys.modules[kind.__module__].__spec__
        if kind.__module__.split(".")[0] not in {"monai", "transforms"} and spec is not None and spec.origin:
            content = Path(spec.origin).read_bytes()
            files[f"{spec.origin}: {kind.__qualname__}"] = hashlib.blake2b(content, digest_size=16).hexdigest()
    return files


@cache
def versions() -> dict[str, str]:
    """The version of this project, and those of the libraries that make arrays out of files."""
    return {"slicewise": own_version(), **{name: metadata.version(name) for name in _LIBRARIES}}
