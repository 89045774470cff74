"""scikit-learn models as networks: the same outputs, gradients that finite differences confirm, true sentences for the others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.sklearn_model import from_sklearn, is_sklearn_model

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SCALERS = {
    "none": [],
    "standard": [StandardScaler()],
    "standard without mean": [StandardScaler(with_mean=False)],
    "minmax": [MinMaxScaler((-1, 1), clip=True)],
    "robust": [RobustScaler()],
    "maxabs": [MaxAbsScaler()],
    "pca": [StandardScaler(), PCA(7)],
    "whitened": [PCA(7, whiten=True)],
    "svd": [TruncatedSVD(6)],
    "normalizer": [Normalizer(), SelectKBest(k=9)],
    "nested": [make_pipeline(StandardScaler(), "passthrough"), MinMaxScaler()],
}
CLASSIFIERS = {
    "logistic": LogisticRegression(),
    "svc": LinearSVC(),
    "sgd": SGDClassifier(loss="log_loss", random_state=0),
    "ridge": RidgeClassifier(),
    "perceptron": Perceptron(),
    "lda": LinearDiscriminantAnalysis(),
    **{f"mlp {name}": MLPClassifier((9, 5), activation=name, max_iter=30, random_state=0) for name in ("relu", "tanh", "logistic")},
    "mlp identity": MLPClassifier(4, activation="identity", max_iter=30, random_state=0),
    "search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
}


def noise(n: int = 90, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    y = torch.arange(n) % classes
    return (torch.rand(n, 1, 4, 4, generator=draw) * 0.6 + 0.2 * y.view(-1, 1, 1, 1) / 2).clamp(0, 1), y


def fitted(model: Any, classes: int = 3) -> Any:
    x, y = noise(classes=classes)
    return model.fit(x.flatten(1).numpy(), y.numpy())


COMBINATIONS = [
    (name, scaler) for name in CLASSIFIERS for scaler in SCALERS if scaler in ("none", "pca") or name in ("logistic", "mlp relu")
]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("name", "scaler"), COMBINATIONS)
def test_same_outputs_and_exact_gradients(name: str, scaler: str, classes: int) -> None:
    model = fitted(make_pipeline(*SCALERS[scaler], CLASSIFIERS[name]) if SCALERS[scaler] else CLASSIFIERS[name], classes)
    classifier = from_sklearn(model)
    assert isinstance(classifier, rf.TorchClassifier)
    x, y = noise(20, classes)
    outputs, flat = classifier.predict(x), x.flatten(1).double().numpy()
    if hasattr(model, "predict_proba"):
        assert np.allclose(outputs.softmax(1).numpy(), model.predict_proba(flat), atol=1e-5) or (name == "sgd" and classes > 2)
    if hasattr(model, "decision_function"):
        decision = model.decision_function(flat)
        ours = outputs[:, 1] if decision.ndim == 1 else outputs
        assert np.allclose(ours.numpy(), decision, atol=1e-5)
    assert (outputs.argmax(1).numpy() == model.predict(flat)).all()
    gradient, _ = classifier.loss_gradient(x, y, cross_entropy)
    pixel, step = (0, 0, 1, 2), 1e-5
    nudged = [x.double() + sign * step * torch.eye(16, dtype=torch.float64)[6].view(1, 1, 4, 4) for sign in (1, -1)]
    losses = [cross_entropy(classifier.network(images), y) for images in nudged]
    assert torch.allclose(((losses[0] - losses[1]) / (2 * step))[0].float(), gradient[pixel], rtol=1e-3, atol=1e-4)


def test_commands_take_the_model_itself() -> None:
    model, (x, y) = fitted(make_pipeline(StandardScaler(), LogisticRegression())), noise()
    data = rf.ArrayDataset("noise", x, y, ("0", "1", "2"))
    evaluation = rf.evaluate(model, data, 0.1)
    adversarial = rf.fgsm(from_sklearn(model), x, y, 0.1)
    right = model.predict(adversarial.flatten(1).numpy()) == y.numpy()
    assert (
        evaluation.to_dict()["epsilons"][0]["robust_accuracy"]["count"]
        == right.sum()
        < model.score(x.flatten(1).numpy(), y.numpy()) * 90
    )
    assert rf.compare(model, data, 0.1).verdict == "agree"
    assert is_sklearn_model(model)
    assert not is_sklearn_model(nn.Flatten())


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (DecisionTreeClassifier(), "DecisionTreeClassifier, whose outputs do not change under small changes"),
        (RandomForestClassifier(5), "RandomForestClassifier, whose outputs do not change"),
        (GradientBoostingClassifier(n_estimators=3), "GradientBoostingClassifier, whose outputs do not change"),
        (KNeighborsClassifier(), "KNeighborsClassifier, whose outputs do not change"),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), "KNeighborsClassifier, whose outputs do not change"),
        (GaussianNB(), "GaussianNB, which is not converted"),
        (make_pipeline(StandardScaler(), SVC()), "SVC behind other steps, which is not converted"),
        (make_pipeline(PolynomialFeatures(), LogisticRegression()), "a pipeline with PolynomialFeatures, which is not converted"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
@pytest.mark.parametrize("classes", [2, 3])
def test_no_gradient_but_a_target_of_a_transfer(model: Any, sentence: str, classes: int) -> None:
    model, (x, y) = fitted(model, classes), noise(classes=classes)
    data = rf.ArrayDataset("noise", x, y, tuple(map(str, range(classes))))
    with pytest.raises(ModelError, match=rf"got {sentence}.*: FGSM cannot attack it.*rf\.transfer\(\[network\], \[model\], data\)"):
        rf.evaluate(model, data)
    network = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(16, classes)), classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rf.transfer([network], [from_sklearn(model)], data)  # as the sentence says
    predicted = from_sklearn(model).predict(x).argmax(1)
    assert (predicted.numpy() == model.predict(x.flatten(1).numpy())).all()
    assert found.to_dict()["n"] == 90


@pytest.mark.parametrize("svc", [SVC(), SVC(probability=True, random_state=0), NuSVC(nu=0.1)], ids=["plain", "Platt", "nu"])
@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_svc_counts_what_it_predicts(svc: Any) -> None:
    x, y = noise()
    flat = x.flatten(1).numpy()
    model = svc.fit(flat[:40], y.numpy()[:40])
    data, predicted = rf.ArrayDataset("noise", x, y, ("0", "1", "2")), model.predict(flat)
    if isinstance(model, SVC):
        if model.probability is True:  # the case that the test is for
            assert (model.predict_proba(flat).argmax(1) != predicted).any()
        assert rf.evaluate(model, data, 0.1).clean_accuracy.count == (predicted == y.numpy()).sum()
    assert from_sklearn(model).predict(x).argmax(1).tolist() == predicted.tolist()


def test_svc_runs_through_art() -> None:
    model, (x, y) = fitted(SVC()), noise()
    data = rf.ArrayDataset("noise", x, y, ("0", "1", "2"))
    assert rf.evaluate(model, data, 0.1).clean_accuracy.count == (model.predict(x.flatten(1).numpy()) == y.numpy()).sum()


@pytest.mark.parametrize("labels", [[1, 2, 3], [-1, 5, 7], ["cat", "dog", "owl"]], ids=str)
@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_svc_of_other_labels_is_the_svc_of_indices(labels: list[Any], *, probability: bool) -> None:
    x, y = noise()
    flat, settings = x.flatten(1).numpy(), {"probability": probability, "random_state": 0}
    plain, model = SVC(**settings).fit(flat, y.numpy()), SVC(**settings).fit(flat, np.array(labels)[y.numpy()])
    found = from_sklearn(model)
    assert found.classes == tuple(map(str, labels))
    assert torch.equal(found.predict(x), from_sklearn(plain).predict(x))
    assert torch.equal(rf.fgsm(found, x, y), rf.fgsm(from_sklearn(plain), x, y))
    assert model.classes_.tolist() == labels


def test_names_of_other_labels() -> None:
    x, y = noise()
    model = LogisticRegression().fit(x.flatten(1).numpy(), y.numpy() + 3)
    assert from_sklearn(model).classes == ("3", "4", "5")
    words = LogisticRegression().fit(x.flatten(1).numpy(), np.array(["cat", "dog", "owl"])[y.numpy()])
    assert from_sklearn(words).classes == ("cat", "dog", "owl")


def test_models_that_do_not_fit() -> None:
    with pytest.raises(ModelError, match="fitted classifier of scikit-learn, got LogisticRegression: fit it"):
        from_sklearn(LogisticRegression())
    x, y = noise()
    several = np.stack([y.numpy() == 0, y.numpy() == 1], 1).astype(int)
    with pytest.raises(ModelError, match="one label per image, got MLPClassifier"):
        from_sklearn(MLPClassifier(3, max_iter=3).fit(x.flatten(1).numpy(), several))
    with pytest.raises(ModelError, match="one label per image, got DecisionTreeClassifier"):
        from_sklearn(DecisionTreeClassifier().fit(x.flatten(1).numpy(), several))


def test_wrap_names_the_function_for_it() -> None:
    with pytest.raises(ModelError, match=r"torch module, got LogisticRegression: pass rf\.from_sklearn\(model\)"):
        rf.wrap(fitted(LogisticRegression()), 3)
