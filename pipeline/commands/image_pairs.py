"""Images that a run predicts, and their labels: which belong together, and how they are scored."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.commands.prediction_job import Job
from pipeline.commands.scoring_plan import Plan, plan_from
from pipeline.data.cases import listing, nifti_files, stem
from pipeline.errors import DataError, raise_all
from pipeline.evaluation.pairing import Naming, Pairs, files_by_case, paired
from pipeline.inference.writing import mask_path

__all__ = ["pairs_of_images", "plan_of_run"]


def plan_of_run(arguments: argparse.Namespace, job: Job) -> Plan:
    """As `plan_from`, with what the run of a job says.

    Volumes are counted along the plane that they are predicted in, and their spacing is believed as in training.

    Raises
    ------
    Fault, Faults
        All that is wrong with the arguments.
    """
    first = job.model.first
    plan = plan_from(argparse.Namespace(**{**vars(arguments), "config": first.folder / "config.yaml"}))
    axis = first.options.axis if job.axis is None else job.axis
    rules = plan.rules
    rules = replace(
        rules, labels=replace(rules.labels, axis=axis), predictions=replace(rules.predictions, axis=axis),
        knows_spacing=first.facts.knows_spacing and not arguments.ignore_affine, own=True,
    )  # fmt: skip
    return replace(plan, rules=rules)


def pairs_of_images(
    job: Job, labels: Path, naming: Naming, failed: Sequence[str], *, count_missing: bool = False
) -> Pairs:  # fmt: skip
    """The labels of images that are, or will be, predicted.

    Parameters
    ----------
    job
        Whose masks are held against the labels.
    labels
        Their folder.
    naming
        How names are understood.
    failed
        Cases without a mask: their labels are left out.
    count_missing
        Keep labels that have no image, whose prediction counts as empty.

    Raises
    ------
    DataError, Faults
        No such folder, the folder of the images; files that are not understood; labels without an image.
    """
    masks = [mask_path(job.masks, case) for case in job.images.cases if case.id not in failed]
    if not labels.is_dir():
        raise DataError("no such folder", where=f"--labels {labels}", remedy="Name the folder that holds the masks")
    files = nifti_files(labels)
    faults: list[DataError] = []
    predicted = files_by_case(masks, job.masks, naming, faults)
    by_name = naming.of_case  # whose it is, and of which scan, the image's name says
    labelled = files_by_case(files, labels, by_name, faults)
    if not files:
        remedy = "Name the folder of the .nii.gz or .nii files"
        faults.append(DataError("no NIfTI file in it", where=f"--labels {labels}", remedy=remedy))
    if files and files[0].parent.resolve() == job.images.folder.resolve():
        faults.append(DataError("the labels are the images: both folders are the same", where=f"--labels {labels}",
                                remedy="Give each a folder of its own"))  # fmt: skip
    lost = {found.case for name in (*failed, *(one.case for one in job.images.failed))
            if (found := by_name.identity(name)) is not None}  # fmt: skip
    kept = {case: found for case, found in labelled.items() if case not in lost}
    alone = [path.name for case, (_, path) in kept.items() if case not in predicted]
    if alone and not count_missing:
        faults.append(_without_image(alone, len(files), labels, job.images.folder))
    raise_all(faults)
    for case, (identity, path) in kept.items():
        if case not in predicted:  # there is no image to say whose it is, so the label's own name does
            kept[case] = (naming.identity(stem(path.name)) or identity, path)
    pairs = [paired(kept[case], predicted.get(case)) for case in sorted(kept)]
    return Pairs(tuple(pairs), tuple(predicted[case][1] for case in sorted(predicted.keys() - labelled.keys())))


def _without_image(alone: Sequence[str], total: int, labels: Path, images: Path) -> DataError:
    return DataError(
        f"{len(alone)} of {total} labels have no image in {images}: {listing(alone)}", where=str(labels),
        remedy="Add the images, remove the labels, say with --case what the names share, or count them as empty "
        "predictions with --missing count",
    )  # fmt: skip
