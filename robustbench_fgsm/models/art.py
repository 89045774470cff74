"""The Adversarial Robustness Toolbox, imported late and without its side effects, and classifiers to and from it."""

from __future__ import annotations

import atexit
import copy
import hashlib
import logging
import logging.config
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_fgsm.attack.gradient import Labels
from robustbench_fgsm.attack.losses import Loss, cross_entropy
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.art_engine import (
    Array,
    ArtEngine,
    NumpyArtEngine,
    TorchArtEngine,
    describe_model,
    estimator_bounds,
    to_logits,
)
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.spec import Bounds


def import_art(*, private_home: bool = True) -> None:
    """Import ART so that nothing of the caller's changes.

    ART writes `~/.art/config.json` and reconfigures logging, which closes every handler opened before: its home is a
    temporary directory until this process ends, and its logging call does nothing but leave its own logger silent.
    private_home: False for users of ART, who find their data sets and saved models in ART's own home.
    """
    if "art" in sys.modules:
        return
    with ExitStack() as stack:
        if private_home:
            home = tempfile.mkdtemp(prefix="rfgsm-art-")
            atexit.register(shutil.rmtree, home, ignore_errors=True)
            stack.enter_context(_set_environment_variable("HOME", home))
            stack.enter_context(_set_environment_variable("USERPROFILE", home))
        stack.enter_context(_preserve_logging())
        import art  # noqa: F401
    logging.getLogger("art").addHandler(logging.NullHandler())


@contextmanager
def _set_environment_variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _ignore(_: object) -> None:
    pass


@contextmanager
def _preserve_logging() -> Iterator[None]:
    configure = logging.config.dictConfig
    logging.config.dictConfig = _ignore  # type: ignore[assignment]
    try:
        yield
    finally:
        logging.config.dictConfig = configure


class ArtClassifier:
    """A classifier over any ART estimator with loss gradients: tensors outside, NumPy inside.

    Images (N, C, H, W) go to the estimator flat, or with channels last, where its `input_shape` is so. The estimator
    brings its own loss, which stands for cross-entropy, and is used as it is: it must not be trained further meanwhile.
    Raises ModelError for an estimator that is not a fitted classifier with loss gradients.
    """

    any_loss = False

    def __init__(self, estimator: Any, classes: Sequence[str] | None = None) -> None:
        import_art()
        from art.estimators.classification.classifier import ClassifierMixin
        from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
        from art.estimators.estimator import LossGradientsMixin

        if not (isinstance(estimator, ClassifierMixin) and isinstance(estimator, LossGradientsMixin)):
            raise ModelError(f"estimator must be an ART classifier with loss gradients, got {type(estimator).__name__}")
        if estimator.nb_classes < 2:
            raise ModelError(f"estimator must know its classes, got {type(estimator).__name__} without: fit it first")
        self.estimator = estimator
        self.num_classes = int(estimator.nb_classes)
        self.classes = check_class_names(classes, self.num_classes)
        self.bounds = estimator_bounds(estimator)
        self.info = describe_model(estimator.model)
        self._engine: ArtEngine = TorchArtEngine(estimator) if is_plain_torch_estimator(estimator) else NumpyArtEngine(estimator)
        self._divided = self.num_classes > 2 and isinstance(estimator, ScikitlearnLogisticRegression)
        self._averaged = getattr(getattr(estimator, "loss", None), "reduction", None) == "mean"

    @property
    def device(self) -> torch.device:
        """Where images are expected: the CPU, but for a PyTorch network that lies elsewhere."""
        return self._engine.device

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (N, K): logits as they are, and the logarithms of probabilities, which are logits of themselves."""
        if len(x) == 0:
            return x.new_zeros(0, self.num_classes)
        return to_logits(self._engine.predict(self.to_estimator_shape(x))).to(x)

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Gradient of the estimator's own loss in the shape of x, and the outputs (N, K).

        It is that of the summed loss where ART's division is known: by the classes for a LogisticRegression of more than
        two, by the images for a PyTorch loss that averages. Elsewhere its scale is the estimator's. Raises ModelError for
        any loss but `ce`.
        """
        if loss is not cross_entropy:
            raise ModelError(
                "an ART estimator brings its own loss, which only loss ce stands for, got another one: "
                "use loss ce without stable, or a PyTorch network"
            )
        outputs = self.predict(x)
        if len(x) == 0:
            return torch.zeros_like(x), outputs
        labels = y(outputs) if callable(y) else y
        rows = functional.one_hot(labels.cpu(), self.num_classes).float().numpy()
        arranged = self.to_estimator_shape(x)
        gradient = self._engine.compute_gradient(arranged, rows).gradient
        gradient = gradient * (self.num_classes if self._divided else len(x) if self._averaged else 1)
        return self.from_estimator_shape(gradient, x).to(x), outputs

    def to_estimator_shape(self, x: Tensor) -> Tensor:
        """Images in the estimator's own shape; as they came where that is not known."""
        x, shape = x.detach().to(self.device), tuple(getattr(self.estimator, "input_shape", None) or ())
        if x.shape[1:] != shape and shape == (x[0].numel(),):
            return x.flatten(1)
        if x.ndim == 4 and x.shape[1:] != shape and shape == (*x.shape[2:], x.shape[1]):
            return x.permute(0, 2, 3, 1).contiguous()
        return x

    def from_estimator_shape(self, estimator_images: Tensor, x: Tensor) -> Tensor:
        """What stands in the estimator's shape, in the shape of the images x."""
        if estimator_images.ndim == 4 and estimator_images.shape != x.shape:
            estimator_images = estimator_images.permute(0, 3, 1, 2)
        return estimator_images.reshape(x.shape)


class ArtStandardisedNetwork(nn.Module):
    """A network behind ART's own preprocessing, (x - mean) / std, one step after the other."""

    def __init__(self, network: nn.Module, steps: Sequence[tuple[Array, Array]] = ()) -> None:
        super().__init__()
        self.network = network
        for index, (mean, std) in enumerate(
            steps or [(np.array(0, np.float32), np.array(1, np.float32))]
        ):  # never the caller's own tensor
            self.register_buffer(f"mean{index}", torch.tensor(mean), persistent=False)
            self.register_buffer(f"std{index}", torch.tensor(std), persistent=False)
        self.steps = max(len(steps), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        for index in range(self.steps):
            x = (x - self._broadcast_statistic(f"mean{index}", x)) / self._broadcast_statistic(f"std{index}", x)
        outputs: Tensor = self.network(x)
        return outputs

    def _broadcast_statistic(self, name: str, x: Tensor) -> Tensor:
        """As ART places it: a vector goes with the last axis where it fits there, else with the channels."""
        statistic = self.get_buffer(name)
        if statistic.ndim == 1 and 1 < len(statistic) != x.shape[-1]:
            return statistic.view(-1, *[1] * (x.ndim - 2))
        return statistic


def is_plain_torch_estimator(estimator: Any) -> bool:
    """Whether PyTorch alone computes what the estimator does: ART's own PyTorchClassifier, standardisation at most.

    No other preprocessing, no postprocessing, and nothing recurrent, whose gradient ART takes in train mode.
    """
    from art.estimators.classification import PyTorchClassifier
    from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch

    return (
        type(estimator) is PyTorchClassifier
        and not estimator.postprocessing_defences
        and not estimator.is_rnn
        and not estimator.use_amp
        and all(
            type(operation) is StandardisationMeanStdPyTorch and operation.apply_predict
            for operation in estimator.preprocessing_operations
        )
    )


def from_art(estimator: Any, *, classes: Sequence[str] | None = None) -> TorchClassifier | ArtClassifier:
    """Our classifier of an ART estimator.

    A PyTorchClassifier gives a private copy of its network, in evaluation mode, behind its `preprocessing` mean and std.
    One that has defences, is recurrent or returns a single probability, and every other classifier with loss gradients,
    gives an ArtClassifier. clip_values become the bounds; without them there are none. classes: names in the order of
    the outputs. Raises ModelError for anything else, for clip_values that differ by feature, and for a wrong number of
    names.
    """
    import_art()
    if not is_plain_torch_estimator(estimator) or isinstance(estimator.loss, nn.BCELoss):
        return ArtClassifier(estimator, classes)
    steps = [(operation.mean, operation.std) for operation in estimator.preprocessing_operations]
    network = ArtStandardisedNetwork(copy.deepcopy(estimator.model), steps).to(estimator.device)
    nb_classes = int(estimator.nb_classes)
    named = check_class_names(classes, nb_classes)
    info = describe_model(estimator.model)
    if steps:
        normalisation = [[statistic.tolist() for statistic in step] for step in steps]
        info = replace(info, sha256=hashlib.sha256(repr([info.sha256, normalisation]).encode()).hexdigest())
    return TorchClassifier(network, nb_classes, named, estimator_bounds(estimator), info)


def sklearn_estimator(model: Any, bounds: Bounds) -> Any:
    """ART's estimator of a fitted scikit-learn model; raises ModelError where ART has none for it."""
    import_art()
    from art.estimators.classification import SklearnClassifier

    try:
        return SklearnClassifier(model, clip_values=bounds)
    except (ValueError, TypeError) as error:
        raise ModelError(f"model must be a classifier of scikit-learn, got {type(model).__name__}: {error}") from error


def to_art(classifier: Classifier, *, input_shape: tuple[int, ...] = ()) -> Any:
    """ART's PyTorchClassifier with its own copy of the network, pixel space to logits; ART's defaults otherwise.

    Its loss is the summed cross-entropy, since an averaged one divides every gradient by the batch size, which rounds.
    input_shape: of one image, which ART's method never reads and a few of its other attacks do. An ArtClassifier gives
    its estimator back. Raises ModelError for any other classifier.
    """
    if isinstance(classifier, ArtClassifier):
        return classifier.estimator
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"classifier must be a PyTorch one or come from ART, got {type(classifier).__name__}")
    import_art()
    from art.estimators.classification import PyTorchClassifier

    network = classifier.copy_network()
    return PyTorchClassifier(
        ArtStandardisedNetwork(network) if isinstance(network, nn.Sequential) else network,  # ART would run past its own forward
        loss=nn.CrossEntropyLoss(reduction="sum"),
        input_shape=input_shape,
        nb_classes=classifier.num_classes,
        clip_values=classifier.bounds,
        preprocessing=None,
        device_type="cpu" if classifier.device.type == "cpu" else "gpu",
    )


def check_class_names(classes: Sequence[str] | None, num_classes: int) -> tuple[str, ...] | None:
    """The names; raises ModelError where they do not number num_classes."""
    if classes is not None and len(classes) != num_classes:
        raise ModelError(f"classes must name all {num_classes} outputs, got {len(classes)} names")
    return None if classes is None else tuple(classes)
