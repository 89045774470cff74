"""Call of a network in its own precision, and its evaluation mode, for every kind of module that PyTorch has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.global_settings import CUDNN

REDUCED_DTYPES = (torch.float16, torch.bfloat16)

LONE_IMAGE_MESSAGE = "Expected more than 1 value per channel"
"""Of PyTorch's batch norm, if it is to compute the statistics of one value."""


def network_dtypes(network: object) -> list[torch.dtype]:
    """Return the floating-point types of the parameters, each once, in their order; of the buffers if no parameter has one."""
    if not isinstance(network, nn.Module):
        return []
    parameters = [tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()]
    found = parameters or [tensor.dtype for tensor in network.buffers() if tensor.is_floating_point()]
    return list(dict.fromkeys(found))


def network_device(network: nn.Module) -> torch.device:
    """Return the device of a network's first parameter or buffer; the CPU if it has none."""
    return next((tensor.device for tensor in chain(network.parameters(), network.buffers())), torch.device("cpu"))


def call_network(network: Callable[[Tensor], Any], x: Tensor) -> Any:
    """Return the outputs of a network for a copy of the images x, in the precision that the network takes.

    A network whose attribute `copies_images` is true makes this copy itself.

    The images are passed in their own precision first. If the network refuses it, they are cast to a precision of the network's
    parameters, and gradients flow back through the cast. A network that casts inside therefore gets the images as they are.
    """
    try:
        return network(x if getattr(network, "copies_images", False) is True else x.clone())
    except (RuntimeError, TypeError, ValueError) as error:
        if LONE_IMAGE_MESSAGE in str(error):
            raise ModelError(
                "model must get two images at least, got one: its batch norm uses the batch's statistics "
                "(track_running_stats=False), so pass more images, or choose a batch size that leaves no image alone"
            ) from error
        if not _is_about_types(error):
            raise
        for dtype in network_dtypes(network):
            if dtype != x.dtype:
                try:
                    return network(x.to(dtype))
                except (RuntimeError, TypeError, ValueError) as other:
                    if not _is_about_types(other):  # a wrong shape, which the types hid
                        raise
        raise


def _is_about_types(error: Exception) -> bool:
    return "type" in str(error).lower()  # in PyTorch's messages about a precision, also as "dtype"


def check_has_weights(network: nn.Module) -> None:
    """Raise ModelError if a layer has no weights yet: a lazy one would draw them at its first call; device meta has none."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor) or (isinstance(tensor, nn.Parameter) and tensor.is_meta):
            raise ModelError(f"model must have all weights, got {name!r} empty: run the model on a batch, or load weights, first")


def widen_outputs(outputs: Tensor) -> Tensor:
    """Return a tensor of 16-bit or 8-bit floating-point numbers as float32, so that losses and sums have more digits."""
    is_wide = outputs.dtype in (torch.float32, torch.float64) or not outputs.is_floating_point()
    return outputs if is_wide else outputs.float()


def set_evaluation_mode(network: nn.Module) -> None:
    """Set evaluation mode, in which a recorded graph of torch.export already is or is not: it refuses to change its mode."""
    try:
        network.eval()
    except NotImplementedError:
        for module in network.modules():
            module.training = False


def uses_batch_statistics(network: nn.Module) -> bool:
    """Return True if a batch norm has no running statistics, so that an image's outputs depend on the images beside it."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None for part in network.modules())


def differentiable_recurrence(network: object) -> AbstractContextManager[None]:
    """Return a block without cuDNN for a network with recurrent layers: cuDNN refuses their backward pass in evaluation mode.

    In a process without a GPU, which has no cuDNN, the block changes nothing.
    """
    if not (torch.cuda.is_initialized() and isinstance(network, nn.Module) and any(map(_is_recurrent, network.modules()))):  # type: ignore[no-untyped-call]
        return nullcontext()
    return CUDNN.hold(value=False)


def _is_recurrent(module: nn.Module) -> bool:
    """Return True for LSTM, GRU and RNN, also within TorchScript."""
    return isinstance(module, nn.RNNBase) or getattr(module, "original_name", "") in ("LSTM", "GRU", "RNN")
