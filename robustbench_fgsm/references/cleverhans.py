"""CleverHans' fast_gradient_method behind our signature.

It averages the loss, like torchattacks. Under L2 it divides by sqrt(max(sum, 1e-12)), so a gradient whose norm is below
1e-6 is under-scaled. Under L1 it splits the budget over ties and asserts on a zero gradient: not offered here. Its
parameter gradients pile up and its result stays attached to the graph, which its own copy of the network absorbs. It
returns images and nothing else: it defines no success.
"""

from __future__ import annotations

import math
from importlib.metadata import version

import numpy as np
from torch import Tensor

from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.references.batched import BatchedReference, reference_network
from robustbench_fgsm.spec import AttackSpec


def prepare(classifier: Classifier, spec: AttackSpec, batch_size: int) -> BatchedReference:
    """The library set to agree with an attack of ours; raises as `own_network` does."""
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

    network = reference_network("cleverhans", classifier, spec, (math.inf, 2.0), targeted=True)
    low, high = spec.bounds

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
