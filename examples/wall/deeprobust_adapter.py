"""DeepRobust, its attacks on images."""

from torch import Tensor, nn

INSTALL = ["deeprobust=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgsm_clipped": "--method fgsm",
    "fgm": "--method fgm --norm 2",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM as its documentation does: without clip_min and clip_max."""
    from deeprobust.image.attack.fgsm import FGSM

    return FGSM(model, device="cpu").generate(x, y, epsilon=eps)


def fgsm_clipped(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM with clip_min and clip_max."""
    from deeprobust.image.attack.fgsm import FGSM

    return FGSM(model, device="cpu").generate(x, y, epsilon=eps, clip_min=0.0, clip_max=1.0)


def fgm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM with order 2."""
    from deeprobust.image.attack.fgsm import FGSM

    return FGSM(model, device="cpu").generate(x, y, epsilon=eps, order=2, clip_min=0.0, clip_max=1.0)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4; its start is always random."""
    from deeprobust.image.attack.pgd import PGD

    return PGD(model, device="cpu").generate(x, y, epsilon=eps, num_steps=10, step_size=eps / 4)
