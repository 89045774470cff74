"""Adversarial Robustness Toolbox (ART)."""

import numpy as np
from torch import Tensor, nn

INSTALL = ["adversarial-robustness-toolbox=={version}", "setuptools<81"]  # 1.17 imports pkg_resources
ATTACKS = {
    "fgsm": "--method fgsm",
    "fgm": "--method fgm --norm 2",
    "bim": "--method bim --steps 10 --step-size 0.25",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_numpy": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
    "mi_fgsm": "--method mi-fgsm --steps 10 --step-size 0.1",
}


def _estimator(model: nn.Module, x: Tensor):
    from art.estimators.classification import PyTorchClassifier

    classes = model(x[:1]).shape[1]
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, clip_values=(0, 1), device_type="cpu")


def _generate(attack, x: Tensor, y: Tensor) -> np.ndarray:
    return attack.generate(x.detach().numpy(), y.numpy())


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run FastGradientMethod."""
    from art.attacks.evasion import FastGradientMethod

    return _generate(FastGradientMethod(_estimator(model, x), eps=eps), x, y)


def fgm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run FastGradientMethod with norm 2."""
    from art.attacks.evasion import FastGradientMethod

    return _generate(FastGradientMethod(_estimator(model, x), norm=2, eps=eps), x, y)


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run BasicIterativeMethod: 10 steps of eps / 4."""
    from art.attacks.evasion import BasicIterativeMethod

    return _generate(BasicIterativeMethod(_estimator(model, x), eps, eps / 4, max_iter=10, verbose=False), x, y)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run ProjectedGradientDescent: 10 steps of eps / 4 from a random start."""
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(_estimator(model, x), np.inf, eps, eps / 4, max_iter=10, num_random_init=1, verbose=False)
    return _generate(attack, x, y)


def pgd_numpy(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run ProjectedGradientDescentNumpy: 10 steps of eps / 4 from a random start."""
    from art.attacks.evasion import ProjectedGradientDescentNumpy

    attack = ProjectedGradientDescentNumpy(
        _estimator(model, x), np.inf, eps, eps / 4, max_iter=10, num_random_init=1, verbose=False
    )
    return _generate(attack, x, y)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run ProjectedGradientDescent with norm 2: 10 steps of eps / 4 from a random start."""
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(_estimator(model, x), 2, eps, eps / 4, max_iter=10, num_random_init=1, verbose=False)
    return _generate(attack, x, y)


def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> np.ndarray:
    """Run MomentumIterativeMethod: 10 steps of eps / 10, decay 1."""
    from art.attacks.evasion import MomentumIterativeMethod

    attack = MomentumIterativeMethod(_estimator(model, x), np.inf, eps, eps / 10, 1.0, max_iter=10, verbose=False)
    return _generate(attack, x, y)
