"""Foolbox."""

from torch import Tensor, nn

INSTALL = ["foolbox=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgm": "--method fgm --norm 2",
    "bim": "--method bim --steps 10 --step-size 0.25",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
}


def _run(attack, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    from foolbox import PyTorchModel

    return attack(PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=eps)[1]


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run LinfFastGradientAttack."""
    from foolbox.attacks import LinfFastGradientAttack

    return _run(LinfFastGradientAttack(), model, x, y, eps)


def fgm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run L2FastGradientAttack."""
    from foolbox.attacks import L2FastGradientAttack

    return _run(L2FastGradientAttack(), model, x, y, eps)


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run LinfBasicIterativeAttack: 10 steps of eps / 4."""
    from foolbox.attacks import LinfBasicIterativeAttack

    return _run(LinfBasicIterativeAttack(rel_stepsize=0.25, steps=10), model, x, y, eps)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run LinfPGD: 10 steps of eps / 4 from a random start."""
    from foolbox.attacks import LinfPGD

    return _run(LinfPGD(rel_stepsize=0.25, steps=10), model, x, y, eps)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run L2PGD: 10 steps of eps / 4 from a random start."""
    from foolbox.attacks import L2PGD

    return _run(L2PGD(rel_stepsize=0.25, steps=10), model, x, y, eps)
