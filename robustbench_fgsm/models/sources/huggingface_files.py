"""Schemas of the JSON files of a Hugging Face folder. What makes transformers load more than these files is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, model_validator
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from robustbench_fgsm.errors import ModelError, UnsafeError, describe_error
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.regular_files import is_present
from robustbench_fgsm.files.validation import FileSchema, validate
from robustbench_fgsm.spec import MAX_CLASSES

CONFIG_FILE = "config.json"
PROCESSOR_FILE = "preprocessor_config.json"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILE = "adapter_config.json"
"""In a folder with this file, transformers loads the model that the file names."""

MAX_JSON_BYTES = 2**26
MAX_INTEGER = 2**24
MAX_LAYERS = 1024
LAYER_KEY = re.compile("layers|depth|blocks")

MODEL_TYPES = {*MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES} - {"shieldgemma2", "timm_wrapper"}
"""Architectures of transformers that classify images; `timm_wrapper` passes its configuration to timm, which loads files."""

LOADING_KEYS = {
    *("adapter_config", "auto_map", "base_model_name_or_path", "custom_generate", "custom_pipelines", "trust_remote_code"),
    *("backbone", "backbone_kwargs", "use_pretrained_backbone", "use_timm_backbone"),
    *("checkpoint_path", "model_args", "pretrained_cfg", "transformers_weights"),
    *("compression_config", "quantization_config"),
    *("kernel_config", "kernels", "use_kernels"),
}
"""Keys by which transformers or timm load code, kernels or further files, or convert the weights."""

IMPLEMENTATION_KEY = re.compile("_implementation(_internal)?$")
PLAIN_IMPLEMENTATIONS = ("eager", "sdpa")
"""Implementations of attention that are PyTorch's own; others are kernels of the hub or further packages."""

REFUSED_REMEDY = "remove it if you know that the network needs nothing else, or load the model as factory:FILE.py:FUNCTION"

PROCESSOR_NAME = re.compile("(FeatureExtractor|ImageProcessor(Fast|Pil)?)$")
BILINEAR_PROCESSORS = {"", "ViT", "MobileNetV1", "MobileNetV2", "Segformer"}
KNOWN_PROCESSORS = BILINEAR_PROCESSORS | {
    *("Beit", "Bit", "CLIP", "ConvNext", "DeiT", "EfficientNet", "Levit", "MobileViT", "PoolFormer", "Pvt", "Siglip")
}
"""Image processors whose steps are done here: by resizing, cropping, mean and std, and the order of the channels."""

OTHER_STEPS = ("do_align_long_axis", "do_color_quantize", "do_grayscale", "do_pad", "do_thumbnail", "offset", "rescale_offset")
"""Steps of image processors that are not done here."""

Side = Annotated[int, Field(ge=1, le=2**15)]
Scale = Annotated[float, Field(ge=1e-9, le=1e9)]


class NetworkConfig(FileSchema):
    """Fields of `config.json` that are used here."""

    model_type: str
    num_channels: Annotated[int, Field(ge=1, le=2**10)] | None = None
    num_labels: Annotated[int, Field(ge=2, le=MAX_CLASSES)] | None = None
    id2label: dict[Annotated[str, Field(pattern=r"^\d+$")], str] | None = None
    label2id: dict[str, NonNegativeInt] | None = None
    architectures: list[str] | None = None
    problem_type: str | None = None

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.id2label is not None and {*map(int, self.id2label)} != {*range(len(self.id2label))}:
            raise ValueError(f"id2label must have the keys 0 to {len(self.id2label) - 1}")
        return self


class ProcessorConfig(FileSchema):
    """Fields of `preprocessor_config.json` that are used here, with the defaults of image processors."""

    do_resize: bool | None = True
    size: Side | dict[str, Side | None] | None = None
    do_center_crop: bool | None = None
    crop_size: Side | dict[str, Side] | None = None
    crop_pct: Annotated[float, Field(gt=0.01, le=1)] | None = None
    resample: Annotated[int, Field(ge=0, le=5)] | None = None
    do_rescale: bool | None = True
    rescale_factor: Scale = 1 / 255
    do_normalize: bool | None = None
    image_mean: Annotated[list[float], Field(min_length=1)] | None = None
    image_std: Annotated[list[Scale], Field(min_length=1)] | None = None
    do_flip_channel_order: bool | None = None
    include_top: bool | None = None
    image_processor_type: str | None = None
    feature_extractor_type: str | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.normalizes and (self.image_mean is None or self.image_std is None):
            raise ValueError("image_mean and image_std must be given together")
        if isinstance(self.size, dict) and not ({"shortest_edge"} <= self.size.keys() or {"height", "width"} <= self.size.keys()):
            raise ValueError("size must have shortest_edge, or height and width")
        if isinstance(self.crop_size, dict) and not {"height", "width"} <= self.crop_size.keys():
            raise ValueError("crop_size must have height and width")
        return self

    @property
    def normalizes(self) -> bool:
        """Return True if the processor subtracts a mean, which older files do not say."""
        says = "do_normalize" in self.model_fields_set or self.kind == "MobileViT"
        return bool(self.do_normalize if says else self.image_mean)

    @property
    def kind(self) -> str:
        """Return the name of the processor's class without its ending; empty if the file does not say it."""
        return PROCESSOR_NAME.sub("", self.image_processor_type or self.feature_extractor_type or "")

    @property
    def flips_channels(self) -> bool:
        """Return True if the network gets blue first, as MobileViT does."""
        return self.kind == "MobileViT" if self.do_flip_channel_order is None else self.do_flip_channel_order

    @property
    def divides_twice(self) -> bool:
        """Return True if the processor divides by the standard deviation twice, as EfficientNet's does."""
        return self.kind == "EfficientNet" and self.include_top is not False

    @property
    def crops(self) -> bool:
        """Return True if the processor crops the centre, which ConvNeXT's files do not say."""
        says = "do_center_crop" in self.model_fields_set and self.kind != "ConvNext"
        return bool(self.do_center_crop if says else self.crop_pct or self.kind == "ConvNext")


class WeightsIndex(FileSchema):
    """The index of weights in several files, which lie beside it."""

    weight_map: dict[str, Annotated[str, Field(pattern=r"^[\w.-]+\.safetensors$")]]


def read_network_config(folder: Path, spec: str) -> NetworkConfig:
    """Return the configuration of a folder; raise ModelError if it is malformed, UnsafeError if it loads further files or code."""
    _check_weights(folder, spec)
    document = _read(folder / CONFIG_FILE, spec)
    if "model_type" not in document:
        raise UnsafeError(f"{spec} must be an architecture of transformers, got one of its own: its code is not run")
    config = validate(NetworkConfig, document, folder / CONFIG_FILE, ModelError, "correct the file, or fetch it again")
    _check_values(document, folder / CONFIG_FILE)
    if config.model_type not in MODEL_TYPES:
        raise UnsafeError(
            f"{spec} must be an architecture of transformers that classifies images and loads no further files, got "
            f"{config.model_type[:60]!r}: no other is loaded"
        )
    return config


def read_processor_config(folder: Path, spec: str) -> ProcessorConfig | None:
    """Return the configuration of the image processor, None if there is none; raise as `read_network_config`."""
    file = folder / PROCESSOR_FILE
    if not is_present(file):
        return None
    document = _read(file, spec)
    if document.get("auto_map"):
        raise _loading_error(file, "auto_map", document["auto_map"])
    processor = validate(ProcessorConfig, document, file, ModelError, "correct the file, or remove it and pass --mean and --std")
    other = [*(step for step in OTHER_STEPS if document.get(step)), *({processor.kind} - KNOWN_PROCESSORS)]
    if other:
        raise ModelError(
            f"{file} must name an image processor whose steps are known, got {other[0]!r:.60}: load the model as "
            "factory:FILE.py:FUNCTION, or remove the file, pass --mean and --std, and prepare the images as the model takes them"
        )
    return processor


def _check_weights(folder: Path, spec: str) -> None:
    if not any(folder.glob("*.safetensors")):
        raise UnsafeError(
            f"{spec} must hold its weights as safetensors, got none: weights in pickles are not loaded; "
            "convert them, or ask for a repository that has them"
        )
    if is_present(folder / ADAPTER_FILE):
        raise UnsafeError(f"{spec} must hold a whole network, got {ADAPTER_FILE}, which names another model: merge the adapter")
    if is_present(folder / INDEX_FILE):
        validate(WeightsIndex, _read(folder / INDEX_FILE, spec), folder / INDEX_FILE, ModelError, "save the weights again")


def _read(file: Path, spec: str) -> dict[str, Any]:
    try:
        return read_json(file, MAX_JSON_BYTES, follow_links=True)
    except OSError as error:
        raise ModelError(
            f"{spec} must have a {file.name} that can be read, got {describe_error(error)}: check the folder"
        ) from error


def _check_values(document: dict[str, Any], file: Path) -> None:
    for key, value in _fields(document):
        name = key.rpartition(".")[2]
        plain = isinstance(value, str) and value in PLAIN_IMPLEMENTATIONS
        kernel = IMPLEMENTATION_KEY.search(name) is not None and not plain
        wrapper = name == "model_type" and "timm" in str(value)
        if value and (name in LOADING_KEYS or kernel or wrapper):
            raise _loading_error(file, key, value)
        most = MAX_LAYERS if LAYER_KEY.search(name) else MAX_INTEGER
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, int) and abs(number) > most for number in numbers):
            raise ModelError(f"{file} must have a valid {key}, got {value!r:.60} (at most {most:,}): correct the file")


def _loading_error(file: Path, key: str, value: object) -> UnsafeError:
    return UnsafeError(f"{file} must name no code and no further files, got {key} {value!r:.60}: {REFUSED_REMEDY}")


def _fields(document: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield place and value of every key at every depth, except the names of classes."""
    for key, value in document.items():
        yield f"{place}{key}", value
        parts = value if isinstance(value, list) else [value]
        for part in parts if key not in ("id2label", "label2id") else ():
            if isinstance(part, dict):
                yield from _fields(part, f"{place}{key}.")
