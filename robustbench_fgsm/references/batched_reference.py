"""A reference made of one function that perturbs a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import call_model
from robustbench_fgsm.attack.losses import cross_entropy, get_loss
from robustbench_fgsm.attack.step import Epsilon
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, attacked_loss
from robustbench_fgsm.models.copy_module import make_trainable
from robustbench_fgsm.references.registry import OwnSuccess
from robustbench_fgsm.spec import AttackSpec, norm_name, require_uniform_bounds

PerturbBatch = Callable[[Tensor, Tensor, Any], Tensor]
"""Images, labels or targets, and one budget in, which is a tensor under an epsilon scale; adversarial images out."""


@dataclass(frozen=True)
class BatchedReference:
    """Another library on its own copy of a network, one batch at a time, as in a loop of the library's users."""

    name: str
    version: str
    network: nn.Module
    perturb_batch: PerturbBatch
    batch_size: int
    device: torch.device
    norm_floor: float = 0.0
    different_execution: bool = False
    own_success: OwnSuccess | None = None

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K) of the network itself."""
        parts = torch.split(x, self.batch_size)
        return torch.cat([call_model(self.network, part.to(self.device)).cpu() for part in parts])

    def fgsm(self, x: Tensor, y: Tensor, epsilon: Epsilon) -> Tensor:
        """Return adversarial images on the CPU; y: labels, or targets of a targeted attack."""
        parts = zip(torch.split(x, self.batch_size), torch.split(y, self.batch_size), strict=True)
        crafted = [self.perturb_batch(images.to(self.device), labels.to(self.device), epsilon) for images, labels in parts]
        return torch.cat([images.detach().cpu() for images in crafted])


def reference_network(
    name: str, classifier: Classifier, spec: AttackSpec, norms: tuple[float, ...], *, targeted: bool
) -> nn.Module:
    """Return the reference's own copy of the network, with parameters that require gradients, as users have them.

    norms, targeted: settings under which the library's attack equals ours. Raises SettingError for other settings, and ModelError
    for a classifier that is not a PyTorch network.
    """
    if spec.norm not in norms:
        known = ", ".join(norm_name(norm) for norm in norms)
        raise SettingError(f"{name} is comparable under norm {known}, got {norm_name(spec.norm)}: use --references art")
    if spec.target.targeted and not targeted:
        raise SettingError(f"{name} has no targeted FGSM, got targeted {spec.target}: use --references art")
    require_uniform_bounds(spec.bounds, name, "use --references art")
    if spec.epsilon_scale is not None:
        raise SettingError(f"{name} takes one epsilon for all features, got an epsilon scale: use --references art")
    if attacked_loss(classifier, get_loss(spec.loss)) is not cross_entropy:
        raise SettingError(f"{name} attacks by cross-entropy of logits only, got another loss: use --references art")
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"{name} needs a PyTorch network, got {type(classifier).__name__}: use --references art")
    return make_trainable(classifier.copy_network())
