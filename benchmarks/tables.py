"""Tables of what was measured: for a terminal, as Markdown, and as plain values for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from benchmarks.frame import LIMIT, Row, Table, median_range

__all__ = ["limits_text", "markdown", "plain", "table_from", "terminal"]

_HEADS = ("", "median", "spread", "peak memory", "beside the first line")


def cells(table: Table, row: Row) -> tuple[str, ...]:
    """A line of the table: name, median, spread, peak memory, ratio."""
    values = row.seconds if table.unit == "s" else [1 / value for value in row.seconds]
    middle, low, high = median_range(values)
    unit = "s" if table.unit == "s" else f"{table.unit}/s"
    memory = gigabytes(row.peak_bytes) if row.peak_bytes else "–"
    if row.device_peak_bytes:
        memory += f", GPU {gigabytes(row.device_peak_bytes)}"
    return (row.name, f"{figure(middle)} {unit}", f"{figure(low)} to {figure(high)}", memory, comparison(table, row))


def comparison(table: Table, row: Row) -> str:
    """What the first line is beside another: a loss is said as plainly as a win."""
    if row is table.rows[0] or not row.compares:
        return ""
    middle, low, high = median_range(table.ratios(row))
    spread = f"({low:.2f} to {high:.2f})"
    if row.role == LIMIT:
        return f"{100 * middle:.0f} % of it ({100 * low:.0f} to {100 * high:.0f})"
    if low <= 1 <= high:
        return f"no difference: {middle:.2f} times as fast {spread}"
    return f"{middle:.2f} times as fast {spread}{'' if middle > 1 else ': slower'}"


def figure(value: float) -> str:
    """Three digits.

    >>> figure(1234.5), figure(12.345), figure(0.012345)
    ('1234', '12.3', '0.0123')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def gigabytes(count: float) -> str:
    """Bytes in GB, or in MB where they are few."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def terminal(table: Table | str) -> str:
    """Columns of a fixed width below a title, with notes below."""
    if isinstance(table, str):
        return table
    lines = [_HEADS, *(cells(table, row) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    shown = ["  ".join(cell.ljust(width) if column in (0, 4) else cell.rjust(width)
                       for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
             for line in lines]  # fmt: skip
    rule = "─" * max(map(len, shown))
    notes = [f"  {note}" for note in table.notes]
    return "\n".join([table.title, rule, shown[0], rule, *shown[1:], rule, *notes]) + "\n"


def markdown(table: Table | str) -> str:
    """A heading, a table and a list of notes."""
    if isinstance(table, str):
        title, _, text = table.partition("\n")
        return f"### {title}\n\n```\n{text.strip(chr(10))}\n```\n"
    heads = ("way", *_HEADS[1:])
    rows = ["| " + " | ".join(line) + " |" for line in [heads, *(cells(table, row) for row in table.rows)]]
    rows.insert(1, "|---|---:|---:|---:|---|")
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"### {table.title}", "", *rows, "", *notes, *([""] if notes else [])])


def plain(table: Table | str) -> dict[str, Any]:
    """Every single value, with the ratios to the first row."""
    if isinstance(table, str):
        return {"text": table}
    rows = []
    for row in table.rows:
        values = asdict(row)
        if row.compares and row is not table.rows[0]:
            middle, low, high = median_range(table.ratios(row))
            values |= {"first_is_times_as_fast": {"median": middle, "least": low, "most": high}}
        rows.append(values | {"median_seconds": statistics.median(row.seconds)})
    return {"title": table.title, "unit": table.unit, "rows": rows, "notes": table.notes}


def table_from(values: Mapping[str, Any]) -> Table | str:
    """What `plain` made values of."""
    if "text" in values:
        return str(values["text"])
    rows = [Row(**{field.name: row[field.name] for field in fields(Row)}) for row in values["rows"]]
    return Table(values["title"], values["unit"], rows, values["notes"])


def limits_text(machine: Mapping[str, Any], limits: Mapping[str, Any]) -> Sequence[str]:
    """The machine in sentences."""
    allowed = machine["cores_allowed"]
    cores = f"{machine['cores']} cores" + (f", {allowed} of them allowed" if allowed != machine["cores"] else "")
    lines = [f"{machine['processor']}, {cores}, {gigabytes(machine['memory_bytes'])}, {machine['system']}"]
    if limits:
        lines.append(f"{limits['device']}: " + ", ".join(
            f"{kind} {figure(limits[f'{kind}_float32_gflops'])} GFLOP/s in float32 and "
            f"{figure(limits[f'{kind}_bfloat16_gflops'])} in bfloat16" for kind in ("matmul", "convolution")
        ) + f"; memory {figure(limits['memory_gb_per_s'])} GB/s")  # fmt: skip
    return lines
