"""CleverHans' fast_gradient_method as a reference.

CleverHans averages the loss, like torchattacks. Under L2 it divides by sqrt(max(sum, 1e-12)), so a gradient whose norm is below
1e-6 gets a step that is too small. Under L1 it splits the budget over ties and asserts on a zero gradient, so L1 is not offered.
Parameter gradients accumulate, and the result stays attached to the graph; both concern only CleverHans' own copy of the
network. CleverHans returns images only and defines no success.
"""

from __future__ import annotations

import math
from importlib.metadata import version

import numpy as np
from torch import Tensor

from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.references.batched_reference import BatchedReference, reference_network
from robustbench_fgsm.spec import AttackSpec


def prepare(classifier: Classifier, spec: AttackSpec, batch_size: int) -> BatchedReference:
    """Return CleverHans' attack with the settings of ours; raise as `reference_network`."""
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

    network = reference_network("cleverhans", classifier, spec, (math.inf, 2.0), targeted=True)
    low, high = spec.bounds.limits

    def craft(images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        x_adv: Tensor = fast_gradient_method(
            network,
            images,
            epsilon,
            np.inf if spec.norm == math.inf else 2,
            clip_min=low,
            clip_max=high,
            y=labels,
            targeted=spec.target.targeted,
            sanity_checks=False,
        )
        network.zero_grad()
        return x_adv

    floor = 1e-6 * batch_size  # of the mean's gradient, in units of the sum's
    return BatchedReference("cleverhans", version("cleverhans"), network, craft, batch_size, classifier.device, floor)
