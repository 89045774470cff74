"""TrojanZoo, its optimiser PGD."""

from torch import Tensor, nn

INSTALL = ["trojanzoo=={version}"]
ATTACKS = {"bim": "--method bim --steps 10 --step-size 0.25", "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start"}


def _optimize(model: nn.Module, x: Tensor, y: Tensor, eps: float, random_start: bool) -> Tensor:
    from trojanzoo.optim import PGD

    def negative_loss(images: Tensor, reduction: str = "mean", **_) -> Tensor:
        return -nn.functional.cross_entropy(model(images), y, reduction=reduction)

    attack = PGD(pgd_alpha=eps / 4, pgd_eps=eps, iteration=10, random_init=random_start)
    return attack.optimize(x, loss_fn=negative_loss)[0].detach()


def bim(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD without a random start: 10 steps of eps / 4."""
    return _optimize(model, x, y, eps, random_start=False)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4 from a random start."""
    return _optimize(model, x, y, eps, random_start=True)
