"""`ToTensord` without its trap: MONAI's drops the trace of what was done before, so that nothing can be inverted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import ToTensord


class TracedToTensord(ToTensord):
    """MONAI's ``ToTensord``, with the trace of applied transforms kept and nothing added to it."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert every key of one sample."""
        traces = {
            key: list(data[key].applied_operations)
            for key in self.key_iterator(data)
            if isinstance(data[key], MetaTensor)
        }
        sample: dict[Hashable, Any] = super().__call__(data)
        for key, trace in traces.items():
            if isinstance(sample[key], MetaTensor):
                sample[key].applied_operations = trace
        return sample
