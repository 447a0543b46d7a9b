"""The house keeps its own rules: imports point one way, light modules stay light, nothing grows too long."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for house in ("pipeline", "transforms") for path in (ROOT / house).rglob("*.py"))
SCRIPTS = sorted(path for path in (ROOT / "bin").iterdir() if path.is_file())
LONGEST_MODULE, LONGEST_FUNCTION = 320, 50
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "managers"}
HEAVY = {"torch", "monai", "matplotlib", "jinja2"}

# room -> the rooms that it may import from. "ground" is what lies directly in pipeline/: errors, runs, environment ...
GROUND = {"transforms", "ground"}
PARTS = GROUND | {"config", "data", "networks"}
MAY_IMPORT = {
    "transforms": {"transforms"},
    "ground": GROUND,
    "config": GROUND | {"config"},
    "data": GROUND | {"config", "data"},
    "networks": GROUND | {"config", "networks"},
    "training": PARTS | {"training"},
    "inference": PARTS | {"inference"},
    "evaluation": PARTS | {"training", "inference", "evaluation"},
    "reporting": PARTS | {"training", "inference", "evaluation", "reporting"},
    "commands": PARTS | {"training", "inference", "evaluation", "reporting", "commands"},
}


def name_of(path: Path) -> str:
    """The dotted name of a module of this house."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a dotted name lies in: a folder of pipeline/, transforms, or the ground floor."""
    house, *rest = module.split(".")
    if house == "transforms":
        return house
    return rest[0] if rest and (ROOT / "pipeline" / rest[0]).is_dir() else "ground"


def imports_of(tree: ast.AST, module: str, is_package: bool = False) -> Iterator[str]:
    """Every dotted name that a module imports, anywhere in it, with relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            origin = ".".join([*inside, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def wrong_ways(source: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module that point the wrong way."""
    own = [
        name
        for name in imports_of(ast.parse(source), module, is_package)
        if name.split(".")[0] in GROUND | {"pipeline"}
    ]
    here = room_of(module)
    return [
        f"{module} ({here}) imports {name} ({room_of(name)})" for name in own if room_of(name) not in MAY_IMPORT[here]
    ]


def dangers(source: str) -> list[str]:
    """Calls and handlers that this house does without, as ``line: what``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except")
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in {"eval", "exec"} or re.fullmatch(
            r"(c?[pP]ickle|dill|joblib)\.loads?|yaml\.(unsafe|full)_load(_all)?", called
        ):
            found.append(f"{node.lineno}: {called}")
        if re.fullmatch(r"yaml\.load(_all)?", called):
            loader = keywords.get("Loader", ast.unparse(node.args[1]) if len(node.args) > 1 else "none")
            if not derives_from_safe_loader(loader, source):
                found.append(f"{node.lineno}: {called} with Loader {loader}")
        if called == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"{node.lineno}: torch.load without weights_only=True")
    return found


def derives_from_safe_loader(loader: str, source: str) -> bool:
    """Whether a class is yaml's SafeLoader, or one that this source derives from it."""
    if loader in {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader", "CSafeLoader"}:
        return True
    classes = {node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)}
    bases = [ast.unparse(base) for base in classes[loader].bases] if loader in classes else []
    return any(derives_from_safe_loader(base, source) for base in bases if base != loader)


def third_party(path: Path) -> set[str]:
    """Top-level names that a module imports from outside, except where it is ready for their absence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    optional = [node for node in ast.walk(tree) if isinstance(node, ast.Try) and "ImportError" in handled(node)]
    spared = {name for node in optional for name in imports_of(ast.Module(node.body, []), name_of(path))}
    names = {name.split(".")[0] for name in set(imports_of(tree, name_of(path), path.name == "__init__.py")) - spared}
    return names - sys.stdlib_module_names - {"pipeline", "transforms"}


def handled(node: ast.Try) -> str:
    """The names of the exceptions that a try statement handles."""
    return " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_keeps_the_rules(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}

    assert wrong_ways(source, name_of(path), path.name == "__init__.py") == []
    assert dangers(source) == []
    assert len(source.splitlines()) <= LONGEST_MODULE
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    assert path.stem not in VAGUE_NAMES


def test_every_room_has_its_place() -> None:
    rooms = {room_of(name_of(path)) for path in MODULES}
    assert rooms <= set(MAY_IMPORT)
    assert {"transforms", "ground", "config"} <= rooms, "nothing was looked at"


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("pipeline.data.cases", "from pipeline.config.schema import Settings", 0),
        ("pipeline.config.schema", "from pipeline.data import cases", 1),
        ("pipeline.networks.unet", "def f():\n    import pipeline.data.cases", 1),
        ("pipeline.data.cases", "from pipeline import evaluation", 1),
        ("pipeline.data.cases", "from ..evaluation import overlap", 1),
        ("pipeline.data.cases", "from . import splits", 0),
        ("pipeline.training.loop", "from pipeline.inference import window", 1),
        ("pipeline.evaluation.tables", "from pipeline.inference.window import predict\nimport transforms.chain", 0),
        ("pipeline.errors", "from transforms.faults import Fault", 0),
        ("pipeline.errors", "from pipeline.config import load", 1),
        ("transforms.reader", "from pipeline.errors import DataError", 1),
        ("transforms.reader", "import pipeline", 1),
        ("transforms.reader", "import monai, numpy.linalg", 0),
    ],
)
def test_wrong_ways_are_seen(module: str, source: str, wrong: int) -> None:
    assert len(wrong_ways(source, module)) == wrong


@pytest.mark.parametrize(
    ("source", "dangerous"),
    [
        ("try:\n    pass\nexcept:\n    pass", True),
        ("try:\n    pass\nexcept ValueError:\n    pass", False),
        ("eval('1')", True),
        ("model.eval()", False),
        ("exec('')", True),
        ("import pickle\npickle.load(f)", True),
        ("pickle.loads(b)", True),
        ("yaml.load(text)", True),
        ("yaml.load(text, Loader=yaml.Loader)", True),
        ("yaml.load(text, yaml.SafeLoader)", False),
        ("class Strict(yaml.SafeLoader): pass\nyaml.load(text, Loader=Strict)", False),
        ("class Loose(yaml.FullLoader): pass\nyaml.load(text, Loader=Loose)", True),
        ("yaml.unsafe_load(text)", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, map_location='cpu', weights_only=True)", False),
    ],
)
def test_dangers_are_seen(source: str, dangerous: bool) -> None:
    assert bool(dangers(source)) is dangerous


def test_what_is_imported_is_required() -> None:
    parser = RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    required = {re.split(r"\W", line)[0].lower() for line in parser["options"]["install_requires"].split("\n") if line}
    required = {
        {"pyyaml": "yaml", "scikit": "skimage", "connected": "cc3d", "pillow": "PIL"}.get(name, name)
        for name in required
    }
    missing = {f"{name_of(path)}: {name}" for path in MODULES for name in third_party(path) if name not in required}
    assert missing == set()


@pytest.mark.parametrize(
    "module",
    ["pipeline.errors", "pipeline.environment", *(f"pipeline.commands.{name}" for name in (
        "run_pipeline", "check", "evaluate", "predict", "compare", "ablate"
    ))],
)  # fmt: skip
def test_a_light_module_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_run(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Names that lead back to the first of them; none where no way does."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        found = next((circle for other in sorted(graph[name]) if (circle := walk(other, [*way, name]))), [])
        done.add(name)
        return found

    return next((circle for name in sorted(graph) if (circle := walk(name, []))), [])


def test_no_module_is_imported_by_what_it_imports() -> None:
    """Not even inside a function, or for its types alone: a circle would have no first page to read."""
    paths = {name_of(path): path for folder in ("pipeline", "transforms") for path in (ROOT / folder).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        found = imports_of(ast.parse(path.read_text(encoding="utf-8")), name, path.name == "__init__.py")
        modules = {one if one in paths else one.rpartition(".")[0] for one in found}
        graph[name] = (modules & paths.keys()) - {name}
    assert circle_in(graph) == []
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_module_can_be_imported() -> None:
    """Doctests skip modules that cannot: the extra for trackers need not be installed, all else must be."""
    trackers = {"pipeline.reporting.tracking.event_files", "pipeline.reporting.tracking.mlflow_runs"}
    for path in MODULES:
        try:
            importlib.import_module(name_of(path))
        except ImportError as error:
            assert name_of(path) in trackers and re.match("mlflow|tensorboard", str(error)), name_of(path)
