"""What an image of an attack of several steps depends on beside its arguments."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from robustbench_fgsm.verification.methods import Method, parse_method
from robustbench_fgsm.verification.stages.batch import batch_observations
from tests.verification.candidates.family import Attack, box, gradient, momentum, projected, stops_all
from tests.verification.conftest import measured_iterates

NAMES = ("rows, other images", "rows, repeated", "rows, one image", "rows, other neighbours")


def centred_in_the_batch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        grad = gradient(model, x_adv, y)
        x_adv = (x + box(x_adv + 0.25 * epsilon * (grad - grad.mean(0)).sign() - x, epsilon)).clamp(0, 1)
    return x_adv


@pytest.mark.parametrize(
    ("attack", "method", "causes"),
    [
        (projected(), "pgd", set()),
        (stops_all, "pgd", {"stops-with-first-image", "batch-coupled"}),
        (momentum(memory={}), "mi-fgsm", {"momentum-carried-over"}),
        (centred_in_the_batch, "pgd", {"batch-coupled"}),
    ],
)
def test_dependence(attack: Attack, method: str, causes: set[str]) -> None:
    stated: Method = parse_method(method)
    seen = measured_iterates(attack, stated, *NAMES)
    found = {one.cause for one in batch_observations(seen, seen.evidence, ())}
    assert found <= causes
    assert bool(found) == bool(causes)
