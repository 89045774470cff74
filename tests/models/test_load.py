"""Specs of models, their weights and devices."""

from __future__ import annotations

from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER, model_card
from robustbench_fgsm.models.load import load_classifier


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_every_name_loads(model: str, images: rf.ArrayDataset) -> None:
    classifier = load_classifier(model)
    assert (classifier.info.spec, classifier.info.weights) == (model, "standard")
    batch = next(images.batches(0, 4, 4))
    assert classifier.predict(batch.images.to(classifier.device)).shape == (4, 10)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("resnet", r"did you mean resnet18\?"),
        ("mlp", "did you mean mlp"),
        ("nosuch", "choose from mlp300, mlp600, mlp900, resnet18, smallcnn"),
        ("", "choose from mlp300"),
    ],
)
def test_an_unknown_model_shows_a_remedy(model: str, remedy: str) -> None:
    with pytest.raises(ModelError, match=f"`rfgsm list models`, got '{model}': {remedy}"):
        load_classifier(model)


def test_auto_takes_bundled_weights() -> None:
    assert load_classifier("mlp300", weights="auto", data="fashion-mnist").info.weights == "standard"


def test_auto_rejects_other_data() -> None:
    with pytest.raises(ModelError, match="weights auto for mlp300 must meet data fashion-mnist, got 'cifar10': pass --weights"):
        load_classifier("mlp300", data="cifar10")


@pytest.mark.parametrize("weights", ["nosuch", "", "DEFAULT"])
def test_unknown_weights_are_refused(weights: str) -> None:
    with pytest.raises(ModelError, match="weights for mlp300 must be one of"):
        load_classifier("mlp300", weights=weights)


def test_rejects_a_missing_weights_file() -> None:
    with pytest.raises(ModelError, match=r"nosuch\.safetensors, which does not exist"):
        load_classifier("mlp300", weights="nosuch.safetensors")


def test_weights_are_named_once() -> None:
    assert load_classifier("mlp300:standard").info.weights == "standard"
    assert load_classifier("bundled:mlp300:standard", weights="standard").info.spec == "bundled:mlp300"
    with pytest.raises(SettingError, match="weights must be named once, got standard in mlp300:standard and none: leave one out"):
        load_classifier("mlp300:standard", weights="none")


def test_torchvision_prefix() -> None:
    classifier = load_classifier("torchvision:squeezenet1_1:none", num_classes=7)
    assert (classifier.info.spec, classifier.info.weights, classifier.num_classes) == ("torchvision:squeezenet1_1", "none", 7)
    with pytest.raises(ModelError, match=r"did you mean .*squeezenet1_1"):
        load_classifier("torchvision:squeezenet11")


def test_a_source_that_cannot_cast(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import robustbench_fgsm as rf\nfrom torch import nn\ndef make(): return rf.wrap(nn.Linear(2, 2), 2)\n"
    )
    spec = f"factory:{tmp_path / 'net.py'}:make"
    with pytest.raises(SettingError, match="takes no --dtype: leave it out, or cast the network where it is made"):
        load_classifier(spec, dtype="float64")
    assert load_classifier("mlp300", dtype="float64").info.settings == {"dtype": "float64"}
    assert load_classifier(spec, dtype="float32").info.dtype == "float32"


def test_bundled_weights_attack_own_data_of_the_same_shape_by_name() -> None:
    assert rf.load_classifier("mlp300", weights="standard", data="npz:mine.npz").info.weights == "standard"


def test_paths_are_names_of_files() -> None:
    file = WEIGHTS_FOLDER / model_card("mlp300", "standard")["file"]
    by_text, by_path = (load_classifier("mlp300", weights=weights) for weights in (str(file), file))
    assert by_path.info == by_text.info
    with pytest.raises(ModelError, match=r"model must be a file, got absent.pt2, which does not exist"):
        load_classifier(Path("absent.pt2"))


@pytest.mark.parametrize("name", ["model", "weights", "data"])
def test_other_objects_are_no_names(name: str) -> None:
    with pytest.raises(ModelError, match=rf"{name} must be a name or a path, got 3: see rfgsm list models"):
        load_classifier(**{"model": "mlp300", name: 3})  # type: ignore[arg-type]
