"""Where the images, labels and masks of evaluations are; they may have been moved, and need not all be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.load import load_config
from pipeline.data.cases import SUFFIXES, Case
from pipeline.data.inspection import knows_spacing
from pipeline.data.layouts import look_for_cases
from pipeline.data.layouts.text_files import read_json
from pipeline.data.phantom.writing import read_phantom_marker
from pipeline.data.reading import read_options
from pipeline.errors import DataError, Fault
from pipeline.evaluation.comparison import Pair
from pipeline.evaluation.differences import Regression
from pipeline.evaluation.stored import Stored
from pipeline.reporting.regressions import CaseFiles, Picture, load_pair
from transforms.nifti import ReadOptions

__all__ = ["Shelf", "is_synthetic", "open_shelf", "picture_of"]


@dataclass(frozen=True, eq=False)
class Shelf:
    """The files of one evaluation.

    Attributes
    ----------
    stored
        The evaluation.
    source
        Its provenance.json; empty where there is none.
    cases
        Of the dataset of a run, by id; none for what bin/evaluate wrote, and where the dataset is gone.
    options
        How its files are read; of bin/evaluate, as far as its results tell.
    knows_spacing
        Whether the files' spacing is to be believed.
    """

    stored: Stored
    source: dict[str, Any]
    cases: dict[str, Case]
    options: ReadOptions
    knows_spacing: bool

    def prediction(self, case: str) -> Path:
        """The mask that was scored.

        Raises
        ------
        DataError
            When it is not found.
        """
        return self._found(case, 0, "predictions", "prediction")

    def label(self, case: str) -> Path:
        """The reference that it was scored against.

        Raises
        ------
        DataError
            When it is not found.
        """
        return self._found(case, 1, "labels", "label")

    def image(self, case: str) -> tuple[Path, ReadOptions] | None:
        """The image, and how it is read; None where it is not known, or is not there."""
        if case in self.cases:
            known = self.cases[case]
            options = replace(self.options, channels=known.channels_in_file)
            return (known.image, options) if known.image.is_file() else None
        folder = self._dataset().get("images")
        if not isinstance(folder, str):
            return None
        paths = [Path(folder) / f"{case}{suffix}" for suffix in SUFFIXES]
        return next(((path, self.options) for path in paths if path.is_file()), None)

    def _found(self, case: str, place: int, key: str, what: str) -> Path:
        named = self.stored.files.get(case, (None, None))[place]
        paths = list(self._places(case, named, key))
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            where = f": {paths[0]} is gone" if paths else ""
            raise DataError(f"the {what} of {self.stored.name} is not found{where}")
        return found

    def _places(self, case: str, named: str | None, key: str) -> Iterator[Path]:
        """Where a file may be: where it was, then where it would be if its folder had been moved."""
        if named is not None:
            yield Path(named)
            folder = self._dataset().get(key)  # bin/evaluate: absolute, where the files' own names may not be
            if isinstance(folder, str):
                yield Path(folder) / Path(named).name
        if key == "predictions":
            home = self.stored.source.run or self.stored.source.folder
            names = [Path(named).name] if named is not None else [f"{case}{suffix}" for suffix in SUFFIXES]
            homes = (home, home.parent) if home.name.startswith("fold_") else (home,)  # folds share their run's
            yield from (one / "predictions" / name for one in homes for name in names)
        elif case in self.cases and self.cases[case].label is not None:
            yield self.cases[case].label  # type: ignore[misc]

    def _dataset(self) -> dict[str, Any]:
        known = self.source.get("dataset")
        return known if isinstance(known, dict) else {}


def open_shelf(stored: Stored) -> Shelf:
    """Look where the files of an evaluation are; what is not there is told when it is asked for."""
    home = stored.source.run or stored.source.folder
    try:
        source = read_json(home / "provenance.json", "")
    except Fault:
        source = {}  # it says where files are besides what summary.json does, and is not needed
    options = ReadOptions(ignore_affine=stored.unit == "pixels")
    shelf = Shelf(stored, source, {}, options, stored.unit == "mm")
    if stored.source.run is None:
        return shelf
    try:
        config = load_config(stored.source.run / "config.yaml")
        cases, _ = look_for_cases(config)
        known = knows_spacing(config)
    except Fault:
        return shelf  # the data are elsewhere now: pictures without the image
    return replace(shelf, cases={case.id: case for case in cases}, options=read_options(config), knows_spacing=known)


def is_synthetic(shelf: Shelf) -> bool:
    """Whether the labels or images are those of a phantom, as far as can be known."""
    if shelf._dataset().get("synthetic") is True:
        return True
    labels = [Path(label) for _, label in shelf.stored.files.values() if label is not None][:1]
    folders = [folder for path in labels for folder in list(path.parents)[:2]]
    return any(folder.is_dir() and _has_marker(folder) for folder in folders)


def _has_marker(folder: Path) -> bool:
    try:
        return read_phantom_marker(folder) is not None
    except DataError:
        return True  # a damaged one is one, too


def picture_of(regression: Regression, pair: Pair, shelves: tuple[Shelf, Shelf], others: Sequence[Shelf]) -> Picture:
    """A regression's picture, or why there is none.

    Parameters
    ----------
    regression, pair
        What is shown, and the comparison that it is of.
    shelves
        Of the first evaluation and of the other.
    others
        Of all that are compared: one may know an image that the two do not.
    """
    try:
        return load_pair(regression, _files(regression, pair, shelves, others), pair.matched.first.classes)
    except Fault as fault:
        first = getattr(fault, "faults", (fault,))[0]
        return Picture(regression, None, f"No picture: {f'{first.where}: ' if first.where else ''}{first.what}.")


def _files(regression: Regression, pair: Pair, shelves: tuple[Shelf, Shelf], others: Sequence[Shelf]) -> CaseFiles:
    case, place = regression.case, regression.place
    label, owner = _label(case, shelves)
    images = ((one.image(case), one.knows_spacing) for one in (*shelves, *others))
    image, known = next(((found, known) for found, known in images if found), (None, owner.knows_spacing))
    index = pair.matched.first.cases.index(case)
    first, other = pair.matched.first, pair.matched.other
    return CaseFiles(
        image=None if image is None else image[0],
        image_options=owner.options if image is None else image[1],
        label=label, label_options=owner.options,
        predictions=(shelves[0].prediction(case), shelves[1].prediction(case)),
        prediction_options=(_of_masks(shelves[0]), _of_masks(shelves[1])),
        class_ids=(owner.stored.class_ids[place], first.class_ids[place], other.class_ids[place]),
        voxels=(int(first.reference[index, place]), int(first.predicted[index, place]),
                int(other.predicted[index, place])),
        knows_spacing=known,
    )  # fmt: skip


def _label(case: str, shelves: Sequence[Shelf]) -> tuple[Path, Shelf]:
    """The label and whose it is: of the first evaluation that has it still."""
    for shelf in shelves[:-1]:
        try:
            return shelf.label(case), shelf
        except DataError:
            continue
    return shelves[-1].label(case), shelves[-1]


def _of_masks(shelf: Shelf) -> ReadOptions:
    """Predictions hold classes already: nothing is renamed."""
    return replace(shelf.options, label_map=())
