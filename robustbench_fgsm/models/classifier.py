"""Classifiers: the protocol that the package uses, and the classifier of a PyTorch network."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import (
    Labels,
    call_model,
    images_accepted,
    input_gradient,
    predicted_classes,
    predicted_labels,
)
from robustbench_fgsm.attack.losses import Loss, binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy
from robustbench_fgsm.attack.network_call import (
    call_network,
    check_has_weights,
    network_device,
    network_dtypes,
    uses_batch_statistics,
)
from robustbench_fgsm.attack.normalisation import normalisation_warnings
from robustbench_fgsm.attack.outputs import Column, OutputReader, kind_of_outputs, lie_in_unit_interval, predict_noise
from robustbench_fgsm.errors import ModelError, warn_user
from robustbench_fgsm.global_settings import float32_precision, neutral_settings
from robustbench_fgsm.models.copy_module import copy_module, is_recorded, unwrap_module
from robustbench_fgsm.models.device import pick_device
from robustbench_fgsm.models.packed_convolution import can_pack_convolutions, pack_convolutions
from robustbench_fgsm.models.precision import dtype_text, parse_dtype
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import (
    PIXEL_BOUNDS,
    Bounds,
    Task,
    check_bounds,
    check_integer,
    check_task_name,
    is_multi_label,
    parse_class_names,
)

ChannelStatistic = float | Sequence[float]
NUM_CLASSES_REMEDY = "pass the number of classes, which is 2 for a network with one output"


@dataclass(frozen=True)
class ModelInfo:
    """Origin of a classifier, as JSON documents report it under `model`.

    Args:
        spec: spec from which the model was loaded, or the name of the module's class.
        weights: name of the weights.
        parameters: number of parameters.
        sha256: hash of the weights, of the normalisation and of the file, if the file holds the architecture.
        mean: mean of the normalisation inside the classifier; None if the network normalises itself.
        std: standard deviation of the normalisation.
        preprocessing: resizing and cropping that the images need; None if unknown.
        dtype: floating-point type of the weights, in which the network computes; several with commas between.
        checkpoint: how the weights were found in a checkpoint that is more than a state dict; None for any other.
        settings: further arguments of `load_classifier` that load the same model again.
        code_sha256: hash of the user's own code that makes the network; empty if there is none.
        architecture_sha256: hash of the layers without their weights; empty if they are unknown.
    """

    spec: str
    weights: str
    parameters: int = 0
    sha256: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocessing: Preprocessing | None = None
    dtype: str = "float32"
    checkpoint: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    code_sha256: str = ""
    architecture_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry `model` of a JSON document."""
        return {key: value for key, value in asdict(self).items() if value or not key.endswith("e_sha256")}


@runtime_checkable
class Classifier(Protocol):
    """Function from images (N, C, H, W) in pixel space to outputs (N, K), with the gradient of a loss; calls leave no trace."""

    num_classes: int
    classes: tuple[str, ...] | None
    bounds: Bounds
    info: ModelInfo
    any_loss: bool
    """True if `loss_gradient` takes any loss; False if the classifier has its own loss in place of `ce`."""

    @property
    def device(self) -> torch.device:
        """Return the device on which images must be."""

    def predict(self, x: Tensor) -> Tensor:
        """Return detached outputs (N, K)."""

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the gradient (N, C, H, W) of the summed loss, and the outputs (N, K) of that forward pass."""


def attacked_loss(classifier: Classifier, loss: Loss) -> Loss:
    """Return the loss that an attack on the classifier increases: for cross-entropy, a multi-label classifier's own."""
    return classifier.own_loss if loss is cross_entropy and isinstance(classifier, TorchClassifier) else loss


def decide(classifier: Classifier, outputs: Tensor) -> Tensor:
    """Return predictions from outputs (N, K): classes (N,), or multi-hot labels (N, K) of a multi-label classifier."""
    if isinstance(classifier, TorchClassifier) and is_multi_label(classifier):
        return predicted_labels(outputs, classifier.threshold)
    return predicted_classes(outputs)


def move_to_classifier(images: Tensor, classifier: Classifier) -> Tensor:
    """Return images on the classifier's device, in its fastest memory layout; a copy is made only if needed."""
    return move_images(images, classifier.device, getattr(classifier, "memory_format", torch.contiguous_format))


def move_images(images: Tensor, device: torch.device, memory_format: torch.memory_format) -> Tensor:
    """Return images on that device, (N, C, H, W) in that memory layout; a copy is made only if needed."""
    if device.type == "cuda" and images.device.type == "cpu":
        images = images.pin_memory().to(device, non_blocking=True)
    return images.to(device).contiguous(memory_format=memory_format if images.ndim == 4 else torch.contiguous_format)


def has_convolutions(network: nn.Module) -> bool:
    """Return True if the network has convolutions of images, so that its memory layout can be chosen."""
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


class PixelSpaceNetwork(nn.Module):
    """Network behind its normalisation (x - mean) / std, so that attacks work in pixel space.

    `reader` reads the logits (N, K) from what the network returns; `build_classifier` sets it.

    Args:
        network: module from normalised images to logits.
        mean: one value, or one per channel (per feature for flat images (N, F)); None for 0.
        std: as mean; None for 1.
        channels: number of channels to which a grey image is repeated inside, while an attack moves one grey pixel.
    """

    mean: Tensor
    std: Tensor
    copies_images = True
    """The network behind the normalisation gets a new tensor."""

    def __init__(
        self,
        network: nn.Module,
        mean: ChannelStatistic | None = None,
        std: ChannelStatistic | None = None,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.network = unwrap_module(network)
        self.channels = channels
        self.reader: OutputReader | None = None
        self.register_buffer("mean", _channel_tensor(0.0 if mean is None else mean), persistent=False)
        self.register_buffer("std", _channel_tensor(1.0 if std is None else std), persistent=False)
        self._is_identity = self.mean.ndim == self.std.ndim == 0 and (float(self.mean), float(self.std)) == (0.0, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for images (N, C, H, W) in pixel space: logits (N, K) if there is a reader.

        These logits are float32 if the network returns 16-bit numbers.
        """
        if self.channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.channels, *x.shape[2:])
        try:
            outputs: Tensor = self.network(self._normalise(x))
        except (RuntimeError, TypeError, ValueError):
            if {*network_dtypes(self.network)} <= {torch.float32}:
                raise
            outputs = call_network(self.network, self._normalise(x))
        return outputs if self.reader is None else self.reader(outputs, len(x))

    def _normalise(self, x: Tensor) -> Tensor:
        """Return the normalised images: a new tensor, which the network may change in place."""
        if self._is_identity:
            return x.clone()
        mean, std = self.broadcast_statistics(x)
        return (x - mean) / std

    def cast(self, dtype: torch.dtype) -> None:
        """Cast the network's floating-point weights in place; images and normalisation stay in float32."""
        self.network.to(dtype)

    def broadcast_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and std in shapes that broadcast to the images."""
        return _broadcast_channels(self.mean, x), _broadcast_channels(self.std, x)


def _channel_tensor(statistic: ChannelStatistic) -> Tensor:
    try:
        value = torch.as_tensor(statistic, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ModelError(f"mean and std must be numbers, got {statistic!r}: pass one, or one for each channel") from None
    return value.reshape(()) if value.numel() == 1 else value.reshape(-1, 1, 1)


def _broadcast_channels(statistic: Tensor, x: Tensor) -> Tensor:
    if statistic.ndim and x.shape[1] not in (1, len(statistic)):  # a grey image gets the channels of the mean
        raise ModelError(
            f"mean and std must be one number, or one for each of the {x.shape[1]} channels, got {len(statistic)}: "
            f"pass --mean and --std with one number, or {x.shape[1]} with commas between"
        )
    return statistic if statistic.ndim == 0 else statistic.view(-1, *[1] * (x.ndim - 2))


class TorchClassifier:
    """PyTorch network in evaluation mode, owned by the classifier, callable from pixel space to logits.

    Args:
        network: module from pixel space to logits.
        num_classes: number of outputs K, >= 2.
        classes: names of the outputs; None if unknown.
        bounds: low and high end of the range of the images, as in `wrap`.
        info: origin of the model.
        has_variants: the network also runs in other precisions and memory layouts, which a recorded graph does not.
        task: `multiclass`, or `multilabel` if each class has an output of its own. Loss `ce` is then binary cross-entropy.

    Attributes:
        tf32: a GPU may round factors to 10 bits. If False, it computes in full float32, and PyTorch's switches do not matter.
        bf16: `predict` computes in bfloat16 under PyTorch's autocast.
        own_loss: loss for which `ce` stands. For `multilabel` the first gradient finds it.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        classes: tuple[str, ...] | None,
        bounds: Sequence[Any],
        info: ModelInfo,
        *,
        has_variants: bool = True,
        task: Task = "multiclass",
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.num_classes = num_classes
        self.classes = classes
        self.bounds = check_bounds(bounds)
        self.info = info
        self.has_variants = has_variants
        self.task = task
        self.any_loss = task == "multiclass"
        self.own_loss: Loss = cross_entropy
        self.tf32 = False
        self.bf16 = False
        self._channels_last = False  # PyTorch's memory formats cannot be pickled

    def __repr__(self) -> str:
        return short_repr(self, model=self.info.spec, weights=self.info.weights, classes=self.num_classes, device=str(self.device))

    @property
    def uses_batch_statistics(self) -> bool:
        """Return True if an image's outputs depend on the images beside it, because batch norm has no running statistics."""
        return uses_batch_statistics(self.network)

    @property
    def memory_format(self) -> torch.memory_format:
        """Return the memory layout of the weights, in which images are processed fastest."""
        return torch.channels_last if self._channels_last else torch.contiguous_format

    @property
    def device(self) -> torch.device:
        """Return the device of the network's first parameter or buffer; the CPU if it has none."""
        return network_device(self.network)

    def __call__(self, x: Tensor) -> Tensor:
        """Return differentiable logits (N, K) of images (N, C, H, W) in pixel space."""
        logits: Tensor
        with images_accepted(self.network, x):
            logits = self.network(x)
        return logits

    @neutral_settings()
    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return detached logits (N, K) of images (N, C, H, W) in pixel space."""
        reduced = torch.autocast(x.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with float32_precision(x.device, tf32=self.tf32), reduced:
            logits: Tensor = call_model(self.network, x)
        return logits.float() if self.bf16 else logits

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the gradient of the summed loss in the shape of x, and the outputs (N, K) of that forward pass."""
        self.find_own_loss(x)
        with float32_precision(x.device, tf32=self.tf32):
            return input_gradient(self.network, x, y, attacked_loss(self, loss))

    def find_own_loss(self, x: Tensor) -> None:
        """Find out, once, whether each class of a multi-label network has a sigmoid or a logit: by outputs on noise like x.

        Raises ModelError for a softmax, which gives one class an image.
        """
        if self.task == "multilabel" and self.own_loss is cross_entropy:
            outputs = predict_noise(self.predict, x, self.bounds)
            if (kind := kind_of_outputs(outputs)) in ("probabilities", "log-probabilities"):
                raise ModelError(
                    f"multi-label model must return a sigmoid or a logit for each label, got {kind} of classes, which sum to 1: "
                    "leave task multilabel out, or use --loss bce (loss='bce') if these are sigmoids"
                )
            is_sigmoid = lie_in_unit_interval(outputs)
            self.own_loss = binary_cross_entropy if is_sigmoid else binary_cross_entropy_with_logits

    def copy_network(
        self, dtype: torch.dtype | None = None, memory_format: torch.memory_format = torch.contiguous_format
    ) -> nn.Module:
        """Return a copy of the network, pixel space to logits, in evaluation mode, which a reference may change.

        dtype: precision of all floating-point weights; None keeps the precision of each.
        """
        return copy_module(self.network).to(dtype=dtype).to(memory_format=memory_format)

    def variant(
        self, dtype: torch.dtype | None = None, memory_format: torch.memory_format = torch.contiguous_format
    ) -> TorchClassifier:
        """Return the classifier in another precision or memory layout."""
        return self.with_network(self.copy_network(dtype, memory_format), memory_format)

    def channels_last(self, batch_size: int) -> TorchClassifier:
        """Return the classifier in the channels-last layout for batches of that size; weights of packed networks are shared."""
        if can_pack_convolutions(self.network):
            return self.with_network(pack_convolutions(self.network, batch_size), torch.channels_last)
        return self.variant(memory_format=torch.channels_last)

    @property
    def threshold(self) -> float:
        """Return the output above which a label of a multi-label network is predicted: 0.5 of a sigmoid, 0 of a logit.

        `find_own_loss`, or a loss that names the outputs, must come first.
        """
        assert self.own_loss is not cross_entropy  # noqa: S101  (the checks before the first attack find it)
        return 0.5 if self.own_loss is binary_cross_entropy else 0.0

    def with_own_loss(self, loss: Loss) -> TorchClassifier:
        """Return the classifier whose `ce` stands for this loss; weights are shared."""
        other = self.with_network(self.network, self.memory_format)
        other.own_loss = loss
        return other

    def with_column(self, column: Column) -> TorchClassifier:
        """Return the classifier that reads the one output of a binary network so; weights are shared."""
        reader = getattr(self.network, "reader", None)
        if reader is None or reader.column == column:
            return self
        network = copy.copy(self.network)
        network.reader = replace(reader, column=column)
        return self.with_network(network, self.memory_format)

    def with_network(
        self, network: nn.Module, memory_format: torch.memory_format, *, tf32: bool | None = None, bf16: bool | None = None
    ) -> TorchClassifier:
        """Return the classifier computed by another network, which it owns from then on; None keeps tf32 or bf16."""
        other = TorchClassifier(
            network, self.num_classes, self.classes, self.bounds, self.info, has_variants=self.has_variants, task=self.task
        )
        other.own_loss = self.own_loss
        other._channels_last = memory_format == torch.channels_last
        other.tf32 = self.tf32 if tf32 is None else tf32
        other.bf16 = self.bf16 if bf16 is None else bf16
        return other


def describe_other_object(module: object) -> str:
    """Return what was given in place of a torch module, and what to pass, as the end of a sentence."""
    got = repr(module) if isinstance(module, str) else type(module).__name__
    remedy = "pass the network itself"
    if isinstance(module, str):
        remedy = f"pass rf.load_classifier({module!r})"
    elif isinstance(module, Classifier):
        remedy = "use the classifier as it is"
    elif isinstance(module, Mapping):
        remedy = "pass the network, after network.load_state_dict of this mapping"
    elif type(module).__module__.startswith("sklearn."):
        remedy = "pass rf.from_sklearn(model)"
    elif isinstance(module, type):
        remedy = f"pass an instance, {module.__name__}(...)"
    elif callable(module):
        remedy = "pass a module whose forward calls the function"
    return f"got {got}: {remedy}"


@neutral_settings()
def wrap(
    module: nn.Module,
    num_classes: int,
    *,
    mean: ChannelStatistic | None = None,
    std: ChannelStatistic | None = None,
    bounds: Sequence[Any] = PIXEL_BOUNDS,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    task: Task = "multiclass",
) -> TorchClassifier:
    """Return a classifier over a copy of any module that returns logits (N, num_classes), in evaluation mode.

    Args:
        module: network from images to logits, alone, in a mapping, in a tuple, or in an object.
        num_classes: number of logits, >= 2. A binary network with one output has 2.
        mean: mean of the normalisation that the module expects and does not do itself, in the units of the images: one value, or
            one per channel. None for 0. The normalisation becomes the first layer. A RuntimeWarning says if mean or std are in
            other units than the bounds.
        std: standard deviation, as mean; None for 1.
        bounds: low and high end of the range of the images: two numbers, or two arrays that broadcast to one image, such as one
            number for each feature of a table or for each channel.
        channels: number of channels to which grey images are repeated; None to leave them.
        classes: names in the order of the outputs; None if unknown.
        device: device of the copy; None for the module's device.
        dtype: type to which the copy's weights are cast: float64, float32, float16 or bfloat16; None for the module's own.
        task: `multiclass`, or `multilabel` if an image has any number of labels, each with a sigmoid or logit of its own. Labels
            are then multi-hot (N, K), loss `ce` is the binary cross-entropy, summed over the labels, and each label is predicted
            by its own threshold: 0.5 of a sigmoid, 0 of a logit.

    Returns:
        Classifier from pixel space to logits.

    Raises:
        ModelError: the number of class names differs from num_classes, a mean is not finite, or a standard deviation is not
            positive and finite; or the module cannot be copied.
        SettingError: there is no such dtype, task or device, bounds are not in order, or num_classes is below 2.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"module must be a torch module, {describe_other_object(module)}")
    check_task_name(task)
    channels = None if channels is None else check_integer("channels", channels, "pass 3 for a network of colour images", least=1)
    module = unwrap_module(module)
    network = PixelSpaceNetwork(copy_module(module), mean, std, channels)
    if dtype is not None:
        network.cast(parse_dtype(dtype))
    network.to(network_device(module) if device is None else pick_device(device))
    info, recorded = ModelInfo(type(module).__name__, "given"), is_recorded(network)
    made = build_classifier(network, num_classes, info, bounds=bounds, classes=classes, has_variants=not recorded, task=task)
    for text in normalisation_warnings(made.info.mean, made.info.std, made.bounds):
        warn_user(text)
    return made


def build_classifier(
    network: PixelSpaceNetwork,
    num_classes: int,
    info: ModelInfo,
    *,
    bounds: Sequence[Any] = PIXEL_BOUNDS,
    classes: Sequence[str] | None = None,
    file_sha256: str = "",
    has_variants: bool = True,
    task: Task = "multiclass",
) -> TorchClassifier:
    """Return the classifier that owns this network, with parameters, hash and normalisation added to its info.

    file_sha256: hash of the file, if the file holds the architecture too. has_variants, task: as in TorchClassifier. Raises
    ModelError as `wrap`.
    """
    check_has_weights(network)
    num_classes = check_integer("num_classes", num_classes, NUM_CLASSES_REMEDY, least=2)
    names = check_class_names(classes, num_classes)
    mean, std = (tuple(map(_shorten_float, statistic.reshape(-1).tolist())) for statistic in (network.mean, network.std))
    if not all(0 < value < math.inf for value in std):
        raise ModelError(f"std must be positive in every channel, got {_format_statistic(std)}")
    if not all(map(math.isfinite, mean)):
        raise ModelError(f"mean must be finite in every channel, got {_format_statistic(mean)}")
    own = (set(mean), set(std)) == ({0.0}, {1.0})
    info = replace(
        info,
        parameters=count_parameters(network),
        sha256=hash_classifier(network, file_sha256),
        architecture_sha256=hash_architecture(network.network),
        mean=None if own else mean,
        std=None if own else std,
        dtype=dtype_text(network.network),
    )
    network.reader = OutputReader(num_classes)
    return TorchClassifier(network, num_classes, names, bounds, info, has_variants=has_variants, task=task)


def check_class_names(classes: Sequence[str] | None, num_classes: int) -> tuple[str, ...] | None:
    """Return the names; raise ModelError unless there is one for each output, SettingError for what is no list of names."""
    names = None if classes is None else parse_class_names(classes)
    if names is not None and len(names) != num_classes:
        raise ModelError(f"classes must name all {num_classes} outputs, got {len(names)} names")
    return names


def _shorten_float(value: float) -> float:
    """Return a float32 value with the digits that distinguish it from its neighbours."""
    return float(str(np.float32(value)))


def _format_statistic(statistic: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in statistic)


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def hash_weights(module: nn.Module) -> str:
    """Return the SHA-256 of names, shapes, dtypes and bytes of the state dict, which identifies the weights."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        for part in _hashed_parts(key, value):
            digest.update(part)
    return digest.hexdigest()


def hash_architecture(module: nn.Module) -> str:
    """Return the SHA-256 of names, types and settings of all layers, and of the shapes of their own weights, not of the values."""
    digest = hashlib.sha256()
    for name, layer in module.named_modules():
        own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        shapes = [(key, tuple(value.shape)) for key, value in own]
        settings = [(key, value) for key, value in vars(layer).items() if _is_layer_setting(layer, key, value)]
        digest.update(f"{name} {type(layer).__qualname__} {sorted(settings, key=str)} {shapes}\n".encode())
    return digest.hexdigest()


def _is_layer_setting(layer: nn.Module, key: str, value: object) -> bool:
    """Return True for a plain value of a layer, such as its stride; not for its mode, and what PyTorch keeps for itself.

    The name of a Keras layer counts the layers of the process, so it differs from load to load.
    """
    counted = any(part.__module__.startswith("keras.") for part in type(layer).__mro__)
    if key == "training" or (key == "name" and counted):
        return False
    parts = value if isinstance(value, tuple) else (value,)
    return not key.startswith("_") and all(isinstance(part, int | float | str | None) for part in parts)


def _hashed_parts(key: str, value: object) -> Iterator[bytes]:
    """Yield the bytes of one entry of a state dict: a tensor, or extra state of the layer's author."""
    if isinstance(value, Tensor):
        yield f"{key} {value.dtype} {tuple(value.shape)}\n".encode()
        dense = value.detach().dequantize() if value.is_quantized else value.detach()
        dense = dense if dense.layout == torch.strided else dense.to_dense()
        yield dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _hashed_parts(f"{key}.{name}", part)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _hashed_parts(f"{key}.{index}", part)
    else:  # the text of another object may hold its address, which differs from run to run
        plain = isinstance(value, str | bytes | int | float | complex | None)
        yield f"{key} {value if plain else type(value)!r}\n".encode()


def hash_classifier(network: PixelSpaceNetwork, file_sha256: str = "") -> str:
    """Return the SHA-256 of all that determines the outputs: weights, normalisation, and the file of the architecture."""
    normalisation = [network.mean.reshape(-1).tolist(), network.std.reshape(-1).tolist(), network.channels]
    return hashlib.sha256(repr([hash_weights(network.network), *normalisation, file_sha256]).encode()).hexdigest()
