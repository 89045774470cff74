"""Captum, its module captum.robust."""

from torch import Tensor, nn

INSTALL = ["captum=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgsm_default_loss": "--method fgsm",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
}
BATCH_SIZES = {"pgd_l2": 1}  # it raises for more images


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM with cross-entropy as its loss_func."""
    from captum.robust import FGSM

    loss = nn.CrossEntropyLoss(reduction="none")
    return FGSM(model, loss_func=loss, lower_bound=0, upper_bound=1).perturb(x, eps, y)


def fgsm_default_loss(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM with its default loss on a network that returns probabilities."""
    from captum.robust import FGSM

    def probabilities(images: Tensor) -> Tensor:
        return model(images).softmax(1)

    return FGSM(probabilities, lower_bound=0, upper_bound=1).perturb(x, eps, y)


def _projected(model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    from captum.robust import PGD

    attack = PGD(model, loss_func=nn.CrossEntropyLoss(reduction="none"), lower_bound=0, upper_bound=1)
    return attack.perturb(x, eps, eps / 4, 10, y, random_start=True, norm=norm)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4 from a random start."""
    return _projected(model, x, y, eps, "Linf")


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD with norm L2: 10 steps of eps / 4 from a random start."""
    return _projected(model, x, y, eps, "L2")
