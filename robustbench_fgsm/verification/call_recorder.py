"""A network that records its forward passes and the gradients that arrive at its logits."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import READ_LOGITS
from robustbench_fgsm.attack.outputs import OutputReader
from robustbench_fgsm.short_repr import short_repr


@dataclass
class ForwardPass:
    """One forward pass of a recorded network.

    Attributes:
        training: a module of the network was in train mode.
        dtype: precision of the input, or of autocast.
        inputs: (N, ...) images as the network received them; None inside a transform such as vmap.
        requires_gradient: the input requires a gradient.
        logits: (N, K) outputs; None inside a transform.
        logit_gradient: (N, K) gradient that arrived at the outputs; None if none arrived.
    """

    training: bool
    dtype: torch.dtype
    inputs: Tensor | None
    requires_gradient: bool
    logits: Tensor | None = None
    logit_gradient: Tensor | None = None

    __repr__ = short_repr


@dataclass
class CallRecord:
    """Forward passes since the last reset, shared by all copies of a network."""

    forward_passes: list[ForwardPass] = field(default_factory=list)

    def __deepcopy__(self, memo: object) -> CallRecord:
        return self

    def reset(self) -> None:
        """Start a new list of passes."""
        self.forward_passes = []


class CallRecorder(nn.Module):
    """A network, the record of its forward passes, and how its outputs are read."""

    def __init__(self, body: nn.Module, reader: OutputReader = READ_LOGITS) -> None:
        super().__init__()
        self.body = body
        self.reader = reader
        self.record = CallRecord()

    def forward(self, x: Tensor) -> Tensor:
        """Record the forward pass, and return the logits of the body."""
        own = ForwardPass(
            any(module.training for module in self.modules()),
            _compute_dtype(x),
            _values(x),
            torch.is_grad_enabled() and x.requires_grad,
        )
        self.record.forward_passes.append(own)
        logits = self.reader(self.body(x), len(x))
        own.logits = _values(logits)
        if logits.requires_grad:
            logits.register_hook(lambda grad: _store_gradient(own, grad))  # type: ignore[no-untyped-call]
        return logits


def _store_gradient(own: ForwardPass, grad: Tensor) -> None:
    values = _values(grad)
    if own.logits is not None and values.shape == own.logits.shape:  # jacrev brings one gradient for each class
        own.logit_gradient = values


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _values(x: Tensor) -> Tensor:
    """Return a copy of the values, those of all images together inside transforms of torch.func."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(x):
        place = functorch.maybe_get_bdim(x) if functorch.is_batchedtensor(x) else None
        x = functorch.get_unwrapped(x)
        x = x if place is None else x.movedim(place, 0).flatten(0, 1)
    return x.detach().clone()
