"""Classifiers from ART estimators and back: the same outputs, the same gradients, and nothing of the caller's shared."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import cross_entropy, margin_loss
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.art import (
    ArtClassifier,
    ArtStandardisedNetwork,
    from_art,
    import_art,
    is_plain_torch_estimator,
    to_art,
)
from robustbench_fgsm.models.art_engine import describe_model, ensure_two_outputs, preserve_estimator
from robustbench_fgsm.models.classifier import Classifier

import_art()

from art.defences.preprocessor.preprocessor import Preprocessor  # noqa: E402
from art.estimators.classification import PyTorchClassifier, SklearnClassifier  # noqa: E402
from art.estimators.classification.classifier import ClassifierMixin  # noqa: E402
from art.estimators.estimator import BaseEstimator, LossGradientsMixin  # noqa: E402
from art.estimators.regression import PyTorchRegressor  # noqa: E402

pytestmark = pytest.mark.reference


def images(n: int = 6, *, seed: int = 0, shape: tuple[int, ...] = (1, 4, 5)) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def network(outputs: int = 3, channels: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, outputs))


def pytorch(module: nn.Module, loss: nn.Module | None = None, **settings: Any) -> Any:
    known = {"input_shape": (1, 4, 5), "nb_classes": 3, "clip_values": (0, 1), "device_type": "cpu"}
    return PyTorchClassifier(module, nn.CrossEntropyLoss() if loss is None else loss, **{**known, **settings})


def scikit(model: Any, classes: int = 3, features: int = 20) -> Any:
    random = np.random.default_rng(0)
    x = random.random((60, features)).astype(np.float32)
    model.fit(x, np.digitize(x[:, 0] + x[:, 1], np.linspace(0, 2, classes + 1)[1:-1]))
    return SklearnClassifier(model, clip_values=(0, 1))


class ChannelsLast(ClassifierMixin, LossGradientsMixin, BaseEstimator):  # type: ignore[misc]
    """Stands for Keras: channels last, three probabilities by softmax of a linear layer."""

    input_shape = (4, 5, 2)

    def __init__(self, weights: np.ndarray[Any, Any] | None = None, outputs: int = 3) -> None:
        super().__init__(model=object(), clip_values=(0, 1))
        self.nb_classes = 3
        self.weights = np.random.default_rng(0).normal(size=(40, outputs)) if weights is None else weights

    def predict(self, x: Any, **_: Any) -> Any:
        assert x.shape[1:] == self.input_shape
        powers = np.exp(x.reshape(len(x), -1) @ self.weights)
        return powers / powers.sum(1, keepdims=True)

    def loss_gradient(self, x: Any, y: Any, **_: Any) -> Any:
        return ((self.predict(x) - y) @ self.weights.T).reshape(x.shape)

    def fit(self, x: Any, y: Any, **_: Any) -> None:
        raise NotImplementedError


def exact_gradient(estimator: Any, x: Tensor, y: Tensor) -> Tensor:
    """Of the summed cross-entropy of a logistic regression, by PyTorch in double precision."""
    weights, bias = (torch.from_numpy(part).double() for part in (estimator.model.coef_, estimator.model.intercept_))
    leaf = x.double().requires_grad_()
    outputs = leaf @ weights.T + bias
    outputs = torch.cat([torch.zeros_like(outputs), outputs], 1) if outputs.shape[1] == 1 else outputs
    (gradient,) = torch.autograd.grad(cross_entropy(outputs, y).sum(), leaf)
    return gradient


@pytest.mark.parametrize("classes", [2, 3])
def test_a_logistic_regression(classes: int) -> None:
    estimator = scikit(LogisticRegression(), classes)
    classifier = from_art(estimator, classes=["a", "b", "c"][:classes])
    assert isinstance(classifier, ArtClassifier)
    assert isinstance(classifier, Classifier)
    assert (classifier.num_classes, classifier.bounds) == (classes, (0.0, 1.0))
    assert classifier.device == torch.device("cpu")
    x, y = images(shape=(20,)), torch.arange(6) % classes
    gradient, outputs = classifier.loss_gradient(x, y, cross_entropy)
    torch.testing.assert_close(gradient.double(), exact_gradient(estimator, x, y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs.exp().numpy(), estimator.predict(x.numpy()), atol=1e-6)
    assert torch.equal(outputs, classifier.predict(x))
    assert gradient.dtype == outputs.dtype == torch.float32


def test_labels_may_come_from_the_outputs() -> None:
    classifier, x = from_art(scikit(LogisticRegression())), images(shape=(20,))
    given, _ = classifier.loss_gradient(x, classifier.predict(x).argmax(1), cross_entropy)
    read, _ = classifier.loss_gradient(x, lambda outputs: outputs.argmax(1), cross_entropy)
    assert torch.equal(given, read)


@pytest.mark.parametrize("model", [SVC(), SVC(kernel="poly"), SVC(kernel="linear"), LinearSVC()])
def test_support_vector_machines_are_fooled(model: Any) -> None:
    """Where ART's `predict` raises too: scikit-learn 1.9 sets SVC.probability to the true word "deprecated"."""
    estimator = scikit(model)
    classifier, x = from_art(estimator), images(40, shape=(20,))
    y = torch.from_numpy(estimator.model.predict(x.numpy()))
    assert torch.equal(classifier.predict(x).argmax(1), y)
    x_adv = rf.fgsm(classifier, x, y, 0.3)
    assert bool((classifier.predict(x_adv).argmax(1) != y).any())
    assert getattr(estimator.model, "probability", None) == getattr(type(model)(), "probability", None)


@pytest.fixture(scope="module")
def flat() -> tuple[ArtClassifier, rf.ArrayDataset]:
    """A logistic regression of flat images, and images that it has not seen, in their own shape."""
    batch = next(rf.load_data("fashion-mnist", limit=600).batches(0, 600, 600))
    x, y = batch.images, batch.labels
    model = LogisticRegression(C=0.1, tol=0.01).fit(x[:500].flatten(1).numpy(), y[:500].numpy())
    classifier = from_art(SklearnClassifier(model, clip_values=(0, 1)))
    assert isinstance(classifier, ArtClassifier)
    return classifier, rf.ArrayDataset("rest", x[500:], y[500:], rf.load_data("fashion-mnist").classes)


def test_can_be_swept(flat: tuple[ArtClassifier, rf.ArrayDataset]) -> None:
    classifier, data = flat
    clean, attacked = rf.sweep(classifier, data, epsilons=[0, 0.1])[0].tallies
    assert clean.clean_accuracy.count > 60
    assert clean.robust_accuracy.count == clean.clean_accuracy.count
    assert attacked.robust_accuracy.count < clean.clean_accuracy.count / 2


def test_channels_last_estimators() -> None:
    estimator = ChannelsLast()
    classifier, x, y = from_art(estimator), images(shape=(2, 4, 5)), torch.arange(6) % 3
    weights = torch.from_numpy(estimator.weights).view(4, 5, 2, 3).permute(2, 0, 1, 3).reshape(40, 3).float()
    head = nn.Linear(40, 3, bias=False)
    head.weight = nn.Parameter(weights.T.contiguous())
    linear = nn.Sequential(nn.Flatten(), head)
    gradient, outputs = classifier.loss_gradient(x, y, cross_entropy)
    expected, logits = rf.wrap(linear, 3).loss_gradient(x, y, cross_entropy)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs, logits.log_softmax(1), rtol=1e-4, atol=1e-5)


def test_no_images() -> None:
    classifier = from_art(scikit(LogisticRegression()))
    assert classifier.predict(torch.zeros(0, 20)).shape == (0, 3)
    assert rf.fgsm(classifier, torch.zeros(0, 20), torch.zeros(0, dtype=torch.int64)).shape == (0, 20)


def test_any_other_loss_is_refused() -> None:
    classifier, x, y = from_art(scikit(LogisticRegression())), images(shape=(20,)), torch.arange(6) % 3
    with pytest.raises(ModelError, match="has its own loss"):
        classifier.loss_gradient(x, y, margin_loss)
    with pytest.raises(ModelError, match="has its own loss"):
        rf.fgsm(classifier, x, y, 0.1, stable=True)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5)])
@pytest.mark.parametrize("preprocessing", [None, (0.0, 1.0), (0.3, 0.5), "by channel"])
def test_a_pytorch_classifier_gives_a_copy(shape: tuple[int, ...], preprocessing: Any) -> None:
    module = network(channels=shape[0]).train()
    if preprocessing == "by channel":
        preprocessing = tuple(np.array([value, value + 0.1, value + 0.2])[: shape[0]] for value in (0.2, 0.4))
    estimator = pytorch(module, input_shape=shape, preprocessing=preprocessing)
    classifier = from_art(estimator)
    assert isinstance(classifier, rf.TorchClassifier)
    assert all(part.training for part in module.modules())
    x = images(shape=shape)
    np.testing.assert_allclose(classifier.predict(x).numpy(), estimator.predict(x.numpy()), rtol=0, atol=1e-6)
    before = classifier.predict(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(classifier.predict(x), before)
    assert (classifier.num_classes, classifier.bounds, classifier.info.spec) == (3, (0.0, 1.0), "Sequential")


def test_flat_features_and_statistics_of_each() -> None:
    torch.manual_seed(0)
    mean, std = np.arange(6) / 10, np.arange(1, 7) / 5
    estimator = pytorch(nn.Linear(6, 3), input_shape=(6,), preprocessing=(mean, std))
    x = images(shape=(6,))
    np.testing.assert_allclose(from_art(estimator).predict(x).numpy(), estimator.predict(x.numpy()), atol=1e-6)


@pytest.mark.parametrize("limits", [None, (np.zeros(20), np.ones(20))])
def test_clip_values_become_bounds(limits: Any) -> None:
    classifier = from_art(SklearnClassifier(scikit(LogisticRegression()).model, clip_values=limits))
    assert classifier.bounds == ((-math.inf, math.inf) if limits is None else (0.0, 1.0))


def test_clip_values_by_feature_become_bounds_by_feature() -> None:
    limits = np.zeros(20), np.arange(1, 21)
    classifier = from_art(SklearnClassifier(scikit(LogisticRegression()).model, clip_values=limits))
    assert classifier.bounds == ((0.0,) * 20, tuple(map(float, range(1, 21))))


def test_rejects_unsuitable_estimators() -> None:
    with pytest.raises(ModelError, match="all 3 outputs, got 2"):
        from_art(pytorch(network()), classes=["a", "b"])
    with pytest.raises(ModelError, match="fit it first"):
        from_art(SklearnClassifier(LogisticRegression()))
    with pytest.raises(ModelError, match="with loss gradients, got PyTorchRegressor"):
        from_art(PyTorchRegressor(nn.Linear(6, 1), nn.MSELoss(), (6,)))
    with pytest.raises(ModelError, match="got Sequential"):
        from_art(network())


class OneBit(Preprocessor):  # type: ignore[misc]
    """A defence in NumPy, whose gradient is taken for 1."""

    def __call__(self, x: Any, y: Any = None) -> Any:
        return np.rint(x), y

    def estimate_gradient(self, x: Any, grad: Any) -> Any:
        return grad


class Renamed(PyTorchClassifier):  # type: ignore[misc]
    """Might override anything."""


def recurrent() -> nn.Module:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.rnn(x.flatten(1, 2))[0][:, -1])
            return outputs

    torch.manual_seed(0)
    return Last()


def test_special_pytorch_estimators_use_numpy() -> None:
    defended = pytorch(network(), preprocessing_defences=OneBit())
    renamed = Renamed(network(), nn.CrossEntropyLoss(), (1, 4, 5), 3, device_type="cpu")
    x, y = images(), torch.arange(6) % 3
    ways: tuple[Any, ...] = (defended, renamed, pytorch(recurrent()))
    for estimator in ways:
        assert not is_plain_torch_estimator(estimator)
        classifier = from_art(estimator)
        assert isinstance(classifier, ArtClassifier)
        np.testing.assert_allclose(classifier.predict(x).numpy(), estimator.predict(x.numpy()), rtol=1e-5)
        gradient, _ = classifier.loss_gradient(x, y, cross_entropy)
        np.testing.assert_allclose(gradient.numpy(), 6 * estimator.loss_gradient(x.numpy(), np.eye(3)[y]), rtol=1e-5)
    assert is_plain_torch_estimator(pytorch(network()))


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.BCELoss()])
def test_one_output_becomes_two_classes(loss: nn.Module) -> None:
    module = network(outputs=1)
    logits = module(images()).detach()
    sigmoid = nn.Sequential(module, nn.Sigmoid()) if isinstance(loss, nn.BCELoss) else module
    classifier = from_art(pytorch(sigmoid, loss, nb_classes=2))
    outputs = classifier.predict(images())
    torch.testing.assert_close(outputs[:, 1:] - outputs[:, :1], logits)
    y = torch.arange(6) % 2
    gradient, _ = classifier.loss_gradient(images(), y, cross_entropy)
    expected, _ = rf.wrap(module, 2).loss_gradient(images(), y, cross_entropy)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_names_an_ambiguous_output() -> None:
    with pytest.raises(ModelError, match=r"at least two outputs an image, got \(6, 1\)"):
        ensure_two_outputs(torch.zeros(6, 1), None)


def test_to_art_and_back() -> None:
    ours = rf.wrap(network(), 3, mean=0.3, std=0.5, bounds=(-1, 2))
    estimator = to_art(ours, input_shape=(1, 4, 5))
    x = images()
    assert isinstance(estimator, PyTorchClassifier)
    assert (estimator.nb_classes, estimator.input_shape) == (3, (1, 4, 5))
    assert estimator.clip_values.tolist() == [-1, 2]
    np.testing.assert_array_equal(estimator.predict(x.numpy()), ours.predict(x).numpy())
    back = from_art(estimator)
    assert torch.equal(back.predict(x), ours.predict(x))
    assert back.bounds == ours.bounds
    with torch.no_grad():
        for parameter in estimator.model.parameters():
            parameter.zero_()
    assert bool((ours.predict(x) != 0).any())
    assert bool((back.predict(x) != 0).any())


def test_to_art_keeps_a_sequentials_forward() -> None:
    class Doubled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for module in self:
                x = module(x)
            return 2 * x

    torch.manual_seed(0)
    module = Doubled(nn.Flatten(), nn.Linear(20, 3))
    ours = rf.TorchClassifier(module, 3, None, (0, 1), describe_model(module))
    np.testing.assert_array_equal(to_art(ours).predict(images().numpy()), module(images()).detach().numpy())


def test_to_art_returns_its_estimator() -> None:
    estimator = scikit(LogisticRegression())
    assert to_art(from_art(estimator)) is estimator
    with pytest.raises(ModelError, match="got ChannelsLast"):
        to_art(ChannelsLast())


def test_restores_the_network() -> None:
    norm, head = nn.BatchNorm1d(20), nn.Linear(20, 3)
    module = nn.Sequential(nn.Flatten(), norm, nn.Dropout(0.5), head).train()
    norm.eval()
    head.weight.grad = torch.ones(3, 20)
    estimator = pytorch(module)

    def work() -> None:
        with preserve_estimator(estimator):
            estimator.loss_gradient(images().numpy(), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]])
            module.train()(images())
            raise ZeroDivisionError

    torch.manual_seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    with pytest.raises(ZeroDivisionError):
        work()
    assert [part.training for part in module.modules()] == [True, True, False, True, True]
    assert torch.equal(head.weight.grad, torch.ones(3, 20))
    assert head.bias.grad is None
    assert norm.running_mean is not None
    assert torch.equal(norm.running_mean, torch.zeros(20))
    assert torch.equal(torch.rand(1), drawn)


def test_a_network_behind_several_steps() -> None:
    x = images(shape=(3, 2, 2))
    steps = [(np.array(0.5), np.array(2.0)), (np.array([0.0, 1.0, 2.0]), np.ones(3))]
    expected = (x - 0.5) / 2 - torch.arange(3).view(3, 1, 1)
    torch.testing.assert_close(ArtStandardisedNetwork(nn.Identity(), steps)(x), expected, check_dtype=False)


def test_saturated_estimators_have_no_stable_gradients() -> None:
    """It brings its own loss, so there is none to be stable; and no bounds are null in JSON, which knows no infinity."""
    features = np.random.default_rng(0).random((60, 1, 2, 2), dtype=np.float32)
    labels = (features[:, 0, 0, 0] > 0.5).astype(np.int64)
    model = LogisticRegression(C=1e6).fit(features.reshape(60, 4), labels)
    classifier = from_art(SklearnClassifier(model=model))
    data = rf.ArrayDataset("sixty", torch.from_numpy(features), torch.from_numpy(labels), ("low", "high"))
    found = rf.evaluate(classifier, data, 0.1)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert found.tallies[0].saturated > 1
    assert not found.shows_stable
    assert "stable" not in document["epsilons"][0]
    assert document["attack"]["bounds"] == [None, None]


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.MultiMarginLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)], ids=str)
def test_another_loss_of_an_estimator_is_named(loss: nn.Module) -> None:
    module, x, y = network(), images(), torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.warns(RuntimeWarning, match=rf"loss is {type(loss).__name__}, but loss ce is cross-entropy here: .*loss=fn"):
        classifier = from_art(pytorch(module, loss))
    assert torch.equal(rf.fgsm(classifier, x, y), rf.fgsm(module, x, y))


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), nn.NLLLoss()], ids=str
)
def test_cross_entropy_of_an_estimator_gets_no_warning(loss: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_art(pytorch(network(), loss))
        from_art(to_art(from_art(pytorch(network(), loss))))
