"""Outputs of a network on fixed noise, which name the network beside its weights and code.

A network of user code may depend on values that are neither weights nor code, such as those of a file that its code reads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.global_settings import preserve_generators
from robustbench_fgsm.models.classifier import Classifier, move_to_classifier

OutputsOnNoise = tuple[list[float], list[float]]
"""Outputs of two calls, one number for each image of noise."""

NOISE_IMAGES = 16


def outputs_on_noise(classifier: Classifier, read: Callable[[], Batch]) -> OutputsOnNoise | None:
    """Return a weighted sum of the outputs for each of NOISE_IMAGES fixed images, from two calls.

    None for a network that comes from files alone, and for one that takes no such images.

    Args:
        classifier: the network.
        read: returns images of the run, of which the shape of one is used; not called for a network that comes from files.
    """
    if classifier.info.weights != "given":
        return None
    try:
        noise = torch.rand(NOISE_IMAGES, *read().images.shape[1:], generator=torch.Generator().manual_seed(0))
        low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in classifier.bounds)
        x = move_to_classifier(low + noise * (high - low), classifier)
        with preserve_generators([classifier.device]):
            once, again = (classifier.predict(x).double().cpu() for _ in range(2))
    except (RfgsmError, RuntimeError, ValueError):  # the run itself says what is wrong
        return None
    weights = torch.cos(torch.arange(1.0, once.shape[-1] + 1))
    return (once * weights).sum(-1).tolist(), (again * weights).sum(-1).tolist()
