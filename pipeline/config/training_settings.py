"""The keys below `training`: how the network is trained."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.config.fields import Count, Float, Fraction, Kind, Section, Text


class TrainingSettings(Section):
    """How the network is trained."""

    epochs: Count = 50
    """At most; the schedule of the learning rate is fitted to them."""
    budget: Text | None = None
    """A time or a number of steps to end by, such as `90s`, `7min`, `2h` or `3000steps`; the schedule is fitted to
    it."""
    batch_size: Count = 16
    """Slices a step, of all processes together."""
    learning_rate: Annotated[Float, Field(gt=0)] = 2e-3
    """Of AdamW, at its peak."""
    weight_decay: Annotated[Float, Field(ge=0)] = 1e-2
    """Of AdamW."""
    warmup: Fraction = 0.05
    """Share of the steps in which the learning rate rises."""
    schedule: Literal["cosine", "polynomial", "constant"] = "cosine"
    """How the learning rate falls after that."""
    ema: Fraction = 0.0
    """Decay of averaged weights, which are then the ones that are kept; 0: none."""
    clip_norm: Annotated[Float, Field(gt=0)] | None = None
    """Longest gradient."""
    foreground: Annotated[Float, Field(ge=0, le=1)] = 0.0
    """Share of the draws made from slices that show a class, each class in turn."""
    validate_every: Count = 1
    """Epochs between validations."""
    patience: Count | None = None
    """Stop when the validation Dice was not better for so many epochs; `null`: never before the end."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's layers while it trains; weights and loss are float32 always. `auto`: bfloat16 where the GPU or
    processor has instructions for it. The log says which."""
    compile: Literal["auto", "always", "never"] = "auto"
    """torch.compile for the network; `auto`: on a GPU. Where it fails, the run says why and goes on without it."""
    checkpoint_minutes: Annotated[Float, Field(gt=0)] = 10.0
    """Within a long epoch, `last.pt` is written so often as well."""
    device: Annotated[Text, Kind("`auto`, `cpu`, `cuda` or one GPU such as `cuda:1`")] = "auto"
    """`auto`: a GPU where there is one. Several processes: [training.md](training.md)."""
    threads: Count | None = None
    """Of PyTorch on the CPU; `null`: its own choice."""

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value):
            raise ValueError(f"got {value!r}, expected auto, cpu, cuda, or one GPU such as cuda:1")
        return value

    @field_validator("budget", mode="before")
    @classmethod
    def _known_budget(cls, value: object) -> object:
        if isinstance(value, (str, int, float)):  # a number lacks its unit, which is worth more than its type
            parse_budget(str(value))
        return value


def parse_budget(text: str) -> tuple[float | None, int | None]:
    """A training budget as (seconds, steps), one of which is None.

    >>> parse_budget("7min"), parse_budget("90 s"), parse_budget("3000 steps")
    ((420.0, None), (90.0, None), (None, 3000))
    """
    found = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|min|h|steps)\s*", text)
    if found is None or float(found[1]) == 0:
        raise ValueError("a budget is a number above 0 and a unit: '90s', '7min', '2h' or '3000steps'")
    if found[2] == "steps":
        return None, max(1, round(float(found[1])))
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]], None
