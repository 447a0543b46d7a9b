"""bin/make_phantom: write a synthetic dataset in the HipMRI layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pipeline.commands.arguments import command_parser, guarded
from pipeline.commands.dataset import make_phantom
from pipeline.data.phantom.writing import PhantomSpec
from pipeline.errors import EXIT_DONE

_MEANING = {
    "train": "patients for training",
    "validate": "patients that choose the checkpoint",
    "test": "patients that are only reported",
    "weeks": "scans of each patient",
    "slices": "slices written of each scan's 60",
    "seed": "what everything is drawn from",
}
EPILOG = """examples:
  bin/make_phantom /tmp/phantom --train 6 --validate 2 --test 2 --weeks 1
  bin/run_pipeline configs/hipmri.yaml --set data.root=/tmp/phantom
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser(
        "bin/make_phantom", "Write synthetic pelvis MRI in the HipMRI layout: no patient in it.", EPILOG
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    for field in fields(PhantomSpec):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, metavar="N",
                            help=f"{_MEANING[field.name]} (default {field.default})")  # fmt: skip
    arguments = parser.parse_args(argv)

    def body() -> int:
        spec = PhantomSpec(**{field.name: getattr(arguments, field.name) for field in fields(PhantomSpec)})
        scans = (spec.train + spec.validate + spec.test) * spec.weeks
        make_phantom(arguments.folder, spec)
        print(f"{scans} scans of {spec.slices} slices in {arguments.folder}. Use them as data:")
        print(f"  bin/run_pipeline configs/hipmri.yaml --set data.root={arguments.folder.resolve()}")
        return EXIT_DONE

    return guarded(body, show_traceback=arguments.traceback)
