"""torchvision's classification networks, with the preprocessing that their weights name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torchvision import models

from robustbench_fgsm.files.regular_files import is_file
from robustbench_fgsm.models.checkpoint import load_weights, read_weights
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.download import fetch_file, hub_cache_path
from robustbench_fgsm.models.names import check_torchvision_name, unknown_torchvision_weights
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.models.request import ModelListing, ModelRequest

PRETRAINED_ARGUMENTS: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
}
"""What torchvision sets in networks that are to take its weights."""

OLD_DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$")
"""Keys of DenseNet's weights that are older than its layers' names, as torchvision renames them."""


def load(request: ModelRequest) -> TorchClassifier:
    """Return a network of torchvision; weights: a name of torchvision (`DEFAULT`, `IMAGENET1K_V1`), `none`, or a checkpoint.

    Weights of torchvision include mean, std, class names and preprocessing. A checkpoint needs mean and std. Raises ModelError if
    name or weights are unknown, damaged, unreachable, or do not fit.
    """
    check_torchvision_name(request.name)
    if request.weights == "none" or request.has_weights_file:
        return _load_architecture(request)
    request.allow_only("weights")
    weights = _find_weights(request)
    network = models.get_model(
        request.name, weights=None, num_classes=len(weights.meta["categories"]), **PRETRAINED_ARGUMENTS.get(request.name, {})
    )
    file = fetch_file(weights.url, hub_cache_path(weights.url), str(weights))
    load_weights(network, _rename_densenet_keys(request.name, read_weights(file)), file.name)
    if request.name in PRETRAINED_ARGUMENTS:  # the second classifiers serve training alone
        network.aux_logits = False
        for head in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, head):
                setattr(network, head, None)
    transforms = weights.transforms()
    wrapped, classes = PixelSpaceNetwork(network, transforms.mean, transforms.std, channels=3), weights.meta["categories"]
    preprocessing = preprocessing_from_transforms(transforms)
    return request.build_classifier(wrapped, len(classes), weights.name, preprocessing=preprocessing, classes=classes)


def preprocessing_from_transforms(transforms: Any) -> Preprocessing:
    """Return resizing and cropping of the transforms that torchvision keeps with its weights."""
    crop = tuple(transforms.crop_size)
    return Preprocessing(
        resize=tuple(transforms.resize_size),
        crop=crop * 2 if len(crop) == 1 else crop,
        interpolation=transforms.interpolation.value,
        antialias=bool(transforms.antialias),
    )


def names() -> Iterator[ModelListing]:
    """Yield all networks with all their weights."""
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            size = round(weights.meta["_file_size"] * 2**20)
            yield ModelListing(name, weights.name, weights.meta["num_params"], size, is_file(hub_cache_path(weights.url)))


def _load_architecture(request: ModelRequest) -> TorchClassifier:
    """Return the architecture without weights, or with the user's checkpoint."""
    request.allow_only("weights", "num_classes", "mean", "std", "bounds")
    mean, std = request.require_normalisation() if request.has_weights_file else (request.mean, request.std)
    aux = {"aux_logits": False, "init_weights": True} if request.name in PRETRAINED_ARGUMENTS else {}

    def create(num_classes: int) -> nn.Module:
        network: nn.Module = models.get_model(request.name, weights=None, num_classes=num_classes, **aux)
        return network

    num_classes = request.find_num_classes(create, 1000)
    network = create(num_classes)
    if request.has_weights_file:
        request.load_weights_file(network, num_classes)
    wrapped = PixelSpaceNetwork(network, mean, std, channels=3)
    return request.build_classifier(wrapped, num_classes, request.weights, classes=request.classes)


def _find_weights(request: ModelRequest) -> Any:
    """Return the weights of that name; `auto` is the default."""
    known = models.get_model_weights(request.name)
    name = "DEFAULT" if request.weights == "auto" else request.weights
    if name not in known.__members__:
        raise unknown_torchvision_weights(request.name, request.weights, known.__members__)
    return known[name]


def _rename_densenet_keys(name: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if not name.startswith("densenet"):
        return state
    return {OLD_DENSENET_KEY.sub(r"\1\2", key): value for key, value in state.items()}
