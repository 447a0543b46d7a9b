"""The validation cases of a finished run, scored as its test cases were: on the grid of their files.

The Dice that chose the epoch is of the prepared grid, and two chains prepare two grids: one that halves the size is
not asked for the detail that it has thrown away. Variants of a chain can only be compared where their masks come back.

    python -m pipeline.commands.validation_scores RUN
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.commands.arguments import command_parser, guarded
from pipeline.commands.dataset import open_dataset
from pipeline.commands.intake import Intake, take_in
from pipeline.errors import EXIT_DONE, Interrupted
from pipeline.evaluation import aggregation
from pipeline.evaluation.ablation_cells import VALIDATION
from pipeline.evaluation.confusion import CaseCounts
from pipeline.training.signals import hold_signals, interrupt_on_signals

__all__ = ["main", "score_validation"]


def main(argv: Sequence[str] | None = None) -> int:
    """Score the validation cases of the run in a folder; returns the exit code."""
    parser = command_parser("pipeline.commands.validation_scores", "Score the validation cases of a finished run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="its folder")
    arguments = parser.parse_args(argv)
    return guarded(lambda: _stoppable(arguments.run), show_traceback=arguments.traceback)


def _stoppable(folder: Path) -> int:
    try:
        with interrupt_on_signals():
            score_validation(folder)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"{str(stop) or 'SIGINT'}; the validation cases will be scored again") from None
    return EXIT_DONE


def score_validation(folder: Path) -> None:
    """Write ``validation/`` into a run's folder, or into the folder of each of its folds.

    Raises
    ------
    Fault
        When the run is not finished, or its data have changed since.
    """
    with hold_signals():
        from pipeline.commands.folds import write_evaluation
        from pipeline.commands.stages import keep_to_data, network_for, predict_and_count
        from pipeline.inference.trained import Model, find_model
        from pipeline.training.checkpoint import load_checkpoint
        from pipeline.training.device import choose_device, tune_cpu

    intake = take_in(open_dataset(folder / "config.yaml", ()))
    keep_to_data(folder, intake, resume=True)
    training = intake.settings.training
    tune_cpu(training.threads)
    device = choose_device(training.device)
    for part, member in zip(intake.parts, find_model([folder]).members, strict=True):
        network = network_for(part.dataset, device)
        network.load_state_dict(load_checkpoint(member.checkpoint)["network"])
        asked = replace(part, split=replace(part.split, test=part.split.validation))
        with tempfile.TemporaryDirectory() as masks:
            counts = predict_and_count(
                asked, network, device, Path(masks), lambda line: print(line, file=sys.stderr), "validate",
                Model((member,)).rules,
            )  # fmt: skip
        (member.folder / VALIDATION).mkdir(exist_ok=True)
        write_evaluation(_evaluation(counts, asked), member.folder / VALIDATION)


def _evaluation(counts: Sequence[CaseCounts], intake: Intake) -> aggregation.Evaluation:
    """As `pipeline.commands.folds.score`, but for the files of the masks, which are not kept."""
    settings = intake.settings
    return aggregation.evaluate(
        counts, settings.data.classes, seed=settings.seed, resamples=settings.evaluation.resamples,
        confidence=settings.evaluation.confidence,
        files={case.id: (None, str(case.label)) for case in intake.split.test},
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
