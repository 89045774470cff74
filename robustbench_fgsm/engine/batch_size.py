"""Choose the batch size by the memory that the network keeps for one image, so that every machine takes as many images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import Dataset, first_readable_batch
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, move_to_classifier
from robustbench_fgsm.options import check_batch_size

MIB = 2**20


@dataclass(frozen=True)
class BatchLimits:
    """Limits of a batch: bytes of the largest output of a layer, and numbers of images."""

    max_layer_bytes: int
    min_images: int
    max_images: int


BATCH_LIMITS = {"cpu": BatchLimits(16 * MIB, 8, 256), "cuda": BatchLimits(512 * MIB, 32, 4096)}
"""CPU: with larger layers the allocator returns memory to the system after each layer, which costs up to a third of the time.
GPU: smaller batches end before the next launch.
"""


def choose_batch_size(batch_size: int | str, classifier: Classifier, data: Dataset) -> int:
    """Return the given number; for `auto` a power of two that fits the network, or 128 for other classifiers.

    If batch norm has no running statistics, no batch has one image alone. Raises SettingError unless the batch size is `auto` or a
    positive integer, or if the given number leaves an image alone; DataError if no image can be read.
    """
    size = _choose_fitting_size(batch_size, classifier, data)
    if not (isinstance(classifier, TorchClassifier) and classifier.uses_batch_statistics) or len(data) < 2:
        return size
    fitting: int = next(fewer for fewer in (*range(size, 1, -1), len(data)) if len(data) % fewer != 1)
    if fitting != size and batch_size != "auto":
        raise SettingError(
            f"batch size must leave no image alone, because the model's batch norm uses the batch's statistics, got {size} for "
            f"{len(data):,} images: pass --batch-size {fitting}"
        )
    return fitting


def _choose_fitting_size(batch_size: int | str, classifier: Classifier, data: Dataset) -> int:
    size = check_batch_size(batch_size)
    if batch_size != "auto" or not isinstance(classifier, TorchClassifier) or classifier.device.type not in BATCH_LIMITS:
        return size
    try:
        images = first_readable_batch(data, 2 if classifier.uses_batch_statistics else 1).images
        largest = largest_activation_bytes(classifier, move_to_classifier(images, classifier))
    except (RuntimeError, ValueError, ModelError):  # preflight reports the error of the network with its remedy
        return size
    limits = BATCH_LIMITS[classifier.device.type]
    size = limits.max_images
    while size > limits.min_images and size * largest > limits.max_layer_bytes:
        size //= 2
    return size


def choose_common_batch_size(batch_size: int | str, classifiers: Iterable[Classifier], data: Dataset) -> int:
    """Return the smallest batch size that any of the classifiers needs."""
    return min(choose_batch_size(batch_size, classifier, data) for classifier in classifiers)


def largest_activation_bytes(classifier: TorchClassifier, x: Tensor) -> int:
    """Return the bytes of the largest tensor, without weights, that the network keeps for the backward pass of one image."""
    weights = {tensor.data_ptr() for tensor in (*classifier.network.parameters(), *classifier.network.buffers())}
    kept = [0]

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept.append(tensor.nbytes)
        return tensor

    watched = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.inference_mode(False), torch.enable_grad(), watched:
        classifier(x.clone().requires_grad_())
    return max(kept) // max(1, len(x))
