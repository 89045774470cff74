"""Keras files on PyTorch: the outputs of Keras, true gradients, and no code of the file unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.errors import InputError, ModelError, UnsafeError
from robustbench_fgsm.models.sources.keras import import_keras

try:
    keras = import_keras()
except ImportError:
    pytest.skip("needs keras", allow_module_level=True)
pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore::DeprecationWarning:keras", "ignore::UserWarning:keras")]
pytestmark += [pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]
layers = keras.layers


def dense(*end: Any) -> Any:
    return keras.Sequential([keras.Input((784,)), layers.Dense(20, activation="relu"), *end])


def convolutional(*end: Any) -> Any:
    body = [layers.Rescaling(2.0, -1.0), layers.Conv2D(4, 3, strides=3, activation="relu"), layers.BatchNormalization()]
    return keras.Sequential([keras.Input((28, 28, 1)), *body, layers.Dropout(0.5), layers.Flatten(), *end])


def functional(*end: Any) -> Any:
    images = keras.Input((28, 28))
    x = layers.Flatten()(layers.LayerNormalization()(images))
    x = layers.Add()([layers.Dense(9)(x), layers.Dense(9, activation="tanh")(x)])
    for layer in end:
        x = layer(x)
    return keras.Model(images, x)


def recurrent(*end: Any) -> Any:
    return keras.Sequential([keras.Input((28, 28)), layers.LSTM(8), *end])


ENDS: dict[str, Callable[[], list[Any]]] = {
    "softmax": lambda: [layers.Dense(10, activation="softmax")],
    "logits": lambda: [layers.Dense(10)],
    "softmax layer": lambda: [layers.Dense(10), layers.Softmax()],
    "activation layer": lambda: [layers.Dense(10), layers.Activation("softmax")],
    "one sigmoid": lambda: [layers.Dense(1, activation="sigmoid")],
}


@pytest.mark.parametrize("body", [dense, convolutional, functional, recurrent])
@pytest.mark.parametrize("end", ENDS)
def test_outputs_of_keras(body: Callable[..., Any], end: str, tmp_path: Path, images: rf.ArrayDataset) -> None:
    keras.utils.set_random_seed(0)
    model = body(*ENDS[end]())
    model.save(tmp_path / "net.keras")
    classifier = rf.load_classifier(f"keras:{tmp_path / 'net.keras'}")
    assert isinstance(classifier, rf.TorchClassifier)
    batch = next(images.batches(0, 40, 40))
    given = (
        batch.images.flatten(1)
        if body is dense
        else batch.images.permute(0, 2, 3, 1)
        if body is convolutional
        else batch.images[:, 0]
    )
    wanted = torch.as_tensor(model.predict(given.numpy(), verbose=0))
    outputs = classifier.predict(batch.images)
    found = outputs if end == "logits" else outputs.softmax(1)
    found = found[:, 1:] if end == "one sigmoid" else found
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    y = batch.labels % outputs.shape[1]
    gradient, _ = classifier.loss_gradient(batch.images, y, cross_entropy)
    leaf = given.clone().requires_grad_()
    raw = model(leaf, training=False)
    logits = raw if end == "logits" else raw.log() if raw.shape[1] > 1 else torch.cat([(1 - raw).log(), raw.log()], 1)
    (exact,) = torch.autograd.grad(cross_entropy(logits, y).sum(), leaf)
    exact = exact.permute(0, 3, 1, 2) if body is convolutional else exact
    torch.testing.assert_close(gradient, exact.reshape(gradient.shape), atol=1e-5, rtol=1e-3)


def test_loads_twice_as_one_model(tmp_path: Path) -> None:
    """Keras counts the models of a process in their names."""
    dense(layers.Dense(10)).save(tmp_path / "net.keras")
    one, two = (rf.load_classifier(f"keras:{tmp_path / 'net.keras'}") for _ in range(2))
    assert one.info == two.info


def test_agrees_with_art(tmp_path: Path, images: rf.ArrayDataset) -> None:
    keras.utils.set_random_seed(0)
    convolutional(*ENDS["softmax"]()).save(tmp_path / "net.keras")
    classifier = rf.load_classifier(f"keras:{tmp_path / 'net.keras'}")
    assert rf.compare(classifier, images.head(64), references=["art"]).verdict == "agree"
    assert rf.evaluate(classifier, images.head(64)).n == 64


def test_a_layer_of_your_own_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halving.py").write_text(
        "import keras\n@keras.saving.register_keras_serializable('mine')\nclass Halving(keras.layers.Layer):\n"
        "    def call(self, x): return x / 2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    from importlib import import_module

    dense(import_module("halving").Halving(), layers.Dense(10)).save("net.keras")
    with pytest.raises(UnsafeError, match=r"a Keras file with Halving must not be loaded unasked.*--trust-model-code"):
        rf.load_classifier("keras:net.keras")
    assert rf.load_classifier("keras:net.keras", trust_model_code=True).num_classes == 10


def rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else content)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.layers", "Lambda"),
        ("keras.layers", "TorchModuleWrapper"),
        ("keras.layers", "TextVectorization"),
        ("os", "system"),
        ("keras.utils", "get_file"),
        ("builtins", "function"),
        (None, "__lambda__"),
        ([], "Dense"),
    ],
)
def test_code_in_a_file_is_refused(tmp_path: Path, module: object, name: str) -> None:
    file = tmp_path / "net.keras"
    dense(layers.Dense(10)).save(file)
    rewrite(file, lambda config: config["config"]["layers"][1].update(module=module, class_name=name))
    with pytest.raises(UnsafeError, match=f"a Keras file with {name} must not be loaded unasked"):
        rf.load_classifier(f"keras:{file}")


def test_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "net.keras"
    file.write_bytes(b"\x89HDF\r\n")
    with pytest.raises(ModelError, match=r"model must be a \.keras file.*model\.save"):
        rf.load_classifier(f"keras:{file}")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(10**8))
    with pytest.raises(InputError, match="members that unpack to"):
        rf.load_classifier(f"keras:{file}")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{")
    with pytest.raises(InputError, match=r"config\.json of .* must be JSON"):
        rf.load_classifier(f"keras:{file}")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match="which cannot be read"):
        rf.load_classifier(f"keras:{file}")


def test_another_backend_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match=r"must run on PyTorch, got jax, .*: set KERAS_BACKEND=torch before Python starts"):
        import_keras()


def test_the_import_leaves_the_environment(tmp_path: Path) -> None:
    code = (
        "import os\nfrom robustbench_fgsm.models.sources.keras import import_keras\n"
        "print(import_keras().backend.backend(), os.environ.get('KERAS_BACKEND'), os.listdir(os.environ['HOME']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)}, check=True
    )
    assert done.stdout.split()[:2] == ["torch", "None"]
    assert ".keras" not in done.stdout
