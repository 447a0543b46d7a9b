"""Prepared slices by ``data.cache``: all in memory, in a store on disk, or prepared anew for each batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pipeline.config.load import Config
from pipeline.data.caching.cache_folder import folder_bytes, open_store
from pipeline.data.caching.demand import bank_bytes, working_bytes
from pipeline.data.caching.digests import digest_of, foreign_sources, sources_digest, versions
from pipeline.data.caching.elsewhere import FreshSlices, StoredSlices, file_states
from pipeline.data.caching.joined import joined
from pipeline.data.caching.prepared import Preparation, prepare_cases, prepare_each, sample_of
from pipeline.data.caching.samples import presence, same_channels, sample_shape, slices_of
from pipeline.data.caching.slices import SliceBank, Slices
from pipeline.data.caching.store import FORMAT, Store, StoreWriter
from pipeline.data.crops import crop_faults
from pipeline.errors import RunError, raise_all
from pipeline.memory import available_bytes, in_words, thread_count

Tell: TypeAlias = Callable[[], None]
Say: TypeAlias = Callable[[str], None]
_MOST_THREADS = 16  # where cases are not kept in memory
_ROUNDING = 1e-5  # of an image's largest magnitude: sums depend on the number of threads, and on the processor


def prepared_slices(
    config: Config, jobs: Sequence[Preparation], progress: Tell = lambda: None, say: Say = lambda line: None
) -> Slices:
    """The prepared slices of some cases, kept where the config wants them.

    Parameters
    ----------
    config
        Of the dataset.
    jobs
        What is to be prepared: one a view, whose slices come together.
    progress
        Called after each case that is prepared.
    say
        Takes a line for the user.

    Raises
    ------
    Fault, Faults
        With the case's file; also for labelled voxels that the chain cuts off.
    RunError
        When they fit neither in the memory nor, for a store, on the disk.
    """
    keep = {"ram": _in_memory, "disk": _on_disk, "none": _nowhere}[config.settings.data.cache]
    if keep is _in_memory and jobs[0].processes == 1:
        check_memory(config, jobs)  # of several processes, some have taken memory by now: it was looked at before
    return joined([keep(config, job, progress, say) for job in jobs])


def check_memory(config: Config, jobs: Sequence[Preparation]) -> None:
    """See that the prepared slices of some cases, in all their views, fit into memory.

    Raises
    ------
    RunError
        When so much is not free, as often as there are processes.
    """
    each, free, processes = sum(needed_bytes(job) for job in jobs), available_bytes(), jobs[0].processes
    if free is not None and each * processes > free:
        views = f" in {len(jobs)} views" if len(jobs) > 1 else ""
        often = f" in each of {processes} processes" if processes > 1 else ""
        raise RunError(
            f"the prepared slices of {len(jobs[0].cases)} cases{views} need about {in_words(each)} ({each} bytes) of "
            f"memory{often}, and {in_words(free)} ({free} bytes) are free", where=config.where("data", "cache"),
            remedy="Keep them on disk with --set data.cache=disk",
        )  # fmt: skip


def needed_bytes(job: Preparation) -> int:
    """About how much the slices of some cases will take once they are prepared; a few cases are tried."""
    return bank_bytes((job.facts[case.id] for case in job.cases), job.shape_of)


def _threads(job: Preparation, most: int | None = None, reserved: int = 0) -> int:
    """How many cases may be prepared at once."""
    count = thread_count(working_bytes((job.facts[case.id] for case in job.cases), job.shape_of), most, reserved)
    return max(1, count // job.processes)


def _in_memory(config: Config, job: Preparation, progress: Tell, say: Say) -> Slices:
    samples = prepare_cases(job.chain, job.cases, progress, _threads(job, reserved=needed_bytes(job)))
    raise_all(crop_faults(job.chain, job.cases, job.facts, job.options, lambda number: samples[number]["image"]))
    return SliceBank(job.cases, samples, job.classes, job.context, samples.drop)


def _on_disk(config: Config, job: Preparation, progress: Tell, say: Say) -> Slices:
    cache = config.locate(config.settings.data.cache_folder)
    content = store_content(config, job)
    key = digest_of(content)

    def build(folder: Path) -> None:
        writer, shapes = StoreWriter(folder), []

        def take(number: int, sample: Mapping[str, Any]) -> None:
            image, label = slices_of(job.cases[number], sample, job.classes)
            shapes.append(image.shape[1])
            same_channels(job.cases, np.array(shapes))
            writer.add(image.numpy(), label.numpy(), presence(label, job.classes))

        prepare_each(job, take, progress, _threads(job, _MOST_THREADS))
        writer.finish(content | {"cases": [case.id for case in job.cases]})

    store = open_store(
        cache / "slices", key, job.classes, build, lambda: needed_bytes(job), say,
        lambda store: _outdated(store, job, int(key, 16)),
    )  # fmt: skip
    say(
        f"the prepared slices of {len(job.cases)} cases are in {cache}, which holds {in_words(folder_bytes(cache))}; "
        "it may be deleted when nothing runs"
    )
    return StoredSlices(job.cases, store, job.context)


def store_content(config: Config, job: Preparation) -> dict[str, Any]:
    """What a store follows from: whatever differs here makes another one.

    The slices' neighbours are found when it is opened, so that ``data.context`` is not among it.
    """
    cases = [
        (case.id, case.patient, case.scan, case.slice, case.channels, fact.digest.hex(), fact.label_digest.hex(),
         fact.shape, fact.spacing_mm, fact.orientation, fact.axis, fact.slices)
        for case in job.cases for fact in [job.facts[case.id]]
    ]  # fmt: skip
    return {
        "format": FORMAT,
        "digest_of_cases": digest_of(cases),
        "chain": [dict(entry) for entry in config.settings.transforms.prepare],
        "read": vars(job.options),
        "classes": job.classes,
        "versions": versions(),
        "sources": sources_digest("transforms"),
        "plugins": foreign_sources(job.chain.compose.transforms),
    }


def _outdated(store: Store, job: Preparation, number: int) -> str:
    """What shows that a store is not what the chain gives now: its key does not see what a plugin imports or reads.

    The first case is prepared again and, where a step is neither this project's nor MONAI's, another by a number.
    """
    others = {number % len(job.cases)} if foreign_sources(job.chain.compose.transforms) else set()
    for place in sorted({0} | others):
        case = job.cases[place]
        made = slices_of(case, job.chain(sample_of(case)), job.classes)
        image, label = (tensor.numpy() for tensor in made)
        if not _alike((image, label), store.case(place)):
            return (
                f"transforms.prepare now makes something else of {case.image}; where nothing was changed, one of its "
                "steps gives something else each time"
            )
    return ""


def _alike(now: tuple[np.ndarray, np.ndarray], before: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether the labels of a case are the same, and its images but for rounding."""
    (image, label), (old_image, old_label) = now, before
    if image.shape != old_image.shape or not np.array_equal(label, old_label):
        return False
    if np.array_equal(image, old_image):
        return True
    return bool(np.abs(image - old_image).max() <= _ROUNDING * np.abs(old_image).max())


def _nowhere(config: Config, job: Preparation, progress: Tell, say: Say) -> Slices:
    say(f"data.cache is none: one pass through {len(job.cases)} cases, for the sizes and classes of their slices")
    shapes, present = [], []
    states, threads = file_states(job.cases), _threads(job, _MOST_THREADS)

    def take(number: int, sample: Mapping[str, Any]) -> None:
        shapes.append(sample_shape(job.cases[number], sample))
        _, label = slices_of(job.cases[number], sample, job.classes)
        present.append(presence(label, job.classes))

    prepare_each(job, take, progress, threads)
    same_channels(job.cases, np.array(shapes)[:, 1])
    return FreshSlices(job, np.array(shapes), np.concatenate(present), threads=threads, states=states)
