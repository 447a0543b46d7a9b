"""A YAML list -> a chain of transforms: built, run on a case, and run backwards on its probabilities."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from importlib import import_module
from typing import TYPE_CHECKING, Any

from transforms.catalog import OWN_TRANSFORMS, transform_names, transform_signature
from transforms.channels import channel_sources, place_of, stack_channels
from transforms.faults import ChainError, Fault
from transforms.lint import NOT_INVERTIBLE, entry_keys, is_batch_transform, target_name
from transforms.plugins import PluginTarget, load_plugin_class

__all__ = ["PrepareChain", "build_transform", "failure", "is_batch_transform"]

if TYPE_CHECKING:
    import torch
    from monai.transforms import Compose

    from transforms.nifti import ReadOptions

_FAILED_STEP = re.compile(r"applying transform <[\w.]*\.(\w+) object")


def build_transform(entry: Mapping[str, Any], *, where: str = "") -> Any:
    """One transform from its entry.

    Raises
    ------
    ChainError
        When the name is not allowed, or the transform refuses its parameters, with what it said.
    """
    name = target_name(entry)
    if not isinstance(name, PluginTarget) and name not in transform_names():
        raise ChainError(f"unknown transform {name!r}", where=where)
    parameters = {key: value for key, value in entry.items() if key != "_target_"}
    return _built(name, lambda: _factory(name)(**parameters), where)


def _built(name: str, make: Callable[[], Any], where: str) -> Any:
    try:
        return make()
    except Fault as fault:
        raise fault.at(where) from fault
    except Exception as error:  # whatever the library says of the user's parameters
        raise ChainError(
            f"{name} refuses its parameters: {error}", where=where, remedy="See its documentation for what it takes"
        ) from error


def _factory(name: str) -> Any:
    if isinstance(name, PluginTarget):
        return load_plugin_class(name.plugin)
    if name in OWN_TRANSFORMS:
        return getattr(import_module(f"transforms.{OWN_TRANSFORMS[name]}"), name)
    if name == "ToTensord":
        return import_module("transforms.tensors").TracedToTensord
    return getattr(import_module("monai.transforms"), name)


class PrepareChain:
    """The deterministic chain of a config, from files to tensors and back.

    Parameters
    ----------
    entries
        The list under ``transforms.prepare``.
    options
        How files are read, see `transforms.nifti.ReadOptions`.
    keys
        The sample keys to work on; ``("image",)`` when there is no label.

    Raises
    ------
    ChainError
        For a step that refuses its parameters, or that cannot be inverted.

    Notes
    -----
    A 3D volume comes from the reader as a stack of its slices on the channel axis, so that every 2D transform is
    applied to all slices of a case in one call, and an intensity is normalised over the whole volume. Each channel of
    an image goes through the chain by itself, so that its intensities are its own.
    """

    def __init__(
        self, entries: Sequence[Mapping[str, Any]], options: ReadOptions, keys: Sequence[str] = ("image", "label")
    ) -> None:
        from monai.transforms import Compose

        self.keys, self.options = tuple(keys), options
        used = [(number, entry) for number, entry in enumerate(entries) if set(entry_keys(entry)) & set(self.keys)]
        self._steps = [_prepare_step(entry, options, f"transforms.prepare.{number}") for number, entry in used]
        self._step_names = [target_name(entry) for _, entry in used]
        self.compose: Compose = Compose(self._steps)
        self.names = tuple(target_name(entry) for entry in entries)

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Run the chain on one sample.

        Parameters
        ----------
        sample
            ``{"image": path, "label": path}``, or what `keys` names; a list of paths for an image whose channels are
            files.

        Returns
        -------
        dict
            The same keys, each a MetaTensor: the image (S, C, H, W) of S slices and C channels, others (S, H, W).

        Raises
        ------
        Fault
            With the case's file, whatever step failed.
        """
        missing = [key for key in self.keys if key not in sample]
        if missing:
            raise ChainError(f"the sample has no {' and no '.join(missing)}", where=str(sample.get("image", "")))
        if "image" not in self.keys:
            return self._prepared(sample, "")
        sources = channel_sources(sample["image"], self.options)
        places = [place_of(source) for source in sources]
        if len(sources) > 1 and "CropForegroundd" in self.names:
            raise ChainError(
                "CropForegroundd would cut each channel of an image to a foreground of its own",
                where="transforms.prepare", remedy="Use CenterSpatialCropd, SpatialCropd or ResizeWithPadOrCropd",
            )  # fmt: skip
        result = self._prepared({**sample, "image": sources[0]}, places[0])
        further = [
            self._prepared({"image": source}, place)["image"]
            for source, place in zip(sources[1:], places[1:], strict=True)
        ]
        return {**result, "image": stack_channels([result["image"], *further], places)}

    def _prepared(self, sample: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Those of `keys` that the sample names, as (S, H, W)."""
        result = self._composed(sample, where)
        found = {key: result.get(key) for key in self.keys if key in sample}
        for key, tensor in found.items():
            _check_slices(key, tensor, where)
        _check_alike(found, where)
        return found

    def _composed(self, sample: Mapping[str, Any], where: str, start: int = 0, end: int | None = None) -> Any:
        """What some of the steps make of a sample; what fails is told with the step and the file."""
        try:
            return self.compose(dict(sample), start=start, end=end)
        except Exception as error:  # a step's own words, with the case that they are about
            fault = _fault_within(error)
            if fault is not None:
                raise fault.at(where) from None
            raise ChainError(f"the prepare chain failed{failure(error)}", where=where) from error

    def traced(self, sample: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], float]]:
        """Run the chain on the first channel of one sample, step by step.

        Yields
        ------
        str, dict, float
            A step's name, the sample after it, and the seconds that it took.

        Raises
        ------
        Fault
            As a call does, but for what the whole result is checked for.
        """
        source = channel_sources(sample["image"], self.options)[0] if "image" in sample else None
        current: dict[str, Any] = {**sample, **({} if source is None else {"image": source})}
        where = "" if source is None else place_of(source)
        for number, name in enumerate(self._step_names):
            began = time.perf_counter()
            current = self._composed(current, where, number, number + 1)
            yield name, current, time.perf_counter() - began

    def invert(self, values: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Take values on the prepared grid back to the grid of the file.

        Parameters
        ----------
        values
            (K, H, W) float, such as probabilities, on the grid of `prepared`.
        prepared
            The ``image`` that this chain gave, with its trace of applied transforms.

        Returns
        -------
        torch.Tensor
            (K, H0, W0), resampled bilinearly where the chain resampled the image; 0 where it cut voxels off.

        Raises
        ------
        ChainError
            When `prepared` has lost its trace, or came from another chain.
        """
        import torch
        from monai.data import MetaTensor
        from monai.transforms import InvertibleTransform

        if not isinstance(prepared, MetaTensor):
            raise ChainError("the prepared image has lost its trace, so that nothing can be taken back")
        # A copy to the bottom: each step takes its own off the end, and some of MONAI's take theirs to pieces.
        trace = deepcopy(prepared.applied_operations)
        data = {"image": MetaTensor(values, meta=dict(prepared.meta), applied_operations=trace)}
        for step in reversed(self._steps):
            # A step that had nothing to do left no trace: a Resized to the size that the image has, say.
            trace = data["image"].applied_operations
            signature = (trace[-1].get("class"), trace[-1].get("id")) if trace else None
            if signature in _signatures(step) and isinstance(step, InvertibleTransform):
                data = step.inverse(data)
        if data["image"].applied_operations:
            left = ", ".join(str(step.get("class")) for step in data["image"].applied_operations)
            remedy = "Replace them, or move them to 'augment' if they are not needed for prediction"
            raise ChainError(f"these steps cannot be inverted: {left}", where="transforms.prepare", remedy=remedy)
        return torch.as_tensor(data["image"].as_tensor())


def _check_slices(key: str, tensor: Any, where: str) -> None:
    """Refuse what training and the way back cannot use."""
    from monai.data import MetaTensor

    if not isinstance(tensor, MetaTensor) or "slices" not in tensor.meta:
        raise ChainError(
            f"the prepare chain drops the trace of what it did to the {key}, so that predictions cannot be taken back",
            where=where, remedy="Remove 'track_meta: false', 'data_type: numpy' and the like",
        )  # fmt: skip
    slices = int(tensor.meta["slices"])
    if tensor.ndim != 3 or tensor.shape[0] != slices:
        raise ChainError(
            f"the prepare chain makes {tuple(tensor.shape)} of the {key}'s {slices} slices", where=where,
            remedy="It keeps (slices, height, width): remove what adds or drops an axis",
        )  # fmt: skip


def _check_alike(tensors: Mapping[str, Any], where: str) -> None:
    """Refuse an image and a label of different shapes, or whose volumes were turned or cut differently."""
    shapes = {tuple(tensor.shape) for tensor in tensors.values()}
    if len(shapes) > 1:
        raise ChainError(
            f"the prepare chain gives the image and the label different shapes: {sorted(shapes)}", where=where,
            remedy="Treat both alike, or mend the file whose shape is wrong",
        )  # fmt: skip
    planes = {(tensor.meta["slice_order"], tensor.meta["slice_flips"]) for tensor in tensors.values()}
    if len(planes) > 1:
        raise ChainError(
            "by their affines, the image and the label are turned or cut differently", where=where,
            remedy="Resample one onto the other's grid, or set data.orientation: file and data.axis",
        )  # fmt: skip


def _prepare_step(entry: Mapping[str, Any], options: ReadOptions, where: str) -> Any:
    from transforms.reader import CheckedLoadImaged

    name = target_name(entry)
    if name in NOT_INVERTIBLE:
        raise ChainError(f"{name} cannot be inverted", where=where, remedy="Replace it, or move it to 'augment'")
    signature = name.plugin.signature if isinstance(name, PluginTarget) else transform_signature(name)
    known = signature.names
    if known is None or "allow_missing_keys" in known:
        # A prediction has no label, and on the way back there is only what was predicted.
        entry = {**entry, "allow_missing_keys": True}
    if name == "LoadImaged":
        return _built(name, lambda: CheckedLoadImaged(entry, options), where)
    return build_transform(entry, where=where)


def failure(error: Exception) -> str:
    """Where a chain of MONAI's failed and what the step said, from the error that Compose makes of it."""
    step = _FAILED_STEP.search(str(error))
    return (f" at {step[1]}" if step else "") + f": {error.__cause__ or error}"


def _fault_within(error: BaseException) -> Fault | None:
    """The fault of ours that a library wrapped into an error of its own, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Fault):
            return cause
        cause = cause.__cause__
    return None


def _signatures(step: Any, depth: int = 2) -> set[tuple[str, int]]:
    """What a step signs its trace with: its own class and identity, or those of an array transform inside it."""
    from monai.transforms import Transform

    inner = [value for value in vars(step).values() if isinstance(value, Transform)] if depth else []
    return {(type(step).__name__, id(step))}.union(*(_signatures(value, depth - 1) for value in inner))
