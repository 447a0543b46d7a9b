"""A table of files: one row a case, with its image, its label and its patient."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from pipeline.config.load import Config
from pipeline.config.suggestions import nearest
from pipeline.data.cases import Case, SplitName, listing, stem
from pipeline.data.layouts.pairing import from_here, is_file, need_root, real_path
from pipeline.data.layouts.text_files import read_text
from pipeline.errors import ConfigError, DataError, Fault, raise_all

_EXAMPLE = "A table begins with a line such as image,label,patient"
_OPTIONAL = ("id", "scan", "slice", "split")
_SPLITS: dict[str, SplitName] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_LIKE = 0.8  # from this likeness on, an unknown column is taken for a misspelt one: 'slices', but not 'site'
_SHOWN = 100

# What may be wrong with a row, in the order of the messages, and what to do about it.
_REMEDIES = {
    "rows without an image": "Fill them in, or remove the rows",
    "rows without a label": "Training needs labels: add them, or remove the rows",
    "rows without a patient": "Fill them in: what is of one patient never stands on both sides of a split",
    "rows with more values than columns": "Put values that hold the separator in double quotes",
    "files that are not there": "Relative paths start at the folder of the table",
    "images that stand in several rows": "Keep one row for each image",
    "labels that stand in several rows": "Keep one row for each label, and give each image its own",
    "images that are their own label": "Name the mask's file",
    "slices that are no whole number from 0": "A slice's number orders it in its scan",
    "splits of no known name": "Write train, validation (or val), test, or nothing",
}


class _Row(NamedTuple):
    """A row's values by its columns, and the line that it starts on."""

    line: int
    values: dict[str, str]
    beyond: int  # values more than there are columns


@dataclass
class _Problems:
    """What is wrong with rows, by its kind."""

    found: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, kind: str, row: _Row, text: str = "") -> None:
        self.found.setdefault(kind, []).append((row.line, text))

    def faults(self, path: Path) -> Iterator[DataError]:
        """One fault a kind, at the first line that shows it."""
        for kind, remedy in _REMEDIES.items():
            rows = self.found.get(kind, [])
            shown = ", ".join(f"line {line}: {text}" if text else f"line {line}" for line, text in rows[:_SHOWN])
            more = f" and {len(rows) - _SHOWN} more" if rows[_SHOWN:] else ""
            if rows:
                yield DataError(f"{kind}: {shown}{more}", where=f"{path}:{rows[0][0]}", remedy=remedy)


def table_path(config: Config, root: Path) -> Path:
    """The table's file."""
    return root / Path(config.settings.data.table).expanduser()


def find(config: Config, root: Path, faults: list[Fault]) -> list[Case]:
    """The cases that a table lists.

    Raises
    ------
    DataError, ConfigError, Faults
        A table that cannot be read, columns that are missing, and all that is wrong with its rows, line by line.
    """
    need_root(config, root, "the table")
    path = table_path(config, root)
    text = config.settings.data.table
    remedy = f"{config.where('data', 'table')}: give a CSV file, such as --set data.table=FILE{from_here(text)}"
    columns, rows = _read(read_text(path, remedy), path)
    raise_all(_wrong_columns(config, columns, path))
    images = [name for name in columns if _is_image(name)]
    problems = _Problems()
    needed = [*images, "label", *([] if config.settings.data.patient else ["patient"])]
    cases = [_case(row, images, needed, path.parent, problems) for row in rows]
    for kind, names in (("images", images), ("labels", ["label"])):
        _repeated(f"{kind} that stand in several rows", rows, names, path.parent, problems)
    faults += problems.faults(path)
    return cases


def _repeated(kind: str, rows: Sequence[_Row], columns: Sequence[str], folder: Path, problems: _Problems) -> None:
    """Note the files that stand more than once in some columns, under whatever name."""
    named = [(row, row.values[column]) for row in rows for column in columns if row.values[column]]
    files = [real_path(folder, name) for _, name in named]
    counts = Counter(files)
    for (row, name), file in zip(named, files, strict=True):
        if counts[file] > 1:
            problems.add(kind, row, name)


def _read(text: str, path: Path) -> tuple[list[str], list[_Row]]:
    """The columns, in small letters, and the rows that hold anything."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub('"[^"]*"', "", first)
    separator = max(",;\t", key=bare.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] = []
    rows: list[_Row] = []
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and not columns:
                columns = [cell.lower() for cell in stripped]
            elif any(stripped):
                padded = stripped + [""] * (len(columns) - len(stripped))
                rows.append(
                    _Row(line, dict(zip(columns, padded, strict=False)), sum(map(bool, padded[len(columns) :])))
                )
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"not a CSV file: {error}", where=f"{path}:{line}", remedy=_EXAMPLE) from error
    return columns, rows


def _wrong_columns(config: Config, columns: Sequence[str], path: Path) -> Iterator[Fault]:
    """What keeps the table from being read at all; other columns than the known ones are passed over."""
    known = {"image", "label", "patient", *_OPTIONAL}
    unknown = [name for name in columns if name and name not in known and not _is_image(name)]
    where = f"{path}:1"
    repeated = [name for name, count in Counter(columns).items() if count > 1 and name and name not in unknown]
    if repeated:
        yield DataError(f"columns that stand twice: {listing(repeated)}", where=where, remedy="Keep one of each")
    channels = [name for name in columns if _is_image(name) and name != "image"]
    if "image" in columns and channels:
        yield DataError(f"a column 'image' beside {listing(channels)}", where=where,
                        remedy="Channels have a column each, such as image_t1,image_t2")  # fmt: skip
    for name in ([] if channels else ["image"]) + ["label"] + ([] if config.settings.data.patient else ["patient"]):
        if name not in columns:
            yield _missing_column(name, columns, unknown, where)
    for name in unknown:
        meant = next((option for option in _OPTIONAL if option not in columns and _is_like(name, option)), None)
        if meant:
            yield DataError(f"a column {name!r}, which is not read", where=where,
                            remedy=f"Rename it to {meant!r}, or to something less like it")  # fmt: skip
    yield from _unfit_columns(config, columns, path)


def _missing_column(name: str, columns: Sequence[str], unknown: Sequence[str], where: str) -> DataError:
    meant = nearest(name, unknown)
    hint = f"Rename {meant!r}, if that is it" if meant else f"Add it. {_EXAMPLE}"
    if name == "patient":
        hint += "; or set data.patient to an expression that finds it in the id"
    return DataError(f"no column {name!r}; there are {listing(columns) or 'none'}", where=where, remedy=hint)


def _unfit_columns(config: Config, columns: Sequence[str], path: Path) -> Iterator[Fault]:
    """What the config, or another column, wants of the columns."""
    if "slice" in columns and "scan" not in columns and config.settings.data.scan is None:
        yield DataError("a column 'slice' but none 'scan': slices are numbered within their scan", where=f"{path}:1",
                        remedy="Add it, or set data.scan to an expression that finds it in the id")  # fmt: skip
    if config.settings.splits.kind == "layout" and "split" not in columns:
        remedy = "Add it (train, validation, test), or set splits.kind to 'holdout', 'folds' or 'file'"
        yield ConfigError(f"the table gives no split: {path} has no column 'split'", where=config.where("splits"),
                          remedy=remedy)  # fmt: skip


def _is_image(column: str) -> bool:
    return column == "image" or (column.startswith("image_") and len(column) > len("image_"))


def _is_like(name: str, option: str) -> bool:
    return len(name) > 3 and SequenceMatcher(None, name, option).ratio() >= _LIKE


def _case(row: _Row, images: Sequence[str], needed: Sequence[str], folder: Path, problems: _Problems) -> Case:
    """The case of a row; what is wrong with it, such as nothing in a needed column, goes to the problems."""
    values = row.values
    for column in needed:
        if not values[column]:
            problems.add("rows without an image" if column in images else f"rows without a {column}", row)
    if row.beyond:
        problems.add("rows with more values than columns", row)
    files = [values[name] for name in images]
    for name in [*files, values["label"]]:
        if name and not is_file(folder, name):
            problems.add("files that are not there", row, name)
    if values["label"] and real_path(folder, values["label"]) in [real_path(folder, name) for name in files if name]:
        problems.add("images that are their own label", row, values["label"])
    name = values.get("id") or stem(Path(files[0]).name)
    first, *further = (folder / name for name in files)
    return Case(
        name, first, folder / values["label"], values.get("patient", name), values.get("scan") or name,
        _slice(row, problems), _split(row, problems), tuple(further),
    )  # fmt: skip


def _slice(row: _Row, problems: _Problems) -> int | None:
    text = row.values.get("slice", "")
    if text and not re.fullmatch("[0-9]{1,9}", text):
        problems.add("slices that are no whole number from 0", row, text)
        return None
    return int(text) if text else None


def _split(row: _Row, problems: _Problems) -> SplitName | None:
    text = row.values.get("split", "")
    if text and text.lower() not in _SPLITS:
        problems.add("splits of no known name", row, text)
    return _SPLITS.get(text.lower())
