"""Losses of an attack: functions from outputs (N, K) and labels (N,) to one value per image (N,)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_fgsm.errors import SettingError, did_you_mean

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of logits; also right for log-probabilities, which are logits of themselves."""
    return functional.cross_entropy(outputs, labels, reduction="none")


def log_probability_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of log-probabilities, without a second softmax."""
    return functional.nll_loss(outputs, labels, reduction="none")


def probability_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy -log p_y of probabilities, finite even if p_y has underflowed to 0."""
    chosen = outputs.gather(1, labels.unsqueeze(1)).squeeze(1)
    return -chosen.clamp_min(torch.finfo(outputs.dtype).tiny).log()


def margin_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the largest wrong output minus the label's output (Carlini and Wagner 2017, arXiv:1608.04644, f_6), not clamped."""
    return _wrong_outputs(outputs, labels).amax(1) - outputs.gather(1, labels.unsqueeze(1)).squeeze(1)


def stable_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the log-sum-exp of the wrong logits minus the label's logit: cross-entropy's direction without cancellation.

    The gradient of cross-entropy with respect to the logits is (1 - p_y) v, with v_y = -1 and v_k the softmax over the wrong
    logits. In floating point, 1 - p_y cancels as p_y approaches 1, and so does the gradient. The gradient of this loss is v.
    """
    return _wrong_outputs(outputs, labels).logsumexp(1) - outputs.gather(1, labels.unsqueeze(1)).squeeze(1)


def _wrong_outputs(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.scatter(1, labels.unsqueeze(1), -math.inf)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "log-probabilities": log_probability_cross_entropy,
    "probabilities": probability_cross_entropy,
    "margin": margin_loss,
}


def get_loss(loss: str | Loss, *, stable: bool = False) -> Loss:
    """Return the loss of that name, or the callable itself; `stable` selects cross-entropy without its cancellation.

    Raises SettingError if the name is unknown, or `stable` is set with a loss other than `ce`.
    """
    if stable:
        if loss != "ce":
            raise SettingError(f"stable needs loss ce, whose cancellation it avoids, got {loss!r}: drop one of the two")
        return stable_cross_entropy
    if callable(loss):
        return loss
    if loss not in LOSSES:
        known = ", ".join(LOSSES)
        raise SettingError(f"loss must be one of {known} or a callable, got {loss!r}: {did_you_mean(loss, LOSSES)}")
    return LOSSES[loss]
