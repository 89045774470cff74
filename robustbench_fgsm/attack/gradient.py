"""Gradient of a loss with respect to images, computed without changing model, images or random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.attack.network_call import call_network, differentiable_recurrence, set_evaluation_mode, widen_outputs
from robustbench_fgsm.errors import ModelError

Labels = Tensor | Callable[[Tensor], Tensor]
"""Class indices (N,), or a function from the outputs (N, K) to them, so that one forward pass serves both."""


NO_CLASS = -1
"""Predicted class of an image whose outputs are not finite: the image is neither right nor fooled."""


@runtime_checkable
class HasLossGradient(Protocol):
    """Model that computes its own gradient and preserves its own state, such as a Classifier."""

    def predict(self, x: Tensor) -> Tensor:
        """Return detached outputs (N, K)."""

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the gradient (N, ...) of the summed loss, and the outputs (N, K) of that forward pass."""


def ensure_two_logits(outputs: Tensor) -> Tensor:
    """Return outputs (N, K) unchanged; one logit z of the second of two classes, (N,) or (N, 1), as the logits (0, z).

    Raises ModelError if the outputs are not a tensor.
    """
    if not isinstance(outputs, Tensor):
        raise ModelError(f"model must return a tensor of logits, got {type(outputs).__name__}: return its logits alone")
    outputs = widen_outputs(outputs)
    if outputs.ndim > 1 and outputs.shape[1] > 1:
        return outputs
    logit = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(logit), logit], 1)


def predicted_classes(outputs: Tensor) -> Tensor:
    """Return predicted classes (N,), `NO_CLASS` for a row whose largest output is not a finite number.

    A row with NaN, with +inf, or with -inf alone has no class: its softmax is not defined. A row with -inf beside finite outputs
    has one, because -inf is how a network rules a class out.
    """
    largest, classes = outputs.max(1)  # NaN is the largest of a row that holds it
    return classes.where(largest.isfinite(), NO_CLASS)


def own_labels(outputs: Tensor) -> Tensor:
    """Return predicted classes (N,) as labels of an attack (Kurakin et al. 2017, arXiv:1611.01236); 0 for `NO_CLASS`."""
    return predicted_classes(outputs).clamp_min(0)


def input_gradient(model: Callable[[Tensor], Tensor], x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return the gradient of the summed loss in the shape of x (N, ...), and the detached outputs (N, K), K >= 2.

    One forward and one input-only backward pass. The loss is summed, not averaged, so an image's gradient does not depend on its
    batch. Parameters and their `.grad` do not change. The function also works under `no_grad` and `inference_mode`. Raises
    ModelError if no gradient reaches the images.
    """
    with torch.inference_mode(False), torch.enable_grad(), differentiable_recurrence(model):
        leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        outputs = ensure_two_logits(call_network(model, leaf))  # of a copy: a model may change its input in place
        labels = y(outputs.detach()) if callable(y) else y.clone() if y.is_inference() else y
        total = loss(outputs, labels).sum()
        (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True) if total.requires_grad else (None,)
    if gradient is None:
        raise ModelError(
            "model must pass a gradient back to its images, got none: look for no_grad, detach, quantised layers, or a step "
            "through integers or NumPy"
        )
    return gradient, outputs.detach()


@contextmanager
def preserve_state(model: object, x: Tensor) -> Iterator[None]:
    """Set evaluation mode; afterwards restore every train/eval flag, buffer and the random state, also after an exception.

    Flags are restored module by module, so frozen batch norm in a network in train mode stays frozen.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    flags = [module.training for module in modules]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if isinstance(model, nn.Module) else []
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            if isinstance(model, nn.Module):
                set_evaluation_mode(model)
            yield
        finally:
            for module, flag in zip(modules, flags, strict=True):
                module.training = flag
            with torch.no_grad():
                for buffer, before in buffers:
                    if buffer.layout != torch.strided or not torch.equal(buffer, before):  # sparse ones cannot be compared
                        buffer.copy_(before)


def loss_gradient(model: Callable[[Tensor], Tensor] | HasLossGradient, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return gradient and outputs by the model's own `loss_gradient` if it has one, else by `input_gradient`."""
    if isinstance(model, HasLossGradient):
        return model.loss_gradient(x, y, loss)
    with preserve_state(model, x):
        return input_gradient(model, x, y, loss)


def predict_outputs(model: Callable[[Tensor], Tensor] | HasLossGradient, x: Tensor) -> Tensor:
    """Return outputs (N, K) without gradients, by the model's own `predict` if it has one."""
    if isinstance(model, HasLossGradient):
        return model.predict(x)
    with preserve_state(model, x), torch.no_grad():
        return ensure_two_logits(call_network(model, x))
