"""Slices through a network: whole where they fit, in windows where they do not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from pipeline.networks.apply import Window, chunks, is_out_of_memory, slice_logits
from pipeline.networks.unet import UNet


class Recording(nn.Module):
    """A UNet that notes the shapes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = UNet(1, 3, channels=[4, 8]).eval()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(image.shape))
        logits: torch.Tensor = self.network(image)
        return logits


class Constant(nn.Module):
    """The same logits everywhere."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.5, -2.0, 7.0])[None, :, None, None].repeat(image.shape[0], 1, *image.shape[2:])


def window(roi: tuple[int, int] | None, **more: Any) -> Window:
    return Window(**{"roi_size": roi, "overlap": 0.5, "blend": "gaussian", "batch_size": 4, **more})


@pytest.mark.parametrize("roi", [(8, 8), (16, 6), (32, 8)])
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_a_larger_slice_is_covered_as_monai_does(roi: tuple[int, int], blend: str, overlap: float) -> None:
    network = Recording()
    image = torch.randn(2, 1, 19, 23)
    found = slice_logits(network, image, window(roi, blend=blend, overlap=overlap))
    assert {shape[2:] for shape in network.shapes} == {roi}
    assert max(shape[0] for shape in network.shapes) <= 4
    with torch.no_grad():
        expected = sliding_window_inference(
            image, roi, 4, network, overlap=overlap, mode=blend, padding_mode="replicate"
        )  # fmt: skip
    assert found.shape == (2, 3, 19, 23)
    assert torch.equal(found, torch.as_tensor(expected))


@pytest.mark.parametrize("roi", [None, (19, 23), (32, 32)])
def test_a_slice_that_fits_is_taken_whole(roi: tuple[int, int] | None) -> None:
    network = Recording()
    image = torch.randn(2, 1, 19, 23)
    found = slice_logits(network, image, window(roi))
    assert network.shapes == [(2, 1, 19, 23)]
    assert torch.equal(found, network.network(image))
    assert not found.requires_grad


@pytest.mark.parametrize("roi", [None, (8, 8), (16, 4)])
def test_a_constant_network_gives_a_constant(roi: tuple[int, int] | None) -> None:
    found = slice_logits(Constant(), torch.randn(3, 1, 17, 13), window(roi))
    assert torch.allclose(found, torch.tensor([0.5, -2.0, 7.0])[None, :, None, None].expand(3, 3, 17, 13), atol=1e-6)


def test_logits_are_of_single_precision() -> None:
    found = slice_logits(nn.Identity(), torch.ones(1, 2, 4, 4, dtype=torch.float64), window(None))
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("count", "size", "expected"), [(0, 3, []), (3, 3, [(0, 3)]), (7, 3, [(0, 3), (3, 6), (6, 7)])]
)
def test_chunks(count: int, size: int, expected: list[tuple[int, int]]) -> None:
    assert [(part.start, part.stop) for part in chunks(count, size)] == expected


def test_settings_become_a_window() -> None:
    settings: Any = SimpleNamespace(roi_size=(4, 5), overlap=0.25, blend="constant", batch_size=3, more=1)
    assert Window.of(settings) == Window((4, 5), 0.25, "constant", 3)


def test_errors_that_mean_too_little_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value), "what PyTorch says on the CPU"
