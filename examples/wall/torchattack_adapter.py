"""torchattack."""

from torch import Tensor, nn

INSTALL = ["torchattack=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
    "mi_fgsm": "--method mi-fgsm --steps 10 --step-size 0.1",
}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM."""
    from torchattack import FGSM

    return FGSM(model, eps=eps, device=x.device)(x, y)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4 from a random start."""
    from torchattack import PGD

    return PGD(model, eps=eps, steps=10, alpha=eps / 4, device=x.device)(x, y)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGDL2: 10 steps of eps / 4 from a random start."""
    from torchattack import PGDL2

    return PGDL2(model, eps=eps, steps=10, alpha=eps / 4, device=x.device)(x, y)


def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run MIFGSM: 10 steps of eps / 10, decay 1."""
    from torchattack import MIFGSM

    return MIFGSM(model, eps=eps, steps=10, alpha=eps / 10, decay=1.0, device=x.device)(x, y)
