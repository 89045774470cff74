"""Right candidates pass in every style and library, and what counts depends on the settings."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf
from robustbench_fgsm.verification.stage_result import STAGES
from tests.verification.candidates import public_code
from tests.verification.conftest import checked, right, wrong_stages


def test_right_in_every_stage() -> None:
    document = checked(rf.verify(right))
    assert (document["verdict"], document["exit_code"], document["limitations"]) == ("right", 0, [])
    assert [(stage["stage"], stage["verdict"]) for stage in document["stages"]] == [(stage, "ok") for stage in STAGES]
    assert all(not call["wrong_pixels"] for call in document["calls"])
    assert {one["cause"] for one in document["harmless"]} == {"nan-hidden", "saturation-cancellation"}


@pytest.mark.parametrize("name", public_code.CASES)
def test_public_code(name: str) -> None:
    candidate, wrong = public_code.CASES[name]
    found = rf.verify(candidate)
    assert wrong_stages(found) == [stage for stage in STAGES if stage in wrong]
    assert found.verdict == ("wrong" if wrong else "right")


def test_stable_fgsm_has_nothing_harmless() -> None:
    def exact(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return rf.fgsm(model, x, y, epsilon, stable=True)

    found = rf.verify(exact, strict=True)
    assert (found.verdict, found.harmless) == ("right", ())


def test_targeted_calls_only_for_a_candidate_that_offers_them() -> None:
    def untargeted(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return right(model, x, y, epsilon)

    def climbing(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
        return right(model, x, y, epsilon)

    assert not any(one.call.targeted for one in rf.verify(untargeted).responses)
    assert [(one.stage, one.cause) for one in rf.verify(climbing).wrong_stages] == [("direction", "targeted-as-untargeted")]


def test_expected_deviations_do_not_count() -> None:
    def random_start(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        start = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
        moved = right(model, start, y, epsilon)
        return (x + (moved - x).clamp(-epsilon, epsilon)).clamp(0, 1)

    assert "random-start" in {one.cause for one in rf.verify(random_start).wrong_stages}
    found = rf.verify(random_start, expect=["random-start"])
    assert (found.verdict, found.exit_code) == ("right", 0)
    assert "random-start" in {one.cause for one in found.harmless}
    strict = rf.verify(random_start, expect=["random-start", *(one.cause for one in found.harmless if one.cause)], strict=True)
    assert (strict.verdict, strict.exit_code) == ("right", 0)
    reading = next(one for one in found.stages if one.stage == "randomness")
    assert (reading.verdict, reading.text.endswith("(accepted)")) == ("ok", True)


def rounded_to_8_bits(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (right(model, x, y, epsilon) * 255).round() / 255


def test_an_expected_deviation_excuses_no_other() -> None:
    def twice(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return rounded_to_8_bits(model, x, y, 2 * epsilon)

    causes = [one.cause for one in rf.verify(rounded_to_8_bits).wrong_stages if one.cause]
    assert causes
    assert rf.verify(rounded_to_8_bits, expect=causes).verdict == "right"
    assert wrong_stages(rf.verify(twice, expect=causes)) == ["size"]


def test_a_candidate_that_cannot_import_is_bad_input() -> None:
    def importing(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        import no_such_package  # type: ignore[import-not-found]

        return no_such_package.fgsm(model, x, y, epsilon)  # type: ignore[no-any-return]

    with pytest.raises(rf.SettingError, match="No module named 'no_such_package'"):
        rf.verify(importing)


def test_selected_calls_leave_stages_unmeasured() -> None:
    found = rf.verify(right, cases=["turns", "one tensor, other labels"])
    assert [one.name for one in found.responses] == ["turns", "one tensor", "one tensor, other labels"]
    assert (found.verdict, found.exit_code) == ("incomplete", 1)


def test_the_same_verdict_with_another_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        found = rf.verify(right), rf.verify(public_code.CASES["copied_statistics"][0])
    finally:
        torch.set_default_dtype(torch.float32)
    assert found[0].verdict == "right"
    assert wrong_stages(found[1]) == ["size"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cases": ["level"]}, "did you mean levels"),
        ({"expect": ["random"]}, "did you mean random-start"),
        ({"time_limit": 0}, "seconds > 0"),
        ({"style": "plan"}, "did you mean plain"),
    ],
)
def test_rejects_bad_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        rf.verify(right, **given)


TIME_LIMIT = 60.0


def functional_style(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    leaf = x.detach().clone().requires_grad_(True)
    loss = functional.cross_entropy(model(leaf), y, reduction="sum")
    grad = torch.autograd.grad(loss, leaf, only_inputs=True)[0]
    return torch.clamp(x + (-epsilon if targeted else epsilon) * torch.sign(grad), 0.0, 1.0)


class ClassStyle:
    """With a loss module and `backward`, as books have it."""

    def __init__(self) -> None:
        self.loss = nn.CrossEntropyLoss()

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
        images = x.data.clone()
        images.requires_grad = True
        model.zero_grad()
        cost = -self.loss(model(images), y) if targeted else self.loss(model(images), y)
        cost.backward()
        assert images.grad is not None
        return (images + epsilon * images.grad.sign()).clamp(min=0, max=1).detach()


def numpy_style(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> NDArray[Any]:
    leaf = torch.from_numpy(x.numpy().copy()).requires_grad_()
    functional.cross_entropy(model(leaf), torch.from_numpy(y.numpy()), reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    signs = np.sign(leaf.grad.numpy()) * (-1 if targeted else 1)
    adversarial: NDArray[Any] = np.clip(x.numpy() + np.float32(epsilon) * signs, 0, 1)
    return adversarial


def nhwc_style(model: nn.Module, x: NDArray[Any], y: NDArray[Any], epsilon: float) -> NDArray[Any]:
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    loss = functional.cross_entropy(model(images), torch.tensor(y), reduction="sum")
    (grad,) = torch.autograd.grad(loss, images)
    adversarial: NDArray[Any] = np.clip(x + np.float32(epsilon) * np.sign(grad.permute(0, 2, 3, 1).numpy()), 0, 1)
    return adversarial


def float64_style(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    network, leaf = copy.deepcopy(model).double(), x.double().requires_grad_()
    (grad,) = torch.autograd.grad(functional.cross_entropy(network(leaf), y, reduction="sum"), leaf)
    moved = leaf.detach() + epsilon * grad.sign() * (-1 if targeted else 1)
    return moved.clamp(0, 1).float()


def float64_result(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    return (x.double() + epsilon * grad.double().sign()).clamp(0, 1)


def on_log_softmax(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    outputs = model(leaf).log_softmax(1)  # cross_entropy leaves log-probabilities as they are
    (grad,) = torch.autograd.grad(functional.cross_entropy(outputs, y, reduction="sum"), leaf)
    return (x + epsilon * grad.sign()).clamp(0, 1)


def nll(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    loss = functional.nll_loss(functional.log_softmax(model(leaf), 1), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    return (x + epsilon * grad.sign()).clamp(0, 1)


def in_place_on_a_copy(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    adv = x.clone().requires_grad_()
    functional.cross_entropy(model(adv), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert adv.grad is not None
    with torch.no_grad():
        adv.add_(adv.grad.sign_().mul_(-epsilon if targeted else epsilon)).clamp_(0, 1)
    return adv.detach()


def torch_func(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    def loss(images: Tensor) -> Tensor:
        return functional.cross_entropy(model(images), y, reduction="sum")

    grad: Tensor = torch.func.grad(loss)(x)
    return (x + epsilon * grad.sign()).clamp(0, 1)


def one_image_at_a_time(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    adversarial = []
    for image, label in zip(x, y, strict=True):
        leaf = image[None].clone().requires_grad_()
        (grad,) = torch.autograd.grad(functional.cross_entropy(model(leaf), label[None]), leaf)
        adversarial.append((leaf.detach()[0] + (-1 if targeted else 1) * epsilon * grad[0].sign()).clamp(0, 1))
    return torch.stack(adversarial)


def ours(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    return rf.fgsm(model, x, y, epsilon=epsilon, targeted=targeted)


PLAIN: dict[str, Any] = {
    "functional": functional_style,
    "class": ClassStyle(),
    "NumPy": numpy_style,
    "float64": float64_style,
    "float64 result": float64_result,
    "log_softmax and cross_entropy": on_log_softmax,
    "log_softmax and nll_loss": nll,
    "in place on a copy": in_place_on_a_copy,
    "torch.func.grad": torch_func,
    "one image at a time": one_image_at_a_time,
    "ours": ours,
}


@pytest.mark.parametrize("candidate", PLAIN.values(), ids=PLAIN)
def test_right_styles_pass(candidate: Any) -> None:
    found = rf.verify(candidate, time_limit=TIME_LIMIT)
    assert (found.verdict, found.wrong_stages) == ("right", [])


def test_nhwc_passes() -> None:
    found = rf.verify(nhwc_style, style="nhwc", time_limit=TIME_LIMIT)
    assert (found.verdict, found.wrong_stages) == ("right", [])


@pytest.mark.reference
def test_art_passes() -> None:
    evasion = pytest.importorskip("art.attacks.evasion")
    found = rf.verify(evasion.FastGradientMethod, style="art", time_limit=TIME_LIMIT)
    assert (found.verdict, found.wrong_stages) == ("right", [])


@pytest.mark.reference
def test_foolbox_passes() -> None:
    attacks = pytest.importorskip("foolbox.attacks")
    found = rf.verify(lambda: attacks.LinfFastGradientAttack(random_start=False), style="foolbox", time_limit=TIME_LIMIT)
    assert (found.verdict, found.wrong_stages) == ("right", [])


@pytest.mark.reference
def test_torchattacks_passes() -> None:
    library = pytest.importorskip("torchattacks")
    found = rf.verify(library.FGSM, style="torchattacks", time_limit=TIME_LIMIT)
    assert (found.verdict, found.wrong_stages) == ("right", [])


@pytest.mark.reference
def test_cleverhans_passes() -> None:
    library = pytest.importorskip("cleverhans.torch.attacks.fast_gradient_method")

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Any:
        return library.fast_gradient_method(
            model, x, epsilon, np.inf, clip_min=0.0, clip_max=1.0, y=y, targeted=targeted, sanity_checks=False
        )

    found = rf.verify(fgsm, time_limit=TIME_LIMIT)
    assert (found.verdict, found.wrong_stages) == ("right", [])
