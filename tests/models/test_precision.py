"""On a GPU float32 is float32, whatever PyTorch's switches say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.global_settings import float32_precision
from robustbench_fgsm.models.precision import dtype_text, output_resolution, parse_dtype


def test_names_of_types() -> None:
    assert parse_dtype("float16") == parse_dtype(torch.float16) == torch.float16
    with pytest.raises(SettingError, match="must be one of float64, float32, float16, bfloat16, got 'half'"):
        parse_dtype("half")
    assert dtype_text(nn.Sequential(nn.Linear(2, 2).half(), nn.Linear(2, 2), nn.Linear(2, 2).half())) == "float16, float32"
    assert dtype_text(nn.Flatten()) == "float32"
    assert output_resolution("float32, float64") == 0
    assert output_resolution("bfloat16, float32") == 2**-7


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_weights_are_cast(dtype: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    classifier = rf.wrap(network, 2, mean=0.1, std=0.3, dtype=dtype)
    assert classifier.info.dtype == dtype
    assert {parameter.dtype for parameter in classifier.network.parameters()} == {getattr(torch, dtype)}
    assert {buffer.dtype for buffer in classifier.network.buffers()} == {torch.float32}  # of the normalisation
    assert network[1].weight.dtype == torch.float32
    x = torch.rand(3, 1, 2, 2)
    assert torch.allclose(classifier.predict(x).float(), rf.wrap(network, 2, mean=0.1, std=0.3).predict(x), atol=0.05)
    hashes = {rf.wrap(network, 2, dtype=other).info.sha256 for other in (dtype, "float32")}
    assert len(hashes) == (1 if dtype == "float32" else 2)


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
