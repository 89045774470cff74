"""Networks whose Fashion-MNIST weights ship with the package in safetensors, each with its model card."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.files.regular_files import hash_file, is_file, is_present
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.cards import BUNDLED_DATA, bundled_cards, model_card, weights_file
from robustbench_fgsm.models.checkpoint import check_parameter_count, load_weights, read_weights
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.request import ModelListing, ModelRequest


def load(request: ModelRequest) -> TorchClassifier:
    """Return a bundled network; weights: `standard` or `robust` if they ship, `none`, or a checkpoint.

    A checkpoint must fit the architecture, and is normalised like the bundled weights unless the request says otherwise. Raises
    ModelError if weights are unknown, damaged or do not fit.
    """
    name, weights = request.name, request.weights
    if weights == "auto" and request.data not in (None, BUNDLED_DATA):
        raise ModelError(
            f"weights auto for {name} must meet data {BUNDLED_DATA}, got {request.data!r}: pass --weights standard for "
            f"those of {BUNDLED_DATA}, or FILE.safetensors, or none"
        )
    weights = "standard" if weights == "auto" else weights
    shipped = weights != "none" and not request.has_weights_file
    card = model_card(name, weights if shipped else "standard")
    request.allow_only("weights", *(() if shipped else ("num_classes", "mean", "std", "bounds")))
    architecture = partial(ARCHITECTURES[name], **_shape_arguments(name, request.shape))
    num_classes = request.find_num_classes(lambda count: architecture(num_classes=count), len(card["classes"]))
    create = partial(architecture, num_classes=num_classes)
    if request.has_weights_file and is_file(Path(request.weights)):
        check_parameter_count(create, Path(request.weights).stat().st_size, request.weights)
    with _UndrawnWeights() if shipped else nullcontext():
        network = create()
    if shipped:
        load_weights(network, read_weights(_verified_weights_file(card)), card["file"])
    elif request.has_weights_file:
        request.load_weights_file(network, num_classes)
    recipe = card["recipe"]
    mean, std = (recipe[key] if given is None else given for key, given in (("mean", request.mean), ("std", request.std)))
    classes = request.classes or (card["classes"] if num_classes == len(card["classes"]) else None)
    wrapped = PixelSpaceNetwork(network, mean, std, recipe["channels"])
    return request.build_classifier(wrapped, num_classes, weights, classes=classes)


class _UndrawnWeights(TorchFunctionMode):
    """Mode in which layers leave their first weights as they are in memory: drawing 11 million takes longer than reading them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return the tensor of a draw as it is, and the result of any other function."""
        return args[0] if func in (Tensor.uniform_, Tensor.normal_) else func(*args, **(kwargs or {}))


def _shape_arguments(name: str, shape: tuple[int, ...] | None) -> dict[str, int]:
    """Return the arguments for which the architecture takes images of another shape (C, H, W) than the bundled data."""
    if shape is None or name == "resnet18":
        return {}
    return {"channels": shape[0]} if name == "smallcnn" else {"inputs": math.prod(shape)}


def names() -> Iterator[ModelListing]:
    """Yield all bundled weights and their networks."""
    for card in bundled_cards():
        size = weights_file(card).stat().st_size
        yield ModelListing(card["name"], card["weights"], card["parameters"], size, on_disk=True)


def _verified_weights_file(card: dict[str, Any]) -> Path:
    file = weights_file(card)
    digest = hash_file(file) if is_present(file) else "no file"
    if digest != card["sha256"]:
        raise ModelError(
            f"bundled weights {file.name} must have sha256 {card['sha256'][:12]}, got {digest[:12]}: install the package again"
        )
    return file
