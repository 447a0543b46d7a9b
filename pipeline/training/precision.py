"""In which precision the network's layers are computed while it trains, and whether they are compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn

from pipeline.errors import ConfigError

__all__ = ["Precision", "choose_precision", "compiled", "has_fast_bfloat16"]


class Precision:
    """The type that convolutions are computed in; weights, their averages and the loss are float32 always.

    Parameters
    ----------
    device
        Where the network is.
    dtype
        ``torch.float32`` or ``torch.bfloat16``, which has the range of float32 and needs no scaling of the loss.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype

    def __call__(self) -> AbstractContextManager[object]:
        """A context in which the network is to be called."""
        lower = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=lower)

    @property
    def name(self) -> str:
        """Of the type, as the config has it."""
        return str(self.dtype).removeprefix("torch.")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision of ``training.precision``: ``auto`` is bfloat16 where the device multiplies it in hardware.

    Raises
    ------
    ConfigError
        When bfloat16 is asked for on a GPU that lacks it.
    """
    if name == "auto":
        name = "bfloat16" if has_fast_bfloat16(device) else "float32"
    if name == "bfloat16" and device.type == "cuda" and not has_fast_bfloat16(device):
        raise ConfigError(f"{torch.cuda.get_device_name(device)} has no bfloat16", where="training.precision",
                          remedy="Set training.precision: auto")  # fmt: skip
    return Precision(device, torch.bfloat16 if name == "bfloat16" else torch.float32)


def compiled(
    network: nn.Module, wanted: str, device: torch.device, say: Callable[[str], None]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network as torch.compile makes it, with its own weights; the network itself where that fails.

    Parameters
    ----------
    network
        Which is trained.
    wanted
        ``auto``: on a GPU; ``always`` or ``never``.
    device
        Where it is.
    say
        Is told in a sentence why it could not be compiled.
    """
    if wanted == "never" or (wanted == "auto" and device.type != "cuda"):
        return network
    return _Compiled(network, say)


class _Compiled:
    """Calls the compiled network until a compiler gives up."""

    def __init__(self, network: nn.Module, say: Callable[[str], None]) -> None:
        self.network, self.say = network, say
        self.call: Callable[[torch.Tensor], torch.Tensor] = torch.compile(network)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if self.call is self.network:
            return self.call(image)
        try:
            return self.call(image)
        except Exception as error:
            if not _is_of_the_compiler(error):
                raise
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.say(f"torch.compile cannot be used here ({what:.150}): going on without it, which is slower")
            self.call = self.network
            return self.call(image)


def _is_of_the_compiler(error: Exception) -> bool:
    """Whether an error comes from compiling: a missing compiler, say; all others are the network's own."""
    return type(error).__module__.split(".")[:2] in (["torch", "_dynamo"], ["torch", "_inductor"])
