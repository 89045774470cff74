"""Test the attacks on a sample of images."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.attacked_sample import add_random_sign_noise, gradient_alignment, half_range_epsilon
from robustbench_fgsm.evaluation.checks import run_checks
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.spec import AttackSpec, Bounds

SPEC = AttackSpec((8 / 255,))

pytestmark = pytest.mark.usefixtures("one_thread")


def test_half_range_reaches_the_grey_image() -> None:
    corner = torch.zeros(1, 5, 5)
    for norm in (math.inf, 2.0):
        distance = torch.linalg.vector_norm((corner - 0.5).flatten(), ord=norm)
        assert half_range_epsilon(replace(SPEC, norm=norm), 25) == pytest.approx(float(distance))


@pytest.mark.reference
def test_reports_every_attack(linear: tuple[rf.TorchClassifier, rf.ArrayDataset]) -> None:
    reported: list[tuple[str, int, int]] = []
    run_checks(*linear, SPEC, CheckOptions(40, masking=True), 25, lambda *event: reported.append(event))
    attacks = [attack for attack, done, _ in reported if not done]
    assert {"FGSM", "PGD-20", "PGD-20 with restarts", "PGD-20 at half of epsilon", "Square"} <= set(attacks)
    assert reported == [(attack, done, 40) for done in (0, 25) for attack in attacks]


def test_noise_depends_on_the_id_alone() -> None:
    x, ids = torch.full((3, 1, 5, 5), 0.5), torch.tensor([7, 8, 9])
    moved = add_random_sign_noise(x, ids, SPEC)
    torch.testing.assert_close((moved - x).abs(), torch.full_like(x, SPEC.epsilons[0]))
    assert torch.equal(moved[1:2], add_random_sign_noise(x[1:2], ids[1:2], SPEC))


def test_linear_gradients_are_aligned(linear: tuple[rf.TorchClassifier, rf.ArrayDataset]) -> None:
    classifier, data = linear
    batch = next(data.batches(0, 8, 8))
    assert gradient_alignment(classifier, batch.images, batch.labels, batch.ids, SPEC).tolist() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.5])
def test_the_ball_of_half_the_range_holds_the_middle_in_units_of_the_scale(norm: float) -> None:
    """The corner is the farthest point from the middle of all features."""
    widths, scale = torch.tensor([2.0, 8.0, 5.0]), torch.tensor([0.5, 4.0, 1.0])
    spec = AttackSpec((0.1,), norm, bounds=Bounds((0.0,) * 3, tuple(widths.tolist())), epsilon_scale=tuple(scale.tolist()))
    distance = float(torch.linalg.vector_norm(widths / 2 / scale, norm))
    assert half_range_epsilon(spec, 3) == pytest.approx(distance)
    assert half_range_epsilon(replace(spec, epsilon_scale=None), 3) == pytest.approx(
        float(torch.linalg.vector_norm(widths / 2, norm))
    )
    assert half_range_epsilon(replace(spec, epsilon_scale=(0.5, 0.0, 1.0)), 3) == math.inf  # a feature that cannot move
