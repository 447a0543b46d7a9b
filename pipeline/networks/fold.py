"""Batch normalisation folded into the convolution before it: the same network in evaluation, with less to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["folded"]

_SIDE = 32  # of the slice that is passed through the network to see which modules it calls
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
_Place: TypeAlias = tuple[nn.Module, str]  # a module's parent, and its name there


class _Pair(NamedTuple):
    """A convolution and the normalisation after it, by their places, within the outermost sequence that holds them."""

    sequence: nn.Module
    convolution: _Place
    norm: _Place


@torch.no_grad()
def folded(network: nn.Module, channels: int) -> nn.Module:
    """A copy of a network for evaluation alone, without the normalisations that a convolution can do as well.

    Parameters
    ----------
    network
        In evaluation mode; takes (B, `channels`, H, W) of any H and W. It is left as it is.
    channels
        Of its input.

    Returns
    -------
    nn.Module
        The same logits up to rounding. Its weights have other names and values: it is for prediction, never to be
        saved or trained.

    Notes
    -----
    A convolution W x + b followed by a normalisation with mean m, variance v, scale g and shift s is the convolution
    with weights W g / sqrt(v + e) and bias (b - m) g / sqrt(v + e) + s (`torch.nn.utils.fusion`). A pair is folded
    where both follow each other in an `nn.Sequential`, which hands the one's output to the other alone, and where one
    slice of zeros shows that nothing but this sequence calls them. All else is left alone.
    """
    copy = deepcopy(network)
    pairs = [pair for pair in _pairs(copy) if _is_foldable(_module(pair.convolution), _module(pair.norm))]
    calls = _calls(copy, pairs, channels) if pairs else Counter[nn.Module]()
    for pair in pairs:
        convolution, norm = _module(pair.convolution), _module(pair.norm)
        if 0 < calls[pair.sequence] == calls[convolution] == calls[norm]:
            assert isinstance(convolution, _CONVOLUTIONS) and isinstance(norm, _NORMS)
            fused = fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d))
            _replace(pair.convolution, fused)
            _replace(pair.norm, nn.Identity())
    return copy


def _module(place: _Place) -> nn.Module:
    return place[0].get_submodule(place[1])


def _replace(place: _Place, module: nn.Module) -> None:
    setattr(place[0], place[1], module)


def _pairs(module: nn.Module) -> Iterator[_Pair]:
    """Modules that follow each other in sequences, which may lie in one another."""
    if _is_sequence(module):
        places = list(_in_turn(module))
        yield from (_Pair(module, *two) for two in pairwise(places))
        inner = [_module(place) for place in places]
    else:
        inner = list(module.children())
    for child in inner:
        yield from _pairs(child)


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not _hooked(module)


def _in_turn(sequence: nn.Module) -> Iterator[_Place]:
    """The places of what a sequence calls, one after the other; of what an inner sequence calls in its stead."""
    for name, child in sequence.named_children():
        if _is_sequence(child):
            yield from _in_turn(child)
        else:
            yield sequence, name


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    if _hooked(convolution) or _hooked(norm) or type(norm) not in _NORMS or norm.training:
        return False
    if norm.running_mean is None or norm.running_var is None:  # of each batch's own statistics
        return False
    # Exactly these: a class of its own may do more. Of a grouped transposed convolution, the outputs do not lie along
    # one axis of the weights.
    if isinstance(convolution, nn.ConvTranspose2d) and convolution.groups > 1:
        return False
    return type(convolution) in _CONVOLUTIONS


def _calls(network: nn.Module, pairs: list[_Pair], channels: int) -> Counter[nn.Module]:
    """How often one slice calls the sequences, the convolutions and the normalisations."""
    calls: Counter[nn.Module] = Counter()

    def count(module: nn.Module, *_: object) -> None:
        calls[module] += 1

    watched = {module for pair in pairs for module in (pair.sequence, _module(pair.convolution), _module(pair.norm))}
    first = next(network.parameters())
    with ExitStack() as hooks:
        for module in watched:
            hooks.enter_context(module.register_forward_hook(count))
        network(torch.zeros(1, channels, _SIDE, _SIDE, device=first.device, dtype=first.dtype))
    return calls
