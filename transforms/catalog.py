"""Which transforms a YAML chain may name, and what each one takes, known without importing MONAI.

Importing MONAI costs seconds, and a typo should be answered at once. So the names are listed here, and their parameters
are read from the source files of the installed packages, as text.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# MONAI's dictionary transforms that make sense for images and masks on a grid. Left out: those that take a callable
# (Lambdad), import a module by name (TorchVisiond, TorchIOd), write files (SaveImaged), serve other kinds of data, or
# take channels for classes or colours (AsDiscreted, FillHolesd, ForegroundMaskd): here they are the slices of a scan.
MONAI_TRANSFORMS = frozenset(
    """
    AdjustContrastd Affined BorderPadd CastToTyped CenterScaleCropd CenterSpatialCropd
    ClipIntensityPercentilesd CropForegroundd DivisiblePadd EnsureChannelFirstd EnsureTyped
    Flipd GaussianSharpend GaussianSmoothd GridDistortiond HistogramNormalized Identityd LabelFilterd LoadImaged
    MapLabelValued MaskIntensityd MedianSmoothd NormalizeIntensityd Rand2DElasticd RandAdjustContrastd RandAffined
    RandAxisFlipd RandBiasFieldd RandCoarseDropoutd RandCoarseShuffled RandCropByLabelClassesd
    RandCropByPosNegLabeld RandFlipd RandGaussianNoised RandGaussianSharpend RandGaussianSmoothd RandGibbsNoised
    RandGridDistortiond RandHistogramShiftd RandKSpaceSpikeNoised RandRicianNoised RandRotate90d RandRotated
    RandScaleCropd RandScaleIntensityFixedMeand RandScaleIntensityd RandShiftIntensityd RandSimulateLowResolutiond
    RandSmoothDeformd RandSmoothFieldAdjustContrastd RandSmoothFieldAdjustIntensityd RandSpatialCropd
    RandStdShiftIntensityd RandWeightedCropd RandZoomd RemoveSmallObjectsd ResizeWithPadOrCropd Resized Rotate90d
    Rotated ScaleIntensityRangePercentilesd ScaleIntensityRanged ScaleIntensityd SelectItemsd ShiftIntensityd
    SobelGradientsd Spacingd SpatialCropd SpatialPadd StdShiftIntensityd ThresholdIntensityd ToTensord Zoomd
    """.split()
)

# This project's own: the module of transforms/ that each lives in.
OWN_TRANSFORMS = {
    "SkimageResized": "spatial",
    "RandAffineBatchd": "batch_spatial",
    "RandBiasFieldBatchd": "batch_intensity",
    "RandBlurBatchd": "batch_sharpness",
    "RandFlipBatchd": "batch_spatial",
    "RandIntensityBatchd": "batch_intensity",
    "RandLowResolutionBatchd": "batch_sharpness",
}

# Parameters that a chain may not set: they would reach past the data (a module named by a string, a file).
_PRUNED = "the reader's metadata are few, and the way back needs them"
REFUSED_PARAMETERS = {
    "LoadImaged": {
        "reader": "every file is read by this project's own checked NIfTI reader",
        "prune_meta_pattern": _PRUNED,
        "prune_meta_sep": _PRUNED,
    }
}

# Where a constructor takes any keyword: those that it can make use of. LoadImaged's go to the reader, which is ours.
_PADDING = frozenset({"value", "constant_values", "end_values", "stat_length", "reflect_type"})
_KEYWORDS: dict[str, frozenset[str]] = {
    "LoadImaged": frozenset(),
    **dict.fromkeys("BorderPadd CropForegroundd DivisiblePadd RandZoomd ResizeWithPadOrCropd Zoomd".split(), _PADDING),
    "SpatialPadd": _PADDING,
}
_INHERITED = {"SelectItemsd": frozenset({"keys", "allow_missing_keys"})}  # those of MapTransform itself

_CLASS = re.compile(r"^class (\w+)\b", re.MULTILINE)


def transform_names() -> frozenset[str]:
    """Every name that `_target_` may take in a chain."""
    return MONAI_TRANSFORMS | OWN_TRANSFORMS.keys()


class Signature(NamedTuple):
    """What the constructor of a class takes, as far as its source tells.

    Attributes
    ----------
    names
        The keywords that it takes; None when that is not known: it inherits its constructor, takes any keyword, or was
        not found.
    required
        Those without a default.
    """

    names: frozenset[str] | None = None
    required: frozenset[str] = frozenset()


def transform_signature(name: str) -> Signature:
    """What a transform of `transform_names` takes."""
    if name in OWN_TRANSFORMS:
        return class_signature(Path(__file__).parent / f"{OWN_TRANSFORMS[name]}.py", name)
    if name in _INHERITED:
        return Signature(_INHERITED[name])
    return package_signature("monai", "transforms", name, _KEYWORDS.get(name))


def package_signature(package: str, folder: str, name: str, keywords: frozenset[str] | None = None) -> Signature:
    """What the class `name` takes, from the source below a folder of an installed package.

    Parameters
    ----------
    package, folder
        Such as ``monai`` and ``networks/nets``.
    name
        Of the class.
    keywords
        What it can make use of where it takes any keyword; None when that is not known.
    """
    source = _class_index(package, folder).get(name)
    return Signature() if source is None else class_signature(source, name, keywords)


@cache
def _class_index(package: str, folder: str) -> dict[str, Path]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return {}
    root = Path(spec.submodule_search_locations[0], folder)
    index: dict[str, Path] = {}
    for path in sorted(root.rglob("*.py")):
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            index.setdefault(name, path)
    return index


@cache
def class_signature(path: Path, name: str, keywords: frozenset[str] | None = None) -> Signature:
    """What ``name.__init__`` takes, from one source file, which is parsed and never run."""
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"^class {re.escape(name)}\b", text, re.MULTILINE)
    if found is None:
        return Signature()
    definition = ast.parse(_class_block(text[found.start() :])).body[0]
    assert isinstance(definition, ast.ClassDef)
    return constructor_signature(definition, keywords)


def constructor_signature(definition: ast.ClassDef, keywords: frozenset[str] | None = None) -> Signature:
    """What the ``__init__`` of a parsed class takes."""
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            places = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            without_default = places[: len(places) - len(node.args.defaults)]
            by_name = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            without_default += [argument.arg for argument, default in by_name if default is None]
            names = frozenset({*places, *(argument.arg for argument in node.args.kwonlyargs)} - {"self"})
            required = frozenset(without_default) - {"self"}
            if node.args.kwarg is not None:
                return Signature(None if keywords is None else names | keywords, required)
            return Signature(names, required)
    return Signature()


def _class_block(text: str) -> str:
    """The lines of the class that `text` begins with: parsing a whole module of MONAI would cost 50 ms and more."""
    lines = text.split("\n")
    opened = False
    for number, line in enumerate(lines):
        if opened and line and not line[0].isspace() and line[0] not in "#)":
            return "\n".join(lines[:number])
        opened = opened or line.rstrip().endswith(":")
    return text
