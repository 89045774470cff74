"""AdverTorch."""

from torch import Tensor, nn

INSTALL = ["advertorch=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgm": "--method fgm --norm 2",
    "bim": "--method bim --steps 10 --step-size 0.25",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
    "mi_fgsm": "--method mi-fgsm --steps 10 --step-size 0.1",
}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run GradientSignAttack."""
    from advertorch.attacks import GradientSignAttack

    return GradientSignAttack(model, eps=eps).perturb(x, y)


def fgm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run GradientAttack."""
    from advertorch.attacks import GradientAttack

    return GradientAttack(model, eps=eps).perturb(x, y)


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run LinfBasicIterativeAttack: 10 steps of eps / 4."""
    from advertorch.attacks import LinfBasicIterativeAttack

    return LinfBasicIterativeAttack(model, eps=eps, nb_iter=10, eps_iter=eps / 4).perturb(x, y)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run LinfPGDAttack: 10 steps of eps / 4 from a random start."""
    from advertorch.attacks import LinfPGDAttack

    return LinfPGDAttack(model, eps=eps, nb_iter=10, eps_iter=eps / 4).perturb(x, y)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run L2PGDAttack: 10 steps of eps / 4 from a random start."""
    from advertorch.attacks import L2PGDAttack

    return L2PGDAttack(model, eps=eps, nb_iter=10, eps_iter=eps / 4).perturb(x, y)


def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run LinfMomentumIterativeAttack: 10 steps of eps / 10, decay 1."""
    from advertorch.attacks import LinfMomentumIterativeAttack

    return LinfMomentumIterativeAttack(model, eps=eps, nb_iter=10, eps_iter=eps / 10, decay_factor=1.0).perturb(x, y)
