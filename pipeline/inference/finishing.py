"""What the networks say of a case, taken back to the grid of its file: a mask, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config.schema import PostprocessRule
from pipeline.data.cases import Case
from pipeline.errors import Fault
from pipeline.inference.original_grid import highest, inverted, mean_of_views, spacing_mm
from pipeline.inference.postprocess import postprocess
from pipeline.inference.review import Review, ReviewSums
from pipeline.inference.stacks import CaseView
from transforms.chain import PrepareChain
from transforms.planes import plane_from

__all__ = ["Finishing", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """One case's prediction.

    Attributes
    ----------
    case
        The case.
    mask
        Class indices on the image file's own grid, without its trailing axes of length 1: (H, W), or a volume with the
        file's axes, in the smallest unsigned type.
    axis
        Which axis of a volume was cut into slices; -1 for a 2D slice.
    probabilities
        (K, ...) float32 on the mask's axes and grid, 0 for all classes where the prepare chain cut voxels off; as they
        were before any post-processing. None where they were not asked for.
    review
        How far the mask can be trusted; None where that was not asked for.
    """

    case: Case
    mask: np.ndarray
    axis: int
    probabilities: torch.Tensor | None = None
    review: Review | None = None


@dataclass(frozen=True)
class Finishing:
    """How predictions are finished.

    Attributes
    ----------
    chains
        The prepare chain of each view.
    rules
        Post-processing by class index.
    keep_probabilities, review
        Whether each prediction carries these.
    """

    chains: Sequence[PrepareChain]
    rules: Mapping[int, PostprocessRule]
    keep_probabilities: bool = False
    review: bool = False

    def __call__(self, case: Case, views: Sequence[CaseView]) -> Prediction:
        """One case's prediction on the grid of its file."""
        prepared = views[0].prepared
        plane, classes = plane_from(prepared.meta), views[0].opinion.probabilities.shape[1]
        sums = ReviewSums(classes) if self.review else None
        masks, kept = [], []
        for back in self._back(views):
            probable, mask = highest(back)
            masks.append(mask)
            kept += [back.numpy()] if self.keep_probabilities else []
            if sums is not None:
                sums.add(back, probable, mask)
        mask = np.ascontiguousarray(plane.restore(np.concatenate(masks)))
        spacing = spacing_mm(prepared.meta)
        review = None
        if sums is not None:
            shared = [view.opinion.overlaps.sum(0).numpy() for view in views if view.opinion.overlaps is not None]
            review = sums.review(mask, spacing, np.sum(shared, axis=0) if shared else None)
        try:
            mask = postprocess(mask, self.rules, spacing)
        except Fault as fault:
            raise type(fault)(f"{fault.what} ({case.id})", where=fault.where, remedy=fault.remedy) from None
        values = np.concatenate(kept).swapaxes(0, 1) if kept else None
        whole = None
        if values is not None:
            whole = torch.from_numpy(np.stack([plane.restore(channel) for channel in values]))
        return Prediction(case, mask, plane.axis, whole, review)

    def _back(self, views: Sequence[CaseView]) -> Iterator[torch.Tensor]:
        """The mean over the views, on the original grid: (S', K, H0, W0) slices of the first, some at a time."""
        if len(views) == 1:
            return inverted(self.chains[0], views[0].opinion.probabilities, views[0].prepared)
        every = ((view.opinion.probabilities, view.prepared) for view in views)
        return mean_of_views(self.chains, every)
