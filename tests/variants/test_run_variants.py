"""Variants on a linear network, whose gradient W^T (softmax - onehot) is derived by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.run_variants import VariantRunner
from robustbench_fgsm.variants.variant import RIGHT_VARIANT, Variant

EPSILON = 0.1
WEIGHT = torch.tensor([[1.0, -2.0, 0.0, 4.0], [0.0, 3.0, 0.0, 1.0]])
IDS = torch.tensor([4, 9])


class CountedNetwork(nn.Module):
    """A linear network behind dropout that counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2, bias=False)
        self.dropout = nn.Dropout(0.5)
        self.passes: list[bool] = []
        with torch.no_grad():
            self.linear.weight.copy_(WEIGHT)

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(self.training)
        logits: Tensor = self.linear(self.dropout(x.flatten(1)))
        return logits


def attack_call(targeted: bool = False) -> AttackCall:
    x = torch.tensor([[0.5, 0.5, 0.5, 0.95], [0.4, 0.6, 0.2, 0.03]]).view(2, 1, 2, 2)
    return AttackCall(CountedNetwork().eval(), x, torch.tensor([0, 1]), 0.0, targeted)


def signs(call: AttackCall) -> Tensor:
    """Signs of W^T (softmax - onehot): with two classes the direction from the label's row to the other row."""
    towards_other = (WEIGHT[1] - WEIGHT[0]).sign()
    return torch.stack([towards_other, -towards_other]).view(call.x.shape) * (-1 if call.targeted else 1)


def runner(call: AttackCall, *variants: Variant, before: Tensor | None = None) -> VariantRunner:
    def predict(x: Tensor) -> Tensor:
        with torch.no_grad():
            return (x.flatten(1) @ WEIGHT.T).argmax(1)

    return VariantRunner(call, IDS, predict, predict(call.x) if before is None else before, variants)


def images(call: AttackCall, variant: Variant) -> Tensor:
    return runner(call, variant).images(variant, EPSILON)


@pytest.mark.parametrize("targeted", [False, True])
def test_right_variant(targeted: bool) -> None:
    call = attack_call(targeted)
    found = images(call, RIGHT_VARIANT)
    assert torch.equal(found, (call.x + EPSILON * signs(call)).clamp(0, 1))
    assert torch.equal(found, rf.fgsm(call.model, call.x, call.y, EPSILON, targeted=targeted))


@pytest.mark.parametrize(
    ("variant", "factor"),
    [
        (Variant(direction="minus the sign"), -1),
        (Variant(size="half"), 0.5),
        (Variant(size="none"), 0),
        (Variant(labels="shifted by 1"), -1),
        (Variant(loss="own-logit", labels="shifted by 1"), None),
    ],
)
def test_one_change(variant: Variant, factor: float | None) -> None:
    call = attack_call()
    step = signs(call) * factor if factor is not None else WEIGHT[1 - call.y].sign().view(call.x.shape)
    assert torch.allclose(images(call, variant), (call.x + EPSILON * step).clamp(0, 1))


def test_no_clip_leaves_the_bounds() -> None:
    call = attack_call()
    assert torch.equal(images(call, Variant(clip="none")), call.x + EPSILON * signs(call))


def test_steps_towards_the_least_likely_class() -> None:
    call = attack_call()
    least = (call.x.flatten(1) @ WEIGHT.T).argmin(1)
    towards = replace(call, y=least, targeted=True)
    assert torch.equal(images(call, Variant(labels="least likely")), images(towards, RIGHT_VARIANT))


def test_several_steps_stay_in_the_budget() -> None:
    call = attack_call()
    twice = images(call, Variant(steps="2 of epsilon"))
    assert torch.allclose(twice, images(call, RIGHT_VARIANT))  # the gradient of a linear network does not turn
    assert torch.allclose(images(call, Variant(steps="10 of a tenth")), twice, atol=1e-6)


FAMILY: dict[str, tuple[Callable[..., Tensor], dict[str, object]]] = {
    "10 of a tenth": (rf.bim, {"steps": 10}),
    "MI-FGSM-10 of a tenth": (rf.mi_fgsm, {"steps": 10}),
    "FGSM-RS, 1 of 5/4 of epsilon": (rf.pgd, {"steps": 1, "step_size": 1.25 * EPSILON, "ids": IDS}),
    "PGD-7 of 2/255": (rf.pgd, {"steps": 7, "step_size": 2 / 255, "ids": IDS}),
    "PGD-50 of 2/255": (rf.pgd, {"steps": 50, "step_size": 2 / 255, "ids": IDS}),
    "PGD-20 of a quarter": (rf.pgd, {"steps": 20, "step_size": EPSILON / 4, "ids": IDS}),
    "PGD-20 of 2.5/20": (rf.pgd, {"steps": 20, "ids": IDS}),
}


def turning_call() -> AttackCall:
    """A network whose gradient turns within the ball, so that the path of the images counts."""
    torch.manual_seed(0)
    first = nn.Linear(4, 16)
    with torch.no_grad():
        first.weight.mul_(30)
    return replace(attack_call(), model=nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(16, 3)).eval())


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_is_the_librarys(name: str) -> None:
    call, variant, (attack, settings) = turning_call(), Variant(steps=name), FAMILY[name]
    expected = attack(call.model, call.x, call.y, EPSILON, **settings)
    torch.testing.assert_close(images(call, variant), expected, rtol=0, atol=1e-6)
    assert variant.mistakes == ("iterated",)


def test_runs_continue_shorter_ones() -> None:
    """Ten steps continue seven steps of one size; they do not continue those at another budget."""
    call, names = turning_call(), ["PGD-7 of 2/255", "PGD-10 of 2/255", "PGD-7 of 2/255"]
    passes: list[int] = []
    call.model.register_forward_hook(lambda *_: passes.append(1))
    shared = runner(call, *(Variant(steps=name) for name in names))
    for epsilon in (EPSILON, EPSILON / 2):
        for name, added in zip(names, (7, 3, 7), strict=True):
            before = len(passes)
            found = shared.images(Variant(steps=name), epsilon)
            assert len(passes) - before == added
            alone = runner(call, Variant(steps=name)).images(Variant(steps=name), epsilon)
            assert torch.equal(found, alone)


def test_random_starts_do_not_depend_on_the_batch() -> None:
    call = attack_call()
    last = replace(call, x=call.x[1:], y=call.y[1:])
    for start in ("a random point", "a random half step"):
        variant = Variant(start=start)
        whole = images(call, variant)
        alone = VariantRunner(last, IDS[1:], torch.argmax, last.y, [variant]).images(variant, EPSILON)
        assert torch.equal(whole[1:], alone)
        assert not torch.equal(whole, images(call, RIGHT_VARIANT))
        assert float((whole - call.x).abs().max()) <= EPSILON + 1e-6


def test_a_random_half_step_leaves_half_for_the_gradient() -> None:
    call = attack_call()
    moved = (images(call, Variant(start="a random half step", clip="none")) - call.x) / EPSILON
    sizes = moved.abs()[signs(call) != 0]
    assert torch.all(torch.isclose(sizes, torch.tensor(1.0), atol=1e-5) | torch.isclose(sizes, torch.tensor(0.0), atol=1e-5))


def test_losses_share_one_forward_pass() -> None:
    call = attack_call()
    variants = [Variant(loss=loss, labels=labels) for loss in ("ce", "margin", "sum") for labels in ("given", "predicted")]
    shared = runner(call, *variants)
    for variant in variants:
        for epsilon in (0.1, 0.2):
            shared.images(variant, epsilon)
    assert isinstance(call.model, CountedNetwork)
    assert call.model.passes == [False]


def test_train_mode_is_on_a_copy_with_seeded_dropout() -> None:
    call, variant = attack_call(), Variant(mode="train", direction="gradient", clip="none")
    state = torch.get_rng_state()
    found = images(call, variant)
    assert torch.equal(found, images(call, variant))
    assert not torch.equal(found, images(call, replace(variant, mode="eval")))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(call.model, CountedNetwork)
    assert not call.model.training
    assert not any(call.model.passes)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [("all", [1, 0]), ("clean where wrong before", [1, 1]), ("clean where it fails", [1, 1]), ("clean where it succeeds", [0, 0])],
)
def test_clean_images_keep_their_prediction(kept: str, expected: list[int]) -> None:
    """Labels 0 and 0, predicted 0 and 1 before the attack and 1 and 0 after it, so that the second image is wrong before."""
    call = replace(attack_call(), y=torch.tensor([0, 0]))
    variant = Variant(kept=kept)
    one = runner(call, variant, before=torch.tensor([0, 1]))
    one.set_predictions(RIGHT_VARIANT, EPSILON, torch.tensor([1, 0]))
    assert one.predictions(variant, EPSILON).tolist() == expected


def test_predictions_are_those_of_the_images() -> None:
    call = attack_call()
    one = runner(call, RIGHT_VARIANT)
    x_adv = (call.x + 0.6 * signs(call)).clamp(0, 1)
    assert one.predictions(RIGHT_VARIANT, 0.6).tolist() == (x_adv.flatten(1) @ WEIGHT.T).argmax(1).tolist()
