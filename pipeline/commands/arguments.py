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
from pipeline.terminal import Voice, painted, speaking, tell


class Parser(argparse.ArgumentParser):
    """An argument parser that knows this project's exit codes and where to ask for more."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong with the arguments; exit 2."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_USER, f"{painted('error:', 'error', sys.stderr)} {message}. See {self.prog} --help.\n")


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


def add_voice_arguments(parser: argparse.ArgumentParser) -> None:
    """``--quiet`` and ``--verbose``."""
    voices = parser.add_mutually_exclusive_group()
    voices.add_argument("--quiet", action="store_true", help="tell errors, warnings and the result, and nothing else")
    voices.add_argument("--verbose", action="store_true", help="tell what the log is told, and as with --traceback")


def voice_of(arguments: argparse.Namespace) -> Voice:
    """How much is to be told."""
    return "quiet" if arguments.quiet else "verbose" if arguments.verbose else "normal"


def how_to_go_on(folder: Path) -> str:
    """What to type after a run was stopped."""
    return f"go on with the same command and --resume --out {shlex.quote(str(folder))}"


def guarded(body: Callable[[], int], *, show_traceback: bool, hint: str = "", voice: Voice = "normal") -> int:
    """Run a command's body; every error becomes a message and an exit code.

    Parameters
    ----------
    body
        Gives the exit code where all went well.
    show_traceback
        Whether a fault shows where it was raised.
    hint
        A last line after faults of the config or of the data.
    voice
        How much is told; ``verbose`` shows where a fault was raised, as well.

    Returns
    -------
    int
        What the body returned; 2 for the user's faults, 3 when interrupted, 1 for a defect of this program.
    """
    with speaking(voice):
        return _ended(body, show_traceback=show_traceback or voice == "verbose", hint=hint)


def _ended(body: Callable[[], int], *, show_traceback: bool, hint: str) -> int:
    try:
        return body()
    except Fault as fault:
        if show_traceback:
            traceback.print_exc()
        faults = fault.faults if isinstance(fault, Faults) else (fault,)
        for one in faults:
            tell(f"error: {one}")
        if len(faults) > 1:
            tell(f"{len(faults)} errors.")
        if hint and not isinstance(fault, RunError):
            tell(hint)
        return EXIT_USER
    except Interrupted as stop:
        tell(f"interrupted: {stop}")
        return EXIT_INTERRUPTED
    except Elsewhere as end:  # told by another process of this run
        return end.code
    except KeyboardInterrupt:
        tell("interrupted.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit finds no pipe
        return EXIT_DONE
    except MemoryError:
        tell("error: out of memory. Use fewer or smaller slices, or a machine with more.")
        return EXIT_USER
    except Exception:
        traceback.print_exc()
        tell("error: this is a defect of Slicewise, not of your data; please report it with the lines above.")
        return EXIT_DEFECT
