"""What can be told to be wrong with a chain from its text alone, without importing or running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from transforms.catalog import OWN_TRANSFORMS, transform_names

KEYS = ("image", "label")

# What resamples voxels: on a label, anything but nearest makes values that no mask has.
_RESAMPLING = frozenset(
    "Affined GridDistortiond Rand2DElasticd RandAffined RandGridDistortiond RandRotated RandSmoothDeformd RandZoomd "
    "Resized Rotated Spacingd Zoomd".split()
)
# What moves, cuts or adds voxels: an image and its label go through it together.
_GEOMETRY = _RESAMPLING | frozenset(
    "BorderPadd CenterScaleCropd CenterSpatialCropd CropForegroundd DivisiblePadd Flipd RandAffineBatchd RandAxisFlipd "
    "RandCoarseShuffled RandCropByLabelClassesd RandCropByPosNegLabeld RandFlipd RandRotate90d RandScaleCropd "
    "RandSpatialCropd RandWeightedCropd ResizeWithPadOrCropd Rotate90d SkimageResized SpatialCropd SpatialPadd".split()
)
# What changes values as if they were intensities: on a label, they are class numbers.
_INTENSITY = frozenset(
    "AdjustContrastd ClipIntensityPercentilesd GaussianSharpend GaussianSmoothd HistogramNormalized "
    "NormalizeIntensityd RandAdjustContrastd RandBiasFieldd RandGaussianNoised RandGaussianSharpend "
    "RandGaussianSmoothd RandGibbsNoised RandHistogramShiftd RandIntensityBatchd RandKSpaceSpikeNoised "
    "RandRicianNoised RandScaleIntensityFixedMeand RandScaleIntensityd RandShiftIntensityd "
    "RandSimulateLowResolutiond RandSmoothFieldAdjustContrastd RandSmoothFieldAdjustIntensityd "
    "RandStdShiftIntensityd ScaleIntensityRangePercentilesd ScaleIntensityRanged ScaleIntensityd ShiftIntensityd "
    "SobelGradientsd StdShiftIntensityd".split()
)
# These move voxels and keep no trace of it, so that nothing could be taken back to the file's grid.
NOT_INVERTIBLE = frozenset({"GridDistortiond"})
_NEAREST = ("nearest", "nearest-exact", 0)

Entry = Mapping[str, Any]
KeyPath = tuple[str | int, ...]


class LintProblem(NamedTuple):
    """One thing that a chain gets wrong: its path below ``transforms``, what, and what to do."""

    path: KeyPath
    what: str
    remedy: str


def target_name(entry: Entry) -> str:
    """The short name of an entry's transform: ``monai.transforms.Resized`` and ``Resized`` are the same."""
    return str(entry.get("_target_", "")).removeprefix("monai.transforms.")


def entry_keys(entry: Entry) -> tuple[str, ...]:
    """The sample keys that an entry works on; none where ``keys`` is neither a word nor a list."""
    keys = entry.get("keys", ())
    if isinstance(keys, str):
        return (keys,)
    return tuple(str(key) for key in keys) if isinstance(keys, (list, tuple)) else ()


def is_batch_transform(entry: Entry) -> bool:
    """Whether an entry works on a whole batch on the device, rather than on one sample."""
    return OWN_TRANSFORMS.get(target_name(entry)) == "batch"


def lint_chain(prepare: Sequence[Entry], augment: Sequence[Entry]) -> Iterator[LintProblem]:
    """Every problem of a config's two chains, as far as their text tells."""
    yield from _lint_start(prepare)
    for chain, entries in (("prepare", prepare), ("augment", augment)):
        for number, entry in enumerate(entries):
            path = (chain, number)
            yield from _lint_keys(path, entry)
            yield from _lint_place(path, entry)
            yield from _lint_label(path, entry)
            yield from _lint_together(path, entry, entries)


def _lint_start(prepare: Sequence[Entry]) -> Iterator[LintProblem]:
    names = [target_name(entry) for entry in prepare]
    if not transform_names().issuperset(names):
        return  # what seems to be missing may be misspelt, which is told elsewhere
    if names and names[0] != "LoadImaged":
        yield LintProblem(("prepare", 0), f"begins with {names[0]}", "Begin with LoadImaged, keys: [image, label]")
    if names and not any(entry.get("ensure_channel_first") is True for entry in prepare[:1]):
        with_channels: set[str] = set()
        for entry in prepare:
            with_channels.update(entry_keys(entry) if target_name(entry) == "EnsureChannelFirstd" else ())
        if not with_channels.issuperset(KEYS):
            what = "no channel axis is made" + (" for both keys" if with_channels else "")
            yield LintProblem(("prepare",), what, "Add EnsureChannelFirstd, keys: [image, label], after LoadImaged")


def _lint_keys(path: KeyPath, entry: Entry) -> Iterator[LintProblem]:
    name, keys = target_name(entry), entry_keys(entry)
    unknown = sorted(set(keys) - set(KEYS))
    if unknown:
        yield LintProblem((*path, "keys"), f"no such key: {', '.join(unknown)}", "The keys are 'image' and 'label'")
    if not keys and not (is_batch_transform(entry) and "keys" not in entry):
        place = (*path, "keys") if "keys" in entry else path
        yield LintProblem(place, f"{name} has no keys", "Add keys: image, or keys: [image, label]")


def _lint_place(path: KeyPath, entry: Entry) -> Iterator[LintProblem]:
    """Transforms that stand in the wrong chain, or at the wrong place of the right one."""
    name, (chain, number) = target_name(entry), path
    if name == "LoadImaged":
        if (chain, number) != ("prepare", 0):
            yield LintProblem(path, "LoadImaged reads files, which are read once", "Put it first in 'prepare'")
        elif set(entry_keys(entry)) != set(KEYS):
            yield LintProblem(path, "LoadImaged reads not both files of a case", "Set keys: [image, label]")
    if chain != "prepare":
        return
    if is_batch_transform(entry):
        yield LintProblem(path, f"{name} works on whole batches", "Move it to 'augment'")
    elif name.startswith("Rand"):
        what = f"{name} is random, but 'prepare' is run once, cached and inverted"
        yield LintProblem(path, what, "Move it to 'augment'")
    elif name in NOT_INVERTIBLE:
        what = f"{name} cannot be inverted, so that predictions cannot be taken back to the file's grid"
        yield LintProblem(path, what, "Replace it, or move it to 'augment'")
    for key, value in entry.items():
        if key.endswith("_key") and value == "label" and "image" in entry_keys(entry):
            what = f"{name} looks at the label, which an image to be predicted does not have"
            yield LintProblem((*path, key), what, f"Set {key}: image, or move it to 'augment'")


def _lint_label(path: KeyPath, entry: Entry) -> Iterator[LintProblem]:
    """What would make values that no mask has."""
    name, keys = target_name(entry), entry_keys(entry)
    if "label" not in keys:
        return
    if name in _INTENSITY:
        yield LintProblem((*path, "keys"), f"{name} would change the label's class numbers", "Set keys: image")
    parameter, wanted = ("order", 0) if name == "SkimageResized" else ("mode", "nearest")
    if name not in _RESAMPLING and not (name in OWN_TRANSFORMS and parameter in entry):
        return
    given = entry.get(parameter)
    each = list(given) if isinstance(given, (list, tuple)) else [given] * len(keys)
    for_label = each[keys.index("label")] if len(each) == len(keys) else None
    if for_label not in _NEAREST or for_label is False:
        other = 1 if wanted == 0 else "bilinear"
        text = ", ".join(str(wanted if key == "label" else other) for key in keys)
        yield LintProblem(
            (*path, parameter) if parameter in entry else path,
            f"{name} resamples the label with {parameter} {'by default' if for_label is None else for_label}, "
            "which mixes class numbers",
            f"Set {parameter}: [{text}]",
        )


def _lint_together(path: KeyPath, entry: Entry, chain: Sequence[Entry]) -> Iterator[LintProblem]:
    """What moves the image without its label, or the label without its image."""
    name, keys = target_name(entry), entry_keys(entry)
    if name not in _GEOMETRY or len(set(keys) & set(KEYS)) != 1:
        return
    moved = keys[0]
    other = KEYS[1 - KEYS.index(moved)]
    # Two entries, one a key, do as well as one for both; but two random ones draw differently.
    peers = [entry_keys(one) for one in chain if target_name(one) == name]
    uneven = sum(moved in keys for keys in peers) > sum(other in keys for keys in peers)
    if name.startswith("Rand") or uneven:
        yield LintProblem(path, f"{name} moves the {moved} and not the {other}", "Set keys: [image, label]")
