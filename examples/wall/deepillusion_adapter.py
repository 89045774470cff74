"""DeepIllusion, its attacks for PyTorch."""

from torch import Tensor, nn

INSTALL = ["deepillusion=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgm": "--method fgm --norm 2",
    "bim": "--method bim --steps 10 --step-size 0.25",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
    "rfgsm": "--method r+fgsm",
}
BOUNDS = {"x_min": 0.0, "x_max": 1.0}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM, and add its perturbation."""
    from deepillusion.torchattacks import FGSM

    return (x + FGSM(model, x, y, BOUNDS, {"norm": "inf", "eps": eps})).detach()


def fgm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM with norm 2, and add its perturbation."""
    from deepillusion.torchattacks import FGSM

    return (x + FGSM(model, x, y, BOUNDS, {"norm": 2, "eps": eps})).detach()


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run BIM: 10 steps of eps / 4, and add its perturbation."""
    from deepillusion.torchattacks import BIM

    return (x + BIM(model, x, y, BOUNDS, {"norm": "inf", "eps": eps, "step_size": eps / 4, "num_steps": 10})).detach()


def _projected(model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str | int) -> Tensor:
    from deepillusion.torchattacks import PGD

    settings = {"norm": norm, "eps": eps, "step_size": eps / 4, "num_steps": 10, "random_start": True, "num_restarts": 1}
    return (x + PGD(model, x, y, BOUNDS, settings)).detach()


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4 from a random start, and add its perturbation."""
    return _projected(model, x, y, eps, "inf")


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD with norm 2: 10 steps of eps / 4 from a random start, and add its perturbation."""
    return _projected(model, x, y, eps, 2)


def rfgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run RFGSM with alpha 0.5, and add its perturbation."""
    from deepillusion.torchattacks import RFGSM

    return (x + RFGSM(model, x, y, BOUNDS, {"norm": "inf", "eps": eps, "alpha": eps / 2})).detach()
