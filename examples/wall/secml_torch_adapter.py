"""SecML-Torch."""

from torch import Tensor, nn

INSTALL = ["secml-torch=={version}", "foolbox", "adv-lib"]
BUILD_CONSTRAINTS = ["setuptools<81"]  # visdom, a dependency of adv-lib, imports pkg_resources while it is built
ATTACKS = {
    "fgsm_foolbox": "--method fgsm",
    "fgsm_advlib": "--method fgsm",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
}


def _run(attack, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from secmlt.models.pytorch.base_pytorch_nn import BasePyTorchClassifier
    from torch.utils.data import DataLoader, TensorDataset

    loader = attack(BasePyTorchClassifier(model), DataLoader(TensorDataset(x, y), batch_size=len(x)))
    return next(iter(loader))[0]


def fgsm_foolbox(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM on its default backend, Foolbox."""
    from secmlt.adv.evasion.fgsm import FGSM

    return _run(FGSM("linf", eps, backend="foolbox"), model, x, y)


def fgsm_advlib(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run FGSM on the backend adv-lib."""
    from secmlt.adv.evasion.fgsm import FGSM

    return _run(FGSM("linf", eps, backend="advlib"), model, x, y)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run its own PGD: 10 steps of eps / 4 from a random start."""
    from secmlt.adv.evasion.pgd import PGD

    return _run(PGD("linf", eps, 10, step_size=eps / 4, random_start=True, backend="native"), model, x, y)
