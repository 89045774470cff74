"""Models that a function returns: modules, classifiers made by wrap, ART estimators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, SettingError

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]

SOURCE = """
import torch
from torch import nn
import robustbench_fgsm as rf

def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).train()

def wrapped():
    return rf.wrap(module(), 10, mean=0.5, std=0.25, classes=[f"class {index}" for index in range(10)])

def estimator():
    from robustbench_fgsm.models.art import to_art
    return to_art(wrapped())

def number():
    return 7

def needs():
    import nosuchmodule

def nothing():
    return nn.Flatten()

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def meta():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10, device="meta"))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mine.py"
    made.write_text(SOURCE)
    return made


@pytest.mark.reference
def test_a_module_in_a_file(file: Path, images: rf.ArrayDataset, agrees: Agrees) -> None:
    classifier = rf.load_classifier(f"factory:{file}:module")
    assert (classifier.num_classes, classifier.info.spec, classifier.info.weights) == (10, f"factory:{file}:module", "given")
    assert agrees(classifier, images.head(8))


def test_a_function_in_an_installed_module() -> None:
    classifier = rf.load_classifier("factory:robustbench_fgsm.models.architectures:SmallCNN")
    assert classifier.num_classes == 10


def test_a_module_with_normalisation_and_checkpoint(file: Path, tmp_path: Path) -> None:
    state = {"1.weight": torch.ones(10, 784) / 784, "1.bias": torch.zeros(10)}
    save_file(state, tmp_path / "mine.safetensors")
    classifier = rf.load_classifier(f"factory:{file}:module", weights=str(tmp_path / "mine.safetensors"), mean=0.5, std=0.25)
    assert torch.allclose(classifier.predict(torch.ones(1, 1, 28, 28)), torch.full((1, 10), 2.0))


def test_a_wrapped_classifier_keeps_its_settings(file: Path) -> None:
    classifier = rf.load_classifier(f"factory:{file}:wrapped")
    assert classifier.classes is not None
    assert classifier.classes[0] == "class 0"
    assert (classifier.info.spec, classifier.info.mean, classifier.info.std) == (f"factory:{file}:wrapped", (0.5,), (0.25,))
    with pytest.raises(SettingError, match="takes no --mean"):
        rf.load_classifier(f"factory:{file}:wrapped", mean=0.5)


@pytest.mark.reference
def test_an_art_estimator(file: Path) -> None:
    x = torch.rand(3, 1, 28, 28)
    found, expected = (rf.load_classifier(f"factory:{file}:{name}") for name in ("estimator", "wrapped"))
    assert torch.equal(found.predict(x), expected.predict(x))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{}", "name the function too"),
        ("{}:nosuch", "must be a function of"),
        ("{}:number", "must return a module or a classifier made by wrap, got int"),
        ("{}:nothing", "pass --num-classes"),
        ("{}:lazy", "must have all weights, got '.*' empty: run the model on a batch"),
        ("{}:meta", "must have all weights"),
        ("nosuch.py:module", "does not exist"),
        ("nosuchpackage.models:make", "there is no module nosuchpackage"),
        ("json:nosuch", "must be a function of json"),
    ],
)
def test_rejects_other_objects(file: Path, spec: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        rf.load_classifier(f"factory:{spec.format(file)}")


def test_user_errors_have_their_place(file: Path) -> None:
    with pytest.raises(ModelError, match="it raised ModuleNotFoundError: No module named 'nosuchmodule'") as raised:
        rf.load_classifier(f"factory:{file}:needs")
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_the_last_layer_counts_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    from robustbench_fgsm.models.sources.factory import count_outputs

    network = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Conv2d(9, 4, 1), nn.AdaptiveAvgPool2d(1))
    assert count_outputs(network) == 4
