"""On a GPU float32 is float32, whatever PyTorch's switches say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.models.precision import float32_precision


def test_restores_the_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with float32_precision(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.allow_tf32
    with float32_precision(torch.device("cuda"), tf32=True):
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"
    with float32_precision(torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32


@pytest.mark.gpu
def test_a_gpu_computes_in_float32() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(64, 256, 3), nn.ReLU(), nn.Conv2d(256, 64, 3), nn.Flatten(), nn.LazyLinear(10))
    x, y = torch.rand(8, 64, 12, 12), torch.arange(8)
    net(x)
    here, there = rf.wrap(net, 10, device="cpu"), rf.wrap(net, 10, device="cuda")
    exact = here.variant(torch.float64)
    loss = nn.CrossEntropyLoss(reduction="none")
    wanted, found = exact.loss_gradient(x.double(), y, loss), there.loss_gradient(x.cuda(), y.cuda(), loss)
    for one, other in zip(wanted, found, strict=True):
        assert float((one - other.cpu()).abs().max()) < 2e-5 * float(one.abs().max())  # TF32 is off by 3e-4
    assert float((exact.predict(x.double()) - there.predict(x.cuda()).cpu()).abs().max()) < 1e-5
