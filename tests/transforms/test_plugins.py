"""Plugins: read as text, run only when built, and never in the way of each other."""

from __future__ import annotations

import pickle
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from transforms.catalog import Signature
from transforms.chain import build_transform
from transforms.faults import ChainError
from transforms.plugins import (
    MAX_BYTES,
    PluginTarget,
    load_plugin_class,
    plugin_classes,
    plugin_digest,
    plugin_target,
)

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''\
"""Mine."""
from __future__ import annotations
import dataclasses
from monai.transforms import InvertibleTransform, MapTransform
import monai.transforms

def changed(cls):
    return cls

class Timesd(MapTransform):
    def __init__(self, keys, factor, *, allow_missing_keys=False):
        super().__init__(keys, allow_missing_keys)
        self.factor = factor

    def __call__(self, data):
        return {**data, **{key: data[key] * self.factor for key in self.key_iterator(data)}}

class Turnd(monai.transforms.MapTransform, InvertibleTransform):
    pass

class Undod(Timesd):
    def inverse(self, data):
        return data

class RandX(MapTransform):
    pass

@dataclasses.dataclass
class Plain:
    keys: str = "image"

@changed
class Changed:
    def __init__(self, keys):
        pass

class _Hidden:
    pass

def function():
    class Inner:
        pass
'''


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_file_defines(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE)
    found = plugin_classes(path)
    assert list(found) == ["Timesd", "Turnd", "Undod", "RandX", "Plain", "Changed"]
    assert found["Timesd"].signature == Signature(
        frozenset({"keys", "factor", "allow_missing_keys"}), frozenset({"keys", "factor"})
    )
    for name in ("Turnd", "Plain", "Changed"):
        assert found[name].signature == Signature(), "another's constructor, perhaps"
    assert [name for name, one in found.items() if one.inverts] == ["Turnd", "Undod"]
    assert [name for name, one in found.items() if one.is_random] == ["RandX"]
    assert found["Turnd"].bases == ("MapTransform", "InvertibleTransform")
    assert {one.file for one in found.values()} == {path}


def test_reading_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    plugin_classes(write(tmp_path, f"open({str(trap)!r}, 'w').close()\nclass A: pass\n"))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class A(:\n", "mine.py:1: not Python: "),
        ("x = 1\n  y = 2\n", "mine.py:2: not Python: unexpected indent"),
        ("class A: pass\0", "not Python: "),
        ("x = " + "(" * 5_000, "not Python: "),
        ("x = " + "-" * 200_000 + "1", "not Python: "),
        ("x = a" + ".b" * 100_000, "not Python: "),
        ("#" * (MAX_BYTES + 1), f"has more than {MAX_BYTES} bytes"),
    ],
)
def test_files_that_are_not_python(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ChainError) as caught:
        plugin_classes(path)
    assert told in caught.value.what
    assert caught.value.remedy


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(b"x = '\xff\xfe'\n")
    with pytest.raises(ChainError, match="not Python"):
        plugin_classes(path)


def test_what_is_no_python_file(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="no such file: "):
        plugin_classes(tmp_path / "none.py")
    (tmp_path / "folder.py").mkdir()
    for path in (tmp_path / "folder.py", write(tmp_path, "class A: pass", "mine.txt")):
        with pytest.raises(ChainError, match="not a Python file"):
            plugin_classes(path)


def target(path: Path, name: str) -> PluginTarget:
    return plugin_target(f"{path.stem}.{name}", plugin_classes(path)[name])


def test_a_transform_is_built_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = write(tmp_path, SOURCE)
    step = build_transform({"_target_": target(path, "Timesd"), "keys": "image", "factor": 3})
    assert torch.equal(step({"image": torch.ones(2)})["image"], torch.full((2,), 3.0))
    assert build_transform({"_target_": target(path, "Plain")}).keys == "image", "a dataclass finds its module"
    assert [one for one in tmp_path.iterdir() if one != path] == [], "no bytecode is left behind"
    with pytest.raises(ChainError, match=r"^transforms\.augment\.1: mine\.Timesd refuses its parameters: "):
        build_transform({"_target_": target(path, "Timesd"), "keys": "image"}, where="transforms.augment.1")


def test_a_target_is_a_text_and_more(tmp_path: Path) -> None:
    one = target(write(tmp_path, SOURCE), "Timesd")
    assert one == "mine.Timesd"
    assert one in {"mine.Timesd"}
    for copy in (deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert copy == one
        assert copy.plugin == one.plugin


def test_two_plugins_of_one_name_do_not_meet(tmp_path: Path) -> None:
    paths = [write(tmp_path, f"class A:\n    number = {number}\n", f"{number}/mine.py") for number in (1, 2)]
    assert [load_plugin_class(target(path, "A").plugin).number for path in paths] == [1, 2]
    assert "mine" not in sys.modules
    alike = [write(tmp_path, "class A:\n    here = __file__\n", f"{number}/alike.py") for number in (1, 2)]
    assert [load_plugin_class(target(path, "A").plugin).here for path in alike] == [str(path) for path in alike]
    first = load_plugin_class(target(paths[0], "A").plugin)
    assert load_plugin_class(target(paths[0], "A").plugin) is first, "a file is run once"


def test_a_changed_file_is_run_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "class A:\n    number = 1\n")
    before = plugin_digest(path)
    assert load_plugin_class(target(path, "A").plugin).number == 1
    write(tmp_path, "class A:\n    number = 2\n")  # of the same length, in the same second
    assert load_plugin_class(target(path, "A").plugin).number == 2
    assert plugin_digest(path) != before


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("import no_such_module_at_all\n", 2, "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("def f():\n    return 1 / 0\nf()\n", 3, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(5)\n", 3, "SystemExit: 5"),
        ("return 5\n", 2, "SyntaxError: 'return' outside function"),
        ("import json\njson.loads('[')\n", 3, "JSONDecodeError: "),
        ("raise ValueError\n", 2, "ValueError: "),
    ],
)
def test_a_file_that_fails_names_its_line(tmp_path: Path, body: str, line: int, told: str) -> None:
    path = write(tmp_path, f"class A: pass\n{body}")
    known = set(sys.modules)
    for _ in range(2):  # what failed once is not taken for loaded
        with pytest.raises(ChainError) as caught:
            load_plugin_class(target(path, "A").plugin)
        assert caught.value.where == f"{path}:{line}"
        assert caught.value.what.startswith(f"the plugin fails when it is run: {told}")
    assert not [name for name in set(sys.modules) - known if name.startswith("_plugin_")]


def test_a_class_that_is_gone(tmp_path: Path) -> None:
    path = write(tmp_path, "class A: pass\nclass B: pass\ndel A\nB = 5\n")
    for name in ("A", "B"):
        with pytest.raises(ChainError, match=f"defines no class '{name}' when it is run"):
            load_plugin_class(target(path, name).plugin)
    gone = target(path, "A")
    path.unlink()
    with pytest.raises(ChainError, match="cannot be read"):
        load_plugin_class(gone.plugin)


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE)
    code = (
        "import sys\nfrom pathlib import Path\nfrom transforms.plugins import plugin_classes\n"
        "assert plugin_classes(Path(sys.argv[1]))\n"
        "print(sorted({'torch', 'monai', 'numpy'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
