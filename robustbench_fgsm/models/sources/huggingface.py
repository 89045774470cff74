"""Image classifiers in Hugging Face's layout: `hf:ORG/NAME` from the hub or its cache, `hf:DIR` from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.utils import logging

from robustbench_fgsm.errors import ModelError, UnsafeError, describe_error, is_out_of_memory
from robustbench_fgsm.files.regular_files import is_directory
from robustbench_fgsm.models.checkpoint import check_finite_weights, check_parameter_count
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.download import fetch_hub_files
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.sources.huggingface_files import (
    BILINEAR_PROCESSORS,
    CONFIG_FILE,
    INDEX_FILE,
    PROCESSOR_FILE,
    ProcessorConfig,
    read_network_config,
    read_processor_config,
)

HF_FILE_PATTERNS = (CONFIG_FILE, PROCESSOR_FILE, "*.safetensors", INDEX_FILE)
"""All that is ever read; code and pickles are not even fetched."""

PILLOW_INTERPOLATION_CODES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""By Pillow's numbers, as image processors store them."""


def load(request: ModelRequest) -> TorchClassifier:
    """Return the network of a repository or folder, with the mean and std of its image processor.

    Raises UnsafeError if there are no safetensors, or the configuration names code or further files; ModelError if files are
    missing, damaged or do not fit.
    """
    request.allow_only("mean", "std", "bounds")
    folder = Path(request.name)
    folder = folder if is_directory(folder) else fetch_hub_files(request.name, HF_FILE_PATTERNS)
    problem = read_network_config(folder, request.spec).problem_type or "single_label_classification"
    if problem != "single_label_classification" and (problem, request.task) != ("multi_label_classification", "multilabel"):
        raise ModelError(
            f"{request.spec} must be trained on one class an image, got problem_type {problem!r:.60}: pass --task multilabel (in "
            f"Python, task='multilabel') for several labels, or correct problem_type in {CONFIG_FILE}"
        )
    processor = read_processor_config(folder, request.spec)
    if processor is None and (request.mean is None or request.std is None):
        raise ModelError(f"{request.spec} has no {PROCESSOR_FILE} to tell its normalisation: pass --mean and --std")
    network = _load_network(folder, request.spec)
    mean, std = normalisation_from_processor(processor or ProcessorConfig())
    preprocessing = None if processor is None else preprocessing_from_processor(processor)
    settings: Any = network.config
    wrapped = PixelSpaceNetwork(
        HuggingFaceNetwork(network, flips_channels=processor is not None and processor.flips_channels),
        mean if request.mean is None else request.mean,
        std if request.std is None else request.std,
        getattr(settings, "num_channels", None),
    )
    classes = _config_class_names(settings)
    return request.build_classifier(wrapped, settings.num_labels, "safetensors", preprocessing=preprocessing, classes=classes)


class HuggingFaceNetwork(nn.Module):
    """Network of transformers behind the one argument of an image classifier; flips_channels: it gets blue first."""

    def __init__(self, network: nn.Module, *, flips_channels: bool = False) -> None:
        super().__init__()
        self.network = network
        self.flips_channels = flips_channels

    def forward(self, x: Tensor) -> object:
        """Return the outputs for images, which hold the logits."""
        return self.network(pixel_values=x.flip(1) if self.flips_channels else x)


def normalisation_from_processor(processor: ProcessorConfig) -> tuple[list[float], list[float]]:
    """Return mean and std in pixel space of an image processor that rescales 8-bit pixels and may normalise."""
    seen = 255 * (processor.rescale_factor if processor.do_rescale else 1.0)  # what the processor makes of a pixel that is 1 here
    if not processor.normalizes or processor.image_mean is None or processor.image_std is None:
        return [0.0], [1 / seen]
    power = 2 if processor.divides_twice else 1
    return [value / seen for value in processor.image_mean], [value**power / seen for value in processor.image_std]


def preprocessing_from_processor(processor: ProcessorConfig) -> Preprocessing:
    """Return the resizing and cropping of an image processor."""
    size, crop = processor.size, processor.crop_size
    sides = size if isinstance(size, dict) else {} if size is None else {"shortest_edge": size}
    edge, height, width = (sides.get(key) for key in ("shortest_edge", "height", "width"))
    share = processor.crop_pct or (0.875 if processor.kind == "ConvNext" else None)
    if share is not None and edge is not None:  # as the processors of ConvNeXT and PoolFormer have it
        if processor.kind == "PoolFormer":
            edge = int(edge / share)
        elif edge < 384:
            crop, edge = edge, int(edge / share)
        else:
            crop, edge, height, width = None, None, edge, edge
    elif processor.kind == "Levit" and edge is not None:
        edge = int(256 / 224 * edge)
    resize = (edge,) if edge is not None else None if height is None or width is None else (height, width)
    resample = processor.resample if processor.resample is not None else 2 if processor.kind in BILINEAR_PROCESSORS else 3
    square = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    return Preprocessing(
        resize if processor.do_resize else None,
        (square["height"], square["width"]) if processor.crops and square is not None else None,
        PILLOW_INTERPOLATION_CODES[resample],
    )


def _load_network(folder: Path, spec: str) -> nn.Module:
    try:
        with _silence_transformers():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
            check_parameter_count(lambda: AutoModelForImageClassification.from_config(config), stored, spec)
            network, found = AutoModelForImageClassification.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
    except SafetensorError as error:
        raise ModelError(f"{spec} must hold safetensors that can be read, got {describe_error(error)}: fetch it again") from error
    except ModelError:
        raise
    except Exception as error:  # a value of the configuration may cause any error in the architecture's code
        if is_out_of_memory(error):
            raise
        line = describe_error(error)
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            raise UnsafeError(f"{spec} must be an architecture of transformers, got code of its own: {line}") from error
        raise ModelError(f"{spec} must be an image classifier of transformers, got one that cannot be loaded: {line}") from error
    problems = {key_kind: sorted(map(str, found[key_kind])) for key_kind in ("missing_keys", "mismatched_keys", "unexpected_keys")}
    text = "; ".join(f"{', '.join(keys[:3])} {key_kind.partition('_')[0]}" for key_kind, keys in problems.items() if keys)
    if text:
        raise ModelError(f"weights must fit the network exactly, got {spec} with {text}: it is not a finished classifier")
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
