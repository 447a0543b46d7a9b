"""What the ``inference`` section means: the axes that are mirrored, and the rules of each class; and its faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from pipeline.config.document import KeyPath
from pipeline.config.schema import PostprocessRule, Settings
from pipeline.config.suggestions import suggestion
from pipeline.errors import ConfigError
from transforms.entries import target_name
from transforms.sides import draws_each_axis, mirrored_axes

__all__ = [
    "checked_mirror", "faults_of_inference", "mirror_axes", "mirrored_in_training", "postprocess_rules",
    "rules_by_index",
]  # fmt: skip

_AXES = {0: "rows", 1: "columns"}


def mirrored_in_training(settings: Settings) -> frozenset[int]:
    """The axes of a slice (0: rows, 1: columns) along which training showed the network mirror images.

    A plugin's transform counts for none: what it does is not known.
    """
    return frozenset().union(*_mirrors(settings))


def mirror_axes(settings: Settings) -> tuple[int, ...]:
    """The axes that ``inference.mirror`` names, rising; ``trained`` gives those that training mirrored.

    Of two axes that training never mirrored together, ``trained`` gives the rows.
    """
    asked = settings.inference.mirror
    if asked != "trained":
        return tuple(axis for axis in asked if isinstance(axis, int))
    seen = tuple(sorted(mirrored_in_training(settings)))
    return seen if _seen_together(settings, seen) else seen[:1]


def checked_mirror(settings: Settings, mirror: Sequence[int], where: str) -> tuple[int, ...]:
    """The axes to mirror, rising, each once.

    Parameters
    ----------
    settings
        What the network was trained with.
    mirror
        Axes of a slice: 0 rows, 1 columns.
    where
        What asked for them: a key or an argument.

    Raises
    ------
    ConfigError
        For an axis that training did not mirror: a network that never saw mirror images can fail on them altogether.
    """
    fault = _mirror_fault(settings, mirror)
    if fault is not None:
        raise ConfigError(fault[0], where=where, remedy=fault[1])
    return tuple(sorted(set(mirror)))


def postprocess_rules(settings: Settings) -> dict[int, PostprocessRule]:
    """The rules that ``inference.postprocess`` gives, by class index, rising; none where they are to be chosen."""
    named = settings.inference.postprocess
    return {} if named == "auto" else rules_by_index(named, settings.data.classes)


def rules_by_index(named: Mapping[str, PostprocessRule], classes: Sequence[str]) -> dict[int, PostprocessRule]:
    """Rules by class index, rising, of rules by class name."""
    return {index: named[name] for index, name in enumerate(classes) if name in named}


def faults_of_inference(settings: Settings) -> Iterator[tuple[KeyPath, str, str]]:
    """What contradicts the rest of the config, as (path below ``inference``, what, remedy)."""
    fault = _mirror_fault(settings, mirror_axes(settings))
    if fault is not None:
        yield (("mirror",), *fault)
    elif settings.inference.mirror == "trained" and not mirrored_in_training(settings):
        yield ("mirror",), "'trained', but transforms.augment makes no mirror images", _remedy(())
    background, *classes = settings.data.classes
    named = settings.inference.postprocess
    for name, rule in named.items() if named != "auto" else ():
        if name == background:
            what = f"{name!r} is the background, which is what removed voxels become"
            yield ("postprocess", name), what, f"Name one of {', '.join(classes)}"
        elif name not in classes:
            yield ("postprocess", name), f"{name!r} is no class of data.classes", suggestion(name, classes)
        if rule.min_mm3 is not None and settings.data.ignore_affine:
            what = "the voxels have no size in mm: data.ignore_affine is true"
            yield ("postprocess", name, "min_mm3"), what, "Use min_voxels"


def _mirrors(settings: Settings) -> list[frozenset[int]]:
    """The axes that each entry of the augment chain mirrors."""
    return [mirrored_axes(target_name(entry), entry) for entry in settings.transforms.augment]


def _seen_together(settings: Settings, axes: Sequence[int]) -> bool:
    """Whether training mirrored along all of `axes` at once, too: the mirror images of prediction do."""
    if len(set(axes)) < 2:
        return True
    entries = list(zip(settings.transforms.augment, _mirrors(settings), strict=True))
    both = any(draws_each_axis(target_name(entry)) and {0, 1} <= found for entry, found in entries)
    return both or any(0 in one and 1 in other for (_, one), (_, other) in permutations(entries, 2))


def _mirror_fault(settings: Settings, mirror: Sequence[int]) -> tuple[str, str] | None:
    """What is wrong with mirroring along some axes, and what to do."""
    seen = mirrored_in_training(settings)
    unseen = sorted(set(mirror) - seen)
    if unseen:
        named = " and ".join(f"{axis} ({_AXES.get(axis, 'no axis of a slice')})" for axis in unseen)
        what = f"axis {named}: training showed the network no such mirror images, and it can fail on them altogether"
        return what, _remedy(sorted(seen))
    if not _seen_together(settings, mirror):
        what = "both axes at once: training mirrored along one at a time, and never showed the network such images"
        return what, "Give one axis, or add RandFlipBatchd, axes: [0, 1] to transforms.augment and train again"
    return None


def _remedy(seen: Sequence[int]) -> str:
    usable = f"Mirror along {' or '.join(map(str, seen))}" if seen else "Set inference.mirror: []"
    return f"{usable}, or add RandFlipBatchd to transforms.augment and train again"
