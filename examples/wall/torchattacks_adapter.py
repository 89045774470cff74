"""torchattacks."""

from torch import Tensor, nn

INSTALL = ["torchattacks=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "bim": "--method bim --steps 10 --step-size 0.25",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
    "mi_fgsm": "--method mi-fgsm --steps 10 --step-size 0.1",
    "rfgsm": "--method r+fgsm",
    "ffgsm": "--method fgsm-rs --step-size 1.25",
}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM."""
    import torchattacks

    return torchattacks.FGSM(model, eps=eps)(x, y)


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run BIM: 10 steps of eps / 4."""
    import torchattacks

    return torchattacks.BIM(model, eps=eps, alpha=eps / 4, steps=10)(x, y)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4 from a random start."""
    import torchattacks

    return torchattacks.PGD(model, eps=eps, alpha=eps / 4, steps=10)(x, y)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGDL2: 10 steps of eps / 4 from a random start."""
    import torchattacks

    return torchattacks.PGDL2(model, eps=eps, alpha=eps / 4, steps=10)(x, y)


def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run MIFGSM: 10 steps of eps / 10, decay 1."""
    import torchattacks

    return torchattacks.MIFGSM(model, eps=eps, alpha=eps / 10, steps=10, decay=1.0)(x, y)


def rfgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run RFGSM with one step of eps / 2."""
    import torchattacks

    return torchattacks.RFGSM(model, eps=eps, alpha=eps / 2, steps=1)(x, y)


def ffgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FFGSM with a step of 1.25 eps."""
    import torchattacks

    return torchattacks.FFGSM(model, eps=eps, alpha=1.25 * eps)(x, y)
