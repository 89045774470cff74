"""CleverHans, its attacks for PyTorch."""

import numpy as np
from torch import Tensor, nn

INSTALL = ["cleverhans=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgm": "--method fgm --norm 2",
    "bim": "--method bim --steps 10 --step-size 0.25",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run fast_gradient_method."""
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

    return fast_gradient_method(model, x, eps, np.inf, clip_min=0, clip_max=1, y=y, sanity_checks=False)


def fgm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run fast_gradient_method with norm 2."""
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

    return fast_gradient_method(model, x, eps, 2, clip_min=0, clip_max=1, y=y, sanity_checks=False)


def _projected(model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: float, random_start: bool) -> Tensor:
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    return projected_gradient_descent(
        model, x, eps, eps / 4, 10, norm, clip_min=0, clip_max=1, y=y, rand_init=random_start, sanity_checks=False
    )


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run projected_gradient_descent without a random start: 10 steps of eps / 4."""
    return _projected(model, x, y, eps, np.inf, random_start=False)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run projected_gradient_descent: 10 steps of eps / 4 from a random start."""
    return _projected(model, x, y, eps, np.inf, random_start=True)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run projected_gradient_descent with norm 2: 10 steps of eps / 4 from a random start."""
    return _projected(model, x, y, eps, 2, random_start=True)
