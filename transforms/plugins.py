"""Classes from Python files that the user listed under ``plugins:``: read as text, run only when they are built."""

from __future__ import annotations

import ast
import hashlib
import sys
import traceback
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from transforms.catalog import Signature, constructor_signature
from transforms.faults import ChainError

MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class PluginClass:
    """A class of a plugin, as its source tells.

    Attributes
    ----------
    file
        The plugin.
    name
        Of the class.
    signature
        What its constructor takes.
    bases
        The last part of the names of the classes that it derives from, such as ``MapTransform``.
    inverts
        Whether it has an ``inverse``, of its own or, by its bases' names, an inherited one.
    """

    file: Path
    name: str
    signature: Signature
    bases: tuple[str, ...]
    inverts: bool

    @property
    def is_random(self) -> bool:
        """Whether its name or its bases' say that it is random."""
        return any(name.startswith("Rand") for name in (self.name, *self.bases))


class PluginTarget(str):
    """A ``_target_`` such as ``mine.Blurd`` that knows the class which it names.

    It is a text like any other for all that writes a config down, so that nothing has to be registered anywhere: two
    configs with plugins of one name do not meet.
    """

    plugin: PluginClass


def plugin_target(text: str, plugin: PluginClass) -> PluginTarget:
    """`text` with the class that it names."""
    target = PluginTarget(text)
    target.plugin = plugin
    return target


def plugin_classes(path: Path) -> dict[str, PluginClass]:
    """The public classes that a plugin defines at its top level; nothing of it is run.

    Raises
    ------
    ChainError
        When there is no such file, or it is not Python.
    """
    tree = _parsed(path)
    definitions = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    return {node.name: _described(node, path) for node in definitions}


def _parsed(path: Path) -> ast.Module:
    if path.suffix != ".py" or not path.is_file():
        what = "not a Python file" if path.exists() else "no such file"
        raise ChainError(f"{what}: {path}", remedy="Give the path of a .py file, from the project's root or absolute")
    try:
        with path.open("rb") as stream:
            source = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ChainError(f"cannot read {path} ({error.strerror})", remedy="Check the file and its rights") from error
    if len(source) > MAX_BYTES:
        raise ChainError(f"{path} has more than {MAX_BYTES} bytes", remedy="Keep in it what a config names")
    try:
        return ast.parse(source, str(path))
    except SyntaxError as error:
        place = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise ChainError(f"{place}: not Python: {error.msg}", remedy="Mend the file") from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, or nested too deeply for the parser
        raise ChainError(f"{path}: not Python: {error or type(error).__name__}", remedy="Mend the file") from error


def _described(node: ast.ClassDef, path: Path) -> PluginClass:
    bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    # A decorator, such as dataclass, may give it another constructor than the one that stands there.
    signature = Signature() if node.decorator_list else constructor_signature(node)
    own = any(isinstance(one, ast.FunctionDef) and one.name == "inverse" for one in node.body)
    return PluginClass(path, node.name, signature, bases, own or "InvertibleTransform" in bases)


def load_plugin_class(plugin: PluginClass) -> Any:
    """The class itself. This runs the plugin's file, the first time that it is needed.

    Raises
    ------
    ChainError
        With the plugin's file and line, when the file fails or no longer defines the class.
    """
    module = _loaded(plugin.file)
    found = getattr(module, plugin.name, None)
    if not isinstance(found, type):
        raise ChainError(f"defines no class {plugin.name!r} when it is run", where=str(plugin.file),
                         remedy="Define it at the file's top level")  # fmt: skip
    return found


class _SourceLoader(SourceFileLoader):
    """Compiles the file as it stands: no bytecode is written beside it, and none that is out of date is taken."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def plugin_digest(path: Path) -> str:
    """SHA-256 of a plugin's file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _loaded(path: Path) -> ModuleType:
    """The module of a plugin, under a private name of its path and content: a changed file is another module."""
    place = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        name = f"_plugin_{place[:16]}_{plugin_digest(path)[:16]}"
    except OSError as error:
        raise ChainError(f"cannot be read ({error.strerror})", where=str(path), remedy="Check the file") from error
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there while it is being run
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file does
        del sys.modules[name]
        raise ChainError(
            f"the plugin fails when it is run: {type(error).__name__}: {error}", where=_failing_line(error, path),
            remedy="Mend the file",
        ) from error  # fmt: skip
    return module


def _failing_line(error: BaseException, path: Path) -> str:
    """``file:line`` of the plugin's last line that an error came through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)
