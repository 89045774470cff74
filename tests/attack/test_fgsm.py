"""The attack as a whole: golden vectors by hand, an exact oracle, and what holds for every input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_fgsm.attack.fgsm import StepSettings, compute_gradient_step, fgsm, fgsm_sweep
from robustbench_fgsm.attack.minimal import minimal_epsilon
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.errors import DataError, SettingError

NORMS = ["inf", "1", "2", 1.5, 3]


def test_golden_vector_of_a_linear_model(linear: nn.Linear) -> None:
    # At x = (0.5, 0.5) logits are (1.5, -0.5, 0.5). With label 0: softmax - onehot = (p0 - 1, p1, p2), and
    # W^T of it is (p0 - 1 + 3 p1, 2 (p0 - 1) - 4 p1 + p2); p = (0.6652, 0.0900, 0.2447) makes that (-0.065, -0.785).
    x, y = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    assert fgsm(linear, x, y, 0.1).tolist() == [[0.4, 0.4]]
    assert fgsm(linear, x, y, 0.1, targeted=True).tolist() == [[0.6, 0.6]]
    assert fgsm(linear, x, y, 0.1, norm=1).tolist() == [[0.5, 0.4]]
    p = torch.tensor([1.5, -0.5, 0.5], dtype=torch.float64).softmax(0).tolist()
    gradient = torch.tensor([[p[0] - 1 + 3 * p[1], 2 * (p[0] - 1) - 4 * p[1] + p[2]]], dtype=torch.float64)
    torch.testing.assert_close(fgsm(linear, x, y, 0.1, norm=2), x + 0.1 * gradient / gradient.norm())


def test_clipped_at_the_bounds(linear: nn.Linear) -> None:
    x, y = torch.tensor([[0.05, 0.5]], dtype=torch.float64), torch.tensor([0])
    assert fgsm(linear, x, y, 0.1).tolist() == [[0.0, 0.4]]
    assert fgsm(linear, x, y, 0.1, bounds=None).tolist() == [[0.05 - 0.1, 0.4]]


class BinaryLinear(nn.Module):
    """Logits (-f, f) / 2 with f(x) = <w, x> + b."""

    def __init__(self, weight: Tensor, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = bias

    def margin(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias

    def forward(self, x: Tensor) -> Tensor:
        f = self.margin(x) / 2
        return torch.stack([-f, f], 1)


@given(seed=st.integers(0, 2**32), epsilon=st.floats(0.001, 0.9))
def test_optimal_for_a_binary_linear_classifier(seed: int, epsilon: float) -> None:
    """Clipped FGSM is the worst point of the box; unclipped, it fools exactly where y f(x) <= epsilon ||w||_1."""
    generator = torch.Generator().manual_seed(seed)
    model = BinaryLinear(torch.randn(6, dtype=torch.float64, generator=generator), 0.1)
    x = torch.rand(20, 6, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 2, (20,), generator=generator)
    signed = 2 * y - 1
    lowest = torch.where(signed[:, None] * model.weight > 0, (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1))
    worst = signed * model.margin(lowest)
    with torch.no_grad():
        torch.testing.assert_close(signed * model.margin(fgsm(model, x, y, epsilon)), worst, rtol=1e-12, atol=1e-12)
        margin_left = signed * model.margin(fgsm(model, x, y, epsilon, bounds=None))
    expected = signed * model.margin(x) - epsilon * model.weight.abs().sum()
    torch.testing.assert_close(margin_left, expected, rtol=1e-12, atol=1e-12)


def toy() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double()


batches = st.tuples(st.integers(0, 2**32), st.integers(1, 7), st.floats(0, 1), st.sampled_from(NORMS), st.booleans())


@given(case=batches)
def test_properties(case: tuple[int, int, float, str | float, bool]) -> None:
    """Within epsilon and bounds; identity at 0; no image depends on the batch or the order it comes in."""
    seed, n, epsilon, norm, targeted = case
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 3, 4, dtype=torch.float64, generator=generator).round(decimals=1)  # some on the bounds
    y, model = torch.randint(0, 3, (n,), generator=generator), toy()
    x_adv = fgsm(model, x, y, epsilon, norm=norm, targeted=targeted)
    order = math.inf if norm == "inf" else float(norm)
    assert (torch.linalg.vector_norm((x_adv - x).flatten(1), order, dim=1) <= epsilon * (1 + 1e-12) + 1e-15).all()
    assert (x_adv >= 0).all()
    assert (x_adv <= 1).all()
    assert torch.equal(fgsm(model, x, y, 0.0, norm=norm, targeted=targeted), x)
    shuffled = torch.randperm(n, generator=generator)
    again = fgsm(model, x[shuffled], y[shuffled], epsilon, norm=norm, targeted=targeted)
    torch.testing.assert_close(again, x_adv[shuffled], rtol=1e-9, atol=1e-12)
    split = torch.cat([fgsm(model, x[i : i + 1], y[i : i + 1], epsilon, norm=norm, targeted=targeted) for i in range(n)])
    torch.testing.assert_close(split, x_adv, rtol=1e-9, atol=1e-12)


def test_the_loss_changes_by_target() -> None:
    model, x, y = toy(), torch.rand(5, 1, 3, 4, dtype=torch.float64), torch.arange(5) % 3
    loss = nn.CrossEntropyLoss(reduction="none")
    with torch.no_grad():
        before = loss(model(x), y)
        assert (loss(model(fgsm(model, x, y, 1e-3)), y) > before).all()
        assert (loss(model(fgsm(model, x, y, 1e-3, targeted=True)), y) < before).all()


def test_no_labels_means_predictions() -> None:
    model, x = toy(), torch.rand(5, 1, 3, 4, dtype=torch.float64)
    assert torch.equal(fgsm(model, x, None, 0.1), fgsm(model, x, model(x).argmax(1), 0.1))


def test_one_budget_per_image() -> None:
    model, x, y = toy(), torch.rand(4, 1, 3, 4, dtype=torch.float64), torch.arange(4) % 3
    epsilon = torch.tensor([0.0, 0.05, 0.1, 0.2], dtype=torch.float64)  # as many as the images are wide
    x_adv = fgsm(model, x, y, epsilon)
    for i in range(4):
        assert torch.equal(x_adv[i : i + 1], fgsm(model, x[i : i + 1], y[i : i + 1], float(epsilon[i])))


def test_a_sweep_takes_one_gradient() -> None:
    model, x, y = toy(), torch.rand(4, 1, 3, 4, dtype=torch.float64), torch.arange(4) % 3
    forwards: list[int] = []
    backwards: list[int] = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    model[1].register_full_backward_hook(lambda *_: backwards.append(1))
    budgets = [0.3, 0.1, 0.2]
    swept = list(fgsm_sweep(model, x, y, budgets))
    assert (len(forwards), len(backwards)) == (1, 1)
    for epsilon, x_adv in zip(budgets, swept, strict=True):
        assert torch.equal(x_adv, fgsm(model, x, y, epsilon))


def test_counts_nonfinite_gradients() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.flatten(1).sum(1).sqrt(), x.flatten(1).sum(1)], 1)

    x = torch.tensor([[0.0, 0.0], [0.5, 0.5]])  # the derivative of sqrt at 0 is infinite
    ascent = compute_gradient_step(Broken(), x, torch.tensor([1, 1]), StepSettings(math.inf))
    assert ascent.nonfinite_gradient.tolist() == [True, False]
    assert torch.equal(ascent.perturb(0.1)[0], x[0])
    assert not torch.equal(ascent.perturb(0.1)[1], x[1])


def test_nonfinite_gradients_give_a_warning() -> None:
    x = torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.0, 0.25]])
    with pytest.warns(RuntimeWarning, match="2 of 3 images have a gradient that is not finite"):
        x_adv = fgsm(lambda x: torch.stack([x.sum(1), x[:, 0].sqrt()], 1), x, torch.tensor([0, 0, 0]), 0.1)
    assert torch.equal(x_adv[[0, 2]], x[[0, 2]])
    assert not torch.equal(x_adv[1], x[1])


def test_a_zero_gradient_is_counted() -> None:
    ascent = compute_gradient_step(lambda x: x * 0, torch.rand(3, 2), torch.tensor([0, 1, 0]), StepSettings(math.inf))
    assert ascent.zero_gradient.all()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.uint8), torch.tensor([0, 1]), "pass images / 255 if they are 8-bit images"),
        (
            torch.full((2, 3), 200.0),
            torch.tensor([0, 1]),
            r"must lie in \[0, 1\], got \[200, 200\]: pass images / 255 if they are 8-bit",
        ),
        (torch.full((2, 3), -1.0), torch.tensor([0, 1]), "pass bounds that hold all features"),
        (torch.full((2, 3), math.nan), torch.tensor([0, 1]), r"got \[nan, nan\]"),
        (torch.zeros(2, 3), torch.tensor([0]), r"of shape \(2,\), one per image"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "got torch.float32"),
        (torch.zeros(2, 3), torch.tensor([[1, 0], [0, 1]]), r"of shape \(2, 2\)"),
    ],
)
def test_bad_input_is_named(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fgsm(nn.Linear(3, 2), x, y)


def test_rejects_bad_settings_early() -> None:
    def never(x: Tensor) -> Tensor:
        raise AssertionError

    x, y = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(SettingError, match="did you mean 8/255"):
        fgsm_sweep(never, x, y, [0.1, 8])
    with pytest.raises(SettingError, match="p >= 1"):
        fgsm(never, x, y, norm=0.5)
    with pytest.raises(SettingError, match="needs its targets"):
        fgsm(never, x, targeted=True)
    with pytest.raises(SettingError, match="loss must be one of ce"):
        fgsm(never, x, y, loss="crossentropy")


def test_no_images() -> None:
    assert fgsm(nn.Linear(3, 2), torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).shape == (0, 3)


SHAPES = [(4, 2, 3, 3), (1, 2, 3, 3), (2, 3, 3), (3, 3), (3,), (4, 1, 1, 1)]


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("norm", ["inf", 1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64])
def test_masked_pixels_stay(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, norm: str | float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 2, 3, 3, dtype=torch.float64, generator=generator)
    kept = torch.rand(shape, generator=generator) < 0.5
    kept.view(-1)[0] = True
    mask = kept if dtype == torch.bool else kept.to(dtype) * 0.3
    x_adv = fgsm(network, x, torch.tensor([0, 1, 2, 0]), 0.1, norm=norm, mask=mask, bounds=None)
    where = kept.expand_as(x)
    assert torch.equal(x_adv[~where], x[~where])
    moved = (x_adv - x).flatten(1)
    order = float("inf") if norm == "inf" else float(norm)
    lengths = torch.linalg.vector_norm(moved, order, dim=1)
    expected = torch.where(where.flatten(1).any(1), 0.1, 0.0).double()  # the whole budget on what is left
    torch.testing.assert_close(lengths, expected)


def test_full_mask_is_the_ordinary_attack(network: nn.Module) -> None:
    x, y = torch.rand(4, 2, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    assert torch.equal(fgsm(network, x, y, 0.1, mask=torch.ones(3, 3, dtype=torch.bool)), fgsm(network, x, y, 0.1))


@pytest.mark.parametrize("mask", [torch.ones(2, 2), torch.ones(3, 2, 3, 3), torch.ones(1, 4, 2, 3, 3)])
def test_rejects_a_misshapen_mask(network: nn.Module, mask: torch.Tensor) -> None:
    with pytest.raises(SettingError, match="mask must broadcast"):
        fgsm(network, torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 2, 0]), 0.1, mask=mask)


@pytest.mark.parametrize("mask", [torch.ones(3, 3, dtype=torch.int64), torch.full((3, 3), -1.0), torch.full((3, 3), float("nan"))])
def test_rejects_a_mask_of_another_type(network: nn.Module, mask: torch.Tensor) -> None:
    with pytest.raises(SettingError, match="mask must be bool"):
        fgsm(network, torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 2, 0]), 0.1, mask=mask)


def test_rejects_a_misshapen_start(network: nn.Module) -> None:
    with pytest.raises(DataError, match="start must have the shape"):
        fgsm(network, torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 2, 0]), 0.1, start=torch.rand(2, 3, 3))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_counts_images_whose_outputs_are_not_finite_and_whose_gradient_is_zero(value: float) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    x = torch.rand(6, 1, 2, 2)
    masked = torch.tensor([True, False] * 3)

    def model(images: Tensor) -> Tensor:
        outputs: Tensor = network(images)
        return outputs.masked_fill(masked[:, None], value)

    with pytest.warns(RuntimeWarning, match="3 of 6 images have outputs that are not finite, and no predicted class"):
        fgsm(model, x, torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", ["range", [2.0, 0.0]])
def test_epsilon_by_feature_is_a_plain_step_on_features_divided_by_the_scale(
    linear: nn.Linear, norm: float | str, scale: str | list[float]
) -> None:
    """The oracle attacks features divided by their scale without bounds, multiplies the step, and clips each feature."""
    x = torch.tensor([[0.5, 20.0], [1.9, 99.0], [0.0, 10.0]], dtype=torch.float64)
    y, low, high = torch.tensor([0, 1, 2]), torch.tensor([0.0, 10.0]).double(), torch.tensor([2.0, 100.0]).double()
    factors = high - low if isinstance(scale, str) else torch.tensor(scale).double()
    divided = x / torch.where(factors > 0, factors, 1)

    def of_divided(z: Tensor) -> Tensor:
        logits: Tensor = linear(torch.where(factors > 0, z * factors, x[: len(z)]))
        return logits

    step = fgsm(of_divided, divided, y, 0.25, norm=norm, bounds=None) - divided
    expected = torch.minimum(torch.maximum(x + step * factors, low), high)
    assert bool((step != 0).any(1).all())
    assert not bool((step != 0)[:, factors == 0].any())
    torch.testing.assert_close(fgsm(linear, x, y, 0.25, norm=norm, epsilon_scale=scale, bounds=(low, high)), expected)


def test_a_scale_under_linf_is_an_epsilon_of_each_feature(linear: nn.Linear) -> None:
    x, y = torch.rand(7, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 3
    scale = torch.tensor([0.5, 0.03])
    expected = fgsm(linear.float(), x, y, (0.1 * scale).view(1, 2))
    assert torch.equal(fgsm(linear, x, y, 0.1, epsilon_scale=scale), expected)
    for text, wrong in {
        "range or numbers": "std",
        "finite numbers >= 0": [-1.0, 1.0],
        "one number for each": [1.0, 1.0, 1.0],
    }.items():
        with pytest.raises(SettingError, match=text):
            fgsm(linear, x, y, 0.1, epsilon_scale=wrong)
    with pytest.raises(SettingError, match="needs bounds for each feature"):
        fgsm(linear, x, y, 0.1, epsilon_scale="range", bounds=None)


def test_a_budget_for_each_pixel_under_another_norm_names_the_scale(linear: nn.Linear) -> None:
    x, y, budget = torch.full((1, 2), 0.5), torch.tensor([0]), torch.tensor([[0.1, 0.2]])
    with pytest.raises(SettingError, match="numbers by feature to `fgsm` as epsilon_scale"):
        fgsm(linear.float(), x, y, budget, norm=2)
    moved = (fgsm(linear, x, y, 1, epsilon_scale=budget, norm=2) - x) / budget
    torch.testing.assert_close(moved.norm(), torch.tensor(1.0))


@pytest.mark.parametrize("norm", ["inf", 2])
def test_random_starts_and_restarts_stay_in_the_scaled_ball(linear: nn.Linear, norm: float | str) -> None:
    x, y = torch.full((8, 2), 50.0), torch.arange(8) % 3
    bounds, scale = ([0.0, 49.0], [100.0, 51.0]), torch.tensor([100.0, 2.0])
    start = random_start(x, range(8), 0.1, norm=norm, epsilon_scale="range", bounds=bounds)
    found = fgsm(linear.float(), x, y, 0.1, norm=norm, epsilon_scale="range", bounds=bounds, start=start)
    for images in (start, found):
        length = torch.linalg.vector_norm((images - x) / scale, float(norm), dim=1)
        assert bool(((length > 0) & (length <= 0.1 * (1 + 1e-5))).all())


def test_the_smallest_budget_is_in_units_of_the_scale(linear: nn.Linear) -> None:
    x, scale = torch.tensor([[0.9, 0.2]]), torch.tensor([0.5, 0.25])
    found = minimal_epsilon(linear.float(), x, None, 1.0, epsilon_step=1 / 64, epsilon_scale=scale)
    steps = [k / 64 for k in range(65)]
    own = int(linear(x).argmax())
    fooled = [step for step in steps if int(linear(fgsm(linear, x, None, step, epsilon_scale=scale)).argmax()) != own]
    assert found.epsilon.tolist() == [fooled[0]]
