"""An altered model is a copy, and the given model stays as it is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from robustbench_fgsm.variants.altered_models import altered_model, model_with_drifted_statistics, seeded_cpu_generator
from robustbench_fgsm.variants.attack_call import AttackCall


def test_no_alteration_returns_the_model() -> None:
    model = nn.Linear(2, 2).eval()
    assert altered_model(model, "eval", "true") is model


def test_train_mode_is_on_a_copy() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    copy = altered_model(model, "train", "true")
    assert all(module.training for module in copy.modules())
    assert not any(module.training for module in model.modules())


def test_half_precision_takes_float32_images() -> None:
    assert altered_model(nn.Linear(2, 2), "float16", "true")(torch.ones(1, 2)).dtype == torch.float16


def test_guided_backpropagation_drops_negative_gradients() -> None:
    linear = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[2.0, -3.0]]))
    model = nn.Sequential(nn.ReLU(), linear).eval()
    for backward, expected in (("true", [2.0, -3.0]), ("guided", [2.0, 0.0])):
        x = torch.ones(1, 2, requires_grad=True)
        (gradient,) = torch.autograd.grad(altered_model(model, "eval", backward)(x).sum(), x)
        assert gradient[0].tolist() == expected


def test_drift_counts_earlier_calls_and_itself() -> None:
    model = nn.BatchNorm2d(1).eval()
    first = AttackCall(model, torch.ones(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64), 0.1)
    second = replace(first, earlier_calls=(first,))
    means = []
    for call, mode in ((first, "after"), (first, "before"), (second, "before")):
        drifted = model_with_drifted_statistics(model, call, f"statistics drift {mode}", "true")
        assert isinstance(drifted, nn.BatchNorm2d)
        assert drifted.running_mean is not None
        means.append(round(float(drifted.running_mean), 3))
    assert means == [0.0, 0.1, 0.19]  # each pass moves the mean by a tenth of its distance from 1
    assert model.running_mean is not None
    assert float(model.running_mean) == 0


def test_the_generator_is_restored() -> None:
    state = torch.get_rng_state()
    with seeded_cpu_generator(7):
        drawn = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))
