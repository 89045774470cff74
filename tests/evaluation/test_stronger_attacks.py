"""Test PGD beside ART's from the same starts, and ART's Square attack behind one signature."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.stronger_attacks import (
    ProjectedGradientDescent,
    make_art_estimator,
    square_attack,
    supports_square_attack,
)
from robustbench_fgsm.spec import AttackSpec, TargetRule

SPEC = AttackSpec((8 / 255,))

pytestmark = pytest.mark.usefixtures("one_thread")


def art_pgd(
    classifier: rf.TorchClassifier, x: Tensor, y: Tensor, epsilon: float, *, norm: float, steps: int, targeted: bool = False
) -> tuple[Tensor, Tensor]:
    """ART's PGD, and the starts that ART drew for it."""
    from art.attacks.evasion import ProjectedGradientDescent as ArtPgd
    from art.utils import random_sphere

    given: dict[str, Any] = {"norm": np.inf if norm == math.inf else 2, "eps": epsilon, "eps_step": 2.5 * epsilon / steps}
    estimator = make_art_estimator(classifier, tuple(x.shape[1:]))
    attack = ArtPgd(estimator, **given, max_iter=steps, num_random_init=1, targeted=targeted, batch_size=len(x), verbose=False)
    np.random.seed(3)
    offsets = random_sphere(len(x), x[0].numel(), epsilon, given["norm"]).astype(np.float32)
    np.random.seed(3)
    found = torch.from_numpy(attack.generate(x.numpy(), y.numpy()))
    return found, (x + torch.from_numpy(offsets).view_as(x)).clamp(0, 1)


@pytest.mark.reference
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["mlp300", "smallcnn"])
def test_equals_arts_pgd_in_linf_to_the_last_bit(images: rf.ArrayDataset, name: str, targeted: bool) -> None:
    """Step by step from ART's own starts, in the memory layout of ART's network."""
    network = rf.load_classifier(name, device="cpu")
    assert isinstance(network, rf.TorchClassifier)
    batch = next(images.batches(0, 64, 64))
    y = (batch.labels + int(targeted)) % 10
    ours = network.variant(memory_format=torch.channels_last) if name == "smallcnn" else network
    for steps in (1, 2, 3, 10):
        theirs, start = art_pgd(network, batch.images, y, 8 / 255, norm=math.inf, steps=steps, targeted=targeted)
        x = batch.images.contiguous(memory_format=ours.memory_format)
        found = rf.pgd(ours, x, y, 8 / 255, steps=steps, targeted=targeted, start=start)
        assert torch.equal(found, theirs)
        assert not torch.equal(found, batch.images)


@pytest.mark.reference
def test_equals_arts_pgd_in_l2_within_rounding(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    """ART rounds the norm of the gradient to float32, and we divide in float64: 2e-6 of a step of at most 0.5."""
    batch = next(images.batches(0, 64, 64))
    for steps in (1, 2, 10):
        theirs, start = art_pgd(classifier, batch.images, batch.labels, 0.5, norm=2, steps=steps)
        found = rf.pgd(classifier, batch.images, batch.labels, 0.5, norm=2, steps=steps, start=start)
        assert float((found - theirs).abs().max()) <= 1e-6 * steps
        assert torch.equal(classifier.predict(found).argmax(1), classifier.predict(theirs).argmax(1))


@pytest.mark.reference
@pytest.mark.parametrize(("norm", "epsilon"), [(math.inf, 0.03), (2.0, 0.5)])
def test_images_stay_in_ball_and_bounds(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, norm: float, epsilon: float
) -> None:
    batch = next(images.batches(0, 8, 8))
    pgd = ProjectedGradientDescent(classifier, 3, replace(SPEC, norm=norm), 3)
    for crafted in (
        pgd.perturb(batch.images, batch.labels, batch.ids, epsilon),
        square_attack(classifier, batch.images, batch.labels, epsilon, norm=norm, steps=3),
    ):
        assert crafted.shape == batch.images.shape
        assert 0 <= float(crafted.min()) <= float(crafted.max()) <= 1
        moved = torch.linalg.vector_norm((crafted - batch.images).flatten(1), ord=norm, dim=1)
        assert float(moved.max()) <= epsilon * 1.001


@pytest.mark.parametrize("targeted", ["none", "next"])
@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_is_the_librarys_pgd(classifier: rf.TorchClassifier, images: rf.ArrayDataset, norm: float, targeted: str) -> None:
    """Also in parts, because the start of an image depends on seed, id and restart alone."""
    batch = next(images.batches(5, 25, 20))
    spec = replace(SPEC, norm=norm, seed=4, target=TargetRule.parse(targeted))
    expected = rf.pgd(
        classifier,
        batch.images,
        batch.labels,
        0.1,
        steps=4,
        norm=norm,
        targeted=targeted != "none",
        ids=batch.ids,
        seed=4,
        restart=2,
    )
    for batch_size in (None, 7):
        found = ProjectedGradientDescent(classifier, batch_size, spec, 4).perturb(batch.images, batch.labels, batch.ids, 0.1, 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_zero_epsilon_returns_the_images(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 4, 4))
    pgd = ProjectedGradientDescent(classifier, None, SPEC, 3)
    assert torch.equal(pgd.perturb(batch.images, batch.labels, batch.ids, 0.0), batch.images)
    assert torch.equal(square_attack(classifier, batch.images, batch.labels, 0.0, steps=3), batch.images)
    assert len(pgd.perturb(batch.images[:0], batch.labels[:0], batch.ids[:0], 0.1)) == 0


def test_square_needs_images_of_some_size(classifier: rf.TorchClassifier) -> None:
    assert supports_square_attack(classifier, torch.rand(1, 1, 28, 28), math.inf)
    assert not supports_square_attack(classifier, torch.rand(1, 784), math.inf)
    assert not supports_square_attack(classifier, torch.rand(1, 1, 8, 8), 2.0)


@pytest.mark.reference
@pytest.mark.parametrize("check", [{"pgd_check": 20}, {"check_masking": True}, {"restarts": 2}])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_numbers_by_channel_count_as_those_of_every_pixel(check: dict[str, object], norm: str) -> None:
    """The width is not the number of channels, and no channel has the bounds and the scale of another one."""
    torch.manual_seed(0)
    x, y = torch.rand(20, 3, 4, 5), torch.randint(0, 4, (20,))
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 4))
    high, scale = torch.tensor([1.0, 1.5, 2.0]), torch.tensor([1.0, 0.0, 0.5])
    found = []
    for by_pixel in (False, True):
        limits = (torch.zeros(3), high, scale)
        zeros, highs, scales = (one.view(3, 1, 1).expand(3, 4, 5) if by_pixel else one for one in limits)
        options: dict[str, Any] = {"norm": norm, "epsilon_scale": scales, **check}
        classifier = rf.wrap(network, 4, bounds=(zeros, highs))
        found.append(rf.evaluate(classifier, (x, y), 0.05 if norm == "inf" else 0.3, **options).to_dict())
    one, other = found
    for key in ("epsilons", "pgd_check", "gradient_masking"):
        assert one.get(key) == other.get(key)
    assert one["epsilons"][0]["robust_accuracy"] != one["clean"]["accuracy"]


@pytest.mark.reference
def test_art_clips_channels_by_their_bounds() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(20, 3, 4, 5), torch.randint(0, 4, (20,))
    bounds = (torch.zeros(3), torch.tensor([1.0, 1.5, 2.0]))
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(60, 4)), 4, bounds=bounds)
    for scale in (None, "range", [1, 0, 2]):
        comparison = rf.compare(classifier, (x, y), epsilon=0.3, epsilon_scale=scale, references=["art"]).to_dict()
        assert comparison["verdict"] == "agree"
        assert comparison["references"][0]["max_abs_difference"] <= 1e-6
