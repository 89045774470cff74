"""Losses that implementations climb, the right one and others, as functions of logits and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_fgsm.attack.losses import Loss, cross_entropy, margin_loss

TEMPERATURES = (0.1, 0.5, 2.0, 4.0, 5.0, 10.0, 20.0, 100.0)


@dataclass(frozen=True)
class NamedLoss:
    """A loss, what it is in words, and the id of the mistake that it is.

    Attributes:
        about: the loss in words.
        function: loss of logits (N, K) and labels (N,), one value per image.
        cause: id of the mistake; None for cross-entropy.
        uses_labels: False if the loss does not depend on the labels.
    """

    about: str
    function: Loss
    cause: str | None = "other-loss"
    uses_labels: bool = True


def logit_gradient(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient (N, K) of the summed loss with respect to the logits."""
    leaf = logits.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(leaf, labels).sum(), leaf, allow_unused=True, materialize_grads=True)
    return gradient


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.one_hot(labels, logits.shape[1]).to(logits.dtype)


def _own(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(1, labels.unsqueeze(1)).squeeze(1)


def _binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, _one_hot(logits, labels), reduction="none").sum(1)


def _binary_cross_entropy_of_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the values of `functional.binary_cross_entropy`, which does not support every dtype."""
    probabilities, targets = logits.softmax(1), _one_hot(logits, labels)
    logs = probabilities.log().clamp_min(-100), (1 - probabilities).log().clamp_min(-100)
    return -(targets * logs[0] + (1 - targets) * logs[1]).sum(1)


def _hinge(power: float) -> Loss:
    def hinge(logits: Tensor, labels: Tensor) -> Tensor:
        above = (1 - logits.gather(1, labels.unsqueeze(1)) + logits).clamp_min(0).pow(power)
        return above.scatter(1, labels.unsqueeze(1), 0.0).sum(1)

    return hinge


def _difference_of_logits_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of Croce and Hein 2020 (arXiv:2003.01690, eq. 6)."""
    ordered = logits.sort(1).values
    own, is_top = _own(logits, labels), logits.argmax(1) == labels
    third = ordered[:, max(-3, -logits.shape[1])]
    return -(own - torch.where(is_top, ordered[:, -2], ordered[:, -1])) / (ordered[:, -1] - third + 1e-12)


def _largest_wrong_logit(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.scatter(1, labels.unsqueeze(1), -float("inf")).amax(1)


def _entropy(logits: Tensor, _: Tensor) -> Tensor:
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def _smoothed(share: float) -> Loss:
    return lambda logits, labels: functional.cross_entropy(logits, labels, reduction="none", label_smoothing=share)


def _cooled(temperature: float) -> Loss:
    return lambda logits, labels: cross_entropy(logits / temperature, labels)


def _without_labels(about: str, function: Callable[[Tensor], Tensor], cause: str = "other-loss") -> NamedLoss:
    return NamedLoss(about, lambda logits, _: function(logits), cause, uses_labels=False)


LOSSES: dict[str, NamedLoss] = {
    "ce": NamedLoss("cross-entropy", cross_entropy, None),
    "double-softmax": NamedLoss(
        "cross-entropy of probabilities (softmax twice)", lambda z, y: cross_entropy(z.softmax(1), y), "double-softmax"
    ),
    "nll-on-logits": NamedLoss("minus the logit of the label (nll_loss on logits)", lambda z, y: -_own(z, y), "nll-on-logits"),
    "own-logit": NamedLoss("the logit of the label", _own, "sum-of-logits"),
    "sum": _without_labels("the sum of the logits", lambda z: z.sum(1), "sum-of-logits"),
    "sum-of-probabilities": _without_labels("the sum of the log-probabilities", lambda z: z.log_softmax(1).sum(1), "sum-of-logits"),
    "largest-logit": _without_labels("the largest logit", lambda z: z.amax(1), "sum-of-logits"),
    "largest-wrong-logit": NamedLoss("the largest wrong logit", _largest_wrong_logit, "sum-of-logits"),
    "log-sum-exp": _without_labels("the log-sum-exp of the logits", lambda z: z.logsumexp(1)),
    "squared-logits": _without_labels("the sum of the squared logits", lambda z: z.square().sum(1)),
    "entropy": NamedLoss("the entropy of the prediction", _entropy, uses_labels=False),
    "margin": NamedLoss("the margin: largest wrong logit minus the label's", margin_loss),
    "clamped-margin": NamedLoss("the margin, but 0 for misclassified images", lambda z, y: margin_loss(z, y).clamp_max(0)),
    "margin-of-probabilities": NamedLoss("the margin of the probabilities", lambda z, y: margin_loss(z.softmax(1), y)),
    "dlr": NamedLoss("the difference of logits ratio", _difference_of_logits_ratio),
    "multi-margin": NamedLoss("the multi-class hinge loss", _hinge(1)),
    "squared-hinge": NamedLoss("the squared multi-class hinge loss", _hinge(2)),
    "mse": NamedLoss("the squared error of the logits", lambda z, y: (z - _one_hot(z, y)).square().sum(1)),
    "mse-on-probabilities": NamedLoss(
        "the squared error of the probabilities", lambda z, y: (z.softmax(1) - _one_hot(z, y)).square().sum(1)
    ),
    "bce": NamedLoss("binary cross-entropy of the logits", _binary_cross_entropy),
    "bce-on-probabilities": NamedLoss("binary cross-entropy of the probabilities", _binary_cross_entropy_of_probabilities),
    **{
        f"smoothing {share:g}": NamedLoss(f"cross-entropy with label smoothing {share:g}", _smoothed(share))
        for share in (0.1, 0.05, 0.2, 0.3)
    },
    **{f"temperature {one:g}": NamedLoss(f"cross-entropy at temperature {one:g}", _cooled(one)) for one in TEMPERATURES},
}
"""Losses by name. What has the signs of cross-entropy (focal loss, minus the probability) counts as cross-entropy."""
