"""Convolutions whose weights are packed in the CPU's layout once; otherwise oneDNN packs them at every call.

Packing takes the same time for every batch size, so it matters for many weights or few images. The results are equal.
"""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

MKLDNN_OPERATORS = ("_reorder_convolution_weight", "_convolution_pointwise")
"""Those that PyTorch's own compiler packs and convolves with; not there in every build."""


def can_pack_convolutions(network: nn.Module) -> bool:
    """Return True if the network has a convolution that can be packed on this machine."""
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in MKLDNN_OPERATORS)
    return has_operators and any(map(_is_packable, network.modules()))


def pack_convolutions(network: nn.Module, batch_size: int) -> nn.Module:
    """Return an equivalent network for channels-last images, with packed convolutions; it shares all weights.

    batch_size: approximate number of images per call, which determines the layout of the weights.
    """
    tensors = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    found: nn.Module = copy.deepcopy(network, tensors)
    for module in list(found.modules()):
        for name, child in module.named_children():
            if _is_packable(child):
                setattr(module, name, PackedConvolution(child, batch_size))
    return found


def _is_packable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        # hooks change what it computes, or its weight, as the old weight norm does
        and not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
    )


class PackedConvolution(nn.Module):
    """Convolution whose weights are packed at the first call and whose result is channels-last."""

    def __init__(self, convolution: nn.Conv2d, batch_size: int) -> None:
        super().__init__()
        self.weight, self.bias, self._images = convolution.weight, convolution.bias, batch_size
        self.geometry = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution (N, C', H', W') of images (N, C, H, W)."""
        found: Tensor = _PackedConvolutionFunction.apply(x, self)
        return found

    def packed_weight(self, x: Tensor) -> Tensor:
        """Return the weights, packed for images of this shape."""
        if self._packed is None:
            shape = [self._images, *x.shape[1:]]
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.geometry, shape)
        return self._packed

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the packed weights, which cannot be copied."""
        return {**self.__dict__, "_packed": None}


class _PackedConvolutionFunction(torch.autograd.Function):
    """oneDNN's convolution with packed weights, and PyTorch's own backward pass to the images."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedConvolution) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, layer.packed_weight(x), layer.bias, *layer.geometry, "none", [], ""
        )
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), layer = ctx.saved_tensors, ctx.layer
        padding, stride, dilation, groups = layer.geometry
        found, _, _ = torch.ops.aten.convolution_backward(
            gradients[0], x, layer.weight, None, stride, padding, dilation, False, [0, 0], groups, [True, False, False]
        )
        return found, None
