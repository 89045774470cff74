"""torchensemble, the FGSM of its adversarial training."""

import torch
from torch import Tensor, nn

INSTALL = ["torchensemble=={version}"]
ATTACKS = {"fgsm": "--method fgsm"}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run _get_fgsm_samples on the gradient that its training takes: of the mean cross-entropy."""
    from torchensemble.adversarial_training import _get_fgsm_samples

    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), x)
    return _get_fgsm_samples([x.detach()], eps, [gradient])[0]
