"""An ART estimator behind one interface: tensors outside; inside either PyTorch itself or NumPy."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import preserve_state
from robustbench_fgsm.attack.outputs import two_columns
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import ModelInfo, count_parameters, hash_architecture, hash_weights
from robustbench_fgsm.spec import Bounds, check_bounds

Array = NDArray[Any]
EstimatorLabels = Any
"""What an estimator takes for y: label rows (N, K), targets of a regression (N, ...), or N detections, as ART has them."""


@dataclass(frozen=True)
class EstimatorGradient:
    """Gradient (N, ...) of an estimator's own loss, the labels for which it was taken, and outputs (N, K) if they were computed."""

    gradient: Tensor
    y: EstimatorLabels
    outputs: Tensor | None


class ArtEngine(Protocol):
    """Computation of an estimator on batches of tensors on its device; the caller's network stays unchanged."""

    device: torch.device

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K) of a classifier."""

    def compute_gradient(self, x: Tensor, y: EstimatorLabels | None) -> EstimatorGradient:
        """Return the gradient of the estimator's own loss over the batch; None for y uses a classifier's own predictions."""


class TorchArtEngine:
    """ART's PyTorchClassifier without NumPy: one forward and one input-only backward pass.

    The loss is the estimator's own, with its reduction. The network runs as in ART's `predict` (an `nn.Sequential` layer by layer),
    so the gradients equal ART's to the last bit.
    """

    def __init__(self, estimator: Any) -> None:
        self.device: torch.device = estimator.device
        self._estimator = estimator
        self._network: nn.Module = estimator._model

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K); a single output becomes two."""
        with preserve_state(self._network, x), torch.no_grad():
            return ensure_two_outputs(self._forward(x.clone()), self._estimator.loss)

    def compute_gradient(self, x: Tensor, y: EstimatorLabels | None) -> EstimatorGradient:
        """Return gradient and outputs of one forward pass; no outputs for one column whose meaning is unknown."""
        loss, nb_classes = self._estimator.loss, self._estimator.nb_classes
        with preserve_state(self._network, x), torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            raw = self._forward(leaf.clone())  # a network that works in place must not meet the leaf
            single = raw.ndim == 1 or raw.shape[1] == 1
            outputs = None if single and y is not None else ensure_two_outputs(raw.detach(), loss)
            rows = one_hot_predictions(outputs, nb_classes) if outputs is not None and y is None else y
            labels = torch.from_numpy(np.ascontiguousarray(self._estimator.reduce_labels(rows))).to(x.device)
            labels = labels.view_as(raw) if single and labels.numel() == raw.numel() else labels
            (gradient,) = torch.autograd.grad(loss(raw, labels).sum(), leaf)
        return EstimatorGradient(gradient, rows, outputs)

    def _forward(self, x: Tensor) -> Tensor:
        for operation in self._estimator.preprocessing_operations:
            x, _ = operation.forward(x)
        last: Tensor = self._network(x)[-1]
        return last


class NumpyArtEngine:
    """Any ART estimator with loss gradients, by its own `predict` and `loss_gradient`."""

    def __init__(self, estimator: Any) -> None:
        self.device = torch.device("cpu")
        self._estimator = patch_svc_probability(estimator)

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K); a single output becomes two."""
        outputs = torch.from_numpy(np.array(predict_with_estimator(self._estimator, x.numpy().copy(), max(len(x), 1)), order="C"))
        floating = outputs if outputs.is_floating_point() else outputs.double()
        return ensure_two_outputs(floating, getattr(self._estimator, "loss", None))

    def compute_gradient(self, x: Tensor, y: EstimatorLabels | None) -> EstimatorGradient:
        """Return the estimator's gradient, and outputs only if the labels were read from them."""
        outputs = self.predict(x) if y is None else None
        rows = y if outputs is None else one_hot_predictions(outputs, self._estimator.nb_classes)
        with preserve_estimator(self._estimator):
            gradient = np.array(self._estimator.loss_gradient(x.numpy().copy(), rows), order="C")
        if gradient.shape != tuple(x.shape):
            raise ModelError(f"loss_gradient must return the shape of its images {tuple(x.shape)}, got {gradient.shape}")
        return EstimatorGradient(torch.from_numpy(gradient), rows, outputs)


def predict_with_estimator(estimator: Any, x: Array, batch_size: int) -> EstimatorLabels:
    """Return the predictions of the estimator; its network stays unchanged."""
    with preserve_estimator(estimator):
        return estimator.predict(x, batch_size=batch_size)


def one_hot_predictions(outputs: Tensor, nb_classes: int) -> Array:
    """Return predicted classes as one-hot rows (N, nb_classes); of equal outputs the first is chosen."""
    rows: Array = np.eye(nb_classes, dtype=np.float32)[outputs.argmax(1).cpu().numpy()]
    return rows


def ensure_two_outputs(outputs: Tensor, loss: object) -> Tensor:
    """Return outputs (N, K) unchanged; a single output, (N,) or (N, 1), becomes two, as the loss defines it.

    Raises ModelError for a single output under a loss other than PyTorch's binary cross-entropies.
    """
    if outputs.ndim > 1 and outputs.shape[1] > 1:
        return outputs
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return two_columns(outputs.reshape(-1, 1), "logit")
    if isinstance(loss, nn.BCELoss):
        return two_columns(outputs.reshape(-1, 1), "probability")
    raise ModelError(
        f"estimator must return at least two outputs an image, got {tuple(outputs.shape)}, which may be a logit or a "
        "probability: let it return two, or use PyTorchClassifier with BCEWithLogitsLoss or BCELoss"
    )


def patch_svc_probability(estimator: Any) -> Any:
    """Return the estimator, or a shallow copy on which ART's `predict` works.

    From scikit-learn 1.9 on, an unset SVC.probability is the word "deprecated". ART takes the word for True and requests
    probabilities that do not exist.
    """
    if isinstance(getattr(getattr(estimator, "model", None), "probability", None), str):
        estimator = copy.copy(estimator)
        estimator._model = copy.copy(estimator.model)
        estimator._model.probability = False
    return estimator


@contextmanager
def preserve_estimator(estimator: Any) -> Iterator[None]:
    """Restore flags, buffers and gradients of the estimator's PyTorch network afterwards, also after an exception."""
    network = getattr(estimator, "model", None)
    if not isinstance(network, nn.Module):
        yield
        return
    parameters = list(network.parameters())
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None  # ART must not add to them
    try:
        with preserve_state(network, torch.empty(0, device=getattr(estimator, "device", "cpu"))):
            yield
    finally:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient


def estimator_bounds(estimator: Any) -> Bounds:
    """Return clip_values, infinite if there are none; arrays with one number are numbers."""
    if estimator.clip_values is None:
        return Bounds(-math.inf, math.inf)
    low, high = (np.asarray(limit) for limit in estimator.clip_values)
    if all(len(np.unique(limit)) == 1 for limit in (low, high)):
        low, high = low.reshape(-1)[0], high.reshape(-1)[0]
    return check_bounds((low, high))


def to_logits(outputs: Tensor) -> Tensor:
    """Return outputs (N, K) unchanged, or the logarithms of probabilities, finite even for a probability of 0."""
    if bool((outputs >= 0).all()) and bool(((outputs.sum(1) - 1).abs() < 1e-4).all()):
        return outputs.clamp_min(torch.finfo(torch.float32).tiny).log()
    return outputs


def describe_model(model: Any) -> ModelInfo:
    """Return the model's info; its hash covers the arrays fitted in scikit-learn's or Keras's way."""
    name = type(model).__name__
    if isinstance(model, nn.Module):
        return ModelInfo(name, "given", count_parameters(model), hash_weights(model), architecture_sha256=hash_architecture(model))
    found = dict(enumerate(model.get_weights())) if hasattr(model, "get_weights") else getattr(model, "__dict__", {})
    arrays = {
        str(key): value
        for key, value in found.items()
        if isinstance(value, np.ndarray) and value.dtype != object and not str(key).startswith("_")
    }
    digest = hashlib.sha256()
    for key, value in sorted(arrays.items()):
        digest.update(f"{key} {value.dtype} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return ModelInfo(name, "given", sum(value.size for value in arrays.values()), digest.hexdigest() if arrays else "")
