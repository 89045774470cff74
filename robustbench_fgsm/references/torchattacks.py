"""torchattacks' FGSM as a reference: L-infinity on images in [0, 1] only.

torchattacks averages the loss: the division by the batch size rounds, and sometimes changes the sign of a gradient near zero
unless the batch size is a power of two. It defines no success. `Attack.save` prints a robust accuracy: the share of predictions
after the attack that equal the given labels. With targets set by label, this number is the target hit rate.
"""

from __future__ import annotations

import math
from importlib.metadata import version

from torch import Tensor

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.references.batched_reference import BatchedReference, reference_network
from robustbench_fgsm.spec import PIXEL_BOUNDS, AttackSpec


def prepare(classifier: Classifier, spec: AttackSpec, batch_size: int) -> BatchedReference:
    """Return torchattacks' attack with the settings of ours; raise as `reference_network`, and for other bounds than [0, 1]."""
    import torchattacks

    if spec.bounds != PIXEL_BOUNDS:
        raise SettingError(f"torchattacks clips to [0, 1], got bounds {spec.bounds}: use --references art")
    network = reference_network("torchattacks", classifier, spec, (math.inf,), targeted=True)

    def craft(images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        attack = torchattacks.FGSM(network, eps=epsilon)
        if spec.target.targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        x_adv: Tensor = attack(images, labels)
        return x_adv

    return BatchedReference("torchattacks", version("torchattacks"), network, craft, batch_size, classifier.device)
