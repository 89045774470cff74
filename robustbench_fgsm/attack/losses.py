"""Losses of an attack: functions from outputs (N, K) and labels (N,) to one value per image (N,)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_fgsm.errors import SettingError, did_you_mean

Loss = Callable[[Any, Any], Tensor]
"""Function from outputs and labels to one value per image (N,). A loss of the user's own takes whatever model and y are."""


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


def binary_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of one probability per class, summed over the classes.

    labels: classes (N,), or multi-hot rows (N, K). What is no probability counts as the nearest one, and NaN as 0.5, because
    PyTorch's loss fails on both; `check_outputs` reports them.
    """
    nearest = outputs.detach().nan_to_num(0.5).clamp(0, 1)
    probabilities = torch.where((outputs >= 0) & (outputs <= 1), outputs, nearest)
    return functional.binary_cross_entropy(probabilities, _multi_hot(outputs, labels), reduction="none").sum(1)


def binary_cross_entropy_with_logits(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of one logit per class, summed over the classes; labels as in `binary_cross_entropy`."""
    return functional.binary_cross_entropy_with_logits(outputs, _multi_hot(outputs, labels), reduction="none").sum(1)


def _multi_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    if labels.ndim == 1:
        return torch.zeros_like(outputs).scatter(1, labels.unsqueeze(1), 1.0)
    return labels.to(outputs)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "logits": cross_entropy,
    "log-probabilities": log_probability_cross_entropy,
    "probabilities": probability_cross_entropy,
    "margin": margin_loss,
    "bce": binary_cross_entropy,
    "bce-with-logits": binary_cross_entropy_with_logits,
}
"""Losses by name. `logits` is `ce` whose outputs are declared to be logits, so that nothing is recognised."""


def to_probabilities(outputs: Tensor, loss: str) -> Tensor:
    """Return the probability of each class (N, K) in double precision, from outputs of the kind that the named loss takes."""
    exact = outputs.double()
    if loss in ("probabilities", "bce"):
        return exact
    return exact.sigmoid() if loss == "bce-with-logits" else exact.softmax(1)


LOGIT_LOSSES = ("ce", "logits")
CANCELLING_LOSSES = (*LOGIT_LOSSES, "log-probabilities")
"""Losses whose float32 gradient cancels on saturated images."""

MULTI_LABEL_LOSSES = ("bce", "bce-with-logits")
"""Losses that also take multi-hot labels (N, K)."""


def get_loss(loss: str | Loss, *, stable: bool = False) -> Loss:
    """Return the loss of that name, or the callable itself; `stable` selects cross-entropy without its cancellation.

    Raises SettingError if the name is unknown, or `stable` is set with a loss other than cross-entropy of logits.
    """
    if stable:
        if loss not in LOGIT_LOSSES:
            raise SettingError(f"stable needs loss ce, whose cancellation it avoids, got {loss!r}: drop one of the two")
        return stable_cross_entropy
    if callable(loss):
        return loss
    if loss not in LOSSES:
        known = ", ".join(LOSSES)
        raise SettingError(f"loss must be one of {known} or a callable, got {loss!r}: {did_you_mean(loss, LOSSES)}")
    return LOSSES[loss]
