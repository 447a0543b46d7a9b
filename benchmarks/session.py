"""One call of bin/benchmark: the machine, the parts one after the other, and what is written at the end."""

from __future__ import annotations

import json
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.frame import Setting, Table
from benchmarks.machine import described
from benchmarks.peers_found import DEFAULT_PYTHON, NAMES, Peers, find_peers
from benchmarks.tables import limits_text, markdown, plain, table_from, terminal
from benchmarks.workers import ROOT, Unmeasured, Worker
from pipeline.errors import ConfigError, RunError
from pipeline.provenance import git_commit, own_version
from pipeline.runs import write_json, write_text

_PACKAGES = ("torch", "monai", "numpy", "nibabel", "scikit-image", "scipy")
_FORMAT = 2
_SMALL = "With --quick: small and few, to see that all works. The figures say little."


@dataclass
class Results:
    """What one call found.

    Attributes
    ----------
    command, started
        As it was typed, and when: seconds since the epoch.
    machine, limits
        See `benchmarks.machine`.
    versions
        Of Python, this project, its libraries and the peers.
    quick, rounds
        Of the call.
    parts
        By name: tables, or text.
    """

    command: Sequence[str]
    started: float
    machine: dict[str, Any]
    limits: dict[str, Any]
    versions: dict[str, str]
    quick: bool
    rounds: int
    parts: dict[str, list[Table | str]] = field(default_factory=dict)


def measure_parts(
    parts: Sequence[str], asked: Sequence[str], python: Path | None, rounds: int, out: Path | None,
    command: Sequence[str], *, quick: bool,
) -> Results:  # fmt: skip
    """Measure parts, show each table as it is there, and write all of them.

    Parameters
    ----------
    parts
        Their names.
    asked, python
        The peers, and the interpreter of their environment; None for the usual one.
    rounds, quick
        How they are measured.
    out
        Where ``RESULTS.md``, ``results.json`` and plots go; what other calls measured stays there.
    command
        As it was typed.

    Raises
    ------
    RunError
        When one of this project's own ways fails, or `out` cannot be written.
    ConfigError
        When `out` holds results of something else.
    """
    peers = find_peers(asked, python or DEFAULT_PYTHON)
    earlier = [] if out is None else earlier_calls(out)
    if out is not None:
        _writable(out)
    results = Results(command, time.time(), described(), {}, _versions(peers), quick, rounds)
    try:
        with Worker(sys.executable, "benchmarks.machine", "limits", quick=quick) as worker:
            results.limits = worker().result
        print("\n".join(limits_text(results.machine, results.limits)), end="\n\n", flush=True)
        for part in parts:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                setting = Setting(rounds, quick, peers, Path(folder), out)
                results.parts[part] = []
                for table in _measured(part, setting, results.limits):
                    results.parts[part].append(table)
                    print(terminal(table), flush=True)
                    if out is not None:  # after each table: hours may be in them
                        write_results(results, out, earlier)
    except Unmeasured as failure:
        raise RunError(f"cannot be measured: {failure}", where="bin/benchmark") from failure
    return results


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot be made ({error.strerror})", where=f"--out {out}", remedy="Name another") from error


def _measured(part: str, setting: Setting, limits: dict[str, Any]) -> Iterable[Table | str]:
    """A part's tables as they come; or that something is missing that it needs of this project's own environment."""
    try:
        module = import_module(f"benchmarks.{part}")
    except ModuleNotFoundError as missing:
        if str(missing.name).split(".")[0] in ("benchmarks", "pipeline", "transforms"):
            raise
        return [
            f"{part}: not measured\n\n  {missing.name} is not installed here. To have it: pip install -e '.[test]'\n"
        ]
    found: Iterable[Table | str] = module.tables(setting, limits)
    return found


def _versions(peers: Peers) -> dict[str, str]:
    own = {"Python": platform.python_version(), "Slicewise": own_version()}
    commit = git_commit(ROOT)
    own |= {"commit": commit} if commit else {}
    there = {NAMES[peer]: version for peer, version in peers.versions.items() if peer not in _PACKAGES}
    return own | {name: metadata.version(name) for name in _PACKAGES} | there


def earlier_calls(out: Path) -> list[Results]:
    """What earlier calls left in ``results.json``, the oldest first.

    Raises
    ------
    ConfigError
        When that file is there, and none of this command's.
    """
    path = out / "results.json"
    if not path.exists():
        return []
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']}")
        return [_call_from(call) for call in values["calls"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"is none of bin/benchmark's ({type(error).__name__}: {error})", where=str(path),
                          remedy="Name another folder with --out, or remove it") from error  # fmt: skip


def write_results(results: Results, out: Path, earlier: Sequence[Results] = ()) -> None:
    """``results.json`` with every value, and ``RESULTS.md`` with the tables.

    Of earlier calls on the same machine, the parts that this one measured are left out; all else stays.
    """
    calls = [*(left for call in earlier if (left := _without(call, results)).parts), results]
    values = {"format": _FORMAT, "calls": [_call_values(call) for call in calls]}
    write_json(out / "results.json", json.loads(json.dumps(values)))
    plots = {path.stem for path in out.glob("*.png")}
    pages = [results_page(call, plots) for call in calls]
    write_text(out / "RESULTS.md", "\n".join(["# What bin/benchmark measured", "", "\n---\n\n".join(pages)]))


def _without(call: Results, newer: Results) -> Results:
    if _measured_on(call) != _measured_on(newer):
        return call
    return replace(call, parts={name: tables for name, tables in call.parts.items() if name not in newer.parts})


def _measured_on(call: Results) -> tuple[Any, ...]:
    return call.machine, call.limits.get("device"), call.quick


def _call_values(call: Results) -> dict[str, Any]:
    parts = {name: [plain(table) for table in tables] for name, tables in call.parts.items()}
    return asdict(replace(call, parts={})) | {"parts": parts}


def _call_from(values: dict[str, Any]) -> Results:
    parts = {name: [table_from(table) for table in tables] for name, tables in values["parts"].items()}
    return Results(**values | {"parts": parts})


def results_page(results: Results, plots: Container[str] = ()) -> str:
    """A call: the machine, the versions, the command, then a section a part, with the plot of those that have one."""
    day = time.strftime("%Y-%m-%d", time.localtime(results.started))
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        *([f"**{_SMALL}**", ""] if results.quick else []),
        f"On {day}, by this command:",
        "",
        f"    {shlex.join(results.command)}",
        "",
        *(f"- {line}" for line in limits_text(results.machine, results.limits)),
        f"- {versions}",
        "",
        f"Ways take turns, A B A B, after a round that warms up; rounds that count: {results.rounds}. Ratios are "
        "medians over the rounds, of the first line to each other one, with the least and the most: above 1 the first "
        "line is faster. "
        "Peak memory is that of a program, or of all processes of a command together.",
        "",
    ]
    for name, tables in results.parts.items():
        lines += [f"## {name}", "", *(markdown(table) for table in tables)]
        lines += [f"![{name}]({name}.png)", ""] if name in plots else []
    return "\n".join(lines).rstrip() + "\n"
