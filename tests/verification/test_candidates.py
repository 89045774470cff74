"""The candidates that judge `verify`: right ones take the right step, wrong ones differ or leave something behind."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from tests.verification.candidates import pairs, right, wrong
from tests.verification.candidates.building_blocks import Candidate
from tests.verification.candidates.judge import Case, judge, load_cases

FOLDER = Path(__file__).parent / "candidates"

MEAN, STD = (0.45, 0.5, 0.4), (0.2, 0.25, 0.3)
TWO_ULP = 2 * torch.finfo(torch.float32).eps
EPSILONS = {1: (8 / 255, 1e-6), 9: (0.0137, 1.0), 35: (0.35, 8 / 255)}
"""Budgets for each batch size."""


class Tails(nn.Module):
    """Linear layer whose gradient is tiny for some pixels, and zero for others."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(4, 3 * 6 * 6)
        weight[:, ::3] *= torch.logspace(-12, 0, weight.shape[1])[::3]
        weight[:, 1::6] = 0
        self.layer = nn.Linear(weight.shape[1], 4)
        self.layer.weight.data.copy_(weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


def convolutional(seed: int) -> nn.Module:
    """Small convolutional network behind its normalisation, in eval mode."""
    torch.manual_seed(seed)
    last = nn.Linear(8 * 6 * 6, 4)
    last.weight.data *= 3
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), last)
    return PixelSpaceNetwork(network, MEAN, STD).eval()


def linear(seed: int) -> nn.Module:
    """Linear network with gradients of all sizes behind its normalisation, in eval mode."""
    torch.manual_seed(seed)
    return PixelSpaceNetwork(Tails(), MEAN, STD).eval()


def sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with pixels at both bounds, or of low contrast for seed 1, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, 6, 6, generator=generator)
    x = 0.3 + 0.4 * x if seed == 1 else (1.2 * x - 0.1).clamp(0, 1)
    return x, torch.randint(4, (n,), generator=generator)


def probes() -> Iterator[tuple[nn.Module, Tensor, Tensor, float]]:
    """Calls with other networks, images, labels, batch sizes and budgets, one after the other."""
    for seed, make in enumerate((convolutional, linear, convolutional)):
        for n, epsilons in EPSILONS.items():
            x, y = sample(n, seed)
            for epsilon in epsilons:
                yield make(seed), x.clone(), y.clone(), epsilon
                yield make(seed), x.clone(), (y + 1) % 4, epsilon


def reference(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """The step by definition, and pixels of which float32 cannot tell the sign as NaN."""
    signs = []
    for network, images in ((model, x), (copy.deepcopy(model).double(), x.double())):
        leaf = images.clone().requires_grad_()
        loss = nn.functional.cross_entropy(network(leaf), y, reduction="sum")
        signs.append(torch.autograd.grad(loss, leaf)[0].sign().float())
    step = (x + epsilon * signs[0]).clamp(0, 1)
    return torch.where(signs[0] == signs[1], step, torch.nan)


def leftover(model: nn.Module, x: Tensor, y: Tensor, before: dict[str, Any]) -> bool:
    """Whether a call changed its arguments or the global state."""
    after = state(model, x, y)
    return any(
        not torch.equal(after[key], value) if isinstance(value, Tensor) else after[key] != value for key, value in before.items()
    )


def state(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Arguments and global state, by name."""
    return {
        "x": x.detach().clone(),
        "y": y.clone(),
        "weights": torch.cat([value.detach().flatten().double() for value in model.state_dict().values()]),
        "dtypes": [value.dtype for value in model.state_dict().values()],
        "modes": [module.training for module in model.modules()],
        "frozen": [parameter.requires_grad for parameter in model.parameters()],
        "grad mode": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "python": random.getstate(),
    }


@pytest.fixture(autouse=True)
def _global_state_kept() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def largest_difference(output: Any, expected: Tensor) -> float:
    """Largest difference of the pixels whose sign is certain; infinite for another shape or type."""
    images = torch.as_tensor(output).detach()
    if images.shape != expected.shape or not images.is_floating_point():
        return float("inf")
    return float((images - expected).abs().nan_to_num().max())


@pytest.mark.parametrize("name", right.CASES)
def test_right_candidate_takes_the_right_step(name: str) -> None:
    candidate, stages = right.CASES[name]
    assert stages == []
    for model, x, y, epsilon in probes():
        expected, before = reference(model, x, y, epsilon), state(model, x, y)
        assert largest_difference(candidate(model, x, y, epsilon), expected) <= TWO_ULP
        assert not leftover(model, x, y, before)


@pytest.mark.parametrize("name", [*wrong.CASES, *pairs.CASES])
def test_wrong_candidate_shows(name: str) -> None:
    candidate, stages = {**wrong.CASES, **pairs.CASES}[name]
    assert stages or wrong.OPTIONAL[name]
    assert any(shows(candidate, *probe) for probe in probes())


def shows(candidate: Candidate, model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> bool:
    """Whether a call differs from the right step by more than rounding, or leaves something behind."""
    expected, before = reference(model, x, y, epsilon), state(model, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = candidate(model, x, y, epsilon)
    return leftover(model, x, y, before) or largest_difference(output, expected) > 10 * TWO_ULP


FILES = ("right", "wrong", "pairs", "more_right", "more_wrong", "more_pairs")
SAMPLE = [case for name in FILES for case in load_cases(FOLDER / f"{name}.py")[::12]]
KNOWN_GAPS = {"pair_clip_batch_randomness_noise": "noise that is added to the result hides bounds that are read off the batch"}
"""Candidates of the sample of which a wrong stage is not found yet, each with its reason."""


def case_param(case: Case) -> Any:
    marks = [pytest.mark.xfail(reason=KNOWN_GAPS[case.name])] if case.name in KNOWN_GAPS else []
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", [case_param(case) for case in SAMPLE])
def test_verify_finds_every_wrong_stage(case: Case) -> None:
    """A sample; `judge.py` judges all."""
    judgement = judge(case)
    assert judgement.passes, judgement.line()


def test_counts() -> None:
    assert len(wrong.CASES) >= 110
    assert len(right.CASES) >= 45
    assert sum(name.startswith("two_") for name in wrong.CASES) >= 15
