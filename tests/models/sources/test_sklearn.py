"""scikit-learn models from skops files, and from joblib files only when they are trusted."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

import robustbench_fgsm as rf
from robustbench_fgsm.errors import InputError, ModelError, UnsafeError

skops = pytest.importorskip("skops.io")
joblib = pytest.importorskip("joblib")
pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def fitted() -> Any:
    data = rf.load_data("fashion-mnist", limit=400)
    batch = next(data.batches(0, 400, 400))

    def fit(model: Any) -> Any:
        return model.fit(batch.images.flatten(1).numpy(), batch.labels.numpy())

    return fit


@pytest.mark.parametrize(
    "model", [LogisticRegression(C=0.1, tol=0.01), LinearSVC(C=0.001), SVC()], ids=lambda model: type(model).__name__
)
def test_a_skops_file(fitted: Any, model: Any, tmp_path: Path) -> None:
    skops.dump(fitted(model), tmp_path / "model.skops")
    classifier = rf.load_classifier(f"sklearn:{tmp_path / 'model.skops'}")
    assert (classifier.num_classes, classifier.info.weights) == (10, type(model).__name__)
    data = rf.load_data("fashion-mnist", limit=460)
    found = rf.compare(classifier, data, 16 / 255, batch_size=64)
    assert found.verdict == "agree"
    assert found.ours.tally.clean_accuracy.count > 200 > 0
    assert found.ours.tally.robust_accuracy.count < found.ours.tally.clean_accuracy.count


class Gadget:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.mark,)


def test_joblib_is_refused_without_trust(fitted: Any, tmp_path: Path) -> None:
    joblib.dump(Gadget(tmp_path / "mark"), tmp_path / "gadget.joblib")
    with pytest.raises(UnsafeError, match="joblib runs what the file asks for"):
        rf.load_classifier(f"sklearn:{tmp_path / 'gadget.joblib'}")
    assert not (tmp_path / "mark").exists()
    joblib.dump(fitted(LogisticRegression(C=0.1, tol=0.01)), tmp_path / "model.joblib")
    classifier = rf.load_classifier(f"sklearn:{tmp_path / 'model.joblib'}", trust_model_code=True)
    assert classifier.predict(torch.rand(2, 1, 28, 28)).shape == (2, 10)


class Ours(LogisticRegression):  # type: ignore[misc]
    """Not a type of scikit-learn."""


def test_rejects_a_type_of_another_package(fitted: Any, tmp_path: Path) -> None:
    skops.dump(fitted(Ours(C=0.1, tol=0.01)), tmp_path / "model.skops")
    spec = f"sklearn:{tmp_path / 'model.skops'}"
    with pytest.raises(UnsafeError, match=r"of types that skops trusts, got .*Ours: .* pass --trust-model-code"):
        rf.load_classifier(spec)
    classifier = rf.load_classifier(spec, trust_model_code=True)  # as the error says
    with pytest.raises(ModelError, match=r"got Ours, a class of your own: FGSM cannot attack it.* --target sklearn:"):
        rf.evaluate(classifier, rf.load_data("fashion-mnist", limit=20))


def test_a_model_without_gradients(fitted: Any, tmp_path: Path) -> None:
    skops.dump(fitted(GaussianNB()), tmp_path / "model.skops")
    spec, data = f"sklearn:{tmp_path / 'model.skops'}", rf.load_data("fashion-mnist", limit=20)
    with pytest.raises(ModelError, match=f"got GaussianNB.*: rfgsm transfer --source NETWORK --target {spec}"):
        rf.evaluate(rf.load_classifier(spec), data)
    assert rf.transfer([rf.load_classifier("mlp300")], [rf.load_classifier(spec)], data).to_dict()["n"] == 20


@pytest.mark.parametrize("model", [MLPClassifier(20, max_iter=5), make_pipeline(StandardScaler(), MLPClassifier(20, max_iter=5))])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_networks_and_pipelines(fitted: Any, model: Any, tmp_path: Path) -> None:
    skops.dump(fitted(model), tmp_path / "model.skops")
    data, spec = rf.load_data("fashion-mnist", limit=300), f"sklearn:{tmp_path / 'model.skops'}"
    classifier = rf.load_classifier(spec)
    assert (classifier.info.spec, classifier.info.weights, classifier.info.dtype) == (spec, type(model).__name__, "float64")
    images = next(data.batches(0, 300, 300)).images
    expected = torch.from_numpy(model.predict_proba(images.flatten(1).double().numpy()))
    torch.testing.assert_close(classifier.predict(images).softmax(1), expected, atol=1e-5, rtol=0)
    assert rf.compare(classifier, data, 8 / 255).verdict == "agree"
    assert rf.load_classifier(spec, dtype="float32").info.dtype == "float32"


def test_a_missing_or_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        rf.load_classifier(f"sklearn:{tmp_path / 'model.skops'}")
    (tmp_path / "model.skops").write_bytes(b"no archive")
    with pytest.raises(ModelError, match="cannot be read"):
        rf.load_classifier(f"sklearn:{tmp_path / 'model.skops'}")


def test_words_become_class_names(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 6))
    model = LogisticRegression().fit(x, np.where(x[:, 0] > 0.5, "high", "low"))
    skops.dump(model, tmp_path / "model.skops")
    assert rf.load_classifier(f"sklearn:{tmp_path / 'model.skops'}").classes == ("high", "low")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda schema: schema.pop("protocol"), "must have a valid protocol, got none"),
        (lambda schema: schema.update(protocol="2"), "must have a valid protocol, got '2'"),
        (lambda schema: schema.update(__loader__=5), "must have a valid __loader__, got 5"),
        (lambda schema: schema.update(content=None), "must be a fitted classifier"),
        (lambda schema: schema["content"]["content"].pop("coef_"), "values that do not fit together"),
    ],
    ids=["no protocol", "protocol", "loader", "content", "attribute"],
)
def test_names_what_is_wrong_in_a_skops_file(tmp_path: Path, change: Callable[[Any], object], message: str) -> None:
    model = LogisticRegression().fit(np.random.default_rng(0).random((6, 4)), np.arange(6) % 3)
    skops.dump(model, tmp_path / "whole.skops")
    with zipfile.ZipFile(tmp_path / "whole.skops") as whole, zipfile.ZipFile(tmp_path / "net.skops", "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                change(schema)
                content = json.dumps(schema).encode()
            archive.writestr(name, content)
    with pytest.raises(InputError, match=message):
        rf.load_classifier(f"sklearn:{tmp_path / 'net.skops'}")


def test_arrays_of_a_skops_file_hold_what_they_declare(tmp_path: Path) -> None:
    model = LogisticRegression().fit(np.random.default_rng(0).random((6, 4)), np.arange(6) % 3)
    skops.dump(model, tmp_path / "whole.skops")
    with zipfile.ZipFile(tmp_path / "whole.skops") as whole, zipfile.ZipFile(tmp_path / "net.skops", "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name).replace(b"'shape': (3, 4), ", b"'shape': (10**9,), "))
    with pytest.raises(ModelError, match="cannot be read"):
        rf.load_classifier(f"sklearn:{tmp_path / 'net.skops'}")
