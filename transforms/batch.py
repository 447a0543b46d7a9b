"""Random augmentation of a whole batch, on the device that it lives on.

Each transform draws its parameters in `draw` and uses them in `apply`, so that what was random can be seen, and
repeated. All draws come from the CPU generator that the caller seeds, so that the same step draws the same on every
device; noise alone is made on the device, from a seed that is drawn.

This is the door: the transforms live in the rooms behind it, by what they change.
"""

from transforms.batch_intensity import BiasField, RandBiasFieldBatchd, RandIntensityBatchd
from transforms.batch_parameters import Batch, BatchTransform
from transforms.batch_sharpness import Blur, LowResolution, RandBlurBatchd, RandLowResolutionBatchd
from transforms.batch_spatial import RandAffineBatchd, RandFlipBatchd, Warp

__all__ = [
    "Batch",
    "BatchTransform",
    "BiasField",
    "Blur",
    "LowResolution",
    "RandAffineBatchd",
    "RandBiasFieldBatchd",
    "RandBlurBatchd",
    "RandFlipBatchd",
    "RandIntensityBatchd",
    "RandLowResolutionBatchd",
    "Warp",
]
