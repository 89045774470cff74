"""What the rest of the package asks of a classifier, and the PyTorch one."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import Labels, ensure_two_logits, input_gradient
from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.packed_convolution import can_pack_convolutions, pack_convolutions
from robustbench_fgsm.models.precision import float32_precision
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

ChannelStatistic = float | Sequence[float]


@dataclass(frozen=True)
class ModelInfo:
    """Where a classifier comes from, as it is reported in JSON under `model`.

    sha256: over the weights and the normalisation, which decide the numbers, and over the file where that holds the
    architecture too. mean, std: the normalisation inside the classifier; None where the network does its own.
    preprocessing: what the images should have gone through; None where that is not known. settings: what else it takes
    to load the same again, by the names that `load_classifier` has for it.
    """

    spec: str
    weights: str
    parameters: int
    sha256: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocessing: Preprocessing | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON knows it."""
        return asdict(self)


@runtime_checkable
class Classifier(Protocol):
    """Images (N, C, H, W) in pixel space to outputs (N, K), and the gradient of a loss; never moved by being asked."""

    num_classes: int
    classes: tuple[str, ...] | None
    bounds: Bounds
    info: ModelInfo
    any_loss: bool
    """Whether `loss_gradient` takes any loss; False where the classifier brings its own, which stands for `ce`."""

    @property
    def device(self) -> torch.device:
        """Where images have to be."""

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (N, K), detached."""

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Gradient (N, C, H, W) of the summed loss, and the outputs (N, K) of the same forward pass."""


def move_to_classifier(images: Tensor, classifier: Classifier) -> Tensor:
    """Images (N, C, H, W) where the classifier is, in the memory layout that it takes fastest; a copy only where needed."""
    return move_images(images, classifier.device, getattr(classifier, "memory_format", torch.contiguous_format))


def move_images(images: Tensor, device: torch.device, memory_format: torch.memory_format) -> Tensor:
    """Images on that device, in that memory layout where they have one, (N, C, H, W); a copy only where needed."""
    if device.type == "cuda" and images.device.type == "cpu":
        images = images.pin_memory().to(device, non_blocking=True)
    return images.to(device).contiguous(memory_format=memory_format if images.ndim == 4 else torch.contiguous_format)


def has_convolutions(network: nn.Module) -> bool:
    """Whether there are convolutions of images in it, so that a memory layout can be chosen for it."""
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


class PixelSpaceNetwork(nn.Module):
    """A network behind its normalisation, so that attacks work in pixel space: grey to `channels`, then (x - mean) / std.

    mean, std: one value, or one a channel, as for the images the network was trained on; for flat images (N, F) one a
    feature. channels: repeat a grey image to so many channels, inside, where an attack still moves one grey pixel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: ChannelStatistic | None = None,
        std: ChannelStatistic | None = None,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.register_buffer("mean", _channel_tensor(0.0 if mean is None else mean), persistent=False)
        self.register_buffer("std", _channel_tensor(1.0 if std is None else std), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in pixel space."""
        if self.channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.channels, *x.shape[2:])
        mean, std = self.broadcast_statistics(x)
        logits: Tensor = self.network((x - mean) / std)  # never the caller's own tensor
        return logits

    def broadcast_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std, shaped so that they broadcast to the images."""
        return _broadcast_channels(self.mean, x), _broadcast_channels(self.std, x)


def _channel_tensor(statistic: ChannelStatistic) -> Tensor:
    value = torch.as_tensor(statistic, dtype=torch.float32)
    return value.reshape(()) if value.numel() == 1 else value.reshape(-1, 1, 1)


def _broadcast_channels(statistic: Tensor, x: Tensor) -> Tensor:
    return statistic if statistic.ndim == 0 else statistic.view(-1, *[1] * (x.ndim - 2))


class TorchClassifier:
    """A private copy of a PyTorch network in evaluation mode, callable from pixel space to logits.

    has_variants: whether it runs in other precisions and memory layouts; not so where a graph was recorded in one. tf32:
    whether a GPU may round factors to 10 bits; else it computes in full float32, whatever PyTorch's switches say. bf16:
    whether `predict`, which wants no gradient, computes in bfloat16 where PyTorch's autocast does.
    """

    any_loss = True

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        classes: tuple[str, ...] | None,
        bounds: Bounds,
        info: ModelInfo,
        *,
        has_variants: bool = True,
        memory_format: torch.memory_format = torch.contiguous_format,
        tf32: bool = False,
        bf16: bool = False,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.num_classes = num_classes
        self.classes = classes
        self.bounds = bounds
        self.info = info
        self.has_variants = has_variants
        self.tf32 = tf32
        self.bf16 = bf16
        self._channels_last = memory_format == torch.channels_last  # pickle finds no home of its own for PyTorch's layouts

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of the weights, in which images are taken fastest."""
        return torch.channels_last if self._channels_last else torch.contiguous_format

    @property
    def device(self) -> torch.device:
        """Where the network's first parameter or buffer lies; the CPU where it has none."""
        for tensor in (*self.network.parameters(), *self.network.buffers()):
            return tensor.device
        return torch.device("cpu")

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in pixel space, differentiable."""
        logits: Tensor = self.network(x)
        return logits

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in pixel space, detached; one logit of two classes made two."""
        reduced = torch.autocast(x.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with float32_precision(x.device, tf32=self.tf32), reduced:
            logits = ensure_two_logits(self(x))
        return logits.float() if self.bf16 else logits

    def loss_gradient(self, x: Tensor, y: Labels, loss: Loss) -> tuple[Tensor, Tensor]:
        """Gradient of the summed loss in the shape of x, and the outputs (N, K) of the same forward pass."""
        with float32_precision(x.device, tf32=self.tf32):
            return input_gradient(self.network, x, y, loss)

    def copy_network(
        self, dtype: torch.dtype = torch.float32, memory_format: torch.memory_format = torch.contiguous_format
    ) -> nn.Module:
        """Another copy of the network, pixel space to logits, in evaluation mode: what a reference may do as it likes with."""
        return copy.deepcopy(self.network).to(dtype=dtype).to(memory_format=memory_format)

    def variant(
        self, dtype: torch.dtype = torch.float32, memory_format: torch.memory_format = torch.contiguous_format
    ) -> TorchClassifier:
        """The same classifier in another precision or memory layout."""
        return self.with_network(self.copy_network(dtype, memory_format), memory_format)

    def channels_last(self, batch_size: int) -> TorchClassifier:
        """The same classifier in that layout, for so many images at a time; it shares the weights where these are packed."""
        if can_pack_convolutions(self.network):
            return self.with_network(pack_convolutions(self.network, batch_size), torch.channels_last)
        return self.variant(memory_format=torch.channels_last)

    def with_network(
        self,
        network: nn.Module,
        memory_format: torch.memory_format,
        *,
        tf32: bool | None = None,
        bf16: bool | None = None,
    ) -> TorchClassifier:
        """The same classifier, computed by another network, which is its own from now on."""
        return TorchClassifier(
            network,
            self.num_classes,
            self.classes,
            self.bounds,
            self.info,
            has_variants=self.has_variants,
            memory_format=memory_format,
            tf32=self.tf32 if tf32 is None else tf32,
            bf16=self.bf16 if bf16 is None else bf16,
        )


def wrap(
    module: nn.Module,
    num_classes: int,
    *,
    mean: ChannelStatistic | None = None,
    std: ChannelStatistic | None = None,
    bounds: Bounds = PIXEL_BOUNDS,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
    device: str | torch.device | None = None,
) -> TorchClassifier:
    """A classifier from any module that returns logits (N, num_classes); works on a copy, in evaluation mode.

    mean, std: normalisation that the module expects of its input and does not do itself, per channel, in pixel space;
    it becomes the first layer. bounds: range of the images. channels: repeat grey images to so many channels. classes:
    names in the order of the outputs. device: where the copy goes; where the module is by default.

    Raises ModelError for class names that do not number num_classes, a mean that is not finite, and a standard deviation
    that is not positive and finite.
    """
    network = PixelSpaceNetwork(copy.deepcopy(module), mean, std, channels)
    parameters = [*module.parameters(), *module.buffers()]
    network.to(device if device is not None else parameters[0].device if parameters else "cpu")
    return build_classifier(network, num_classes, spec=type(module).__name__, weights="given", bounds=bounds, classes=classes)


def build_classifier(
    network: PixelSpaceNetwork,
    num_classes: int,
    *,
    spec: str,
    weights: str,
    bounds: Bounds = PIXEL_BOUNDS,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    settings: dict[str, Any] | None = None,
    file_sha256: str = "",
    has_variants: bool = True,
) -> TorchClassifier:
    """The classifier that owns this network, with all that is to be reported of it.

    file_sha256: of the file that holds the architecture too, where there is one. Raises ModelError as `wrap` does.
    """
    if classes is not None and len(classes) != num_classes:
        raise ModelError(f"classes must name all {num_classes} outputs, got {len(classes)} names")
    mean, std = (tuple(map(_shorten_float, statistic.reshape(-1).tolist())) for statistic in (network.mean, network.std))
    if not all(0 < value < math.inf for value in std):
        raise ModelError(f"std must be positive in every channel, got {_format_statistic(std)}")
    if not all(map(math.isfinite, mean)):
        raise ModelError(f"mean must be finite in every channel, got {_format_statistic(mean)}")
    own = (set(mean), set(std)) == ({0.0}, {1.0})
    info = ModelInfo(
        spec,
        weights,
        count_parameters(network),
        hash_classifier(network, file_sha256),
        mean=None if own else mean,
        std=None if own else std,
        preprocessing=preprocessing,
        settings=settings or {},
    )
    names = None if classes is None else tuple(classes)
    return TorchClassifier(network, num_classes, names, bounds, info, has_variants=has_variants)


def _shorten_float(value: float) -> float:
    """A float32 value by the digits that tell it from its neighbours."""
    return float(f"{value:.7g}")


def _format_statistic(statistic: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in statistic)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def hash_weights(module: nn.Module) -> str:
    """SHA-256 over the names, shapes, dtypes and bytes of the state dict: the identity of a network's weights."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def hash_classifier(network: PixelSpaceNetwork, file_sha256: str = "") -> str:
    """SHA-256 of all that decides what a classifier computes: weights, normalisation, and the file of its architecture."""
    normalisation = [network.mean.reshape(-1).tolist(), network.std.reshape(-1).tolist(), network.channels]
    return hashlib.sha256(repr([hash_weights(network.network), *normalisation, file_sha256]).encode()).hexdigest()
