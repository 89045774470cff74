"""Adversarial Robustness Toolbox (ART): import without side effects, and conversion of classifiers from and to ART."""

from __future__ import annotations

import atexit
import hashlib
import logging
import logging.config
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_fgsm.attack.clip import limits_of
from robustbench_fgsm.attack.gradient import Labels
from robustbench_fgsm.attack.losses import Loss, cross_entropy
from robustbench_fgsm.attack.outputs import OutputReader
from robustbench_fgsm.errors import ModelError, warn_user
from robustbench_fgsm.files.atomic_files import temporary_directory
from robustbench_fgsm.models.art_engine import (
    Array,
    ArtEngine,
    NumpyArtEngine,
    TorchArtEngine,
    describe_model,
    estimator_bounds,
    to_logits,
)
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, check_class_names
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import Bounds, Task


def import_art(*, private_home: bool = True) -> None:
    """Import ART without its side effects on home directory and logging.

    ART writes `~/.art/config.json`, and reconfigures logging, which closes every open handler. Here, ART's home is a
    temporary directory until the process ends, and ART's logging call only silences ART's own logger.

    Args:
        private_home: use the temporary home. False for users of ART, whose data sets and models lie in ART's own home.
    """
    if "art" in sys.modules:
        return
    with ExitStack() as stack:
        if private_home:
            until_exit = ExitStack()
            home = until_exit.enter_context(temporary_directory(Path(tempfile.gettempdir(), "rfgsm-art")))
            atexit.register(until_exit.close)
            stack.enter_context(_set_environment_variable("HOME", str(home)))
            stack.enter_context(_set_environment_variable("USERPROFILE", str(home)))
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
    """Classifier over any ART estimator with loss gradients.

    Images (N, C, H, W) are passed flat, or with channels last, if the estimator's `input_shape` requires that. The estimator's
    own loss takes the place of cross-entropy. The estimator is not copied: do not train it while it is used.

    Args:
        estimator: fitted ART classifier with loss gradients.
        classes: names of the outputs; None if unknown.

    Raises:
        ModelError: the estimator is not a fitted classifier with loss gradients, or the number of names is wrong.
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

    def __repr__(self) -> str:
        return short_repr(self, estimator=type(self.estimator).__name__, classes=self.num_classes, device=str(self.device))

    @property
    def device(self) -> torch.device:
        """Return the device of the images: the device of a PyTorch network, else the CPU."""
        return self._engine.device

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K): logits unchanged, and logarithms of probabilities, which are logits of themselves."""
        if len(x) == 0:
            return x.new_zeros(0, self.num_classes)
        return to_logits(self._engine.predict(self.to_estimator_shape(x))).to(x)

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the gradient of the estimator's own loss in the shape of x, and the outputs (N, K).

        The loss is summed if ART's divisor is known: the number of classes for a LogisticRegression of more than two classes, the
        number of images for a PyTorch loss that averages. Otherwise the scale is the estimator's. Raises ModelError if the loss is
        not `ce`.
        """
        if loss is not cross_entropy:
            raise ModelError(
                "an ART estimator has its own loss, which is called ce here, got another loss: "
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
        """Return images in the estimator's own shape, unchanged if the shape is unknown."""
        x, shape = x.detach().to(self.device), tuple(getattr(self.estimator, "input_shape", None) or ())
        if x.shape[1:] != shape and shape == (x[0].numel(),):
            return x.flatten(1)
        if x.ndim == 4 and x.shape[1:] != shape and shape == (*x.shape[2:], x.shape[1]):
            return x.permute(0, 2, 3, 1).contiguous()
        return x

    def from_estimator_shape(self, estimator_images: Tensor, x: Tensor) -> Tensor:
        """Return images of the estimator's shape in the shape of the images x."""
        if estimator_images.ndim == 4 and estimator_images.shape != x.shape:
            estimator_images = estimator_images.permute(0, 3, 1, 2)
        return estimator_images.reshape(x.shape)


class SummedLoss(nn.Module):
    """A loss of ours as ART needs it: a module that takes label rows (N, K), and returns the sum over the images.

    Rows are one-hot, or multi-hot for task multilabel. ART's attack divides each row by its sum, so that rows of several labels
    become fractions, and rows without labels become NaN; the loss gets them as they were.
    """

    def __init__(self, loss: Loss, task: Task = "multiclass") -> None:
        super().__init__()
        self.loss, self.task = loss, task

    def forward(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return the sum of the loss over all images."""
        return self.loss(outputs, (rows > 0).long() if self.task == "multilabel" else rows.argmax(1)).sum()


class ArtStandardisedNetwork(nn.Module):
    """Network behind ART's own preprocessing, one (x - mean) / std after the other."""

    def __init__(self, network: nn.Module, steps: Sequence[tuple[Array, Array]] = ()) -> None:
        super().__init__()
        self.network = network
        identity = np.array(0, np.float32), np.array(1, np.float32)  # the network must not get the caller's own tensor
        for index, (mean, std) in enumerate(steps or [identity]):
            self.register_buffer(f"mean{index}", torch.tensor(mean), persistent=False)
            self.register_buffer(f"std{index}", torch.tensor(std), persistent=False)
        self.steps = max(len(steps), 1)
        self.reader: OutputReader | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the network, read as logits (N, K) if there is a reader."""
        for index in range(self.steps):
            x = (x - self._broadcast_statistic(f"mean{index}", x)) / self._broadcast_statistic(f"std{index}", x)
        outputs: Tensor = self.network(x)
        return outputs if self.reader is None else self.reader(outputs, len(x))

    def _broadcast_statistic(self, name: str, x: Tensor) -> Tensor:
        """Return the statistic as ART broadcasts it: a vector along the last axis if it fits there, else along the channels."""
        statistic = self.get_buffer(name)
        if statistic.ndim == 1 and 1 < len(statistic) != x.shape[-1]:
            return statistic.view(-1, *[1] * (x.ndim - 2))
        return statistic


def is_plain_torch_estimator(estimator: Any) -> bool:
    """Return True if PyTorch alone computes what the estimator computes.

    The estimator is then ART's own PyTorchClassifier with no preprocessing but standardisation, no postprocessing and no
    recurrent layers, whose gradient ART takes in train mode.
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


def _is_cross_entropy(loss: object) -> bool:
    """Return True if a loss of PyTorch has the direction of cross-entropy on the outputs for which it is made."""
    if isinstance(loss, nn.CrossEntropyLoss):
        return loss.label_smoothing == 0
    return isinstance(loss, (nn.NLLLoss, nn.BCEWithLogitsLoss)) or (isinstance(loss, SummedLoss) and loss.loss is cross_entropy)


def from_art(estimator: Any, *, classes: Sequence[str] | None = None) -> TorchClassifier | ArtClassifier:
    """Return our classifier of an ART estimator.

    A PyTorchClassifier gives a private copy of its network, in evaluation mode, behind its `preprocessing` mean and std. An
    estimator with defences, with recurrent layers or with a single probability gives an ArtClassifier, and so does every other
    classifier with loss gradients. The estimator's clip_values become the bounds. Loss `ce` of the copy is cross-entropy; a
    RuntimeWarning says if the estimator's own loss is another one.

    Args:
        estimator: ART classifier with loss gradients.
        classes: names in the order of the outputs; None if unknown.

    Returns:
        Classifier of this package.

    Raises:
        ModelError: the estimator is of another kind, or the number of names is wrong.
    """
    import_art()
    if not is_plain_torch_estimator(estimator) or isinstance(estimator.loss, nn.BCELoss):
        return ArtClassifier(estimator, classes)
    if not _is_cross_entropy(estimator.loss):
        warn_user(
            f"the estimator's loss is {type(estimator.loss).__name__}, but loss ce is cross-entropy here: "
            "for its own loss pass its network and the loss to rf.fgsm(network, x, y, loss=fn)"
        )
    steps = [(operation.mean, operation.std) for operation in estimator.preprocessing_operations]
    network = ArtStandardisedNetwork(copy_module(estimator.model), steps).to(estimator.device)
    nb_classes = int(estimator.nb_classes)
    network.reader = OutputReader(nb_classes)
    names = check_class_names(classes, nb_classes)
    info = describe_model(estimator.model)
    if steps:
        normalisation = [[statistic.tolist() for statistic in step] for step in steps]
        info = replace(info, sha256=hashlib.sha256(repr([info.sha256, normalisation]).encode()).hexdigest())
    return TorchClassifier(network, nb_classes, names, estimator_bounds(estimator), info)


def clip_values(bounds: Bounds, input_shape: tuple[int, ...] = ()) -> tuple[float, float] | tuple[Array, Array]:
    """Return bounds as ART takes them: two numbers, or two float32 arrays that broadcast to one image as NumPy does.

    input_shape: shape of one image, by which a vector lies along the channels; () for one number each, or the features of a table.
    """
    if bounds.is_uniform:
        return bounds.limits
    if input_shape:
        low, high = (torch.as_tensor(side).numpy() for side in limits_of(bounds, torch.empty(1, *input_shape)))
        return low, high
    return np.array(bounds.lower, np.float32), np.array(bounds.upper, np.float32)


def sklearn_estimator(model: Any, bounds: Bounds) -> Any:
    """Return ART's estimator of a fitted scikit-learn model; raise ModelError if ART has none for it."""
    import_art()
    from art.estimators.classification import SklearnClassifier

    try:
        return SklearnClassifier(model, clip_values=clip_values(bounds))
    except (ValueError, TypeError) as error:
        raise ModelError(f"model must be a classifier of scikit-learn, got {type(model).__name__}: {error}") from error


def to_art(classifier: Classifier, *, input_shape: tuple[int, ...] = ()) -> Any:
    """Return ART's PyTorchClassifier over its own copy of the network, from pixel space to logits.

    Its loss is the summed cross-entropy: an averaged loss divides every gradient by the batch size, which rounds.

    Args:
        classifier: PyTorch classifier; an ArtClassifier returns its estimator.
        input_shape: shape of one image, which some attacks of ART read.

    Returns:
        ART estimator.

    Raises:
        ModelError: the classifier is of another kind.
    """
    if isinstance(classifier, ArtClassifier):
        return classifier.estimator
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"classifier must be a PyTorch one or come from ART, got {type(classifier).__name__}")
    network = classifier.copy_network()
    return pytorch_estimator(network, classifier.num_classes, classifier.bounds, classifier.device, input_shape)


def pytorch_estimator(
    network: nn.Module,
    num_classes: int,
    bounds: Bounds | None,
    device: torch.device,
    input_shape: tuple[int, ...] = (),
    loss: Loss = cross_entropy,
    task: Task = "multiclass",
) -> Any:
    """Return ART's PyTorchClassifier that owns the network, with a summed loss, cross-entropy by default, and no preprocessing."""
    import_art()
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        ArtStandardisedNetwork(network) if isinstance(network, nn.Sequential) else network,  # ART skips its own forward
        loss=nn.CrossEntropyLoss(reduction="sum") if loss is cross_entropy else SummedLoss(loss, task),
        input_shape=input_shape,
        nb_classes=num_classes,
        clip_values=None if bounds is None else clip_values(bounds, input_shape),
        preprocessing=None,
        device_type="cpu" if device.type == "cpu" else "gpu",
    )
