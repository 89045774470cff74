"""Gradient of a loss with respect to images, computed without changing model, images or random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.attack.network_call import (
    call_network,
    check_has_weights,
    differentiable_recurrence,
    network_dtypes,
    set_evaluation_mode,
)
from robustbench_fgsm.attack.outputs import OutputReader, describe_value
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.global_settings import (
    GENERATORS,
    SharedState,
    caller_defaults,
    float32_precision,
    neutral_settings,
    torch_generators,
)
from robustbench_fgsm.spec import NO_CLASS as NO_CLASS
from robustbench_fgsm.user_code import required_parameters, user_code

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Labels = Tensor | Callable[[Tensor], Tensor]
"""Class indices (N,), or a function from the outputs (N, K) to them, so that one forward pass serves both."""


GRADIENT_REMEDY = "look for no_grad, detach, quantised layers, or a step through integers or NumPy"


class HasLossGradient(Protocol):
    """Model that computes its own gradient and preserves its own state, such as a Classifier."""

    def predict(self, x: Tensor) -> Tensor:
        """Return detached outputs (N, K)."""

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the gradient (N, ...) of the summed loss, and the outputs (N, K) of that forward pass."""


def has_loss_gradient(model: object) -> TypeIs[HasLossGradient]:
    """Return True if the model computes its own gradient; faster than `isinstance` with a protocol."""
    return hasattr(model, "predict") and hasattr(model, "loss_gradient")


def predicted_classes(outputs: Tensor) -> Tensor:
    """Return predicted classes (N,), `NO_CLASS` for a row whose largest output is not a finite number.

    A row with NaN, with +inf, or with -inf alone has no class: its softmax is not defined. A row with -inf beside finite outputs
    has one, because -inf is how a network rules a class out.
    """
    largest, classes = outputs.max(1)  # NaN is the largest of a row that holds it
    return classes.where(largest.isfinite(), NO_CLASS)


def predicted_labels(outputs: Tensor, threshold: float) -> Tensor:
    """Return predicted multi-hot labels (N, K): 1 for outputs above the threshold, `NO_CLASS` for outputs that are not finite."""
    return (outputs > threshold).long().where(outputs.isfinite(), NO_CLASS)


def own_labels(outputs: Tensor) -> Tensor:
    """Return predicted classes (N,) as labels of an attack (Kurakin et al. 2017, arXiv:1611.01236); 0 for `NO_CLASS`."""
    return predicted_classes(outputs).clamp_min(0)


READ_LOGITS = OutputReader()


def input_gradient(
    model: Callable[[Tensor], Any], x: Tensor, y: Any, loss: Loss, reader: OutputReader | None = READ_LOGITS
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the summed loss in the shape of x (N, ...), and the detached outputs (N, K), K >= 2.

    One forward and one input-only backward pass. The loss is summed, not averaged, so an image's gradient does not depend on its
    batch. Parameters and their `.grad` do not change. The function also works under `no_grad` and `inference_mode`.

    Args:
        model: callable from images to what `reader` reads.
        x: (N, ...) images.
        y: labels, or a function from the outputs (N, K) to labels; anything that a loss of the user's own takes.
        loss: function from outputs and labels to one value per image.
        reader: function that reads logits (N, K) for the loss; None passes on to the loss what the model returned.

    Raises:
        ModelError: the model's outputs cannot be read as logits, or no gradient reaches the images.
        SettingError: the loss does not return one value per image.
    """
    n = len(x)
    with neutral_settings(), differentiable_recurrence(model):
        leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        outputs = call_model(model, leaf, reader)  # of a copy: a model may change its input in place
        labels = y((outputs if reader is not None else READ_LOGITS(outputs, n)).detach()) if callable(y) else y
        labels = labels.clone() if isinstance(labels, Tensor) and labels.is_inference() else labels
        with user_code(lambda: _loss_text(outputs, labels), SettingError):
            values = loss(outputs, labels)
        total = check_loss_values(values, n).sum()
        with user_code("model must pass a gradient back to its images", ModelError, GRADIENT_REMEDY):
            (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True) if total.requires_grad else (None,)
    if gradient is None:
        raise ModelError(f"model must pass a gradient back to its images, got none: {GRADIENT_REMEDY}")
    return gradient, outputs.detach() if isinstance(outputs, Tensor) else gradient.new_empty(0)


def check_loss_values(values: object, n: int) -> Tensor:
    """Return the values of a loss as (N,); raise SettingError unless there is one floating-point number for each of N images."""
    if not isinstance(values, Tensor):
        raise SettingError(f"loss must return a tensor of one value per image ({n},), got {type(values).__name__}: return a tensor")
    if values.numel() == n and (values.ndim == 0 or len(values) == n):
        return values.reshape(n)
    if values.ndim == 0:
        remedy = 'pass reduction="none" to the loss, and reduce all axes but the first'
    else:
        remedy = "reduce all axes but the first, for example by .flatten(1).mean(1)"
    got = "a scalar" if values.ndim == 0 else str(tuple(values.shape))
    raise SettingError(f"loss must return one value per image ({n},), got {got}: {remedy}")


def call_model(model: Callable[[Tensor], Any], x: Tensor, reader: OutputReader | None = READ_LOGITS) -> Any:
    """Return the logits (N, K) that a user's model returned; a reader of None returns all that it returned.

    Raises ModelError if the model raises an error, or its outputs cannot be read as logits.
    """
    with images_accepted(model, x), caller_defaults(lambda: network_dtypes(model)):
        outputs = call_network(model, x)
    if reader is None:
        return outputs
    return reader(outputs, len(x)).to(x.device, copy=True)  # a network may write into its outputs at its next call


def images_accepted(model: object, x: Tensor) -> user_code:
    """Return the context in which a user's model gets images x; an error of the model becomes a ModelError."""
    return user_code(lambda: f"model must accept images of shape {tuple(x.shape[1:])}", ModelError, partial(_forward_remedy, model))


def _forward_remedy(model: object, error: BaseException) -> str:
    """Return how to attack a module that takes more than images; empty for any other error."""
    while isinstance(inner := getattr(model, "network", None), nn.Module) and "forward" not in vars(model):
        model = inner
    names = required_parameters(model.forward) if isinstance(model, nn.Module) else []
    if len(names) < 2 or not isinstance(error, TypeError) or "missing" not in str(error):
        return ""
    others = names[1:]
    arguments, keywords = ", ".join(others), ", ".join(f"{name}={name}" for name in others)
    return (
        f"it takes {' and '.join(others)} too, so pass `lambda x: net(x, {arguments})` to rf.fgsm, or set "
        f"`net.forward = functools.partial(net.forward, {keywords})` in a factory file, and pass factory:FILE.py:FUNCTION"
    )


def _loss_text(outputs: object, labels: object) -> str:
    return f"loss must accept outputs {describe_value(outputs)} and labels {describe_value(labels)}"


@contextmanager
def preserve_state(model: object, x: Tensor) -> Iterator[None]:
    """Set evaluation mode; afterwards restore every train/eval flag, buffer and the random state, also after an exception.

    Flags are restored module by module, so frozen batch norm in a network in train mode stays frozen. If several threads use one
    module at once, the last one to leave restores it.
    """
    with GENERATORS.preserve(torch_generators(x.device)):
        if not isinstance(model, nn.Module):
            yield
            return
        check_has_weights(model)
        with TRAINING_FLAGS.preserve(model.modules()), BUFFERS.preserve(model.buffers()):
            set_evaluation_mode(model)
            yield


@torch.no_grad()
def _restore_buffer(buffer: Tensor, before: Tensor) -> None:
    if buffer.layout != torch.strided or not torch.equal(buffer, before):  # sparse ones cannot be compared
        buffer.copy_(before)


TRAINING_FLAGS = SharedState[nn.Module](lambda module: module.training, lambda module, flag: setattr(module, "training", flag))
BUFFERS = SharedState[Tensor](lambda buffer: buffer.clone(), _restore_buffer)


def loss_gradient(
    model: Callable[[Tensor], Any] | HasLossGradient, x: Tensor, y: Any, loss: Loss, reader: OutputReader | None = READ_LOGITS
) -> tuple[Tensor, Tensor]:
    """Return gradient and outputs by the model's own `loss_gradient` if it has one, else by `input_gradient`."""
    if has_loss_gradient(model):
        return model.loss_gradient(x, y, loss)
    with preserve_state(model, x), float32_precision(x.device):
        return input_gradient(model, x, y, loss, reader)


def predict_outputs(
    model: Callable[[Tensor], Any] | HasLossGradient, x: Tensor, reader: OutputReader | None = READ_LOGITS
) -> Tensor:
    """Return outputs (N, K) without gradients, by the model's own `predict` if it has one; a reader of None reads logits."""
    if has_loss_gradient(model):
        return model.predict(x)
    with neutral_settings(), preserve_state(model, x), float32_precision(x.device), torch.no_grad():
        outputs: Tensor = call_model(model, x, reader or READ_LOGITS)
    return outputs
