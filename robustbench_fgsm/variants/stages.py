"""The variants of each stage of an attack, correct and wrong, by the names that an `AttackRecipe` uses."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from robustbench_fgsm.attack.direction import steepest_direction
from robustbench_fgsm.attack.losses import Loss, cross_entropy, margin_loss
from robustbench_fgsm.variants.attack_call import AttackCall

TensorTransform = Callable[[Tensor], Tensor]
ClipFunction = Callable[[Tensor, AttackCall], Tensor]

RESIZE_SCALES = (0.5, 0.75, 2.0)
"""Scales to which images are resized before they are resized back."""


def _one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)


def _label_smoothing(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none", label_smoothing=0.1)


def _bce_on_probabilities(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the values of `functional.binary_cross_entropy`, which does not support every dtype."""
    probabilities, targets = outputs.softmax(1), _one_hot(outputs, labels)
    logs = probabilities.log().clamp_min(-100), (1 - probabilities).log().clamp_min(-100)
    return -(targets * logs[0] + (1 - targets) * logs[1]).sum(1)


def _multi_margin(outputs: Tensor, labels: Tensor) -> Tensor:
    above = (1 - outputs.gather(1, labels.unsqueeze(1)) + outputs).clamp_min(0)
    return above.scatter(1, labels.unsqueeze(1), 0.0).sum(1)


def _at_temperature(temperature: float) -> Loss:
    return lambda outputs, labels: cross_entropy(outputs / temperature, labels)


LOSS_VARIANTS: dict[str, Loss] = {
    "ce": cross_entropy,
    "double-softmax": lambda outputs, labels: cross_entropy(outputs.softmax(1), labels),
    "nll-on-logits": lambda outputs, labels: functional.nll_loss(outputs, labels, reduction="none"),
    "nll-on-probabilities": lambda outputs, labels: functional.nll_loss(outputs.softmax(1), labels, reduction="none"),
    "sum": lambda outputs, _: outputs.sum(1),
    "sum-of-probabilities": lambda outputs, _: outputs.log_softmax(1).sum(1),
    "own-logit": lambda outputs, labels: outputs.gather(1, labels.unsqueeze(1)).squeeze(1),
    "largest-logit": lambda outputs, _: outputs.amax(1),
    "mse": lambda outputs, labels: (outputs - _one_hot(outputs, labels)).square().sum(1),
    "mse-on-probabilities": lambda outputs, labels: (outputs.softmax(1) - _one_hot(outputs, labels)).square().sum(1),
    "bce": lambda outputs, labels: functional.binary_cross_entropy_with_logits(
        outputs, _one_hot(outputs, labels), reduction="none"
    ).sum(1),
    "bce-on-probabilities": _bce_on_probabilities,
    "multi-margin": _multi_margin,
    "smoothing": _label_smoothing,
    "margin": margin_loss,
    **{f"temperature {t:g}": _at_temperature(t) for t in (0.1, 0.5, 2.0, 4.0, 5.0, 10.0, 20.0, 100.0)},
}
"""Loss of outputs (N, K) and labels (N,): one value per image (N,)."""


def _axes_scrambled(images: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    return images.reshape(n, height, width, channels).permute(0, 3, 1, 2)


def _axes_scrambled_back(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).reshape(images.shape)


PIXEL_LAYOUTS: dict[str, TensorTransform] = {
    "own": lambda images: images,
    "channels-reversed": lambda images: images.flip(1),
    "transposed": lambda images: images.transpose(2, 3) if images.shape[2] == images.shape[3] else images,
    "scrambled": _axes_scrambled,
    "scrambled-back": _axes_scrambled_back,
    "flipped": lambda images: images.flip(3),
}
"""Where pixels of images (N, C, H, W) end up."""

COUPLINGS: dict[str, TensorTransform] = {
    "own": lambda gradient: gradient,
    "grey": lambda gradient: gradient.mean(1, keepdim=True).expand_as(gradient),
    "grey-by-sum-of-signs": lambda gradient: gradient.sign().sum(1, keepdim=True).expand_as(gradient),
    "batch-mean": lambda gradient: gradient.mean(0, keepdim=True).expand_as(gradient),
    "first-image": lambda gradient: gradient[:1].expand_as(gradient),
    "float16": lambda gradient: gradient.half().to(gradient.dtype),
}
"""How entries of a gradient (N, C, H, W) are mixed or rounded before its direction is taken."""


def _by_largest_of_batch(gradient: Tensor) -> Tensor:
    return gradient / gradient.abs().max().clamp_min(torch.finfo(gradient.dtype).tiny)


DIRECTIONS: dict[str, TensorTransform] = {
    "sign": torch.sign,
    "raw": lambda gradient: gradient,
    "raw-mean": lambda gradient: gradient / len(gradient),
    "by-largest-of-batch": _by_largest_of_batch,
    "by-norm-of-batch": lambda gradient: gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny),
    "by-largest-of-image": lambda gradient: gradient / gradient.abs().flatten(1).amax(1).clamp_min(1e-30).view(-1, 1, 1, 1),
    "norm-2": lambda gradient: steepest_direction(gradient, 2),
    "norm-2-by-root-of-pixels": lambda gradient: steepest_direction(gradient, 2) * math.sqrt(gradient[0].numel()),
    "norm-1": lambda gradient: steepest_direction(gradient, 1),
    "norm-1-scaled": lambda gradient: gradient / gradient.abs().flatten(1).sum(1).clamp_min(1e-30).view(-1, 1, 1, 1),
    "tanh": torch.tanh,
    "plus-at-zero": lambda gradient: torch.where(gradient >= 0, 1.0, -1.0),
    "minus-at-zero": lambda gradient: torch.where(gradient > 0, 1.0, -1.0),
}
"""The direction that is multiplied by epsilon, from a gradient (N, C, H, W)."""

SIGN_DIRECTIONS = ("sign", "plus-at-zero", "minus-at-zero")
"""Directions with entries 1, 0 and -1 only."""

COMMON_EPSILONS = {"8/255": 8 / 255, "16/255": 16 / 255, "4/255": 4 / 255, "0.3": 0.3, "0.1": 0.1, "0.03": 0.03, "0.01": 0.01}
"""Epsilons that code often holds as a constant."""


def _constant_epsilon(epsilon: float) -> Callable[[AttackCall], float]:
    return lambda _: epsilon


STEP_EPSILONS: dict[str, Callable[[AttackCall], Tensor | float]] = {
    "given": lambda call: call.epsilon,
    "normalised": lambda call: call.epsilon * call.std,
    "normalised-twice": lambda call: call.epsilon / call.std,
    "over-255": lambda call: call.epsilon / 255,
    "times-255": lambda call: call.epsilon * 255,
    "half": lambda call: call.epsilon / 2,
    "twice": lambda call: call.epsilon * 2,
    "five quarters": lambda call: call.epsilon * 1.25,
    "per-image-mean": lambda call: call.epsilon / len(call.x),
    "first call's": lambda call: (*call.earlier_calls, call)[0].epsilon,
    "in float16": lambda call: torch.tensor(call.epsilon).half().float(),
    "in bfloat16": lambda call: torch.tensor(call.epsilon).bfloat16().float(),
    **{f"always {name}": _constant_epsilon(epsilon) for name, epsilon in COMMON_EPSILONS.items()},
    "none": lambda _: 0.0,
}


def _clip_normalised(low: float, high: float) -> ClipFunction:
    return lambda x, call: ((x - call.mean) / call.std).clamp(low, high) * call.std + call.mean


def _clip_to_normalised_range(x: Tensor, call: AttackCall) -> Tensor:
    low, high = ((bound - call.mean) / call.std for bound in call.bounds)
    return x.clamp(low, high)


CLIPS: dict[str, ClipFunction] = {
    "bounds": lambda x, call: x.clamp(*call.bounds),
    "none": lambda x, _: x,
    "normalised": _clip_normalised(0.0, 1.0),
    "normalised-to-batch": lambda x, call: x.clamp(*_normalised_batch_range(call)),
    "to [-1, 1]": lambda x, _: x.clamp(-1.0, 1.0),
    "to [-1, 1] when normalised": _clip_normalised(-1.0, 1.0),
    "to [0, 255]": lambda x, _: x.clamp(0.0, 255.0),
    "to [-0.5, 0.5]": lambda x, _: x.clamp(-0.5, 0.5),
    "to the normalised range": _clip_to_normalised_range,
    "at the top only": lambda x, call: x.clamp(max=call.bounds[1]),
    "at the bottom only": lambda x, call: x.clamp(min=call.bounds[0]),
    "batch-range": lambda x, call: x.clamp(call.x.min(), call.x.max()),
    "image-range": lambda x, call: x.clamp(
        call.x.flatten(1).amin(1).view(-1, 1, 1, 1), call.x.flatten(1).amax(1).view(-1, 1, 1, 1)
    ),
    "rescaled": lambda x, _: (x - x.min()) / (x.max() - x.min()),
}


def _normalised_batch_range(call: AttackCall) -> tuple[Tensor, Tensor]:
    normalised = (call.x - call.mean) / call.std
    return normalised.min() * call.std + call.mean, normalised.max() * call.std + call.mean


def _pixel_levels(images: Tensor) -> Tensor:
    return images.clamp(0, 1) * 255


def _jpeg(quality: int) -> TensorTransform:
    def round_trip(images: Tensor) -> Tensor:
        levels = _pixel_levels(images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return torch.stack([_jpeg_round_trip(image, quality) for image in levels]).float() / 255

    return round_trip


def _jpeg_round_trip(image: NDArray[np.uint8], quality: int) -> Tensor:
    stream = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(stream, "JPEG", quality=quality)
    with Image.open(stream, formats=["JPEG"]) as read:
        pixels = torch.from_numpy(np.array(read))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _resize_round_trip(scale: float, mode: str) -> TensorTransform:
    def round_trip(images: Tensor) -> Tensor:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        kept = {"align_corners": False} if mode == "bilinear" else {}
        small = functional.interpolate(images, size, mode=mode, **kept)
        return functional.interpolate(small, images.shape[2:], mode=mode, **kept)

    return round_trip


EIGHT_BIT_PREFIXES = ("rounded", "truncated", "JPEG")
"""Prefixes of output formats whose pixels are multiples of 1/255."""

OUTPUT_FORMATS: dict[str, TensorTransform] = {
    "float32": lambda images: images,
    "rounded to 8 bits": lambda images: _pixel_levels(images).round() / 255,
    "truncated to 8 bits": lambda images: _pixel_levels(images).floor() / 255,
    "truncated to 8 bits by 256": lambda images: (images.clamp(0, 1) * 256).floor().clamp(max=255) / 255,
    "float16": lambda images: images.half().float(),
    "bfloat16": lambda images: images.bfloat16().float(),
    **{f"JPEG of quality {quality}": _jpeg(quality) for quality in (50, 75, 80, 85, 90, 95, 100)},
    **{
        f"resized by {size:g}, {mode}": _resize_round_trip(size, mode) for size in RESIZE_SCALES for mode in ("bilinear", "nearest")
    },
}
"""The images that are returned, from adversarial images (N, C, H, W)."""

IMAGE_ORDERS: dict[str, TensorTransform] = {
    "own": lambda images: images,
    "the image before": lambda images: images.roll(1, 0),
    "the next image": lambda images: images.roll(-1, 0),
    "reversed": lambda images: images.flip(0),
}
