"""bin/ablate: a grid of runs of one config, one after the other, and one table of what they reached."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.commands.ablation_plan import (
    PlannedCell,
    checked_cells,
    checked_configs,
    grid_folder,
    is_done,
    kept_cells,
    strange_folders,
    write_grid,
)
from pipeline.commands.arguments import add_config_arguments, command_parser, guarded, how_to_go_on
from pipeline.config.grid import Axis, Cell, axes_of, cells_of
from pipeline.errors import EXIT_DONE, ConfigError, Interrupted
from pipeline.reporting.wording import plural
from pipeline.run_lock import sole_process
from pipeline.training.signals import interrupt_on_signals

EPILOG = """examples:
  bin/ablate configs/hipmri.yaml --vary transforms=transforms/default.yaml,transforms/pad.yaml
  bin/ablate configs/hipmri.yaml --vary transforms=transforms/pad.yaml,transforms/strong.yaml --vary seed=0,1,2
  bin/ablate configs/hipmri.yaml --vary 'transforms.prepare.2.spatial_size=[192, 96],[256, 128]'
  bin/ablate configs/hipmri.yaml --vary training.learning_rate=1e-3,2e-3 --set training.epochs=20 --dry-run
  bin/ablate configs/hipmri.yaml --vary seed=0,1,2 --resume

Each combination is a whole run, in a folder of its own below the ablation's. Commas within [ ], { } and quotes do not
separate values. In the folder: ablation.csv (a row a run), ablation.md, ablation.html, written anew after every run.
Choose by the validation Dice: the test Dice is only reported. Exit codes: 0 all runs are done, 2 some were refused
(the table says why), 3 stopped (--resume goes on), 1 a defect of ours.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser("bin/ablate", "Compare variants of a config: a run of each, and one table.", EPILOG)
    add_config_arguments(parser)
    parser.add_argument(
        "--vary", action="append", default=[], metavar="KEY=V1,V2", dest="varied",
        help="a key that --set takes, and the values to compare; several make a grid",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder; else runs/<name>-ablation/<number>")
    parser.add_argument("--resume", action="store_true", help="go on with the newest ablation, or that in --out")
    parser.add_argument("--dry-run", action="store_true", help="check every config and list the runs; run nothing")
    parser.add_argument("--no-stand-in", action="store_true", help="stop when the data are missing")
    arguments = parser.parse_args(argv)
    command = ["bin/ablate", *(sys.argv[1:] if argv is None else argv)]
    hint = f"Nothing was run. bin/check {shlex.quote(arguments.config)}, with --set, tells more of one config."
    return guarded(lambda: _ablate(arguments, command), show_traceback=arguments.traceback, hint=hint)


def _ablate(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("several processes: each would run the whole grid", where="WORLD_SIZE in the environment",
                          remedy="Start bin/ablate without torchrun")  # fmt: skip
    axes = axes_of(arguments.varied, arguments.overrides)
    cells = cells_of(axes, arguments.overrides)
    if arguments.dry_run:
        checked_configs(Path(arguments.config), cells)
        print(_listing(cells))
        return EXIT_DONE
    with interrupt_on_signals():  # until there are runs to pass them on to
        planned = checked_cells(Path(arguments.config), cells, allow_stand_in=not arguments.no_stand_in)
        folder = grid_folder(planned, arguments.out, resume=arguments.resume)
        with sole_process(folder):
            kept_cells(planned, folder)
            write_grid(folder, arguments.config, axes, arguments.overrides, planned)
            return _run(arguments, command, axes, planned, folder)


def _listing(cells: Sequence[Cell]) -> str:
    """The cells, a line each, with what tells them apart from the config."""
    lines = []
    for number, cell in enumerate(cells, start=1):
        chosen = " ".join(f"--set {shlex.quote(f'{key}={value}')}" for key, value in cell.choices)
        lines += [f"{number:>4}  {cell.name}", f"      {chosen}"]
    return "\n".join([*lines, f"{plural(len(cells), 'run')}; every config was checked, and nothing was run."])


def _run(
    arguments: argparse.Namespace, command: Sequence[str], axes: Sequence[Axis], planned: Sequence[PlannedCell],
    folder: Path,
) -> int:  # fmt: skip
    """All cells, and the table at the end, however that came."""
    from pipeline.commands.ablation_grid import Grid

    done = [one.cell.name for one in planned if is_done(folder / one.cell.name)]
    before = f", {len(done)} of them done before" if done else ""
    print(f"{plural(len(planned), 'run')}{before} -> {folder}", file=sys.stderr)
    for name in strange_folders(planned, folder):
        print(f"note: {name} lies in the folder, but is no run of this grid: it is in no table", file=sys.stderr)
    grid = Grid(arguments.config, planned, axes, folder, shown_command(command),
                allow_stand_in=not arguments.no_stand_in)  # fmt: skip
    code = grid.run()
    print(f"\n{grid.table()}\n\nTables: {folder / 'ablation.md'}, .csv and .html")
    if grid.stopped_by:
        raise Interrupted(f"{grid.stopped_by}; {how_to_go_on(folder)}")
    return code


def shown_command(command: Sequence[str]) -> str:
    """The command that makes the whole ablation: as it was typed, without ``--resume``."""
    return shlex.join(part for part in command if part != "--resume")
