"""bin/make_phantom: write a synthetic dataset, as 2D slices in the HipMRI layout or as volumes in two folders."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pipeline.commands.arguments import command_parser, guarded
from pipeline.commands.dataset import make_phantom
from pipeline.data.phantom.specs import PhantomSpec, VolumeSpec
from pipeline.errors import EXIT_DONE, ConfigError

_MEANING = {
    "patients": "patients",
    "train": "patients for training",
    "validate": "patients that choose the checkpoint",
    "test": "patients that are only reported",
    "weeks": "scans of each patient",
    "slices": "slices written of each scan's 60",
    "seed": "what everything is drawn from",
}
_SPECS: dict[str, type[PhantomSpec] | type[VolumeSpec]] = {"hipmri": PhantomSpec, "folders": VolumeSpec}
EPILOG = """examples:
  bin/make_phantom /tmp/phantom --train 6 --validate 2 --test 2 --weeks 1
  bin/run_pipeline configs/hipmri.yaml --set data.root=/tmp/phantom
  bin/make_phantom /tmp/pelvis --layout folders --patients 6 --weeks 2 --slices 12
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser("bin/make_phantom", "Write synthetic pelvis MRI: no patient in it.", EPILOG)
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    parser.add_argument("--layout", choices=sorted(_SPECS), default="hipmri",
                        help="2D slices in HipMRI's six folders (default), or volumes in two")  # fmt: skip
    for name, meaning in _MEANING.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{meaning} ({_defaults(name)})")
    arguments = parser.parse_args(argv)

    def body() -> int:
        folder, spec = arguments.folder, _spec(arguments)
        make_phantom(folder, spec)
        print(f"{spec.scans} scans of {spec.slices} slices in {folder}. Use them as data:")
        print(f"  {_use(folder.resolve(), spec)}")
        return EXIT_DONE

    return guarded(body, show_traceback=arguments.traceback)


def _defaults(name: str) -> str:
    """The default of an option, and the layout that it is for where only one of them has it."""
    found = {layout: field.default for layout, spec in _SPECS.items() for field in fields(spec) if field.name == name}
    if len(found) == 1:
        ((layout, value),) = found.items()
        return f"{layout}; default {value}"
    default, of_volumes = found.values()
    return f"default {default}" if default == of_volumes else f"default {default}, {of_volumes} in folders"


def _spec(arguments: argparse.Namespace) -> PhantomSpec | VolumeSpec:
    kind = _SPECS[arguments.layout]
    given = {name: value for name in _MEANING if (value := getattr(arguments, name)) is not None}
    strange = given.keys() - {field.name for field in fields(kind)}
    if strange:
        raise ConfigError(f"the layout {arguments.layout} has no such option",
                          where=", ".join(f"--{name}" for name in sorted(strange)),
                          remedy="It is of the other --layout")  # fmt: skip
    return kind(**given)


def _use(folder: Path, spec: PhantomSpec | VolumeSpec) -> str:
    """The command that trains on what was written."""
    root = f"--set {shlex.quote(f'data.root={folder}')}"
    if isinstance(spec, PhantomSpec):
        return f"bin/run_pipeline configs/hipmri.yaml {root}"
    return (
        f"bin/run_pipeline configs/folders.yaml {root} --set data.images=images --set data.labels=labels "
        "--set 'data.classes=[background, body, bone, bladder, rectum, prostate]' --set 'data.patient=^(p\\d+)_'"
    )
