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

# MONAI's dictionary transforms that make sense for images and masks on a grid. Left out: those that take a callable
# (Lambdad), import a module by name (TorchVisiond, TorchIOd), write files (SaveImaged) or serve other kinds of data.
MONAI_TRANSFORMS = frozenset(
    """
    AddCoordinateChannelsd AdjustContrastd Affined AsDiscreted BorderPadd CastToTyped CenterScaleCropd
    CenterSpatialCropd ClipIntensityPercentilesd CopyItemsd CropForegroundd DeleteItemsd DivisiblePadd
    EnsureChannelFirstd EnsureTyped FillHolesd Flipd ForegroundMaskd GaussianSharpend GaussianSmoothd GridDistortiond
    HistogramNormalized Identityd KeepLargestConnectedComponentd LabelFilterd LoadImaged MapLabelValued MaskIntensityd
    MedianSmoothd NormalizeIntensityd Rand2DElasticd RandAdjustContrastd RandAffined RandAxisFlipd RandBiasFieldd
    RandCoarseDropoutd RandCoarseShuffled RandCropByLabelClassesd RandCropByPosNegLabeld RandFlipd RandGaussianNoised
    RandGaussianSharpend RandGaussianSmoothd RandGibbsNoised RandGridDistortiond RandHistogramShiftd
    RandKSpaceSpikeNoised RandRicianNoised RandRotate90d RandRotated RandScaleCropd RandScaleIntensityFixedMeand
    RandScaleIntensityd RandShiftIntensityd RandSimulateLowResolutiond RandSmoothDeformd
    RandSmoothFieldAdjustContrastd RandSmoothFieldAdjustIntensityd RandSpatialCropd RandStdShiftIntensityd
    RandWeightedCropd RandZoomd RemoveSmallObjectsd Resized ResizeWithPadOrCropd Rotate90d Rotated
    ScaleIntensityRangePercentilesd ScaleIntensityRanged ScaleIntensityd SelectItemsd ShiftIntensityd SobelGradientsd
    Spacingd SpatialCropd SpatialPadd SqueezeDimd StdShiftIntensityd ThresholdIntensityd ToTensord Zoomd
    """.split()
)

# This project's own: the module of transforms/ that each lives in.
OWN_TRANSFORMS = {
    "SkimageResized": "spatial",
    "RandAffineBatchd": "batch",
    "RandIntensityBatchd": "batch",
}

# Parameters that a chain may not set: they would reach past the data (a module named by a string, a file).
REFUSED_PARAMETERS = {"LoadImaged": {"reader": "every file is read by this project's own checked NIfTI reader"}}

_CLASS = re.compile(r"^class (\w+)\b", re.MULTILINE)


def transform_names() -> frozenset[str]:
    """Every name that `_target_` may take in a chain."""
    return MONAI_TRANSFORMS | OWN_TRANSFORMS.keys()


def transform_parameters(name: str) -> frozenset[str] | None:
    """The parameters of a transform's constructor; None when they cannot be told from the source."""
    if name in OWN_TRANSFORMS:
        return class_parameters(Path(__file__).parent / f"{OWN_TRANSFORMS[name]}.py", name)
    return package_parameters("monai", "transforms", name)


def package_parameters(package: str, folder: str, name: str) -> frozenset[str] | None:
    """The parameters of the class `name`, from the source below a folder of an installed package.

    Returns None when the package, the class or its constructor is not found there, or when it takes any keyword.
    """
    source = _class_index(package, folder).get(name)
    return None if source is None else class_parameters(source, name)


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
def class_parameters(path: Path, name: str) -> frozenset[str] | None:
    """The keyword names of ``name.__init__`` in one source file, which is parsed and never run."""
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"^class {re.escape(name)}\b", text, re.MULTILINE)
    if found is None:
        return None
    definition = ast.parse(_class_block(text[found.start() :])).body[0]
    assert isinstance(definition, ast.ClassDef)
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            if node.args.kwarg is not None and name != "LoadImaged":  # its keywords go to the reader, which is ours
                return None
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            return frozenset(names) - {"self"}
    return None


def _class_block(text: str) -> str:
    """The lines of the class that `text` begins with: parsing a whole module of MONAI would cost 50 ms and more."""
    lines = text.split("\n")
    opened = False
    for number, line in enumerate(lines):
        if opened and line and not line[0].isspace() and line[0] not in "#)":
            return "\n".join(lines[:number])
        opened = opened or line.rstrip().endswith(":")
    return text
