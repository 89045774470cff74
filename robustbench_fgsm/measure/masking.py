"""Stronger attacks of ART's on the same images, by which FGSM's answer can be judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.models.art import ArtClassifier, to_art
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, convolves

BATCH = 256


def estimator_of(classifier: Classifier) -> Any:
    """ART's estimator with its own copy of the network; one with convolutions lies channels-last, which is faster."""
    if isinstance(classifier, TorchClassifier) and classifier.has_variants and convolves(classifier.network):
        classifier = classifier.variant(memory_format=torch.channels_last)
        estimator = to_art(classifier)
        estimator.model.to(memory_format=torch.channels_last)
        return estimator
    return to_art(classifier)


def pgd(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    *,
    steps: int,
    restarts: int = 1,
    seed: int = 0,
) -> Tensor:
    """Images by ART's projected gradient descent under L-infinity (Madry et al. 2018, arXiv:1706.06083), in the shape of x.

    Each step is 2.5 epsilon / steps, from a random start in the ball; of several starts the best for each image. ART draws
    from NumPy's global generator, which is seeded for it and afterwards as it was.
    """
    if epsilon == 0 or not len(x):
        return x.clone()
    estimator = estimator_of(classifier)
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(
        estimator,
        eps=epsilon,
        eps_step=2.5 * epsilon / steps,
        max_iter=steps,
        num_random_init=restarts,
        batch_size=BATCH,
        verbose=False,
    )
    return _generated(attack, classifier, x, y, seed)


def _generated(attack: Any, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
    given = classifier.arranged(x) if isinstance(classifier, ArtClassifier) else x
    with _numpy_seeded(seed):
        found = torch.from_numpy(attack.generate(given.contiguous().cpu().numpy(), y.cpu().numpy()))
    restored = classifier.restored(found, x) if isinstance(classifier, ArtClassifier) else found
    return restored.to(x)


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
