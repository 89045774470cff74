"""Convolutions whose weights are packed in the CPU's layout once; otherwise oneDNN packs them at every prediction.

Packing takes the same time for every batch size, so it matters for many weights or few images. The results are equal.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.copy_module import copy_module

MKLDNN_OPERATORS = ("_reorder_convolution_weight", "_convolution_pointwise")
"""Those that PyTorch's own compiler packs and convolves with; not there in every build."""

ORDINARY_ATTRIBUTES = frozenset(vars(nn.Conv2d(1, 1, 1)))
"""A convolution with further attributes may compute something else: its author may have replaced a method."""


def can_pack_convolutions(network: nn.Module) -> bool:
    """Return True if the network has a convolution that can be packed on this machine."""
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in MKLDNN_OPERATORS)
    return has_operators and any(map(_is_packable, network.modules()))


def pack_convolutions(network: nn.Module, batch_size: int) -> nn.Module:
    """Return an equivalent network for channels-last images, with packed convolutions; it shares all weights.

    batch_size: approximate number of images per call, which determines the layout of the weights.
    """
    found = copy_module(network, [*network.parameters(), *network.buffers()])
    for module in found.modules():
        if _is_packable(module):
            module.__class__ = PackedConv2d
            module.packed = PackedWeights(batch_size)  # type: ignore[assignment]
    return found


def has_additions(module: nn.Module) -> bool:
    """Return True if a hook or a replaced method runs with the module: code that a copy of the module shares."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks) or any(callable(value) and hasattr(type(module), name) for name, value in vars(module).items())


def is_ordinary(module: nn.Module) -> bool:
    """Return True if a layer is PyTorch's own, without a hook, a parametrisation or a replaced method."""
    return type(module).__module__.startswith("torch.nn.modules.") and not has_additions(module)


def _is_packable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d
        and is_ordinary(module)
        and vars(module).keys() <= ORDINARY_ATTRIBUTES
        and module._parameters.keys() == {"weight", "bias"}
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
    )


class PackedWeights:
    """Weights of one convolution, packed at its first prediction, and again if the convolution or its images change.

    images: approximate number of images per call.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._weight: Tensor | None = None
        self._made_for: tuple[object, ...] = ()
        self._packed: Tensor

    def get(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """Return the weights, packed for images of the shape of x (N, C, H, W)."""
        geometry = convolution_geometry(layer)
        made_for = (layer.weight._version, geometry, x.shape[1:])
        if self._weight is not layer.weight or self._made_for != made_for:
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(layer.weight, *geometry, [self.images, *x.shape[1:]])
            self._weight, self._made_for = layer.weight, made_for
        return self._packed

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the packed weights, which cannot be copied."""
        return {"images": self.images, "_weight": None, "_made_for": ()}


def convolution_geometry(layer: nn.Conv2d) -> tuple[Any, Any, Any, int]:
    """Return padding, stride, dilation and groups."""
    return layer.padding, layer.stride, layer.dilation, layer.groups


class PackedConv2d(nn.Conv2d):
    """Convolution that predicts with packed weights; a forward pass for a gradient, or of one image alone, is PyTorch's own.

    The result is channels-last, also for grey images, whose layout PyTorch cannot tell.
    """

    packed: PackedWeights

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  (PyTorch's name)
        own = weight is self.weight and bias is self.bias and self.padding_mode == "zeros" and type(input) is Tensor
        unusual = torch.is_grad_enabled() or torch.is_autocast_enabled(input.device.type)
        if unusual or not own or input.ndim != 4 or input.dtype != torch.float32 or not input.numel():
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain.contiguous(memory_format=torch.channels_last) if plain.ndim == 4 else plain
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            input, self.packed.get(self, input), bias, *convolution_geometry(self), "none", [], ""
        )
        return found
