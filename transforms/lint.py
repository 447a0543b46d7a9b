"""What can be told to be wrong with a chain from its text alone, without importing or running anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transforms.advice import advice
from transforms.catalog import OWN_TRANSFORMS, transform_names
from transforms.entries import KEYS, Entry, entry_keys, is_batch_transform, target_name
from transforms.plugins import PluginTarget
from transforms.sides import mirrored_axes, side_pairs

__all__ = [
    "KEYS",
    "LintProblem",
    "NOT_INVERTIBLE",
    "advice",
    "entry_keys",
    "is_batch_transform",
    "lint_chain",
    "target_name",
]

# What resamples voxels: on a label, anything but nearest makes values that no mask has.
_RESAMPLING = frozenset(
    "Affined GridDistortiond Rand2DElasticd RandAffined RandGridDistortiond RandRotated RandSmoothDeformd RandZoomd "
    "Resized Rotated Spacingd Zoomd".split()
)
# What moves, cuts or adds voxels: an image and its label go through it together.
_GEOMETRY = _RESAMPLING | frozenset(
    "BorderPadd CenterScaleCropd CenterSpatialCropd CropForegroundd DivisiblePadd Flipd RandAffineBatchd RandAxisFlipd "
    "RandCoarseShuffled RandCropByLabelClassesd RandCropByPosNegLabeld RandFlipBatchd RandFlipd RandRotate90d "
    "RandScaleCropd RandSpatialCropd RandWeightedCropd ResizeWithPadOrCropd Rotate90d SkimageResized SpatialCropd "
    "SpatialPadd".split()
)
# What changes values as if they were intensities: on a label, they are class numbers.
_INTENSITY = frozenset(
    "AdjustContrastd ClipIntensityPercentilesd GaussianSharpend GaussianSmoothd HistogramNormalized "
    "NormalizeIntensityd RandAdjustContrastd RandBiasFieldBatchd RandBiasFieldd RandBlurBatchd RandGaussianNoised "
    "RandGaussianSharpend RandGaussianSmoothd RandGibbsNoised RandHistogramShiftd RandIntensityBatchd "
    "RandKSpaceSpikeNoised RandLowResolutionBatchd RandRicianNoised RandScaleIntensityFixedMeand "
    "RandScaleIntensityd RandShiftIntensityd RandSimulateLowResolutiond RandSmoothFieldAdjustContrastd "
    "RandSmoothFieldAdjustIntensityd RandStdShiftIntensityd ScaleIntensityRangePercentilesd ScaleIntensityRanged "
    "ScaleIntensityd ShiftIntensityd SobelGradientsd StdShiftIntensityd".split()
)
# These move voxels and keep no trace of it, so that nothing could be taken back to the file's grid.
NOT_INVERTIBLE = frozenset({"GridDistortiond"})
_NEAREST = ("nearest", "nearest-exact", 0)

KeyPath = tuple[str | int, ...]


class LintProblem(NamedTuple):
    """One thing that a chain gets wrong: its path below ``transforms``, what, and what to do."""

    path: KeyPath
    what: str
    remedy: str


def lint_chain(
    prepare: Sequence[Entry], augment: Sequence[Entry], classes: Sequence[str] = ()
) -> Iterator[LintProblem]:
    """Every problem of a config's two chains, as far as their text tells.

    Parameters
    ----------
    prepare, augment
        The chains.
    classes
        Their names: some are told apart by their side alone, which a mirror image swaps.
    """
    yield from _lint_start(prepare)
    for chain, entries in (("prepare", prepare), ("augment", augment)):
        for number, entry in enumerate(entries):
            path = (chain, number)
            yield from _lint_keys(path, entry)
            yield from _lint_place(path, entry)
            yield from _lint_label(path, entry)
            yield from _lint_together(path, entry, entries)
    pairs = side_pairs(classes)
    for number, entry in enumerate(augment if pairs else ()):
        yield from _lint_mirrors(("augment", number), entry, pairs)


def _lint_start(prepare: Sequence[Entry]) -> Iterator[LintProblem]:
    names = [target_name(entry) for entry in prepare]
    if not all(isinstance(name, PluginTarget) or name in transform_names() for name in names):
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
    elif name.plugin.is_random if isinstance(name, PluginTarget) else name.startswith("Rand"):
        what = f"{name} is random, but 'prepare' is run once, cached and inverted"
        yield LintProblem(path, what, "Move it to 'augment'")
    elif isinstance(name, PluginTarget) and "label" in entry_keys(entry):
        if "allow_missing_keys" not in (name.plugin.signature.names or {"allow_missing_keys"}):
            what = f"{name} takes no 'allow_missing_keys', and an image to be predicted has no label"
            yield LintProblem(path, what, "Let it take that, and pass it on to MapTransform; or set keys: image")
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
    if len(each) != len(keys):
        what = f"{name} has {parameter} for {len(each)} of {len(keys)} keys"
        yield LintProblem((*path, parameter), what, f"Give {parameter} one entry a key, in the order of keys")
        return
    for_label = each[keys.index("label")]
    if for_label not in _NEAREST or for_label is False:
        if name == "Resized":
            wanted = "nearest-exact"  # plain nearest moves masks by up to half a pixel where it shrinks
        other = 1 if wanted == 0 else "bilinear"
        text = ", ".join(str(wanted if key == "label" else other) for key in keys)
        used = f"its default {parameter}" if for_label is None else f"{parameter} {for_label}"
        yield LintProblem(
            (*path, parameter) if parameter in entry else path,
            f"{name} resamples the label with {used}, which mixes class numbers",
            f"Set {parameter}: [{text}]",
        )


def _lint_together(path: KeyPath, entry: Entry, chain: Sequence[Entry]) -> Iterator[LintProblem]:
    """What moves the image without its label, or the label without its image."""
    name, keys = target_name(entry), entry_keys(entry)
    if name not in _GEOMETRY or len(set(keys) & set(KEYS)) != 1:
        return
    moved = next(key for key in keys if key in KEYS)  # beside it, there may be one that is unknown
    other = KEYS[1 - KEYS.index(moved)]
    # Two entries, one a key, do as well as one for both; but two random ones draw differently.
    peers = [entry_keys(one) for one in chain if target_name(one) == name]
    uneven = sum(moved in keys for keys in peers) > sum(other in keys for keys in peers)
    if name.startswith("Rand") or uneven:
        yield LintProblem(path, f"{name} moves the {moved} and not the {other}", "Set keys: [image, label]")


def _lint_mirrors(path: KeyPath, entry: Entry, pairs: Sequence[tuple[str, str]]) -> Iterator[LintProblem]:
    """Mirror images of classes that only their side tells apart.

    Rows (axis 0) run from left to right in the axial and coronal slices of a volume in RAS orientation, so that a
    mirror of the columns alone is left to `advice`.
    """
    axes = mirrored_axes(target_name(entry), entry)
    if 0 in axes:
        named = ", ".join(f"{left} and {right}" for left, right in pairs)
        yield LintProblem(
            path,
            f"{target_name(entry)} mirrors images along axis 0, which makes a left one of a right one, but the mask "
            f"goes on calling it by its old side: {named}",
            "Remove the mirroring along that axis, or make one class of each pair (data.label_map)",
        )
