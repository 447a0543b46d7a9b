"""Reading setup.cfg's requirements and comparing versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from pipeline.requirements import installed, lacking, numbers, requirements

ROOT = Path(__file__).resolve().parents[2]

SETUP_CFG = """
[metadata]
name = thing
[options]
install_requires =
    torch>=2.10,<3
    scikit-image >= 0.24
    tqdm
[options.extras_require]
test =
    pytest>=8.3,<10
dev =
    thing[test]
    pre-commit>=4
"""


@pytest.fixture
def setup_cfg(tmp_path: Path) -> Path:
    path = tmp_path / "setup.cfg"
    path.write_text(SETUP_CFG)
    return path


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.13.0+cpu", (2, 13)),
        ("2.10.0rc1", (2, 10)),
        ("2.10.0a0+b558c98.nv25.11", (2, 10)),
        ("2026.9.0", (2026, 9)),
        ("1.0.2.post3", (1, 0, 2)),
        ("0.0", ()),
        ("unknown", ()),
    ],
)
def test_numbers(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize("older", ["1.9", "1.26.4", "2.0", "2.9.1", "2.10", "2.10.0", "2.10.1", "10.0"])
@pytest.mark.parametrize("newer", ["1.9", "1.26.4", "2.0.0", "2.9.1", "2.10", "2.10.0", "2.10.1", "10.0"])
def test_versions_compare_as_packaging_compares_them(older: str, newer: str) -> None:
    assert (numbers(older) < numbers(newer)) == (Version(older) < Version(newer))


def test_requirements_are_read_with_extras_that_name_each_other(setup_cfg: Path) -> None:
    base = {"torch": "2.10", "scikit-image": "0.24", "tqdm": ""}
    assert requirements(setup_cfg) == base
    assert requirements(setup_cfg, ["dev"]) == {**base, "pytest": "8.3", "pre-commit": "4"}


def test_the_project_s_own_setup_cfg_is_read_as_packaging_reads_it() -> None:
    lines = (ROOT / "setup.cfg").read_text().split("install_requires =\n")[1].split("\n\n")[0].split("\n")
    expected = {}
    for requirement in map(Requirement, lines):
        expected[requirement.name] = next(bound.version for bound in requirement.specifier if bound.operator == ">=")
    assert len(expected) > 10
    assert requirements(ROOT / "setup.cfg") == expected


def test_what_is_missing_or_too_old_is_named(setup_cfg: Path) -> None:
    versions = {"torch": "2.9.1+cu128", "scikit-image": "0.24.0"}
    assert lacking(setup_cfg, ["test"], versions.get) == ["torch>=2.10 (has 2.9.1+cu128)", "tqdm", "pytest>=8.3"]


def test_a_newer_version_than_setup_cfg_knows_is_enough(setup_cfg: Path) -> None:
    assert lacking(setup_cfg, [], {"torch": "3.1", "scikit-image": "1.0", "tqdm": "0"}.get) == []


def test_installed() -> None:
    assert installed("pytest") == pytest.__version__
    assert installed("no-such-distribution") is None
