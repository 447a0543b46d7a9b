"""What a loss of logits and class indices needs, and what its weights are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.suggestions import suggestion
from pipeline.config.targets import MONAI_LOSSES, short_name

__all__ = ["WEIGHTS_BY_FREQUENCY", "faults_of_loss", "faults_of_weights", "weighted_classes"]

WEIGHTS_BY_FREQUENCY = {"inverse": 1.0, "inverse_sqrt": 0.5}  # the power of how often a class comes

Faults = Iterator[tuple[str, str]]


def faults_of_loss(loss: Mapping[str, Any]) -> Faults:
    """What one of MONAI's losses lacks, as (what, remedy); what a plugin's needs, its author knows."""
    name = _monai_name(loss)
    if name is None:
        return
    for key in ("use_softmax" if name == "FocalLoss" else "softmax", "to_onehot_y"):
        if loss.get(key) is not True:
            what = f"'{key}' is not true: the network gives logits of exclusive classes, masks are indices"
            yield what, f"Add '{key}: true'"


def faults_of_weights(loss: Mapping[str, Any], classes: int) -> Faults:
    """What is wrong with the key ``weight`` of one of MONAI's losses, as (what, remedy)."""
    weight = loss.get("weight")
    if _monai_name(loss) is None:
        return
    wanted = len(weighted_classes(loss, classes))
    if isinstance(weight, list) and len(weight) != wanted:
        yield f"{len(weight)} weights for {wanted} classes", "Give one weight a class"
    if isinstance(weight, str) and weight not in WEIGHTS_BY_FREQUENCY:
        yield f"{weight!r} is no way to weigh classes", suggestion(weight, WEIGHTS_BY_FREQUENCY)


def weighted_classes(loss: Mapping[str, Any], classes: int) -> range:
    """The classes that the weights of a loss are for: without the background where it leaves that out altogether."""
    # DiceCELoss leaves it out of the Dice alone, and weighs it in the cross entropy (read from MONAI's source).
    left_out = loss.get("include_background") is False and _monai_name(loss) != "DiceCELoss"
    return range(1 if left_out else 0, classes)


def _monai_name(loss: Mapping[str, Any]) -> str | None:
    target = loss.get("_target_")
    name = short_name(target, "loss") if isinstance(target, str) else None
    return name if name in MONAI_LOSSES else None
