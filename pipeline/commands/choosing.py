"""``inference.postprocess: auto``: the validation cases predicted once more, and the rules that help them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.commands.intake import Intake
from pipeline.commands.stages import predictor_for
from pipeline.data.cases import scan_key
from pipeline.inference.choosing import Choices, choice_text, choose_postprocess
from pipeline.inference.model_file import read_choices
from pipeline.progress import stage
from transforms.nifti import read_label

__all__ = ["post_processing"]


def post_processing(
    intake: Intake, network: nn.Module, device: torch.device, folder: Path, say: Callable[[str], None], *, name: str,
    resume: bool,
) -> Choices | None:  # fmt: skip
    """The post-processing of a trained network, where the config leaves it to the validation cases; else None.

    Parameters
    ----------
    intake
        Whose validation side is predicted, on the grid of its files.
    network
        With its best weights, on the device.
    device
        To predict on.
    folder
        Of the run or of the fold. What was chosen before a run was stopped, its ``model.json`` tells.
    say
        Is told what was chosen, and the figures behind it.
    name
        Of the stage, where its progress is shown.
    resume
        Whether to go on from what is in the folder.
    """
    config = intake.dataset.config
    if config.settings.inference.postprocess != "auto":
        return None
    before = read_choices(folder, config) if resume else None
    choices = before if before is not None else _chosen(intake, network, device, say, name)
    say(f"post-processing, chosen on validation cases alone{' before the run was stopped' if before else ''}:")
    for class_name, choice in choices.items():
        say(f"  {choice_text(class_name, choice)}")
    return choices


def _chosen(
    intake: Intake, network: nn.Module, device: torch.device, say: Callable[[str], None], name: str
) -> Choices:  # fmt: skip
    settings, options, cases = intake.settings, intake.dataset.options, intake.split.validation
    predictor = predictor_for(intake, network, device, say)

    def pairs() -> Iterator[tuple[Hashable, np.ndarray, np.ndarray]]:
        for one in predictor(cases):
            assert one.case.label is not None
            yield scan_key(one.case), one.mask, read_label(one.case.label, options).array
            progress.advance(intake.facts[one.case.id].slices)

    with stage(name, sum(intake.facts[case.id].slices for case in cases), "slices") as progress:
        return choose_postprocess(pairs(), settings.data.classes)
