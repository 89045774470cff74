"""Keras models on PyTorch: `keras:FILE.keras`. The file is a zip archive, whose configuration names classes to be imported."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError, describe_error
from robustbench_fgsm.files.atomic_files import temporary_directory
from robustbench_fgsm.files.hdf5_files import check_hdf5
from robustbench_fgsm.files.json_files import parse_json
from robustbench_fgsm.files.regular_files import hash_file, open_to_read
from robustbench_fgsm.files.zip_archives import ZIP_ERRORS, open_zip
from robustbench_fgsm.models.checkpoint import MAX_STORED_EXPANSION
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.image_axes import ArrangedImages
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.user_code import ImportPath, on_import_path

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
MAX_CONFIG_BYTES = 2**26

TRUSTED_MODULES = {
    *(
        "keras",
        "keras.activations",
        "keras.constraints",
        "keras.initializers",
        "keras.layers",
        "keras.models",
        "keras.regularizers",
    ),
    *("keras.src.models.functional", "keras.src.models.sequential"),
}

PLAIN_VALUES = ("__tensor__", "__numpy__", "__ellipsis__", "__keras_tensor__")
"""Names of classes that stand for values, without a module."""

CODE_CLASSES = {
    *("FlaxLayer", "IntegerLookup", "JaxLayer", "Lambda", "StringLookup", "TFSMLayer", "TextVectorization", "TorchModuleWrapper")
}
"""Layers of Keras that run code of the file, or read other files that it names."""


def load(request: ModelRequest) -> TorchClassifier:
    """Return the network of a file, from images to logits: a softmax at its end is taken off, and so is the sigmoid of one output.

    Images are arranged with channels last, or flat, as the model takes them. Raises UnsafeError if the file has layers that are not
    Keras's own, or that run code, and is not trusted; ModelError if the file cannot be read, or Keras runs on another framework.
    """
    request.allow_only("num_classes", "mean", "std", "bounds")
    file = request.existing_file()
    if foreign := sorted(set(_foreign_classes(_read_config(file)))):
        request.require_trust(f"a Keras file with {', '.join(foreign[:3])}", "these layers are code, not Keras's own plain layers")
    keras = import_keras()
    try:
        with warnings.catch_warnings(), on_import_path(ImportPath((str(Path.cwd()),) if foreign else ())):
            warnings.simplefilter("ignore")  # of Keras's own use of NumPy
            model = keras.saving.load_model(file, compile=False, safe_mode=not foreign)
    except Exception as error:  # Keras and a layer of the user's own may raise any error
        raise ModelError(
            f"model must be a Keras file, got {file}, which cannot be read ({describe_error(error)}): save it again"
        ) from error
    shape, outputs = model.input_shape, model.output_shape
    if isinstance(shape, (list, dict)) or isinstance(outputs, (list, dict)):
        raise ModelError(f"{file} must take images alone and return one output, got several: save a model with one of each")
    logits = take_off_softmax(keras, model)
    network = ArrangedImages(KerasNetwork(logits), shape[1:], channels_last=keras.config.image_data_format() == "channels_last")
    wrapped = PixelSpaceNetwork(network, request.mean, request.std)
    num_classes = request.num_classes or max(2, int(outputs[-1]))
    return request.build_classifier(wrapped, num_classes, "given", file_sha256=hash_file(file), has_variants=False)


class KerasNetwork(nn.Module):
    """Keras model that is called in evaluation mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        """Return what the model returns."""
        return self.model(x, training=False)


def import_keras() -> Any:
    """Import Keras on PyTorch, without its file in the home directory; raise ModelError if it runs on another framework already."""
    if "keras" not in sys.modules:
        before = {name: os.environ.get(name) for name in ("KERAS_BACKEND", "KERAS_HOME")}
        with temporary_directory(Path(tempfile.gettempdir(), "rfgsm-keras")) as home:
            os.environ.update(KERAS_BACKEND="torch", KERAS_HOME=before["KERAS_HOME"] or str(home))
            try:
                import keras
            finally:
                for name, value in before.items():
                    os.environ.pop(name)
                    if value is not None:
                        os.environ[name] = value
    import keras

    if keras.backend.backend() != "torch":
        raise ModelError(
            f"Keras must run on PyTorch, got {keras.backend.backend()}, on which this process imported it before: "
            "set KERAS_BACKEND=torch before Python starts"
        )
    return keras


def _read_config(file: Path) -> Any:
    """Return the configuration of the archive.

    Raises ModelError or FileError if the configuration or the weights are malformed or too large, before anything is unpacked.
    """
    try:
        with open_to_read(file, follow_links=True) as stream, open_zip(stream, file) as archive:
            size = archive.getinfo(CONFIG_FILE).file_size
            if size > MAX_CONFIG_BYTES:
                raise ValueError(f"{size:,} bytes of {CONFIG_FILE}")
            content = archive.read(CONFIG_FILE)
            if WEIGHTS_FILE in archive.namelist():
                weights = archive.read(WEIGHTS_FILE)
                check_hdf5(io.BytesIO(weights), len(weights), str(file), MAX_STORED_EXPANSION)
    except ZIP_ERRORS as error:
        raise ModelError(
            f"model must be a .keras file, got {file}, which is not ({describe_error(error)}): "
            "load it in Keras, and model.save('FILE.keras')"
        ) from error
    return parse_json(content, f"{CONFIG_FILE} of {file}")


def _foreign_classes(config: Any) -> Iterator[str]:
    """Yield the classes and functions of a configuration that are not Keras's own plain ones."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name, module = part.get("class_name"), part.get("module")
            own = str(module) in TRUSTED_MODULES and part.get("registered_name") in (None, name)
            plain = module is None and isinstance(name, str) and name in PLAIN_VALUES
            if name is not None and (str(name) in CODE_CLASSES or not (own or plain)):
                yield str(name)
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []


def take_off_softmax(keras: Any, model: Any) -> Any:
    """Return the model up to the logits whose softmax, or sigmoid for one output, the model returns; else the model unchanged."""
    layer = _last_layer(model)
    activations = [keras.activations.softmax, *([keras.activations.sigmoid] if model.output_shape[-1] == 1 else [])]
    if isinstance(layer, keras.layers.Softmax) and layer.axis in (-1, len(model.output_shape) - 1):
        return keras.Model(model.inputs, layer.input)
    if getattr(layer, "activation", None) in activations:
        images = torch.rand(2, *(length or 8 for length in model.input_shape[1:]))
        before, activation = _outputs(model, images), layer.activation
        layer.activation = keras.activations.linear
        if not torch.allclose(activation(_outputs(model, images)), before, atol=1e-5):  # the layer is not the end alone
            layer.activation = activation
    return model


def _outputs(model: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(images, training=False)
    return found


def _last_layer(model: Any) -> Any:
    """Return the layer whose output is the model's; None if there is none."""
    for layer in reversed(getattr(model, "layers", [])):
        try:
            if layer.output is model.outputs[0]:
                return layer
        except (AttributeError, ValueError):  # the layer is used several times
            continue
    return None
