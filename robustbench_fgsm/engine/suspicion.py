"""What may be wrong with a classifier on some data though it can be attacked: each finding one line, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.out_of_memory import out_of_memory
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import Classifier, PixelSpace, TorchClassifier
from robustbench_fgsm.spec import AttackSpec

ENOUGH = 8
"""Images below which an accuracy says nothing."""

SAME = 0.01
"""Outputs this close, relative to the largest, are the same: reduced precision moves them by a tenth of it."""

DARK = 0.02
"""Largest pixel below which images look as if they were divided by 255 twice."""


def check_gradient(classifier: Classifier, batch: Batch, spec: AttackSpec) -> Tensor:
    """Outputs (N, K) of that forward pass; raises ModelError where no gradient gets from the loss back to the images."""
    loss = get_loss(spec.loss, stable=spec.stable)
    device = classifier.device
    try:
        _, outputs = classifier.loss_gradient(batch.images.to(device), batch.labels.to(device), loss)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise ModelError(
            f"model must pass a gradient back to its images, but it failed ({str(error).splitlines()[0]}): "
            "look for no_grad, detach, or a step through integers or NumPy"
        ) from error
    return outputs


def suspicions(classifier: Classifier, batch: Batch, outputs: Tensor, among_fewer: Tensor) -> Iterator[str]:
    """Warnings, from a few images, the outputs (N, K) for them, and those for the first of them among fewer (n, K)."""
    yield from _unsteady(classifier, batch.images.to(classifier.device), outputs, among_fewer)
    yield from _implausible(classifier, batch, outputs)
    brightest = float(batch.images.max()) if batch.images.numel() else 0.0
    if 0 < brightest < DARK:
        yield f"all pixels are below {brightest:.2g}: look whether the images were divided by 255 twice"


def _unsteady(classifier: Classifier, x: Tensor, outputs: Tensor, among_fewer: Tensor) -> Iterator[str]:
    """Outputs that change from call to call, or with the other images of the batch."""
    distance = _distance(among_fewer, outputs[: len(among_fewer)])
    if distance <= SAME:
        return
    if _distance(classifier.predict(x), outputs) > SAME:
        yield (
            f"the model answers the same images differently from call to call (by {distance:.2g} of its outputs): "
            "dropout or another source of chance is on, so switch it off"
        )
    else:
        yield (
            f"an image's outputs depend on the images beside it (by {distance:.2g} of them): batch norm uses the batch's "
            "statistics, so let it use its running ones"
        )


def _distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest output; 0 where it is not a number."""
    scale = float(theirs.abs().max()) or 1.0
    return float((ours - theirs).abs().max().nan_to_num(0.0)) / max(scale, 1e-12)


def _implausible(classifier: Classifier, batch: Batch, outputs: Tensor) -> Iterator[str]:
    """A clean accuracy that few networks have that were meant for the data."""
    n, chance = len(batch), 1 / classifier.num_classes
    right = _count_right(outputs, batch)
    least = min(3 * chance, 0.5)
    if n < ENOUGH or right >= least * n:
        return
    found = f"clean accuracy is {right} of {n} on the images looked at, below {least:.3g}"
    bare = _without_normalisation(classifier, batch.images.to(classifier.device))
    if bare is not None and _count_right(bare, batch) >= max(2 * right, least * n):
        yield f"{found}, and higher without mean and std: the network normalises by itself, so leave them out"
    else:
        yield f"{found}: look for wrong weights, another order of classes, or images prepared for another model"


def _count_right(outputs: Tensor, batch: Batch) -> int:
    return int((predicted(outputs).cpu() == batch.labels).sum())


@torch.no_grad()
def _without_normalisation(classifier: Classifier, x: Tensor) -> Tensor | None:
    """Outputs (N, K) with mean and std undone in advance; None where there are none that could be undone."""
    if not isinstance(classifier, TorchClassifier) or not isinstance(classifier.network, PixelSpace):
        return None
    network = classifier.network
    if bool((network.mean == 0).all()) and bool((network.std == 1).all()):
        return None
    mean, std = network.statistics(x)
    outputs: Tensor = network(x * std + mean)
    return outputs
