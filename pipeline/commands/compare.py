"""bin/compare: evaluations of the same cases, each compared with the first one."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.arguments import command_parser, guarded
from pipeline.errors import EXIT_DONE, ConfigError, Fault, raise_all

if TYPE_CHECKING:  # which bring numpy
    from pipeline.evaluation.comparison import Comparison
    from pipeline.evaluation.matching import Matched
    from pipeline.evaluation.stored import Source, Stored

EPILOG = """examples:
  bin/compare runs/hipmri/001 runs/hipmri/002
  bin/compare runs/hipmri/latest scores --out compare/mine-and-theirs
  bin/compare baseline scores-a scores-b scores-c

Each is a run's folder, its evaluation/ folder, or the DIR of bin/evaluate --out DIR; the first is what the others are
compared with. Figures are paired by patient: differences with intervals over patients, Wilcoxon's signed ranks, Holm's
correction. In DIR of --out: comparison.html (one file, opens offline) and comparison.csv.
"""
_RESULTS = ("comparison.csv", "comparison.html")
_LONGEST = 120  # characters of a folder's name
_WIDTH = 80


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    command = ["bin/compare", *(sys.argv[1:] if argv is None else argv)]
    return guarded(lambda: _compare(arguments, command), show_traceback=arguments.traceback)


def _parser() -> argparse.ArgumentParser:
    what = "Compare evaluations of the same cases, each with the first: what differs, and by how much, over patients."
    parser = command_parser("bin/compare", what, EPILOG)
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVALUATION",
                        help="two or more: a run, its evaluation/, or the --out of bin/evaluate")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where the results go (default: compare/A-vs-B, by their names)")  # fmt: skip
    parser.add_argument("--replace", action="store_true", help="replace the results that are in --out")
    return parser


def _compare(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    stored = _read(arguments.evaluations)
    matched = _match(stored)
    out = arguments.out or Path("compare") / _folder_name([one.name for one in stored])
    _prepare(out, replace=arguments.replace)

    from pipeline.evaluation.comparison import compare
    from pipeline.evaluation.comparison_tables import comparison_csv, comparison_table
    from pipeline.runs import write_text

    comparison = compare(matched)
    page = _page(comparison, stored, command)
    write_text(out / "comparison.csv", comparison_csv(comparison))
    write_text(out / "comparison.html", page)
    print(f"{comparison_table(comparison, width=_WIDTH)}\n\nResults: {out}")
    return EXIT_DONE


def _read(paths: Sequence[Path]) -> list[Stored]:
    """Every evaluation, or everything that keeps one from being read."""
    from pipeline.evaluation.stored import find_evaluation, read_evaluation

    if len(paths) < 2:
        raise ConfigError("one evaluation alone", where=str(paths[0]), remedy="Name two or more")
    faults: list[Fault] = []
    sources: list[Source] = []
    for path in paths:
        try:
            sources.append(find_evaluation(path))
        except Fault as fault:
            faults.append(fault)
    known = [source.folder for source in sources]
    twice = {str(folder) for folder in known if known.count(folder) > 1}
    faults += [ConfigError("given twice", where=one, remedy="Name each evaluation once") for one in sorted(twice)]
    found = []
    for source, name in zip(sources, names_of(sources), strict=True):
        try:
            found.append(read_evaluation(source, name))
        except Fault as fault:
            faults.append(fault)
    raise_all(faults)
    return found


def _match(stored: Sequence[Stored]) -> list[Matched]:
    """The first evaluation with each of the others, or everything that keeps them from being compared."""
    from pipeline.evaluation.matching import match

    faults: list[Fault] = []
    found = []
    for other in stored[1:]:
        try:
            found.append(match(stored[0], other))
        except Fault as fault:
            faults.append(fault)
    raise_all(faults)
    return found


def names_of(sources: Sequence[Source]) -> list[str]:
    """A short name for each evaluation: as much of the end of its path as tells it from the others.

    A number, or that of a fold, says nothing by itself: ``hipmri/001``, ``hipmri/001/fold_0``.
    """
    paths = [(source.run or source.folder).parts for source in sources]
    lengths = [1 if re.search(r"[^\d]", path[-1]) and not re.match(r"fold_\d+$", path[-1]) else 2 for path in paths]
    lengths = [3 if path[-1].startswith("fold_") and length == 2 else length
               for path, length in zip(paths, lengths, strict=True)]  # fmt: skip
    while True:
        names = ["/".join(path[-length:]).lstrip("/") for path, length in zip(paths, lengths, strict=True)]
        same = [names.count(name) > 1 and length < len(path)
                for name, path, length in zip(names, paths, lengths, strict=True)]  # fmt: skip
        if not any(same):
            return names
        lengths = [length + more for length, more in zip(lengths, same, strict=True)]


def _folder_name(names: Sequence[str]) -> str:
    """Such as ``hipmri-001-vs-hipmri-002``."""
    plain = [name.replace("/", "-") for name in names]
    whole = "-vs-".join(plain)
    if len(whole) <= _LONGEST:
        return whole
    first = plain[0][: _LONGEST // 2]
    return f"{first}-vs-{len(names) - 1}-others" if len(names) > 2 else f"{first}-vs-{plain[1][: _LONGEST // 2]}"


def _prepare(out: Path, *, replace: bool) -> None:
    """Make the folder of the results, and see that nothing in it is lost, before anything is computed."""
    from pipeline.commands.prediction import prepare_folder

    there = [name for name in _RESULTS if (out / name).exists()]
    if there and not replace:
        raise ConfigError(f"results are there already: {', '.join(there)}", where=str(out),
                          remedy="Name a new folder with --out DIR, or replace them with --replace")  # fmt: skip
    prepare_folder(out)


def _page(comparison: Comparison, stored: Sequence[Stored], command: Sequence[str]) -> str:
    """The page, with the pictures of what got worse."""
    from pipeline.commands.compared_files import is_synthetic, open_shelf, picture_of
    from pipeline.progress import stage
    from pipeline.provenance import own_version
    from pipeline.reporting.comparison import ComparisonContent, render_comparison

    shelves = [open_shelf(one) for one in stored]
    number = sum(len(pair.regressions) for pair in comparison.pairs)
    with stage("pictures", number, "cases") as progress:
        pictures = []
        for pair, shelf in zip(comparison.pairs, shelves[1:], strict=True):
            found = []
            for regression in pair.regressions:
                found.append(picture_of(regression, pair, (shelves[0], shelf), shelves))
                progress.advance()
            pictures.append(found)
    return render_comparison(ComparisonContent(
        comparison, pictures, any(map(is_synthetic, shelves)), stored, shlex.join(command), own_version()
    ))  # fmt: skip
