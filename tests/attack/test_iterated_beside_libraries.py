"""BIM, PGD and MI-FGSM beside the libraries that are installed: from the same starts, after each number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf

STEPS = (1, 2, 5)
EPSILON, ALPHA = 0.1, 0.03
L2_EPSILON, L2_ALPHA = 0.8, 0.3
ULP = 2.0**-23
"""Rounding of one pixel in [0, 1]."""

pytestmark = [pytest.mark.reference, pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    classifier = rf.load_classifier("mlp300", device="cpu")
    assert isinstance(classifier, rf.TorchClassifier)
    return classifier.copy_network()


@pytest.fixture(scope="module")
def batch(images: rf.ArrayDataset, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Images that are not saturated: CleverHans floors the norm of a gradient at 1e-6, and then takes shorter steps in L2."""
    found = next(images.batches(0, 256, 256))
    with torch.no_grad():
        largest = network(found.images).softmax(1).amax(1)
    kept = (largest < 0.99).nonzero().squeeze(1)[:32]
    assert len(kept) == 32
    return found.images[kept], found.labels[kept]


def labels_or_targets(labels: Tensor, *, targeted: bool) -> Tensor:
    return (labels + 1) % 10 if targeted else labels


@pytest.fixture(scope="module")
def inside(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Images that no attack here moves to the bounds."""
    return 0.45 + batch[0] / 10, batch[1]


def l2_distance(one: Tensor, other: Tensor) -> float:
    return float(torch.linalg.vector_norm((one - other).flatten(1), dim=1).max())


def art_estimator(network: nn.Module) -> Any:
    classification = pytest.importorskip("art.estimators.classification")
    return classification.PyTorchClassifier(
        rf.wrap(network, 10).copy_network(),
        loss=nn.CrossEntropyLoss(reduction="sum"),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0.0, 1.0),
    )


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("targeted", [False, True])
def test_art(network: nn.Module, batch: tuple[Tensor, Tensor], steps: int, targeted: bool) -> None:
    """L-infinity: BIM to the last bit. L2 and momentum: ART computes norms in float32."""
    evasion = pytest.importorskip("art.attacks.evasion")
    x, y = batch[0], labels_or_targets(batch[1], targeted=targeted)
    estimator, given = art_estimator(network), {"max_iter": steps, "targeted": targeted, "verbose": False, "batch_size": len(x)}

    def art(attack: Any) -> Tensor:
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    theirs = art(evasion.BasicIterativeMethod(estimator, eps=EPSILON, eps_step=ALPHA, **given))
    ours: dict[str, Any] = {"steps": steps, "targeted": targeted}
    assert torch.equal(rf.bim(network, x, y, EPSILON, step_size=ALPHA, **ours), theirs)
    theirs = art(evasion.MomentumIterativeMethod(estimator, eps=EPSILON, eps_step=ALPHA, decay=0.8, **given))
    found = rf.mi_fgsm(network, x, y, EPSILON, step_size=ALPHA, decay=0.8, **ours)
    assert float((found != theirs).float().mean()) < 1e-3  # a sum of gradients is 0 to rounding
    theirs = art(evasion.ProjectedGradientDescent(estimator, norm=2, eps=L2_EPSILON, eps_step=L2_ALPHA, **given))
    assert l2_distance(rf.bim(network, x, y, L2_EPSILON, norm=2, step_size=L2_ALPHA, **ours), theirs) < 1e-5


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("targeted", [False, True])
def test_cleverhans(
    network: nn.Module, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, steps: int, targeted: bool
) -> None:
    module = pytest.importorskip("cleverhans.torch.attacks.projected_gradient_descent")
    x, y = batch[0], labels_or_targets(batch[1], targeted=targeted)
    drawn: list[Tensor] = []

    def uniform(self: Tensor, low: float, high: float) -> Tensor:
        drawn.append(torch.empty_like(self).copy_(torch.rand_like(self) * (high - low) + low))
        return self.copy_(drawn[-1])

    for norm, epsilon, alpha in ((math.inf, EPSILON, ALPHA), (2, L2_EPSILON, L2_ALPHA)):
        for rand_init in (False, True):
            torch.manual_seed(0)
            with monkeypatch.context() as patch:
                patch.setattr(Tensor, "uniform_", uniform)
                theirs = module.projected_gradient_descent(
                    *(network, x, epsilon, alpha, steps, norm),
                    clip_min=0.0,
                    clip_max=1.0,
                    y=y,
                    targeted=targeted,
                    rand_init=rand_init,
                )
            start = x
            if rand_init:
                offset = drawn.pop()
                if norm == 2:
                    offset = offset * (epsilon / offset.flatten(1).norm(dim=1).clamp(min=epsilon)).view(-1, 1, 1, 1)
                start = (x + offset).clamp(0, 1)
            found = rf.pgd(network, x, y, epsilon, norm=norm, step_size=alpha, steps=steps, targeted=targeted, start=start)
            if norm == math.inf:
                assert torch.equal(found, theirs.detach())
            else:
                assert l2_distance(found, theirs.detach()) < 1e-5


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("targeted", [False, True])
def test_foolbox(
    network: nn.Module, batch: tuple[Tensor, Tensor], inside: tuple[Tensor, Tensor], steps: int, targeted: bool
) -> None:
    """Foolbox projects before it clips to the bounds, which rounds in another way, and under L2 gives another point at a bound."""
    foolbox = pytest.importorskip("foolbox")
    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    batch, inside = ((x, labels_or_targets(y, targeted=targeted)) for x, y in (batch, inside))

    def theirs(attack: Any, given: tuple[Tensor, Tensor], epsilon: float) -> Tensor:
        criterion = (
            foolbox.criteria.TargetedMisclassification(given[1]) if targeted else foolbox.criteria.Misclassification(given[1])
        )
        found: Tensor = attack.run(model, given[0], criterion, epsilon=epsilon)
        return found

    ours: dict[str, Any] = {"steps": steps, "targeted": targeted}
    bim = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=ALPHA, steps=steps)
    found = rf.bim(network, *batch, EPSILON, step_size=ALPHA, **ours)
    assert float((found - theirs(bim, batch, EPSILON)).abs().max()) <= ULP
    l2 = foolbox.attacks.L2BasicIterativeAttack(abs_stepsize=L2_ALPHA, steps=steps)
    found = rf.bim(network, *inside, L2_EPSILON, norm=2, step_size=L2_ALPHA, **ours)
    assert l2_distance(found, theirs(l2, inside, L2_EPSILON)) < 1e-5


def test_foolbox_adds_signs_for_momentum(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """Foolbox 3.3.4 takes the sign of each gradient before it is added: after three steps this is another attack."""
    foolbox = pytest.importorskip("foolbox")
    attack = foolbox.attacks.LinfMomentumIterativeFastGradientMethod(momentum=1.0, abs_stepsize=ALPHA, steps=5)
    theirs = attack.run(
        foolbox.PyTorchModel(network, bounds=(0, 1)), batch[0], foolbox.criteria.Misclassification(batch[1]), epsilon=EPSILON
    )
    x, y = batch
    images, total = x, torch.zeros_like(x)
    for _ in range(5):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(leaf), y, reduction="sum"), leaf)
        total = total + gradient.sign()
        images = (x + (images + ALPHA * total.sign() - x).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    assert float((images - theirs).abs().max()) <= ULP
    assert float((rf.mi_fgsm(network, x, y, EPSILON, step_size=ALPHA, steps=5) - theirs).abs().max()) > ALPHA / 2


TORCHATTACKS: dict[str, Callable[[Any, nn.Module, int], Any]] = {
    "BIM": lambda library, network, steps: library.BIM(network, EPSILON, ALPHA, steps),
    "PGD": lambda library, network, steps: library.PGD(network, EPSILON, ALPHA, steps, random_start=False),
    "MIFGSM": lambda library, network, steps: library.MIFGSM(network, EPSILON, ALPHA, steps, decay=0.8),
    "PGDL2": lambda library, network, steps: library.PGDL2(network, L2_EPSILON, L2_ALPHA, steps, False, 0.0),
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", TORCHATTACKS)
def test_torchattacks(
    network: nn.Module, batch: tuple[Tensor, Tensor], inside: tuple[Tensor, Tensor], name: str, steps: int, targeted: bool
) -> None:
    library = pytest.importorskip("torchattacks")
    attack = TORCHATTACKS[name](library, network, steps)
    x, labels = inside if name == "PGDL2" else batch
    y = labels_or_targets(labels, targeted=targeted)
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    theirs = attack(x, y)
    ours: dict[str, Any] = {"steps": steps, "targeted": targeted}
    if name == "PGDL2":
        assert l2_distance(rf.bim(network, x, y, L2_EPSILON, norm=2, step_size=L2_ALPHA, **ours), theirs) < 1e-5
    elif name == "MIFGSM":
        found = rf.mi_fgsm(network, x, y, EPSILON, step_size=ALPHA, decay=0.8, **ours)
        assert float(((found - theirs).abs() > ULP).float().mean()) < 1e-3  # a sum of gradients is 0 to rounding
    else:
        assert float((rf.bim(network, x, y, EPSILON, step_size=ALPHA, **ours) - theirs).abs().max()) <= ULP


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("targeted", [False, True])
def test_adversarial_library(network: nn.Module, batch: tuple[Tensor, Tensor], steps: int, targeted: bool) -> None:
    """It returns the last iterate that is adversarial, before the last step; the clean image if none is."""
    attacks = pytest.importorskip("adv_lib.attacks")
    x, y = batch[0], labels_or_targets(batch[1], targeted=targeted)
    theirs = attacks.pgd_linf(network, x, y, EPSILON, targeted=targeted, steps=steps, random_init=False, absolute_step_size=ALPHA)
    expected = x.clone()
    for count in range(steps):
        found = x if count == 0 else rf.bim(network, x, y, EPSILON, step_size=ALPHA, steps=count, targeted=targeted)
        with torch.no_grad():
            adversarial = (network(found).argmax(1) == y) == targeted
        expected[adversarial] = found[adversarial]
    assert float((expected - theirs).abs().max()) <= ULP


def test_torchattacks_takes_one_random_step(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """torchattacks' FFGSM is FGSM-RS, from the start that it draws."""
    library = pytest.importorskip("torchattacks")
    x, y = batch
    torch.manual_seed(1)
    theirs = library.FFGSM(network, eps=EPSILON, alpha=1.25 * EPSILON)(x, y)
    torch.manual_seed(1)
    start = (x + torch.randn_like(x).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
    found = rf.pgd(network, x, y, EPSILON, steps=1, step_size=1.25 * EPSILON, start=start)
    assert float((found - theirs).abs().max()) <= ULP
