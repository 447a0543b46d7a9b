"""docs/tutorial.md can be followed to the letter: its commands are run in their order, and answer what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
CLONE = "/home/you/slicewise"  # what the page calls the folder that it works in
LEFT_OUT = "..."


class Step(NamedTuple):
    """A block of commands, and the lines that the page shows of what they print."""

    commands: str
    answer: tuple[str, ...]


def steps_of(page: str) -> list[Step]:
    """The ``bash`` blocks of a page; a ``text`` block after one, with prose between them or not, is its answer."""
    steps: list[Step] = []
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if kind == "bash":
            steps.append(Step(text, ()))
        elif kind == "text":
            steps[-1] = steps[-1]._replace(answer=(*steps[-1].answer, *text.splitlines()))
    return steps


def without_figures(line: str, folder: str = CLONE) -> str:
    """A line as it is on every machine: no figures, one space for many, the same name of the folder."""
    line = line.replace(folder, CLONE)
    return re.sub(r"\s+", " ", re.sub(r"\d+(?:[.,]\d+)*", "0", re.sub("─+", "─", line))).strip()


def missing(answer: tuple[str, ...], printed: str, folder: str) -> list[str]:
    """The lines of an answer that were not printed, or not in that order."""
    lines: Iterator[str] = iter([without_figures(line, folder) for line in printed.splitlines()])
    return [line for line in answer if line.strip() not in ("", LEFT_OUT) and without_figures(line) not in lines]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git would give of this checkout, with an environment that is there already."""
    folder = tmp_path / "slicewise"
    for name in ("bin", "configs", "pipeline", "transforms"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(step: Step, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "SLICEWISE_NO_SETUP": "1", "OMP_NUM_THREADS": "1",
                 "COLUMNS": "100"}  # fmt: skip
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{step.commands}"],
        cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_the_commands_do_what_the_page_says(clone: Path) -> None:
    for step in steps_of(PAGE):
        done = run(step, clone)
        assert done.returncode == 0, f"{step.commands}\n{done.stdout}"
        assert missing(step.answer, done.stdout, str(clone)) == [], f"{step.commands}\n{done.stdout}"
    # What the page says of a run's folder and of the masks.
    run_folder = clone / "runs/pelvis-PHANTOM/latest"
    for name in re.findall(r"^\| `([\w./]+)` \|", PAGE, re.MULTILINE):
        assert (run_folder / name).exists(), name
    headings = re.findall(r"<h[23][^>]*>([^<]+)</h[23]>", (run_folder / "report.html").read_text(encoding="utf-8"))
    (section,) = re.findall(r"^## 5\..*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    named = re.findall(r"\*\*(.+?)\*\*", section)
    assert len(named) > 5 and set(named) <= set(headings), headings
    images = {path.name for path in (clone / "data/new/images").iterdir()}
    assert {path.name for path in (clone / "masks").glob("*.nii.gz")} == images


def test_the_page_has_commands_and_answers() -> None:
    steps = steps_of(PAGE)
    assert len(steps) > 10
    assert sum(bool(step.answer) for step in steps) > 8
    assert all(f"bin/{name} " in PAGE for name in ("make_phantom", "check", "run_pipeline", "predict", "evaluate"))


def test_an_answer_that_was_not_printed_is_seen() -> None:
    page = "```bash\nsay a\n```\nas:\n```text\na  1.5 of /home/you/slicewise/x\n...\nb\n```\n```bash\nsay c\n```\n"
    step, other = steps_of(page)
    assert (step.commands, other) == ("say a\n", Step("say c\n", ()))
    assert missing(step.answer, "a 27 of /tmp/9/x\nmore\nb\n", "/tmp/9") == []
    assert missing(step.answer, "b\na 27 of /tmp/9/x\n", "/tmp/9") == ["b"]
    assert missing(step.answer, "a 27 of /tmp/8/x\nb\n", "/tmp/9") != []
