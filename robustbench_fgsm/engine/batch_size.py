"""How many images at a time, where nobody says: by what a network keeps of each, so that every machine takes as many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import Dataset, first_readable_batch
from robustbench_fgsm.engine.preflight import check_batch_size
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, move_to_classifier

MIB = 2**20


@dataclass(frozen=True)
class BatchLimits:
    """What batches are made for. block: bytes that the largest output of a layer may take; fewest, most: images."""

    max_layer_bytes: int
    min_images: int
    max_images: int


BATCH_LIMITS = {"cpu": BatchLimits(16 * MIB, 8, 256), "cuda": BatchLimits(512 * MIB, 32, 4096)}
"""CPU: with larger ones memory is given back to the system and asked for again layer by layer, which costs up to a third.
GPU: smaller batches are over before the next is launched.
"""


def choose_batch_size(batch_size: int | str, classifier: Classifier, data: Dataset) -> int:
    """The number asked for; for `auto` a power of two by what the network keeps of an image, 128 for other classifiers.

    Raises SettingError for anything but `auto` or a positive integer, DataError where no image can be read.
    """
    size = check_batch_size(batch_size)
    if batch_size != "auto" or not isinstance(classifier, TorchClassifier) or classifier.device.type not in BATCH_LIMITS:
        return size
    try:
        largest = largest_activation_bytes(classifier, move_to_classifier(first_readable_batch(data, 1).images, classifier))
    except RuntimeError:  # preflight says what is wrong with the network, and better
        return size
    room = BATCH_LIMITS[classifier.device.type]
    size = room.max_images
    while size > room.min_images and size * largest > room.max_layer_bytes:
        size //= 2
    return size


def choose_common_batch_size(batch_size: int | str, classifiers: Iterable[Classifier], data: Dataset) -> int:
    """The smallest batch that `choose_batch_size` finds for any of the classifiers, so that all of them take the same."""
    return min(choose_batch_size(batch_size, classifier, data) for classifier in classifiers)


def largest_activation_bytes(classifier: TorchClassifier, x: Tensor) -> int:
    """Bytes of the largest tensor that the network keeps for its backward pass, weights aside, for an image of x (N, ...)."""
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
