"""What all commands share: arguments, and how their errors end."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import (
    EXIT_DEFECT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_USER,
    Elsewhere,
    Fault,
    Faults,
    Interrupted,
    RunError,
)


class Parser(argparse.ArgumentParser):
    """An argument parser that knows this project's exit codes and where to ask for more."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong with the arguments; exit 2."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_USER, f"error: {message}. See {self.prog} --help.\n")


def command_parser(prog: str, description: str, epilog: str = "") -> Parser:
    """A parser with ``--traceback``."""
    parser = Parser(prog=prog, description=description, epilog=epilog,
                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--traceback", action="store_true", help="show where in the program an error was raised")
    return parser


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG and ``--set``."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, such as configs/hipmri.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override a value, such as training.epochs=5; may be given several times",
    )  # fmt: skip


def how_to_go_on(folder: Path) -> str:
    """What to type after a run was stopped."""
    return f"go on with the same command and --resume --out {shlex.quote(str(folder))}"


def guarded(body: Callable[[], int], *, show_traceback: bool, hint: str = "") -> int:
    """Run a command's body; every error becomes a message and an exit code.

    Parameters
    ----------
    body
        Gives the exit code where all went well.
    show_traceback
        Whether a fault shows where it was raised.
    hint
        A last line after faults of the config or of the data.

    Returns
    -------
    int
        What the body returned; 2 for the user's faults, 3 when interrupted, 1 for a defect of this program.
    """
    try:
        return body()
    except Fault as fault:
        if show_traceback:
            traceback.print_exc()
        faults = fault.faults if isinstance(fault, Faults) else (fault,)
        for one in faults:
            print(f"error: {one}", file=sys.stderr)
        if len(faults) > 1:
            print(f"{len(faults)} errors.", file=sys.stderr)
        if hint and not isinstance(fault, RunError):
            print(hint, file=sys.stderr)
        return EXIT_USER
    except Interrupted as stop:
        print(f"interrupted: {stop}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Elsewhere as end:  # told by another process of this run
        return end.code
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit finds no pipe
        return EXIT_DONE
    except MemoryError:
        print("error: out of memory. Use fewer or smaller slices, or a machine with more.", file=sys.stderr)
        return EXIT_USER
    except Exception:
        traceback.print_exc()
        print(
            "This is a defect of Slicewise, not of your data; please report it with the lines above.", file=sys.stderr
        )
        return EXIT_DEFECT
