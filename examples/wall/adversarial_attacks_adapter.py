"""adversarial-attacks."""

from torch import Tensor, nn

INSTALL = ["adversarial-attacks=={version}"]
ATTACKS = {"fgsm": "--method fgsm"}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM."""
    from adversarial_attacks.fgsm import FGSM

    return FGSM(model, epsilon=eps).perturb(x, y)
