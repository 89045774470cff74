"""BIM, PGD and MI-FGSM: golden vectors by hand, an independent loop in float64, and what holds for every input."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.attack.iterated import Momentum, bim, mi_fgsm, pgd
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.errors import DataError, RfgsmError, SettingError

ATTACKS: dict[str, Callable[..., Tensor]] = {"bim": bim, "pgd": pgd, "mi_fgsm": mi_fgsm}
NORMS = ["inf", 2]


def toy(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Network whose gradient turns within a step: its weights are large."""
    torch.manual_seed(1)
    first = nn.Linear(12, 8)
    with torch.no_grad():
        first.weight.mul_(8)
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(8, 3, bias=False)).to(dtype)


def batch(n: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(n, 1, 3, 4, dtype=torch.float64, generator=generator).round(decimals=1)  # some on the bounds
    return x.to(dtype), torch.arange(n) % 3


def loop(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    alpha: float,
    steps: int,
    *,
    norm: str | int = "inf",
    targeted: bool = False,
    decay: float | None = None,
    start: Tensor | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Tensor:
    """The attack image by image in NumPy, in the words of the papers."""
    found = []
    for index in range(len(x)):
        centre = x[index : index + 1].numpy()
        moved = centre if start is None else start[index : index + 1].numpy()
        momentum = np.zeros_like(centre)
        for _ in range(steps):
            leaf = torch.from_numpy(moved.copy()).requires_grad_()
            nn.CrossEntropyLoss()(model(leaf), y[index : index + 1]).backward()
            assert leaf.grad is not None
            gradient = (-1 if targeted else 1) * leaf.grad.numpy()
            if decay is not None:
                momentum = decay * momentum + gradient / np.abs(gradient).sum()
                gradient = momentum
            direction = np.sign(gradient) if norm == "inf" else gradient / math.sqrt((gradient**2).sum())
            moved = np.clip(moved + alpha * direction, low, high)
            offset = moved - centre
            if norm == "inf":
                offset = np.clip(offset, -epsilon, epsilon)
            elif (length := math.sqrt((offset**2).sum())) > epsilon:
                offset = offset * epsilon / length
            moved = np.clip(centre + offset, low, high)
        found.append(torch.from_numpy(moved))
    return torch.cat(found)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_equals_the_loop_of_the_papers(norm: str | int, targeted: bool, steps: int) -> None:
    """Step by step, because the result after k steps is compared for several k; from images and from a random point."""
    model, (x, y) = toy(), batch()
    epsilon, alpha = (0.2, 0.07) if norm == "inf" else (0.5, 0.2)
    start = random_start(x, torch.arange(len(x)), epsilon, norm=norm, seed=5)
    options: dict[str, Any] = {"norm": norm, "targeted": targeted}
    given = options | {"steps": steps, "step_size": alpha}
    expected = {
        "bim": (bim(model, x, y, epsilon, **given), loop(model, x, y, epsilon, alpha, steps, **options)),
        "pgd": (pgd(model, x, y, epsilon, seed=5, **given), loop(model, x, y, epsilon, alpha, steps, start=start, **options)),
        "mi_fgsm": (
            mi_fgsm(model, x, y, epsilon, decay=0.9, **given),
            loop(model, x, y, epsilon, alpha, steps, decay=0.9, **options),
        ),
    }
    for ours, independent in expected.values():
        torch.testing.assert_close(ours, independent, rtol=1e-10, atol=1e-12)
    assert not torch.equal(expected["bim"][0], expected["pgd"][0])


def test_golden_vector_of_a_linear_model(linear: nn.Linear) -> None:
    """The gradient of label 0 is (-0.065, -0.785) at (0.5, 0.5), and both signs stay: two steps of 0.05 reach the ball."""
    x, y = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    for steps, reached in ((1, 0.45), (2, 0.4), (3, 0.4)):
        torch.testing.assert_close(bim(linear, x, y, 0.1, steps=steps, step_size=0.05), torch.full_like(x, reached))
        torch.testing.assert_close(
            bim(linear, x, y, 0.1, steps=steps, step_size=0.05, targeted=True), torch.full_like(x, 1 - reached)
        )


def test_momentum_by_hand() -> None:
    """Gradients (3, -1) and (-1, 1): 3/4, -1/4 first; then 0.5 of it plus -1/2, 1/2."""
    momentum = Momentum(0.5)
    assert momentum(torch.tensor([[3.0, -1.0]])).tolist() == [[0.75, -0.25]]
    assert momentum(torch.tensor([[-1.0, 1.0]])).tolist() == [[-0.125, 0.375]]
    assert momentum(torch.zeros(1, 2)).tolist() == [[-0.0625, 0.1875]]


@pytest.mark.parametrize("norm", NORMS)
def test_momentum_does_not_depend_on_the_scale_of_a_gradient(norm: str | int) -> None:
    """The loss times 1e-30 or 1e+30, in float32, where sums of the gradient's squares under- and overflow."""
    model, (x, y) = toy(torch.float32), batch(dtype=torch.float32)

    def scaled(factor: float) -> Tensor:
        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(outputs, labels, reduction="none") * factor

        return mi_fgsm(model, x, y, 0.2, norm=norm, loss=loss)

    expected = mi_fgsm(model, x, y, 0.2, norm=norm)
    for factor in (2.0**-100, 2.0**100):
        torch.testing.assert_close(scaled(factor), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_one_step_is_fgsm(norm: str | int) -> None:
    model, (x, y) = toy(), batch()
    expected = fgsm(model, x, y, 0.2, norm=norm)
    torch.testing.assert_close(bim(model, x, y, 0.2, steps=1, norm=norm), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(mi_fgsm(model, x, y, 0.2, steps=1, norm=norm), expected, rtol=0, atol=1e-15)


def test_fgsm_rs_and_r_fgsm_are_settings() -> None:
    """Wong et al. 2020, algorithm 3, and Tramer et al. 2018, equation 7, written out."""
    model, (x, y) = toy(), batch()
    ids, epsilon = torch.arange(len(x)), 0.2

    def sign_at(point: Tensor) -> Tensor:
        leaf = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.CrossEntropyLoss(reduction="sum")(model(leaf), y), leaf)
        return gradient.sign()

    start = random_start(x, ids, epsilon)
    delta = (start - x + 1.25 * epsilon * sign_at(start)).clamp(-epsilon, epsilon)
    torch.testing.assert_close(pgd(model, x, y, epsilon, steps=1, step_size=1.25 * epsilon), (x + delta).clamp(0, 1))

    start = random_start(x, ids, epsilon / 2, distribution="sign", bounds=None)
    assert ((start - x).abs() - epsilon / 2).abs().max() < 1e-15
    found = bim(model, x, y, epsilon, steps=1, step_size=epsilon / 2, start=start, bounds=None)
    torch.testing.assert_close(found, start + epsilon / 2 * sign_at(start))


@pytest.mark.parametrize("norm", NORMS)
def test_default_step_sizes(norm: str | int) -> None:
    model, (x, y) = toy(), batch()
    for attack, factor in ((bim, 1), (mi_fgsm, 1), (pgd, 2.5)):
        assert torch.equal(
            attack(model, x, y, 0.2, steps=5, norm=norm), attack(model, x, y, 0.2, steps=5, norm=norm, step_size=factor * 0.2 / 5)
        )
    assert torch.equal(pgd(model, x, y, 0.2, step_size="2/255"), pgd(model, x, y, 0.2, step_size=2 / 255))


@given(
    seed=st.integers(0, 2**32),
    epsilon=st.floats(0, 1),
    name=st.sampled_from([*ATTACKS]),
    norm=st.sampled_from(NORMS),
    targeted=st.booleans(),
)
def test_properties(seed: int, epsilon: float, name: str, norm: str | int, targeted: bool) -> None:
    """Within epsilon and bounds; identity at 0; no image depends on the batch or the order it comes in."""
    generator, attack = torch.Generator().manual_seed(seed), ATTACKS[name]
    x = torch.rand(4, 1, 3, 4, dtype=torch.float64, generator=generator).round(decimals=1)
    y, model = torch.randint(0, 3, (4,), generator=generator), toy()
    options: dict[str, Any] = {"norm": norm, "targeted": targeted, "steps": 4}
    x_adv = attack(model, x, y, epsilon, **options)
    order = math.inf if norm == "inf" else 2
    assert (torch.linalg.vector_norm((x_adv - x).flatten(1), order, dim=1) <= epsilon * (1 + 1e-12) + 1e-15).all()
    assert (x_adv >= 0).all()
    assert (x_adv <= 1).all()
    assert torch.equal(attack(model, x, y, 0.0, **options), x)
    for i in range(4):
        named = {"ids": [i]} if name == "pgd" else {}
        alone = attack(model, x[i : i + 1], y[i : i + 1], epsilon, **options, **named)
        torch.testing.assert_close(alone, x_adv[i : i + 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_labels_means_predictions_at_the_images(name: str) -> None:
    """Also if the first gradient is taken elsewhere, and in every step."""
    model, (x, _) = toy(), batch()
    start = random_start(x, torch.arange(len(x)), 0.4, seed=9)
    labels = model(x).argmax(1)
    assert (model(start).argmax(1) != labels).any()
    found = ATTACKS[name](model, x, None, 0.4, start=start)
    assert torch.equal(found, ATTACKS[name](model, x, labels, 0.4, start=start))


def test_a_given_start_replaces_the_drawn_one() -> None:
    model, (x, y) = toy(), batch()
    assert torch.equal(pgd(model, x, y, 0.2, start=x, step_size=0.05), bim(model, x, y, 0.2, step_size=0.05))
    far = (x + 0.4).clamp(max=1)
    assert ((pgd(model, x, y, 0.1, steps=1, step_size=0.01, start=far) - x).abs() <= 0.1 + 1e-12).all()


def test_starts_depend_on_seed_id_and_restart() -> None:
    model, (x, y) = toy(), batch()
    first = pgd(model, x, y, 0.2, steps=1, step_size=0.01)
    assert torch.equal(first, pgd(model, x, y, 0.2, steps=1, step_size=0.01, seed=0, restart=1, ids=range(6)))
    for changed in ({"seed": 1}, {"restart": 2}, {"ids": [9, 8, 7, 6, 5, 4]}):
        assert not torch.equal(first, pgd(model, x, y, 0.2, steps=1, step_size=0.01, **changed))


@pytest.mark.parametrize("name", ATTACKS)
def test_leaves_no_trace(convolutional: nn.Sequential, name: str) -> None:
    network = convolutional.train()
    x, y = torch.rand(4, 1, 6, 6), torch.arange(4)
    kept, buffers = x.clone(), [buffer.clone() for buffer in network.buffers()]
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    with torch.no_grad():
        found = ATTACKS[name](network, x, y, 0.1, steps=3)
    assert torch.equal(x, kept)
    assert not found.requires_grad
    assert not x.requires_grad
    assert all(module.training for module in network.modules())
    assert all(map(torch.equal, network.buffers(), buffers))
    assert all(one.grad is None and one.requires_grad for one in network.parameters())
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # type: ignore[index]
    assert random.getstate() == state[2]
    assert torch.equal(found, ATTACKS[name](network.eval(), x, y, 0.1, steps=3))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_images_without_a_gradient_stay_at_their_start(name: str, norm: str | int) -> None:
    constant = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    nn.init.zeros_(constant[1].weight)  # type: ignore[arg-type]
    x, y = batch(dtype=torch.float32)
    start = random_start(x, torch.arange(len(x)), 0.1, norm=norm)
    found = ATTACKS[name](constant, x, y, 0.1, norm=norm)
    torch.testing.assert_close(found, start if name == "pgd" else x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_images_without_finite_outputs_are_counted_and_do_not_move(name: str, norm: str | int) -> None:
    model = toy()

    def breaks(x: Tensor) -> Tensor:
        """The first image has no outputs from the second step on, in which it has moved."""
        moved = (x[:1] - clean[:1]).abs().amax() > 0
        return torch.cat([model(x[:1]) * torch.where(moved, math.nan, 1.0), model(x[1:])])

    clean, y = batch()
    with pytest.warns(RuntimeWarning) as caught:
        found = ATTACKS[name](
            breaks, clean, y, 0.2, norm=norm, steps=3, step_size=0.05, **({"start": clean} if name == "pgd" else {})
        )
    texts = [str(warning.message) for warning in caught]
    assert [text.split(":")[0] for text in texts] == [
        "1 of 6 images have outputs that are not finite, and no predicted class",
        "1 of 6 images have a gradient that is not finite",
    ]
    options: dict[str, Any] = {"norm": norm, "step_size": 0.05, **({"start": clean} if name == "pgd" else {})}
    assert torch.equal(found[0], ATTACKS[name](model, clean, y, 0.2, steps=1, **options)[0])
    torch.testing.assert_close(found[1:], ATTACKS[name](model, clean, y, 0.2, steps=3, **options)[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_networks_of_other_precisions(dtype: torch.dtype, name: str, norm: str | int) -> None:
    """A float32 image stays one, and moves nearly as the float32 network moves it: by the mean over pixels."""
    x, y = batch(dtype=torch.float32)
    found, exact = (ATTACKS[name](toy(kind), x, y, 0.1, norm=norm) for kind in (dtype, torch.float32))
    assert found.dtype == torch.float32
    order = math.inf if norm == "inf" else 2
    assert (torch.linalg.vector_norm((found - x).flatten(1), order, dim=1) <= 0.1 * (1 + 1e-5)).all()
    assert (found - exact).abs().mean() < 0.2 * (exact - x).abs().mean()


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_other_units_of_the_images(name: str, norm: str | int) -> None:
    """Images of 0 to 255, or -1 to 1, with budgets and steps in these units, are the images of [0, 1] in other numbers."""
    model, (x, y) = toy(), batch()
    expected = ATTACKS[name](model, x, y, 0.1, norm=norm, step_size=0.03)
    for low, high in ((0.0, 255.0), (-1.0, 1.0)):
        width = high - low
        found = ATTACKS[name](
            lambda images, low=low, width=width: model((images - low) / width),
            low + width * x,
            y,
            0.1 * width,
            norm=norm,
            step_size=0.03 * width,
            bounds=(low, high),
        )
        torch.testing.assert_close((found - low) / width, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["bim", "pgd"])  # the L1 norm of MI-FGSM depends on the units of each feature
@pytest.mark.parametrize("norm", NORMS)
def test_numbers_by_feature(name: str, norm: str | int) -> None:
    """Bounds by feature and a scale of their range: the images of [0, 1] in other numbers, feature by feature."""
    model, (x, y) = toy(), batch()
    low, width = torch.linspace(-1, 1, 12).double().view(1, 1, 3, 4), torch.linspace(0.5, 4, 12).double().view(1, 1, 3, 4)
    expected = ATTACKS[name](model, x, y, 0.1, norm=norm, step_size=0.03)
    found = ATTACKS[name](
        lambda images: model((images - low) / width),
        low + width * x,
        y,
        0.1,
        norm=norm,
        step_size=0.03,
        bounds=(low, low + width),
        epsilon_scale="range",
    )
    torch.testing.assert_close((found - low) / width, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_masked_pixels_do_not_move(name: str, norm: str | int) -> None:
    model, (x, y) = toy(), batch()
    mask = torch.ones(3, 4)
    mask[1] = 0
    found = ATTACKS[name](model, x, y, 0.2, norm=norm, mask=mask)
    assert torch.equal(found[:, :, 1], x[:, :, 1])
    assert (found[:, :, ::2] != x[:, :, ::2]).any()


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_one_budget_per_image(name: str, norm: str | int) -> None:
    model, (x, y) = toy(), batch(4)
    budgets = torch.tensor([0.0, 0.05, 0.1, 0.2], dtype=torch.float64)  # as many as the images are wide
    found = ATTACKS[name](model, x, y, budgets, norm=norm)
    for i in range(4):
        named = {"ids": [i]} if name == "pgd" else {}
        alone = ATTACKS[name](model, x[i : i + 1], y[i : i + 1], float(budgets[i]), norm=norm, **named)
        torch.testing.assert_close(found[i : i + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_images(name: str) -> None:
    assert ATTACKS[name](toy(), torch.zeros(0, 1, 3, 4).double(), torch.zeros(0).long(), 0.1).shape == (0, 1, 3, 4)


REFUSED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "no steps": ({"steps": 0}, "steps must be an integer >= 1, got 0: pass 10", {"steps": 10}),
    "half a step": ({"steps": 2.5}, "pass 10", {"steps": 10}),
    "no step size": ({"step_size": 0}, "step_size must be one number > 0, got 0: pass 2/255, or None", {"step_size": "2/255"}),
    "step size in levels": ({"step_size": 2}, r"linf step_size must lie in \[0, 1\].*did you mean 2/255\?", {"step_size": 2 / 255}),
    "negative step size": ({"step_size": -0.1}, "step_size must be a finite number >= 0", {"step_size": 0.1}),
    "step sizes": ({"step_size": "1,2/255"}, "step_size must be one number > 0", {"step_size": None}),
    "step size as text": ({"step_size": "a"}, "step_size must look like 8/255", {"step_size": "8/255"}),
    "norm 1": ({"norm": 1}, "norm must be inf or 2", {"norm": 2}),
    "epsilon in levels": ({"epsilon": 8}, r"linf epsilon .* did you mean 8/255\?", {"epsilon": 8 / 255}),
    "start of another shape": ({"start": torch.zeros(1)}, "pass images in the shape of x", {"start": batch()[0]}),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_and_their_remedies(name: str, case: str) -> None:
    wrong, line, right = REFUSED[case]
    x, y = batch()
    with pytest.raises(RfgsmError, match=line):
        ATTACKS[name](toy(), x, y, **{"epsilon": 0.1, **wrong})
    ATTACKS[name](toy(), x, y, **{"epsilon": 0.1, **right})


def test_wrong_arguments_of_one_attack() -> None:
    x, y = batch()
    for decay in (-1, math.nan, "a"):
        with pytest.raises(SettingError, match="decay must be a "):
            mi_fgsm(toy(), x, y, 0.1, decay=decay)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="ids must be integers"):
        pgd(toy(), x, y, 0.1, ids=[0])
    with pytest.raises(SettingError, match="needs its targets"):
        pgd(toy(), x, None, 0.1, targeted=True)
    with pytest.warns(RuntimeWarning, match="probabilities"):
        pgd(nn.Sequential(toy(), nn.Softmax(1)), x, y, 0.1)
