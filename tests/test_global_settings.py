"""Tests of robustbench_fgsm.global_settings: the same numbers whatever surrounds a call, and nothing left behind."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.global_settings import SharedSetting, neutral_settings, preserve_generators, seed_generators


@contextmanager
def float64_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == torch.float64
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        assert torch.get_default_device().type == "meta"
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        assert torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(mode=False)


@contextmanager
def low_products() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        assert torch.get_float32_matmul_precision() == "medium"
        torch.set_float32_matmul_precision("highest")


@contextmanager
def everything() -> Iterator[None]:
    with float64_default(), torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), torch.device("meta"):
        yield


SURROUNDINGS: dict[str, Callable[[], Any]] = {
    "float64": float64_default,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "meta": lambda: torch.device("meta"),
    "default device": default_device,
    "deterministic": deterministic,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(mode=True),
    "matrix products": low_products,
    "numpy raises": lambda: np.errstate(all="raise"),
    "everything": everything,
}


class Small(nn.Module):
    """A network with dropout, batch norm and a tensor that its forward pass makes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.convolution, self.norm, self.linear = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 36, 3)
        self.drop = nn.Dropout(0.5)
        with torch.no_grad():
            for tensor in (*self.parameters(), self.norm.running_mean, self.norm.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator))
            self.linear.weight.sub_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        features = self.drop(self.norm(self.convolution(x)).relu().flatten(1))
        logits: Tensor = self.linear(features) * torch.ones(3)
        return logits


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(24, 1, 8, 8, generator=generator), torch.arange(24) % 3


MODULE = Small()
X, Y = images()


def rates(document: dict[str, Any]) -> Any:
    """A document without what differs from run to run."""
    return {key: value for key, value in document.items() if key not in ("seconds", "environment")}


def own_fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), y), leaf)
    return (x + epsilon * gradient.sign()).clamp(0, 1)


def compare() -> Any:
    found = rf.compare(rf.wrap(MODULE, 3), rf.load_data((X, Y)), references=["art"], candidate=own_fgsm).to_dict()
    sides = [found["ours"], *found["references"], found["candidate"]]
    return [found["verdict"], *([side["confusion"], side.get("pixels_equal")] for side in sides)]


def verify() -> Any:
    return rf.verify(own_fgsm, image_shape="1x16x16", classes=3).verdict


FUNCTIONS: dict[str, Callable[[], Any]] = {
    "fgsm": lambda: rf.fgsm(MODULE, X, Y),
    "fgsm l2": lambda: rf.fgsm(MODULE, X, Y, 0.5, norm=2),
    "fgsm of a classifier": lambda: rf.fgsm(rf.wrap(MODULE, 3, mean=0.5, std=0.2), X, Y),
    "fgsm_sweep": lambda: torch.stack(list(rf.fgsm_sweep(MODULE, X, Y, [0.01, 0.1]))),
    "minimal_epsilon": lambda: rf.minimal_epsilon(MODULE, X, Y, 0.1).x_adv,
    "bim": lambda: rf.bim(MODULE, X, Y, steps=3),
    "pgd": lambda: rf.pgd(MODULE, X, Y, 0.5, steps=3, norm=2),
    "mi_fgsm": lambda: rf.mi_fgsm(MODULE, X, Y, steps=3),
    "random_start": lambda: rf.random_start(X, Y, 0.1, seed=3),
    "predict": lambda: rf.wrap(MODULE, 3).predict(X),
    "evaluate": lambda: rates(rf.evaluate(rf.wrap(MODULE, 3), (X, Y), restarts=1).to_dict()),
    "load_classifier": lambda: rf.load_classifier("smallcnn").predict(torch.full((2, 1, 28, 28), 0.5, device="cpu")),
    "load_data": lambda: rf.load_data("fashion-mnist", limit=4).fingerprint,
    "compare": compare,
    "verify": verify,
}


def same(ours: Any, theirs: Any) -> bool:
    """Compare tensors bit by bit, and other things by `==`."""
    if isinstance(ours, Tensor):
        return ours.dtype == theirs.dtype and ours.device == theirs.device and bool(torch.equal(ours, theirs))
    return bool(ours == theirs)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What the functions return in a fresh process."""
    return {}


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_same_numbers(expected: dict[str, Any], name: str, function: str) -> None:
    if function not in expected:
        expected[function] = FUNCTIONS[function]()
    with SURROUNDINGS[name]():
        found = FUNCTIONS[function]()
    with torch.inference_mode():
        assert same(found, expected[function])


@pytest.mark.parametrize("name", ["float64", "default device", "meta"])
def test_a_network_of_the_callers_dtype_makes_its_own_tensors(name: str) -> None:
    """A float64 network, whose forward pass makes tensors of the default dtype, is called with this default."""

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 3, dtype=torch.float64 if name == "float64" else torch.float32, device="cpu")

        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(1).to(self.linear.weight.dtype)
            logits: Tensor = self.linear(flat + torch.zeros(64, device="cpu"))
            assert torch.zeros(1, device="cpu").dtype == self.linear.weight.dtype
            return logits

    with SURROUNDINGS[name]():
        rf.fgsm(Adds(), X, Y)


@pytest.mark.reference
@pytest.mark.parametrize(
    "call",
    [
        lambda: rf.load_classifier("resnet18", weights="none", data="fashion-mnist"),
        lambda: rf.load_data("fashion-mnist", limit=4),
        lambda: rf.evaluate(rf.wrap(MODULE, 3), (X, Y), restarts=1, targeted="random"),
        lambda: rf.sweep(rf.wrap(MODULE, 3), (X, Y)),
        lambda: rf.transfer([rf.wrap(MODULE, 3)], [rf.wrap(MODULE, 3)], (X, Y)),
        lambda: rf.compare(rf.wrap(MODULE, 3), (X, Y)),
        lambda: rf.verify(own_fgsm, image_shape="1x16x16", classes=3),
        lambda: rf.fgsm(MODULE, X, Y),
    ],
)
def test_generators_are_left_alone(call: Callable[[], object]) -> None:
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"], random.getstate()
    call()
    after = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"], random.getstate()
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_a_factory_that_seeds_leaves_no_seed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import random, numpy, torch\n"
        "def make():\n    random.seed(0), numpy.random.seed(0), torch.manual_seed(0)\n    return torch.nn.Sequential("
        "torch.nn.Flatten(), torch.nn.Linear(4, 3))\n"
    )
    before = torch.get_rng_state(), random.getstate()
    rf.load_classifier(f"factory:{tmp_path / 'mine.py'}:make")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.parametrize("training", [True, False])
def test_threads_share_one_module(training: bool) -> None:
    module = copy.deepcopy(MODULE).train(training)
    module.norm.eval()  # frozen
    flags = [part.training for part in module.modules()]
    buffers, state = [buffer.clone() for buffer in module.buffers()], torch.get_rng_state()
    expected = rf.fgsm(module, X, Y)
    wrong: list[int] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        wrong.extend(number for _ in range(40) if not torch.equal(rf.fgsm(module, X, Y), expected))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [part.training for part in module.modules()] == flags
    assert all(map(torch.equal, module.buffers(), buffers))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_last_thread_restores_a_setting() -> None:
    values = ["medium"]
    setting = SharedSetting(lambda: values[-1], values.append)
    first, second = setting.hold("highest"), setting.hold("high")
    first.__enter__()
    second.__enter__()
    assert values[-1] == "high"
    first.__exit__(None, None, None)
    assert (values[-1], setting.differs("high")) == ("high", True)
    second.__exit__(None, None, None)
    assert (values[-1], setting.differs("medium")) == ("medium", False)


def test_a_nan_gradient_is_counted_under_anomaly_detection() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x).sqrt().flatten(1)[:, :3]

    with torch.autograd.set_detect_anomaly(mode=True), pytest.warns(RuntimeWarning, match="24 of 24 images have a gradient"):
        rf.fgsm(Bad(), X, Y)


@neutral_settings()
def settings() -> tuple[object, ...]:
    """The settings inside."""
    state = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    return *state, torch.get_default_dtype(), torch.empty(0).device.type, np.geterr()["invalid"]


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_settings_inside(name: str) -> None:
    with SURROUNDINGS[name]():
        assert settings() == (True, False, False, torch.float32, "cpu", "warn")


def draw() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


@preserve_generators()
def draw_and_fail() -> None:
    seed_generators(4)
    draw()
    raise ValueError("odd")


def test_generators_are_restored_also_after_an_error() -> None:
    seed_generators(3)
    expected = draw()
    seed_generators(3)
    with pytest.raises(ValueError, match="odd"):
        draw_and_fail()
    assert draw() == expected


def test_a_seed_fixes_what_is_drawn() -> None:
    with preserve_generators():
        seed_generators(2**40)
        first = draw()
        seed_generators(2**40)
        assert draw() == first
