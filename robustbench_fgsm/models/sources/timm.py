"""timm's networks, with the normalisation and preprocessing of their pretrained configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import timm
from timm.data import resolve_data_config
from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError, did_you_mean
from robustbench_fgsm.files.regular_files import is_file
from robustbench_fgsm.models.checkpoint import nonfinite_keys, read_weights
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.download import fetch_file, fetch_hub_files, hub_cache_path
from robustbench_fgsm.models.names import unknown_timm_name
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.models.request import ModelListing, ModelRequest

TIMM_FILE_PATTERNS = ("model.safetensors", "*.json")


def load(request: ModelRequest) -> TorchClassifier:
    """Return a network of timm; weights: `auto` or `DEFAULT` for the weights of its tag, `none`, or a checkpoint.

    A checkpoint for a name with a tag, such as resnet18.a1_in1k, is normalised as the tag says. Without a tag, mean and std must be
    given. Raises ModelError if name or weights are unknown, damaged, unreachable, or do not fit.
    """
    name = request.name
    _check_name_and_tag(name)
    pretrained = request.weights in ("auto", "DEFAULT")
    request.allow_only("weights", *(() if pretrained else ("num_classes", "mean", "std", "bounds")))
    if not (pretrained or request.has_weights_file or request.weights == "none"):
        raise ModelError(
            f"weights for {request.spec} must be auto, DEFAULT, none or a checkpoint, got {request.weights!r}: "
            "timm names its weights in the model, such as resnet18.a1_in1k"
        )
    network = _load_pretrained(name) if pretrained else _create_network(request)
    config = resolve_data_config({}, model=network)
    tagged = pretrained or (request.has_weights_file and "." in name)
    mean, std = (config["mean"], config["std"]) if tagged else (request.mean, request.std)
    if request.has_weights_file and not tagged:
        mean, std = request.require_normalisation()
    num_classes: int = network.num_classes  # type: ignore[assignment]
    weights = str(network.pretrained_cfg["tag"] or "DEFAULT") if pretrained else request.weights  # type: ignore[index]
    preprocessing = preprocessing_from_config(config) if tagged else None
    wrapped = PixelSpaceNetwork(network, request.mean or mean, request.std or std, channels=config["input_size"][0])
    return request.build_classifier(wrapped, num_classes, weights, preprocessing=preprocessing)


def preprocessing_from_config(config: dict[str, Any]) -> Preprocessing | None:
    """Return resizing and cropping of timm's evaluation transforms; None if timm does not crop the centre."""
    _, height, width = config["input_size"]
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    if config["crop_mode"] not in ("center", "squash"):
        return None
    shorter = config["crop_mode"] == "center" and height == width
    return Preprocessing(scaled[:1] if shorter else scaled, (height, width), config["interpolation"])


def names() -> Iterator[ModelListing]:
    """Yield all pretrained networks; their size is unknown before the download."""
    for name in timm.list_pretrained():
        yield ModelListing(f"timm:{name}", name.partition(".")[2] or "DEFAULT")


def _check_name_and_tag(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown_timm_name(name)
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelError(f"timm tag of {architecture} must be one of {', '.join(tags)}, got {tag!r}: {did_you_mean(tag, tags)}")


def _create_network(request: ModelRequest) -> nn.Module:
    def create(num_classes: int) -> nn.Module:
        network: nn.Module = timm.create_model(request.name, pretrained=False, num_classes=num_classes)
        return network

    network = create(request.find_num_classes(create, 1000))
    if request.has_weights_file:
        request.load_weights_file(network, network.num_classes)  # type: ignore[arg-type]
    return network


def _load_pretrained(name: str) -> nn.Module:
    """Return the network with its tag's weights, read by our own reader and adapted by timm's own filters."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise ModelError(f"timm has no weights for {name}: pass --weights none or a checkpoint, or choose another tag")
    state, source = _read_pretrained_state(config)
    if keys := nonfinite_keys(state):
        raise ModelError(f"weights must be finite, got {source} with {', '.join(sorted(keys)[:3])} not finite")
    overlay = {"state_dict": state, "custom_load": False}
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"weights must fit {name}, got {source}, which do not: {str(error).splitlines()[-1].strip()}") from error
    return network


def _read_pretrained_state(config: Any) -> tuple[dict[str, Tensor], str]:
    if config.hf_hub_id:
        file = fetch_hub_files(config.hf_hub_id, TIMM_FILE_PATTERNS) / TIMM_FILE_PATTERNS[0]
        if not is_file(file):
            raise ModelError(f"{config.hf_hub_id} must hold {TIMM_FILE_PATTERNS[0]}, got none: choose another tag")
    else:
        file = fetch_file(config.url, hub_cache_path(config.url), config.architecture)
    return read_weights(file), str(file)
