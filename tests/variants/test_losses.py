"""Losses give one value per image, and their gradients with respect to the logits are known."""

from __future__ import annotations

import pytest
import torch

from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.variants.losses import LOSSES, logit_gradient

LOGITS, LABELS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([0, 1])


@pytest.mark.parametrize("name", LOSSES)
def test_losses_give_one_value_per_image(name: str) -> None:
    assert LOSSES[name].function(LOGITS, LABELS).shape == (2,)
    assert LOSSES[name].cause is None or LOSSES[name].cause in MISTAKE_BY_ID


@pytest.mark.parametrize("name", [name for name in LOSSES if not LOSSES[name].uses_labels])
def test_some_losses_do_not_use_labels(name: str) -> None:
    function = LOSSES[name].function
    assert torch.equal(function(LOGITS, LABELS), function(LOGITS, LABELS + 1))


def test_gradient_of_cross_entropy() -> None:
    expected = LOGITS.softmax(1) - torch.nn.functional.one_hot(LABELS, 3)
    assert torch.allclose(logit_gradient(LOSSES["ce"].function, LOGITS, LABELS), expected)


def test_gradient_of_the_margin() -> None:
    expected = [[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]
    assert logit_gradient(LOSSES["margin"].function, LOGITS, LABELS).tolist() == expected
