"""A recorder sees the forward passes of copies too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.cases import CASES
from robustbench_fgsm.verification.sandbox import observe_call


@pytest.fixture(scope="module")
def attack_call() -> AttackCall:
    return CASES["batch-norm"]().calls[0]


def test_records_passes_of_copies(attack_call: AttackCall) -> None:
    import copy

    def copying(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        copy.deepcopy(model).double().train()(x.double() + 0.25)
        return x.clone()

    (forward_pass,) = observe_call(
        candidate_from_callable(copying), attack_call, copy.deepcopy(attack_call.model), attack_call.x.clone(), 10
    ).forward_passes
    assert (forward_pass.training, forward_pass.dtype) == (True, torch.float64)
    assert forward_pass.input_distance == pytest.approx(0.25 / 0.224, rel=1e-3)
