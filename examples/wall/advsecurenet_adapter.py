"""AdvSecureNet."""

from torch import Tensor, nn

INSTALL = ["advsecurenet=={version}"]
ATTACKS = {"fgsm": "--method fgsm", "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start"}


def _device():
    import torch
    from advsecurenet.shared.types.configs.device_config import DeviceConfig

    return DeviceConfig(processor=torch.device("cpu"))


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM."""
    from advsecurenet.attacks.gradient_based import FGSM
    from advsecurenet.shared.types.configs.attack_configs import FgsmAttackConfig

    return FGSM(FgsmAttackConfig(epsilon=eps, device=_device())).attack(model, x, y)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run PGD: 10 steps of eps / 4; its start is always random."""
    from advsecurenet.attacks.gradient_based import PGD
    from advsecurenet.shared.types.configs.attack_configs import PgdAttackConfig

    return PGD(PgdAttackConfig(epsilon=eps, alpha=eps / 4, num_iter=10, device=_device())).attack(model, x, y)
