"""Adversarial Library (adv-lib)."""

from torch import Tensor, nn

INSTALL = ["adv-lib=={version}"]
BUILD_CONSTRAINTS = ["setuptools<81"]  # its dependency visdom imports pkg_resources while it is built
ATTACKS = {"bim": "--method bim --steps 10 --step-size 0.25", "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start"}


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run pgd_linf without a random start: 10 steps of eps / 4."""
    from adv_lib.attacks import pgd_linf

    return pgd_linf(model, x, y, eps, steps=10, random_init=False, relative_step_size=0.25)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run pgd_linf: 10 steps of eps / 4 from a random start."""
    from adv_lib.attacks import pgd_linf

    return pgd_linf(model, x, y, eps, steps=10, random_init=True, relative_step_size=0.25)
