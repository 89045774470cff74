"""Image classifiers in Hugging Face's layout: `hf:ORG/NAME` from the hub or its cache, `hf:DIR` from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForImageClassification
from transformers.utils import logging

from robustbench_fgsm.errors import ModelError, UnsafeError, first_line
from robustbench_fgsm.models.checkpoint import check_finite_weights
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.download import fetch_hub_files
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.models.request import ModelRequest

HF_FILE_PATTERNS = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
"""All that is ever read; code and pickles are not even fetched."""

PILLOW_INTERPOLATION_CODES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""By Pillow's numbers, as image processors store them."""


def load(request: ModelRequest) -> TorchClassifier:
    """Return the network of a repository or folder, with the mean and std of its image processor.

    Raises UnsafeError if there are no safetensors, or the network is code of the repository; ModelError if files are missing,
    damaged or do not fit.
    """
    request.allow_only("mean", "std", "bounds")
    folder = Path(request.name)
    folder = folder if folder.is_dir() else fetch_hub_files(request.name, HF_FILE_PATTERNS)
    config = _read_json(folder / "config.json", request.spec)
    _check_safe(folder, config, request.spec)
    network = _load_network(folder, request.spec)
    processor_file = folder / "preprocessor_config.json"
    processor = _read_json(processor_file, request.spec) if processor_file.is_file() else None
    if processor is None and (request.mean is None or request.std is None):
        raise ModelError(f"{request.spec} has no preprocessor_config.json to tell its normalisation: pass --mean and --std")
    mean, std = normalisation_from_processor(processor or {})
    preprocessing = None if processor is None else preprocessing_from_processor(processor)
    settings: Any = network.config
    wrapped = PixelSpaceNetwork(
        HuggingFaceNetwork(network),
        mean if request.mean is None else request.mean,
        std if request.std is None else request.std,
        getattr(settings, "num_channels", None),
    )
    classes = _config_class_names(settings)
    return request.build_classifier(wrapped, settings.num_labels, "safetensors", preprocessing=preprocessing, classes=classes)


class HuggingFaceNetwork(nn.Module):
    """Network of transformers behind the one argument of an image classifier."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> object:
        """Return the outputs for images, which hold the logits."""
        return self.network(pixel_values=x)


def normalisation_from_processor(processor: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Return mean and std in pixel space of an image processor that rescales 8-bit pixels and may normalise."""
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    seen = 255 * factor  # what the processor makes of a pixel that is 1 here
    if not processor.get("do_normalize", "image_mean" in processor):
        return [0.0], [1 / seen]
    return [value / seen for value in processor["image_mean"]], [value / seen for value in processor["image_std"]]


def preprocessing_from_processor(processor: Mapping[str, Any]) -> Preprocessing:
    """Return the resizing and cropping of an image processor."""
    size, crop = (processor.get(key) for key in ("size", "crop_size"))
    sides = {"shortest_edge": size, "height": size, "width": size} if isinstance(size, int) else size or {}
    edge = sides.get("shortest_edge")
    if "crop_pct" in processor and edge is not None and edge < 384:  # as ConvNeXT's processor has it
        crop, edge = edge, int(edge / processor["crop_pct"])
    resize = (edge,) if edge is not None else (sides["height"], sides["width"]) if "height" in sides else None
    square = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    cropped = square is not None and processor.get("do_center_crop", "crop_pct" in processor)
    return Preprocessing(
        resize if processor.get("do_resize", True) else None,
        (square["height"], square["width"]) if cropped and square is not None else None,
        PILLOW_INTERPOLATION_CODES[processor.get("resample", 2)],
    )


def _read_json(file: Path, spec: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{spec} must have a {file.name} that can be read, got {error}: check the folder") from error
    if not isinstance(found, dict):
        raise ModelError(f"{spec} must have a {file.name} that is an object, got {type(found).__name__}")
    return found


def _check_safe(folder: Path, config: Mapping[str, Any], spec: str) -> None:
    if not any(folder.glob("*.safetensors")):
        raise UnsafeError(
            f"{spec} must hold its weights as safetensors, got none: weights in pickles are not loaded; "
            "convert them, or ask for a repository that has them"
        )
    if "model_type" not in config:
        raise UnsafeError(f"{spec} must be an architecture of transformers, got one of its own: its code is not run")


def _load_network(folder: Path, spec: str) -> nn.Module:
    try:
        with _silence_transformers():
            network, found = AutoModelForImageClassification.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
    except SafetensorError as error:
        raise ModelError(f"{spec} must hold safetensors that can be read, got {error}: fetch it again") from error
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        line = first_line(error)
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            raise UnsafeError(f"{spec} must be an architecture of transformers, got code of its own: {line}") from error
        raise ModelError(f"{spec} must be an image classifier of transformers, got one that cannot be loaded: {line}") from error
    problems = {key_kind: sorted(map(str, found[key_kind])) for key_kind in ("missing_keys", "mismatched_keys", "unexpected_keys")}
    text = "; ".join(f"{', '.join(keys[:3])} {key_kind.partition('_')[0]}" for key_kind, keys in problems.items() if keys)
    if text:
        raise ModelError(f"weights must fit the network exactly, got {spec} with {text}: it is no finished classifier")
    check_finite_weights(network, spec)
    single: nn.Module = network.float()
    return single


@contextmanager
def _silence_transformers() -> Iterator[None]:
    """Silence progress bars and warnings of transformers."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _config_class_names(config: Any) -> list[str] | None:
    """Return the class names, None for the numbers that transformers invents."""
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    return None if names == [f"LABEL_{index}" for index in range(config.num_labels)] else names
