"""Networks of every precision, kind of module and kind of state: attacked like the float32 network with the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.network_call import call_network, differentiable_recurrence, network_dtypes, set_evaluation_mode
from robustbench_fgsm.errors import ModelError

EPSILON = 0.1


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(16, 8)
        self.output = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.hidden(x.flatten(1)).tanh())
        return logits


class CastsInside(Plain):
    dtype = torch.float64

    def __init__(self) -> None:
        super().__init__()
        self.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.dtype))


class CastsToHalfInside(CastsInside):
    dtype = torch.float16


class DoubleHead(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.output.double()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.hidden(x.flatten(1)).tanh().double())
        return logits


class ChangesItsInput(Plain):
    """Subtracts in place before a layer refuses the precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.5))


class SixteenBitHead(Plain):
    """Its first layer is float32, its second float16: the first dtype of the parameters is the one to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.output.half()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.hidden(x.flatten(1)).tanh().half())
        return logits


class OddState(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.order = nn.Parameter(torch.arange(3), requires_grad=False)
        self.register_buffer("sparse", torch.eye(3).to_sparse())
        self.tied = self.output

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def parametrised() -> nn.Module:
    network = Plain()
    nn.utils.parametrizations.weight_norm(network.hidden)
    return network


def exported() -> nn.Module:
    module: nn.Module = torch.export.export(Plain().eval(), (torch.rand(5, 1, 4, 4),)).module()
    return module


KINDS: dict[str, Callable[[], nn.Module]] = {
    "float32": Plain,
    "float64": lambda: Plain().double(),
    "float16": lambda: Plain().half(),
    "bfloat16": lambda: Plain().bfloat16(),
    "casts to float64 inside": CastsInside,
    "casts to float16 inside": CastsToHalfInside,
    "head of float64": DoubleHead,
    "head of float16": SixteenBitHead,
    "changes its input, float16": lambda: ChangesItsInput().half(),
    "odd state": OddState,
    "odd state, bfloat16": lambda: OddState().bfloat16(),
    "parametrised": parametrised,
    "scripted": lambda: torch.jit.script(Plain()),
    "scripted, float16": lambda: torch.jit.script(Plain().half()),
    "traced": lambda: torch.jit.trace(Plain().eval(), torch.rand(2, 1, 4, 4)),  # type: ignore[no-untyped-call]
    "exported": exported,
    "compiled": lambda: torch.compile(Plain(), backend="eager"),  # type: ignore[dict-item, return-value]
    "data parallel": lambda: nn.DataParallel(Plain()),
}


@pytest.fixture(params=KINDS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return KINDS[request.param]()


@pytest.fixture
def plain(network: nn.Module) -> nn.Module:
    """The network's numbers in float64 arithmetic."""
    torch.manual_seed(0)
    found = ChangesItsInput() if isinstance(network, ChangesItsInput) else Plain()
    return found.double()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning", "ignore:The .grad attribute:UserWarning"
)


def plain_attack(plain: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.double().requires_grad_()
    nn.functional.cross_entropy(plain(leaf.clone()), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return (x + EPSILON * leaf.grad.sign().float()).clamp(0, 1)


def test_fgsm(network: nn.Module, plain: nn.Module, x: Tensor) -> None:
    modes = [module.training for module in network.modules()]
    y = torch.tensor([0, 1, 2, 0, 1])
    found = rf.fgsm(network, x, y, EPSILON)
    assert found.dtype == torch.float32
    assert float((found == plain_attack(plain, x, y)).float().mean()) > 0.9  # signs of tiny gradients may differ in 16 bits
    assert [module.training for module in network.modules()] == modes


def test_wrap_evaluate_and_compare(network: nn.Module, plain: nn.Module, x: Tensor) -> None:
    classifier = rf.wrap(network, 3)
    assert classifier.predict(x).dtype in (torch.float32, torch.float64)
    assert torch.allclose(classifier.predict(x).double(), plain(x.double().clone()), atol=0.02)
    y = plain(x.double()).argmax(1)
    data = rf.ArrayDataset("small", x, y, ("a", "b", "c"))
    evaluation = rf.evaluate(classifier, data, EPSILON)
    assert (evaluation.n, evaluation.clean_accuracy.count) == (5, 5)
    assert rf.compare(classifier, data, EPSILON, references=["art"]).verdict == "agree"


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_images_of_another_precision(dtype: str, x: Tensor) -> None:
    torch.manual_seed(0)
    found = rf.fgsm(Plain(), x.to(getattr(torch, dtype)), epsilon=EPSILON)
    assert found.dtype == getattr(torch, dtype)
    assert float((found.float() - x).abs().max()) < EPSILON + 0.01


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 2, 3),
        nn.ConvTranspose2d(1, 2, 3),
        nn.BatchNorm2d(1),
        nn.LayerNorm(4),
        nn.GroupNorm(1, 1),
        nn.InstanceNorm2d(1, affine=True),
        nn.PReLU(),
        nn.Sequential(nn.Flatten(1, 2), nn.TransformerEncoderLayer(4, 1, 8, batch_first=True)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_layer_gets_its_precision(layer: nn.Module, dtype: str, x: Tensor) -> None:
    network = copy.deepcopy(layer).to(getattr(torch, dtype)).eval()
    assert call_network(network, x).dtype == getattr(torch, dtype)
    assert network_dtypes(network) == [getattr(torch, dtype)]


def test_other_errors_are_raised(x: Tensor) -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        call_network(nn.Linear(5, 2).half(), torch.rand(2, 3).half())
    with pytest.raises(RuntimeError, match="same dtype"):
        call_network(nn.Sequential(nn.Linear(4, 2).half(), nn.Linear(2, 2).double()), x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_wrong_shape_is_named_in_any_precision(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).to(dtype)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        call_network(network, torch.rand(2, 1, 5, 5))


@pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU, nn.RNN])
def test_cudnn_is_off_for_recurrent_layers_alone(
    recurrent: type[nn.LSTM | nn.GRU | nn.RNN], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.output = recurrent(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.backends.cudnn.enabled)
            logits: Tensor = self.output(self.layer(x.flatten(1, 2))[0][:, -1])
            return logits

    before = torch.backends.cudnn.enabled
    rf.fgsm(Recurrent(), torch.rand(2, 1, 4, 4))
    assert (seen.pop(), torch.backends.cudnn.enabled) == (before, before)  # without a GPU there is nothing to switch off
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    rf.fgsm(Recurrent(), torch.rand(2, 1, 4, 4))
    assert (seen.pop(), torch.backends.cudnn.enabled) == (False, before)
    with differentiable_recurrence(nn.Linear(2, 2)):
        assert torch.backends.cudnn.enabled == before


@pytest.mark.gpu
def test_recurrent_layers_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    network = nn.Sequential(nn.Flatten(1, 2), nn.LSTM(4, 5, batch_first=True)).cuda()

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner(x)[0][:, -1]
            return logits

    x = torch.rand(2, 1, 4, 4, device="cuda")
    assert not torch.equal(rf.fgsm(Last(), x), x)


def test_several_threads_restore_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    layer, before = nn.LSTM(4, 5), torch.backends.cudnn.enabled

    def hold(_: int) -> bool:
        with differentiable_recurrence(layer):
            return torch.backends.cudnn.enabled

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(hold, range(200)))
    assert torch.backends.cudnn.enabled == before


def test_exported_parts_keep_their_mode(x: Tensor) -> None:
    nested = nn.Sequential(exported(), nn.Dropout(0.5))
    set_evaluation_mode(nested)
    assert not nested[1].training
    assert nested(x).shape == (5, 3)


class BatchStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.output = nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.norm(x.flatten(1)))
        return logits


def test_one_image_alone_under_batch_statistics() -> None:
    with pytest.raises(ModelError, match="two images at least"):
        rf.fgsm(BatchStatistics(), torch.rand(1, 1, 4, 4))
    with pytest.raises(ModelError, match="two images at least"):
        rf.wrap(BatchStatistics(), 3).predict(torch.rand(1, 1, 4, 4))


def test_images_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier's own network copies them; any other network gets a copy, which it may change."""
    x, copies, clone = torch.rand(2, 1, 4, 4), list[torch.Size](), Tensor.clone
    before, changing = x.clone(), rf.wrap(ChangesItsInput(), 3).network

    def counting(tensor: Tensor) -> Tensor:
        copies.append(tensor.shape)
        return clone(tensor)

    monkeypatch.setattr(Tensor, "clone", counting)
    call_network(changing, x)
    assert copies.count(x.shape) == 1
    call_network(ChangesItsInput(), x)
    assert torch.equal(x, before)
