"""Which way is uphill: the gradient of the loss with respect to the images, and nothing else touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.errors import ModelError

Labels = Tensor | Callable[[Tensor], Tensor]
"""Class indices (N,), or a rule that reads them off the outputs (N, K), so that one forward pass serves both."""


@runtime_checkable
class HasLossGradient(Protocol):
    """A model that brings its own gradient and its own care for state, such as a Classifier."""

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (N, K), detached."""

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Gradient (N, ...) of the summed loss, and the outputs (N, K) of the same forward pass."""


def ensure_two_logits(outputs: Tensor) -> Tensor:
    """Outputs (N, K) as they are; one logit of the second of two classes, (N,) or (N, 1), as the two logits (0, z).

    Raises ModelError for anything but a tensor.
    """
    if not isinstance(outputs, Tensor):
        raise ModelError(f"model must return a tensor of logits, got {type(outputs).__name__}: return its logits alone")
    if outputs.ndim > 1 and outputs.shape[1] > 1:
        return outputs
    logit = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(logit), logit], 1)


def predicted_classes(outputs: Tensor) -> Tensor:
    """Predicted classes (N,): the labels of an attack that is given none (Kurakin et al. 2017, arXiv:1611.01236)."""
    return outputs.argmax(1)


def input_gradient(model: Callable[[Tensor], Tensor], x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
    """Gradient of the summed loss with respect to x, from one forward and one input-only backward pass.

    x: (N, ...). Returns the gradient in the shape of x and the detached outputs (N, K), one logit made two. Summed, not
    averaged, so that an image's gradient does not depend on the batch around it. Parameters and their `.grad` are not
    touched. Works under `no_grad` and `inference_mode` too.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        outputs = ensure_two_logits(model(leaf.clone()))  # a model that works in place must meet neither the leaf nor x
        labels = y(outputs.detach()) if callable(y) else y.clone() if y.is_inference() else y
        (gradient,) = torch.autograd.grad(loss(outputs, labels).sum(), leaf)
    return gradient, outputs.detach()


@contextmanager
def preserve_state(model: object, x: Tensor) -> Iterator[None]:
    """Evaluation mode inside; afterwards every train/eval flag, buffer and the random state are as they were.

    Also when the body raises. Flags are restored module by module, so that batch norm frozen within a network in train
    mode stays frozen.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    flags = [module.training for module in modules]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if isinstance(model, nn.Module) else []
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            if isinstance(model, nn.Module):
                model.eval()
            yield
        finally:
            for module, flag in zip(modules, flags, strict=True):
                module.training = flag
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):
                        buffer.copy_(before)


def loss_gradient(model: Callable[[Tensor], Tensor] | HasLossGradient, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
    """Gradient and outputs by the model's own `loss_gradient` where it has one, else by `input_gradient` without trace."""
    if isinstance(model, HasLossGradient):
        return model.loss_gradient(x, y, loss)
    with preserve_state(model, x):
        return input_gradient(model, x, y, loss)


def predict_outputs(model: Callable[[Tensor], Tensor] | HasLossGradient, x: Tensor) -> Tensor:
    """Outputs (N, K) without gradients: by the model's own `predict` where it has one, else without trace."""
    if isinstance(model, HasLossGradient):
        return model.predict(x)
    with preserve_state(model, x), torch.no_grad():
        return ensure_two_logits(model(x.clone()))
