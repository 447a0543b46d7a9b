"""What is not wrong with a chain, but seldom meant: hints from its text, and from the size of the slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from transforms.entries import Entry, entry_keys, target_name
from transforms.plugins import PluginTarget
from transforms.sides import mirrored_axes, side_pairs, sided

# What puts the intensities of different scans on one scale, or on the scale that the config states.
_NORMALISING = frozenset(
    "HistogramNormalized NormalizeIntensityd ScaleIntensityRangePercentilesd ScaleIntensityRanged "
    "ScaleIntensityd".split()
)
_SHIFT_WORTH_TELLING = 0.25  # of the file's pixels


def advice(
    prepare: Sequence[Entry],
    augment: Sequence[Entry],
    classes: Sequence[str] = (),
    slice_shape: tuple[int, int] | None = None,
) -> list[str]:
    """What is not wrong with a config's two chains, but seldom meant.

    Parameters
    ----------
    prepare, augment
        The chains, without a problem that `lint_chain` tells.
    classes
        Their names.
    slice_shape
        (H, W) of a slice as the chain's first resizing step gets it, where that is known.

    Returns
    -------
    list of str
        Hints, each a sentence without a full stop.
    """
    hints = list(_of_intensity(prepare))
    for number, entry in enumerate(prepare):
        if target_name(entry) == "Resized" and slice_shape is not None:
            hints += _of_shrinking(f"transforms.prepare.{number}", entry, slice_shape)
            slice_shape = None  # what the next one gets is not known
    hints += _of_plugins(prepare)
    if not augment:
        hints.append("transforms.augment is empty: the network sees every slice the same way in every epoch")
    hints += _of_mirrors(augment, classes)
    hints += _of_certain_mirrors(augment)
    return hints


def _of_intensity(prepare: Sequence[Entry]) -> Iterator[str]:
    for entry in prepare:
        name = target_name(entry)
        if "image" in entry_keys(entry) and (name in _NORMALISING or isinstance(name, PluginTarget)):
            return
    yield (
        "transforms.prepare does not normalise intensities: the network sees them on the scale of the files; "
        "NormalizeIntensityd, keys: image, gives each case a mean of 0 and a deviation of 1"
    )


def _of_shrinking(where: str, entry: Entry, slice_shape: tuple[int, int]) -> Iterator[str]:
    """Masks that move, and images that alias, where a `Resized` shrinks."""
    size, keys = entry.get("spatial_size"), entry_keys(entry)
    if entry.get("size_mode", "all") != "all" or not isinstance(size, (list, tuple)) or len(size) != 2:
        return
    if not all(isinstance(side, int) and side > 0 for side in size):
        return

    def of(parameter: str, key: str, default: Any) -> Any:
        value = entry.get(parameter, default)
        return value[keys.index(key)] if isinstance(value, (list, tuple)) and len(value) == len(keys) else value

    for key in set(keys) & {"label"}:
        mode = of("mode", key, "area")
        shifts = [nearest_shift(old, new, mode) for old, new in zip(slice_shape, size, strict=True)]
        if max(map(abs, shifts)) >= _SHIFT_WORTH_TELLING:
            told = " and ".join(f"{shift:+.2f}" for shift in shifts)
            exact = [abs(nearest_shift(old, new, "nearest-exact")) for old, new in zip(slice_shape, size, strict=True)]
            better = "nearest-exact does not" if max(exact) < _SHIFT_WORTH_TELLING else "choose another size"
            yield f"{where}: mode {mode} moves masks by {told} pixels of the file against their images; {better}"
    if "image" in keys and of("mode", "image", "area") != "area" and of("anti_aliasing", "image", False) is not True:
        factor = max(old / new for old, new in zip(slice_shape, size, strict=True))
        if factor > 2:
            yield (
                f"{where} shrinks images {factor:.3g} times without smoothing them, which leaves out pixels; set "
                f"anti_aliasing: [{', '.join('true' if key == 'image' else 'false' for key in keys)}]"
            )


def nearest_shift(old: int, new: int, mode: str) -> float:
    """How far nearest neighbour moves a mask against its linearly resized image, in pixels of the file, on average.

    Parameters
    ----------
    old, new
        The side before and after.
    mode
        ``nearest``: pixel i comes from floor(i s), s = old / new; ``nearest-exact``: from floor((i + 1/2) s); see
        ``torch.nn.functional.interpolate``. The image's comes from (i + 1/2) s - 1/2.

    Returns
    -------
    float
        Above 0 where the mask moves towards the end of the axis. 0 for another mode.
    """
    offset = {"nearest": 0, "nearest-exact": 1}.get(mode)
    if offset is None:
        return 0.0
    # floor((i + offset/2) old / new), in whole numbers; mean of (i + 1/2) old / new is old / 2.
    taken = sum((2 * i + offset) * old // (2 * new) for i in range(new))
    return (old - 1) / 2 - taken / new


def _of_plugins(prepare: Sequence[Entry]) -> Iterator[str]:
    for number, entry in enumerate(prepare):
        name = target_name(entry)
        if isinstance(name, PluginTarget) and not name.plugin.inverts:
            yield (
                f"transforms.prepare.{number}: {name} has no inverse that its source shows: it may change values, but "
                "if it moves voxels, predictions are not taken back to where they belong"
            )


def _of_mirrors(augment: Sequence[Entry], classes: Sequence[str]) -> Iterator[str]:
    pairs, alone = side_pairs(classes), [name for name in classes if sided(name)]
    if not alone:
        return
    for number, entry in enumerate(augment):
        axes = mirrored_axes(target_name(entry), entry)
        where = f"transforms.augment.{number}: {target_name(entry)} mirrors images"
        if axes == {1} and pairs:
            yield f"{where} along axis 1; if left and right lie along it in your slices, remove it"
        elif axes and not pairs:
            yield f"{where}, so that what is left may come to lie right; named by side are {', '.join(alone)}"


def _of_certain_mirrors(augment: Sequence[Entry]) -> Iterator[str]:
    """Mirrors that are drawn every time: what is predicted later is no mirror image."""
    for number, entry in enumerate(augment):
        name, prob = target_name(entry), entry.get("prob")
        certain = 1 in prob if isinstance(prob, (list, tuple)) else prob == 1
        if name in ("RandFlipBatchd", "RandFlipd") and certain:
            yield (
                f"transforms.augment.{number}: {name} has prob {prob} and mirrors every image: the network never sees "
                "one as the file has it; prob: 0.5 shows it both"
            )
