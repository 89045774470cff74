"""Fitted scikit-learn models as PyTorch networks that compute the same numbers, so that their gradients are exact."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import Labels
from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.art import ArtClassifier, sklearn_estimator
from robustbench_fgsm.models.art_engine import describe_model, ensure_two_outputs, to_logits
from robustbench_fgsm.models.classifier import Classifier, ModelInfo, PixelSpaceNetwork, build_classifier, check_class_names
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds, check_bounds

LINEAR_CLASSIFIERS = [
    "LinearDiscriminantAnalysis",
    "LinearSVC",
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
]
"""Classifiers whose decision function is x @ coef_.T + intercept_."""

CONSTANT_NAMES = [
    "AdaBoostClassifier",
    "BaggingClassifier",
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "ExtraTreesClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "KNeighborsClassifier",
    "NearestCentroid",
    "RadiusNeighborsClassifier",
    "RandomForestClassifier",
]
"""Classifiers whose outputs are piecewise constant, so that their gradient is zero where it exists."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
}

NORMALIZER_ORDERS = {"l1": 1.0, "l2": 2.0, "max": float("inf")}


def is_sklearn_model(model: object) -> bool:
    """Return True if a class of the object is scikit-learn's, without an import of scikit-learn."""
    return any(base.__module__.partition(".")[0] == "sklearn" for base in type(model).__mro__)


def from_sklearn(model: Any, *, bounds: Sequence[Any] = PIXEL_BOUNDS, classes: Sequence[str] | None = None) -> Classifier:
    """Return the classifier of a fitted scikit-learn model; images (N, ...) are passed flat.

    Linear classifiers and MLPClassifier, alone or behind scalers, PCA and selected features in a Pipeline, become a float64 network
    whose outputs are the decision function, or the logits of `predict_proba`. An SVC with a kernel runs through ART's estimator.
    Other models, such as trees, give a classifier that predicts alone: it can be the target of a transfer.

    Args:
        model: fitted classifier, Pipeline, or a search with its best estimator.
        bounds: range of the images, as in `wrap`.
        classes: names of the outputs; None for the labels with which the model was fitted, if they are words.

    Raises:
        ModelError: the model is not a fitted classifier of one label per image, or the number of names is wrong.
    """
    _check_is_classifier(model)
    bounds = check_bounds(bounds)
    names = classes or class_names(model)
    steps = _steps(model)
    name, info = type(model).__name__, describe_model(steps[-1])
    if type(steps[-1]).__name__ == "SVC" and len(steps) == 1:
        return ArtClassifier(sklearn_estimator(_with_class_indices(steps[-1]), bounds), names)
    try:
        network = PixelSpaceNetwork(
            nn.Sequential(nn.Flatten(), *map(_to_module, steps[:-1]), _to_network(steps[-1]), _TwoLogits()).double()
        )
    except NotImplementedError as error:
        return PredictingModel(model, str(error), bounds, names)
    return build_classifier(network, len(model.classes_), ModelInfo(name, info.weights), bounds=bounds, classes=names)


class PredictingModel:
    """Classifier that predicts by a scikit-learn model and has no gradient; see `Classifier`."""

    any_loss = False
    device = torch.device("cpu")

    def __init__(self, model: Any, reason: str, bounds: Bounds, classes: Sequence[str] | None) -> None:
        self._model, self._reason = model, reason
        self.num_classes = len(model.classes_)
        self.classes = check_class_names(classes, self.num_classes)
        self.bounds = bounds
        self.info = describe_model(_steps(model)[-1])

    def predict(self, x: Tensor) -> Tensor:
        """Return logarithms of probabilities (N, K), or the decision function, with the model's own prediction the largest."""
        if len(x) == 0:
            return x.new_zeros(0, self.num_classes)
        flat = x.detach().cpu().flatten(1).numpy()
        scores = self._model.predict_proba if hasattr(self._model, "predict_proba") else self._model.decision_function
        outputs = to_logits(ensure_two_outputs(torch.from_numpy(np.asarray(scores(flat), np.float64)), nn.BCEWithLogitsLoss()))
        predicted = torch.from_numpy(np.searchsorted(self._model.classes_, self._model.predict(flat))).unsqueeze(1)
        largest = outputs.max(1, keepdim=True).values
        return outputs.scatter(1, predicted, torch.nextafter(largest, torch.full_like(largest, torch.inf)))

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:  # noqa: ARG002  (the protocol has them)
        """Raise ModelError: there is no gradient."""
        spec = self.info.spec
        call = f"rfgsm transfer --source NETWORK --target {spec}" if ":" in spec else "rf.transfer([network], [model], data)"
        raise ModelError(
            f"model must have an input gradient, got {self._reason}: FGSM cannot attack it; craft the images on a network: {call}"
        )


def class_names(model: Any) -> list[str] | None:
    """Return the labels with which a model was fitted, unless they are 0 to K-1."""
    found = list(model.classes_)
    return None if found == list(range(len(found))) else [str(name) for name in found]


def _with_class_indices(model: Any) -> Any:
    """Return a classifier that predicts 0 to K-1, which ART takes its predictions for, and shares the rest with the model.

    ART predicts by Platt's probabilities if an SVC has them, which may differ from `predict`; the copy has none.
    """
    found = copy.copy(model)
    if hasattr(found, "probability"):
        found.probability = False
    found.classes_ = np.arange(len(model.classes_))
    return found


def _check_is_classifier(model: Any) -> None:
    if not hasattr(model, "predict") or (hasattr(model, "fit") and not hasattr(model, "classes_")):
        raise ModelError(f"model must be a fitted classifier of scikit-learn, got {type(model).__name__}: fit it on labels first")
    if isinstance(model.classes_, list) or getattr(getattr(model, "_label_binarizer", None), "y_type_", "").startswith(
        "multilabel"
    ):
        raise ModelError(f"model must have one label per image, got {type(model).__name__} with several: fit one model per label")


def _steps(model: Any) -> list[Any]:
    """Return transformers and classifier of a pipeline, of the best estimator of a search, or of a classifier alone."""
    if hasattr(model, "best_estimator_"):
        return _steps(model.best_estimator_)
    if not hasattr(model, "steps"):
        return [model]
    found = [part for _, step in model.steps if step not in (None, "passthrough") for part in _steps(step)]
    return found or [model]


class _TwoLogits(nn.Module):
    """One logit z (N, 1) of the second of two classes as the logits (0, z)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), x], 1) if x.shape[1] == 1 else x


class _Affine(nn.Module):
    """The map x * scale + shift, of each feature by itself."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Any, shift: Any) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(np.asarray(scale, np.float64)))
        self.register_buffer("shift", torch.as_tensor(np.asarray(shift, np.float64)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class _Selection(nn.Module):
    """Selection of the features at some places."""

    places: Tensor

    def __init__(self, places: Any) -> None:
        super().__init__()
        self.register_buffer("places", torch.as_tensor(np.asarray(places, np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        selected: Tensor = x[:, self.places]
        return selected


class _UnitNorm(nn.Module):
    """Images divided by their norm, unless it is zero."""

    def __init__(self, order: float) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, self.order, 1, keepdim=True)
        unit: Tensor = x / size.where(size > 0, 1.0)
        return unit


def _linear(weight: Any, bias: Any) -> nn.Linear:
    """Return x @ weight.T + bias."""
    rows = torch.as_tensor(np.atleast_2d(np.asarray(weight, np.float64)))
    layer = nn.Linear(rows.shape[1], rows.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(rows)
        layer.bias.copy_(torch.as_tensor(np.asarray(bias, np.float64)).reshape(-1).expand(len(rows)))
    return layer


def _to_module(step: Any) -> nn.Module:
    """Return a transformer as a module; raise NotImplementedError for one that is not converted."""
    name = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        raise NotImplementedError(f"a pipeline with {name}, a class of your own")
    if name in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
        centre = getattr(step, "center_", None)
        if name == "StandardScaler" and step.with_mean:
            centre = step.mean_
        scale = getattr(step, "scale_", None)
        inverse = 1 / np.asarray(1.0 if scale is None else scale)
        return _Affine(inverse, -np.asarray(0.0 if centre is None else centre) * inverse)
    if name == "MinMaxScaler":
        scaled = _Affine(step.scale_, step.min_)
        return (
            nn.Sequential(scaled, nn.Hardtanh(float(step.feature_range[0]), float(step.feature_range[1]))) if step.clip else scaled
        )
    if name in ("PCA", "IncrementalPCA"):
        rows = step.components_ / np.sqrt(step.explained_variance_)[:, None] if step.whiten else step.components_
        return _linear(rows, -rows @ step.mean_)
    if name == "TruncatedSVD":
        return _linear(step.components_, np.zeros(len(step.components_)))
    if name == "Normalizer":
        return _UnitNorm(NORMALIZER_ORDERS[step.norm])
    if hasattr(step, "get_support"):
        return _Selection(step.get_support(indices=True))
    if name == "FunctionTransformer" and step.func is None:
        return nn.Identity()
    raise NotImplementedError(f"a pipeline with {name}, which is not converted to a network")


def _to_network(model: Any) -> nn.Module:
    """Return a classifier as a network to logits; raise NotImplementedError for one that has no gradient or is not converted."""
    name = type(model).__name__
    if not type(model).__module__.startswith("sklearn."):
        raise NotImplementedError(f"{name}, a class of your own")
    if name in LINEAR_CLASSIFIERS:
        return _linear(model.coef_, model.intercept_)
    if name == "MLPClassifier":
        layers: list[nn.Module] = []
        for weight, bias in zip(model.coefs_, model.intercepts_, strict=True):
            layers += [_linear(np.asarray(weight).T, bias), ACTIVATIONS[model.activation]()]
        return nn.Sequential(*layers[:-1])
    if name in CONSTANT_NAMES:
        raise NotImplementedError(f"{name}, whose outputs do not change under small changes of an image")
    raise NotImplementedError(f"{name}{' behind other steps' if name == 'SVC' else ''}, which is not converted to a network")
