"""Test that a plan is refused unless the planned network gives the plain network's numbers, also on random networks."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.engine.plan import Plan, PlanTrial, apply_plan
from robustbench_fgsm.engine.plan_trial import TrialFailure, try_plan
from robustbench_fgsm.spec import AttackSpec
from tests.engine.unusual_networks import REFUSED, SmallNetwork

SAFE, LARGEST = Plan("safe", "channels_last", batch_size=16), Plan("max", "channels_last", True, batch_size=16)
FUZZED = int(os.environ.get("RFGSM_FUZZED_NETWORKS", "40"))
"""Number of random networks; 200 take a minute."""


def tried(network: nn.Module, data: rf.ArrayDataset, plan: Plan = SAFE) -> PlanTrial:
    """The trial of the plan on 16 images of a run of 37."""
    batch = next(data.batches(0, 16, 16))
    found = try_plan(rf.wrap(network, 10), plan, batch, 37, AttackSpec((8 / 255,)), data.classes).trial
    assert found is not None
    return found


def test_measures_an_ordinary_network(images: rf.ArrayDataset) -> None:
    torch.manual_seed(0)
    safe, largest = tried(SmallNetwork(), images), tried(SmallNetwork(), images, LARGEST)
    assert safe.batch_sizes == (16, 5)
    assert safe.output_difference < safe.tolerance < 1e-4
    assert safe.guard is not None
    assert safe.guard.images == 16 + 16 + 5 + 16
    assert safe.output_difference / 4 <= safe.guard.largest < safe.guard.relative < 1e-3
    assert safe.guard.audit_share == 1
    assert safe.gradient_difference is None
    assert largest.guard is None
    assert largest.gradient_difference is not None
    assert largest.gradient_difference <= 16 * largest.tolerance


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("plan", [SAFE, LARGEST], ids=["safe", "max"])
def test_refuses_and_leaves_no_trace(name: str, plan: Plan, images: rf.ArrayDataset) -> None:
    make, reason = REFUSED[name]
    torch.manual_seed(0)
    classifier = rf.wrap(make(), 10)
    network = classifier.network
    before = [tensor.clone() for tensor in (*network.parameters(), *network.buffers())]
    calls = getattr(network.network, "calls", 0)
    states = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    with pytest.raises(TrialFailure, match=reason):
        try_plan(classifier, plan, next(images.batches(0, 16, 16)), 37, AttackSpec(), images.classes)
    assert all(map(torch.equal, before, (*network.parameters(), *network.buffers())))
    assert getattr(network.network, "calls", 0) == calls
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), repr(np.random.get_state())) == states[1:]


class Alone(SmallNetwork):
    """It adds more to its outputs if an image is alone in its batch, as another matrix product would."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 10)."""
        outputs = super().forward(x)
        return outputs + torch.linspace(0, 1e-3, 10) if len(x) == 1 else outputs


def test_smaller_batches_are_measured_down_to_one_image(images: rf.ArrayDataset) -> None:
    """In float32 there is nothing to measure: whole batches are predicted again."""
    torch.manual_seed(0)
    assert tried(Alone(), images).subset_guard is None
    ordinary, alone = (tried(kind(), images, replace(SAFE, bf16=True)).subset_guard for kind in (SmallNetwork, Alone))
    assert ordinary is not None
    assert alone is not None
    assert ordinary.absolute < 1e-4 < 1e-3 < alone.absolute


class BackwardOnly(torch.autograd.Function):
    """The identity, whose gradient depends on the memory layout."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        """Return a copy."""
        ctx.contiguous = x.is_contiguous()  # type: ignore[attr-defined]
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        """Return the gradient, or its double."""
        factor: float = 1.0 if ctx.contiguous else 2.0  # type: ignore[attr-defined]
        return gradients[0] * factor


class OtherGradient(SmallNetwork):
    """Its outputs are right in both layouts, and its gradient is not."""

    def features(self, x: Tensor) -> Tensor:
        """Return features."""
        found: Tensor = BackwardOnly.apply(super().features(x))
        return found


def test_gradients_are_tried_if_they_are_planned(images: rf.ArrayDataset) -> None:
    with pytest.raises(TrialFailure, match="gradients differ by 1 of the largest"):
        tried(OtherGradient(), images, LARGEST)
    assert tried(OtherGradient(), images).guard is not None


def test_out_of_memory_is_no_failure_of_the_plan(images: rf.ArrayDataset) -> None:
    class Large(SmallNetwork):
        def features(self, x: Tensor) -> Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        tried(Large(), images)


class RandomNetwork(nn.Module):
    """A network drawn from a seed: branches, shared layers, odd padding, groups, dilation, buffers, in-place steps."""

    offset: Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        self.width = width = draw.choice([4, 6, 8])
        self.stem = nn.Conv2d(1, width, draw.choice([1, 3, 4]), draw.choice([1, 2]), draw.choice([(0, 0), (1, 1), (2, 1)]))
        self.layers = nn.ModuleList(self._draw_layer(draw) for _ in range(3))
        self.register_buffer("offset", torch.randn(width, 1, 1))
        self.steps = [draw.randrange(9) for _ in range(draw.randrange(3, 8))]
        self.head = nn.Linear(width, 10)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]

    def _draw_layer(self, draw: random.Random) -> nn.Module:
        size, dilation = draw.choice([1, 2, 3, 5]), draw.choice([1, 2])
        padding: int | str = "same" if size % 2 and draw.random() < 0.3 else draw.choice([0, 1, 3])
        layer = nn.Conv2d(
            self.width,
            self.width,
            size,
            padding=padding,
            dilation=dilation,
            groups=draw.choice([1, 2, self.width]),
            bias=draw.random() < 0.5,
            padding_mode=draw.choice(["zeros", "zeros", "reflect", "circular"]) if size > 1 else "zeros",
        )
        return nn.Sequential(layer, nn.BatchNorm2d(self.width)) if draw.random() < 0.5 else layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 10)."""
        z, layers = self.stem(x), iter(self.layers)
        used: list[nn.Module] = []
        for step in self.steps:
            if step in (0, 1, 2) and min(z.shape[2:]) > 9:
                used.append(next(layers, used[0] if used else self.layers[0]))  # in the end a shared one
                z = used[-1](z)
            elif step == 3:
                z = nn.functional.relu(z + 0, inplace=True)
            elif step == 4:
                z = nn.functional.max_pool2d(z, 2, 1) if min(z.shape[2:]) > 4 else z
            elif step == 5:
                z = z + torch.sigmoid(z) * self.offset
            elif step == 6:
                z = torch.cat([z.roll(1, 1)[:, : self.width // 2], z[:, self.width // 2 :]], 1)
            elif step == 7:
                z = nn.functional.conv2d(z, torch.eye(self.width).view(self.width, self.width, 1, 1) * 0.9)
            else:
                z = z.clone().mul_(0.5).add_(0.1)
        found: Tensor = self.head(z.flatten(2).mean(2))
        return found


def variants(classifier: rf.TorchClassifier) -> Iterator[rf.TorchClassifier]:
    """The classifier under all layouts and foldings."""
    for plan in (SAFE, Plan("max", fold_batch_norm=True), LARGEST):
        made = apply_plan(classifier, plan).classifier
        assert isinstance(made, rf.TorchClassifier)
        yield made


@pytest.mark.parametrize("seed", range(FUZZED))
def test_random_networks(seed: int, images: rf.ArrayDataset) -> None:
    """Outputs and gradients of the planned networks are those of the plain one, which does not change; ties are left out."""
    network = RandomNetwork(seed).eval()
    classifier, batch = rf.wrap(network, 10), next(images.batches(0, 16, 16))
    expected = network(batch.images).detach()
    loss = get_loss("ce", stable=True)
    gradient, _ = classifier.loss_gradient(batch.images, batch.labels, loss)
    for planned in variants(classifier):
        for rows in (slice(None), slice(5)):
            x = batch.images[rows]
            torch.testing.assert_close(planned.predict(x), expected[rows], rtol=1e-4, atol=1e-5)
        found, _ = planned.loss_gradient(batch.images, batch.labels, loss)
        largest = gradient.flatten(1).abs().amax(1).clamp(min=1e-30)  # a dead network has no gradient
        difference = (found - gradient).flatten(1).abs().amax(1) / largest
        assert float(difference.median()) < 1e-3
    assert torch.equal(classifier.predict(batch.images), expected)
    assert [tried(network, images, plan).output_difference < 1e-4 for plan in (SAFE, LARGEST)] == [True, True]
