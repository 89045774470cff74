"""ART's FastGradientMethod as a reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.attack.step import Epsilon
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.art import ArtClassifier, clip_values, pytorch_estimator
from robustbench_fgsm.models.art_engine import Array, patch_svc_probability
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, attacked_loss
from robustbench_fgsm.models.copy_module import make_trainable
from robustbench_fgsm.references.registry import OwnSuccess
from robustbench_fgsm.spec import AttackSpec, Bounds
from robustbench_fgsm.stats.rate import Rate

PREDICTION_CHANGED = OwnSuccess("prediction changed, over all images", lambda tally: tally.flip_rate)
TARGET_HIT = OwnSuccess("prediction is the target, over all images", lambda tally: Rate(tally.target_hits, tally.n))
"""What `art.utils.compute_success` counts, untargeted and targeted; it never asks whether a prediction was right."""


class ArtReference:
    """ART's attack over its own estimator, such as PyTorchClassifier on its own copy of the network.

    The loss is ours, summed, which is cross-entropy by default. ART's default averages it: the division by the batch size rounds,
    and can change the sign of a gradient near zero unless the batch size is a power of two. clip_values are the bounds. ART's
    preprocessing is off, because the network normalises inside.
    """

    name = "art"
    norm_floor = 0.0
    different_execution = False

    def __init__(
        self,
        estimator: Any,
        *,
        norm: float,
        targeted: bool,
        batch_size: int,
        art_classifier: ArtClassifier | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Set up the attack.

        art_classifier: classifier that converts images to the estimator's shape, if the shapes differ. bounds: bounds of features,
        which get the shape of the images.
        """
        import art

        self.version: str = art.__version__
        self.own_success = TARGET_HIT if targeted else PREDICTION_CHANGED
        self._batch_size = batch_size
        self._settings = {"norm": "inf" if norm == math.inf else norm, "targeted": targeted, "batch_size": batch_size}
        self._estimator = estimator
        self._art_classifier = art_classifier
        self._bounds = None if bounds is None or bounds.is_uniform else bounds

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K) of ART's own `predict` with our batch size."""
        return torch.from_numpy(self._estimator.predict(self._to_array(x), batch_size=self._batch_size))

    def fgsm(self, x: Tensor, y: Tensor | None, epsilon: Epsilon) -> Tensor:
        """Return adversarial images of ART's `generate`; y: labels (N,), targets, or None for ART's own predictions."""
        from art.attacks.evasion import FastGradientMethod

        eps: Any = epsilon
        if isinstance(epsilon, Tensor):
            eps = epsilon.cpu().numpy()
            eps = eps.reshape(-1, *[1] * (x.ndim - 1)) if eps.ndim == 1 else eps
        if self._bounds is not None:
            self._estimator.set_params(clip_values=clip_values(self._bounds, tuple(x.shape[1:])))
        eps_step = np.ones_like(eps) if isinstance(eps, np.ndarray) else 1.0  # read only for the minimal budget, never zero
        attack = FastGradientMethod(self._estimator, eps=eps, eps_step=eps_step, **self._settings)
        with np.errstate(invalid="ignore"):  # it divides rows without labels by 0; `SummedLoss` takes no harm
            adversarial = torch.from_numpy(attack.generate(self._to_array(x), None if y is None else y.cpu().numpy()))
        return adversarial if self._art_classifier is None else self._art_classifier.from_estimator_shape(adversarial, x)

    def _to_array(self, x: Tensor) -> Array:
        arranged: Array = (x if self._art_classifier is None else self._art_classifier.to_estimator_shape(x)).cpu().numpy()
        return arranged


def prepare(classifier: Classifier, spec: AttackSpec, batch_size: int) -> ArtReference:
    """Return ART's attack with the settings of ours, on a copy of a network, or on an ART estimator itself.

    Raises ModelError if the classifier is neither.
    """
    settings: dict[str, Any] = {"norm": spec.norm, "targeted": spec.target.targeted, "batch_size": batch_size}
    if isinstance(classifier, ArtClassifier):
        return ArtReference(patch_svc_probability(classifier.estimator), art_classifier=classifier, **settings)
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"the art reference needs a PyTorch network, got {type(classifier).__name__}")
    network = make_trainable(classifier.copy_network())  # as a user of ART has it
    loss = attacked_loss(classifier, get_loss(spec.loss))
    estimator = pytorch_estimator(network, classifier.num_classes, spec.bounds, classifier.device, loss=loss, task=classifier.task)
    return ArtReference(estimator, bounds=spec.bounds, **settings)
