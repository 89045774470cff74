"""A recorder sees the forward passes of copies, and the gradients at the logits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.func import grad as gradient_of

from robustbench_fgsm.verification.call_recorder import CallRecorder


@pytest.fixture
def recorder() -> CallRecorder:
    return CallRecorder(nn.Sequential(nn.Flatten(), nn.Linear(4, 3))).eval()


def test_records_passes_of_copies(recorder: CallRecorder) -> None:
    copy.deepcopy(recorder).double().train()(torch.ones(2, 4, dtype=torch.float64))
    (forward_pass,) = recorder.record.forward_passes
    assert (forward_pass.training, forward_pass.dtype, forward_pass.requires_gradient) == (True, torch.float64, False)
    assert forward_pass.inputs is not None
    assert torch.equal(forward_pass.inputs, torch.ones(2, 4, dtype=torch.float64))
    recorder.record.reset()
    assert recorder.record.forward_passes == []


def test_hears_the_gradient_at_the_logits(recorder: CallRecorder) -> None:
    x, y = torch.ones(2, 4, requires_grad=True), torch.tensor([0, 2])
    logits = recorder(x)
    nn.functional.cross_entropy(logits, y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    (forward_pass,) = recorder.record.forward_passes
    assert forward_pass.requires_gradient
    assert forward_pass.logit_gradient is not None
    assert forward_pass.logits is not None
    torch.testing.assert_close(forward_pass.logit_gradient, logits.detach().softmax(1) - nn.functional.one_hot(y, 3))


def test_knows_the_precision_of_autocast(recorder: CallRecorder) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        recorder(torch.ones(1, 4))
    assert recorder.record.forward_passes[0].dtype == torch.bfloat16


@pytest.mark.parametrize("in_vmap", [True, False])
def test_hears_all_images_inside_transforms(recorder: CallRecorder, *, in_vmap: bool) -> None:
    weights: dict[str, torch.Tensor] = dict(recorder.named_parameters())
    x = torch.rand(3, 4)

    def loss(images: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = functional_call(recorder, weights, (images[None] if in_vmap else images,)).square().sum()
        return total

    found = vmap(gradient_of(loss))(x) if in_vmap else gradient_of(loss)(x)
    (forward_pass,) = recorder.record.forward_passes
    assert forward_pass.inputs is not None
    assert forward_pass.logits is not None
    assert forward_pass.logit_gradient is not None
    assert torch.equal(forward_pass.inputs, x)
    torch.testing.assert_close(forward_pass.logit_gradient, 2 * forward_pass.logits)
    torch.testing.assert_close(found, forward_pass.logit_gradient @ weights["body.1.weight"])


def test_hears_no_gradient_of_each_class(recorder: CallRecorder) -> None:
    assert jacrev(recorder)(torch.ones(2, 4)).shape == (2, 3, 2, 4)
    assert recorder.record.forward_passes[0].logit_gradient is None
