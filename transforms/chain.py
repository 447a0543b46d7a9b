"""A YAML list -> a chain of transforms: built, run on a case, and run backwards on its probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from transforms.catalog import OWN_TRANSFORMS, transform_parameters
from transforms.faults import ChainError, Fault

if TYPE_CHECKING:
    import torch
    from monai.transforms import Compose

    from transforms.nifti import ReadOptions

# What resamples voxels: on a label, anything but nearest makes values that no mask has.
_RESAMPLING = frozenset(
    "Affined GridDistortiond Rand2DElasticd RandAffined RandGridDistortiond RandRotated RandSmoothDeformd RandZoomd "
    "Resized Rotated Spacingd Zoomd".split()
)
_SAME_FOR_BOTH = frozenset("Flipd Rotate90d RandFlipd RandRotate90d RandAxisFlipd".split())
_CHANGES_OF_TYPE = frozenset(("ToTensord", "EnsureType", "EnsureTyped", "CastToType", "CastToTyped"))


class LintProblem(NamedTuple):
    """One thing that a chain gets wrong: its path below ``transforms``, what, and what to do."""

    path: tuple[str | int, ...]
    what: str
    remedy: str


def target_name(entry: Mapping[str, Any]) -> str:
    """The short name of an entry's transform: ``monai.transforms.Resized`` and ``Resized`` are the same."""
    return str(entry.get("_target_", "")).removeprefix("monai.transforms.")


def entry_keys(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The sample keys that an entry works on."""
    keys = entry.get("keys", ())
    return (keys,) if isinstance(keys, str) else tuple(str(key) for key in keys)


def lint_chain(prepare: Sequence[Mapping[str, Any]], augment: Sequence[Mapping[str, Any]]) -> Iterator[LintProblem]:
    """What can be told to be wrong from the chain's text alone, without importing or running anything."""
    names = [target_name(entry) for entry in prepare]
    if names and names[0] != "LoadImaged":
        yield LintProblem(("prepare", 0), f"begins with {names[0]}", "Begin with LoadImaged, keys: [image, label]")
    if "EnsureChannelFirstd" not in names:
        yield LintProblem(
            ("prepare",), "no channel axis is made", "Add EnsureChannelFirstd, keys: [image, label], after LoadImaged"
        )
    for name, chain in (("prepare", prepare), ("augment", augment)):
        for number, entry in enumerate(chain):
            yield from _lint_entry((name, number), entry)
    for number, name in enumerate(names):
        if name.startswith("Rand"):
            yield LintProblem(
                ("prepare", number), f"{name} is random, but 'prepare' is run once, cached and inverted",
                "Move it to 'augment'",
            )  # fmt: skip


def _lint_entry(path: tuple[str | int, ...], entry: Mapping[str, Any]) -> Iterator[LintProblem]:
    name, keys = target_name(entry), entry_keys(entry)
    batched = name in OWN_TRANSFORMS and OWN_TRANSFORMS[name] == "batch"
    unknown = sorted(set(keys) - {"image", "label"})
    if unknown:
        yield LintProblem((*path, "keys"), f"no such key: {', '.join(unknown)}", "The keys are 'image' and 'label'")
    if not keys and not batched:
        yield LintProblem(path, f"{name} has no keys", "Add keys: image, or keys: [image, label]")
    if batched and path[0] == "prepare":
        yield LintProblem(path, f"{name} works on whole batches", "Move it to 'augment'")
    if "label" in keys and (name in _RESAMPLING or (name in OWN_TRANSFORMS and "mode" in entry)):
        mode = entry.get("mode")
        modes = list(mode) if isinstance(mode, (list, tuple)) else [mode] * len(keys)
        label_mode = modes[keys.index("label")] if len(modes) == len(keys) else None
        if label_mode not in ("nearest", "nearest-exact", 0):
            yield LintProblem(
                (*path, "mode") if "mode" in entry else path,
                f"{name} resamples the label with {label_mode or 'its default mode'}, which mixes class numbers",
                f"Set mode: [{', '.join('nearest' if key == 'label' else 'bilinear' for key in keys)}]",
            )
    if (name in _SAME_FOR_BOTH or name in _RESAMPLING) and set(keys) == {"image"}:
        yield LintProblem(path, f"{name} moves the image and not its label", "Set keys: [image, label]")


def is_batch_transform(entry: Mapping[str, Any]) -> bool:
    """Whether an entry works on a whole batch on the device, rather than on one sample."""
    return OWN_TRANSFORMS.get(target_name(entry)) == "batch"


def build_transform(entry: Mapping[str, Any], *, where: str = "") -> Any:
    """One transform from its entry.

    Raises
    ------
    ChainError
        When the transform refuses its parameters, with what it said.
    """
    name = target_name(entry)
    parameters = {key: value for key, value in entry.items() if key != "_target_"}
    try:
        return _factory(name)(**parameters)
    except Fault as fault:
        raise fault.at(where) from fault
    except Exception as error:  # whatever the library says of the user's parameters
        raise ChainError(
            f"{name} refuses its parameters: {error}", where=where, remedy="See its documentation for what it takes"
        ) from error


def _factory(name: str) -> Any:
    from importlib import import_module

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

    Notes
    -----
    A 3D volume comes from the reader as a stack of its slices on the channel axis, so that every 2D transform is applied
    to all slices of a case in one call, and an intensity is normalised over the whole volume.
    """

    def __init__(
        self, entries: Sequence[Mapping[str, Any]], options: ReadOptions, keys: Sequence[str] = ("image", "label")
    ) -> None:
        from monai.transforms import Compose

        from transforms.reader import CheckedLoadImaged

        self.keys = tuple(keys)
        self._steps: list[Any] = []
        for number, entry in enumerate(entries):
            where = f"transforms.prepare.{number}"
            if not set(entry_keys(entry)) & set(self.keys):
                continue
            known = transform_parameters(target_name(entry))
            if known is None or "allow_missing_keys" in known:
                # A prediction has no label, and on the way back there is only what was predicted.
                entry = {**entry, "allow_missing_keys": True}
            if target_name(entry) == "LoadImaged":
                self._steps.append(CheckedLoadImaged(entry, options))
            else:
                self._steps.append(build_transform(entry, where=where))
        self.compose: Compose = Compose(self._steps)

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Run the chain on one sample: ``{"image": path, "label": path}`` to tensors (C, H, W).

        Raises
        ------
        Fault
            With the case's file, whatever step failed.
        """
        missing = [key for key in self.keys if key not in sample]
        if missing:
            raise ChainError(f"the sample has no {' and no '.join(missing)}", where=str(sample.get("image", "")))
        try:
            return dict(self.compose(dict(sample)))
        except Exception as error:  # a step's own words, with the case that they are about
            cause: BaseException | None = error
            while cause is not None:  # Compose wraps what its steps raise
                if isinstance(cause, Fault):
                    raise cause from None
                cause = cause.__cause__
            root = error.__cause__ or error
            raise ChainError(f"the prepare chain failed: {root}", where=str(sample.get("image", ""))) from error

    def invert(self, values: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Take values on the prepared grid back to the grid of the file.

        Parameters
        ----------
        values
            (C, H, W) float, such as probabilities, on the grid of `prepared`.
        prepared
            The ``image`` that this chain gave, with its trace of applied transforms.

        Returns
        -------
        torch.Tensor
            (C, H0, W0), resampled bilinearly where the chain resampled the image.
        """
        import torch
        from monai.data import MetaTensor
        from monai.transforms import InvertibleTransform

        if not isinstance(prepared, MetaTensor):
            raise ChainError(
                "the prepare chain drops the trace of what it did, so that predictions cannot be taken back",
                where="transforms.prepare", remedy="Remove 'track_meta: false'",
            )  # fmt: skip
        # Changes of type are traced as well, but have no place in the way back: they would strip the trace.
        trace = [step for step in prepared.applied_operations if step.get("class") not in _CHANGES_OF_TYPE]
        data = {"image": MetaTensor(values, meta=dict(prepared.meta), applied_operations=trace)}
        for step in reversed(self._steps):
            # A step that had nothing to do left no trace: a Resized to the size that the image has, say.
            trace = data["image"].applied_operations
            if trace and isinstance(step, InvertibleTransform) and trace[-1].get("id") in _identities(step):
                data = step.inverse(data)
        if data["image"].applied_operations:
            left = ", ".join(str(step.get("class")) for step in data["image"].applied_operations)
            raise ChainError(
                f"these steps cannot be inverted: {left}", where="transforms.prepare",
                remedy="Replace them, or move them to 'augment' if they are not needed for prediction",
            )  # fmt: skip
        return torch.as_tensor(data["image"].as_tensor())


def _identities(step: Any, depth: int = 2) -> set[int]:
    """What a step signs its trace with: its own identity, or that of an array transform inside it."""
    from monai.transforms import Transform

    inner = [value for value in vars(step).values() if isinstance(value, Transform)] if depth else []
    return {id(step)}.union(*(_identities(value, depth - 1) for value in inner))
