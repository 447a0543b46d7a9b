"""One case through the prepare chain, step by step: what each step makes of the image and of the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.commands.checks.findings import aligned
from pipeline.data.caching.prepared import sample_of
from pipeline.data.cases import Case
from transforms.chain import PrepareChain

_LISTED_VALUES = 8


@dataclass(frozen=True, eq=False)
class Seen:
    """One tensor after a step.

    Attributes
    ----------
    array
        (S, H, W): S slices. Of an image of several channels, the first.
    shape
        As the step left it: that of a 2D slice is (H, W) until it has its channel axis.
    dtype
        As torch names it, such as ``float32``.
    low, high
        The least and the largest value.
    values
        The values of a label; None for an image, and where there are very many.
    """

    array: np.ndarray
    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    values: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class Step:
    """A case after one step of the chain; `image` and `label` are None where the step gives no tensor."""

    name: str
    seconds: float
    image: Seen | None
    label: Seen | None


def trace_case(chain: PrepareChain, case: Case) -> list[Step]:
    """Run the chain on one case and look at it after every step.

    Raises
    ------
    Fault
        When a step fails; it names the step.
    """
    return [
        Step(name, seconds, _seen(sample.get("image"), label=False), _seen(sample.get("label"), label=True))
        for name, sample, seconds in chain.traced(sample_of(case))
    ]


def _seen(value: Any, *, label: bool) -> Seen | None:
    if not isinstance(value, torch.Tensor):
        return None
    array = value.detach().as_subclass(torch.Tensor).cpu().numpy()
    values = None
    if label:
        found = np.unique(array)
        values = tuple(float(one) for one in found) if found.size <= 256 else None
    dtype = str(value.dtype).removeprefix("torch.")
    slices = array[None] if array.ndim == 2 else array
    return Seen(slices, array.shape, dtype, float(array.min()), float(array.max()), values)


def changed_labels(steps: Sequence[Step]) -> list[str]:
    """Steps after which the label shows values that it had not before, or has lost some: sentences."""
    told = []
    before: set[float] | None = None
    for step in steps:
        if step.label is None:
            continue
        now = set(step.label.values) if step.label.values is not None else None
        if now is None or (before is not None and now - before):
            told.append(f"{step.name} makes label values that the file has not")
        elif before is not None and before - now:
            lost = ", ".join(f"{value:g}" for value in sorted(before - now))
            told.append(f"after {step.name} the label shows no {lost} any more")
        before = now if now is not None else before
    return told


def trace_lines(steps: Sequence[Step]) -> list[str]:
    """The trace for the terminal: a line a step."""
    rows = [("step", "image", "", "range", "label", "", "values", "ms")]
    for step in steps:
        image, label = _cells(step.image), _cells(step.label)
        rows.append((step.name, *image, *label, f"{1000 * step.seconds:.1f}"))
    return aligned(rows, left=7)


def channel_lines(image: torch.Tensor) -> list[str]:
    """What each channel of a prepared image (S, C, H, W) holds, for the terminal; the steps show the first."""
    channels = image.as_subclass(torch.Tensor).unbind(1)
    rows = [("channel", "range", "mean")]
    rows += [
        (str(number), f"{float(one.min()):.4g} to {float(one.max()):.4g}", f"{float(one.float().mean()):.4g}")
        for number, one in enumerate(channels)
    ]
    return aligned(rows)


def _cells(seen: Seen | None) -> tuple[str, str, str]:
    if seen is None:
        return ("-", "", "")
    shape = " x ".join(str(side) for side in seen.shape)
    return shape, seen.dtype, _content(seen)


def _content(seen: Seen) -> str:
    if seen.values is not None and len(seen.values) <= _LISTED_VALUES:
        return " ".join(f"{value:g}" for value in seen.values)
    return f"{seen.low:.4g} to {seen.high:.4g}"


def trace_values(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The trace for machines."""

    def plain(seen: Seen | None) -> dict[str, Any] | None:
        if seen is None:
            return None
        values = None if seen.values is None else list(seen.values)
        return {"shape": list(seen.shape), "dtype": seen.dtype, "low": seen.low, "high": seen.high,
                "values": values}  # fmt: skip

    return [
        {"step": step.name, "milliseconds": round(1000 * step.seconds, 3), "image": plain(step.image),
         "label": plain(step.label)}
        for step in steps
    ]  # fmt: skip
