"""Foolbox's FastGradientAttack as a reference.

Foolbox sums the loss, as we do. Under L2 it divides by max(norm, 1e-12). Under L1 it scales the gradient, which is another attack
than the steepest step on one coordinate, and it has no targeted FGSM: neither is offered. It projects the result onto the ball
as x0 + (x - x0), which rounds once more, and then clips.
"""

from __future__ import annotations

import math
from importlib.metadata import version

from torch import Tensor

from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.references.batched_reference import BatchedReference, reference_network
from robustbench_fgsm.references.candidate_styles import import_foolbox
from robustbench_fgsm.references.registry import OwnSuccess
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate

MISCLASSIFIED = OwnSuccess(
    "prediction after it differs from the label, over all images, wrong before or not",
    lambda tally: Rate(tally.n - tally.robust_accuracy.count, tally.n),
)
"""What its criterion `Misclassification`, and so the third value of an attack's call, says of an image."""


def prepare(classifier: Classifier, spec: AttackSpec, batch_size: int) -> BatchedReference:
    """Return Foolbox's attack with the settings of ours; raise as `reference_network`."""
    foolbox = import_foolbox()
    network = reference_network("foolbox", classifier, spec, (math.inf, 2.0), targeted=False)
    model = foolbox.PyTorchModel(network.eval(), bounds=spec.bounds.limits, device=classifier.device)
    attacks = foolbox.attacks
    attack = attacks.LinfFastGradientAttack() if spec.norm == math.inf else attacks.L2FastGradientAttack()

    def craft(images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        x_adv: Tensor = attack.run(model, images, foolbox.criteria.Misclassification(labels), epsilon=epsilon)
        return x_adv

    return BatchedReference(
        "foolbox", version("foolbox"), network, craft, batch_size, classifier.device, norm_floor=1e-12, own_success=MISCLASSIFIED
    )
