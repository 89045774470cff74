"""What a candidate leaves behind is seen, and what is global is restored."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.cases import CASES
from robustbench_fgsm.verification.sandbox import TimeLimitError, enforce_time_limit, observe_call

Attack = Callable[..., object]


@pytest.fixture(scope="module")
def scene() -> AttackCall:
    return CASES["batch-norm"]().calls[0]


def effects(scene: AttackCall, call: Attack) -> dict[str, str]:
    import copy

    model, x = copy.deepcopy(scene.model), scene.x.clone()
    return observe_call(candidate_from_callable(call), scene, model, x, 10).side_effects


def acting(act: Callable[[nn.Module, Tensor, Tensor], object]) -> Attack:
    """A candidate that does something, and returns the images."""

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        clean = x.clone()
        act(model, x, y)
        return clean

    return fgsm


def backward(model: nn.Module, x: Tensor, y: Tensor) -> None:
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]


def first_weight(model: nn.Module) -> nn.Parameter:
    return next(model.parameters())


def double_weight(model: nn.Module, x: Tensor, y: Tensor) -> None:
    with torch.no_grad():
        first_weight(model).mul_(2)


def delete_parameter(model: nn.Module, x: Tensor, y: Tensor) -> None:
    body: Any = model.network
    del body.body[0].weight


def forward_in_train_mode(model: nn.Module, x: Tensor, y: Tensor) -> None:
    with torch.no_grad():
        model.train()(x)
    model.eval()


def leave_hook(model: nn.Module, x: Tensor, y: Tensor) -> None:
    model.register_forward_hook(lambda *_: None)


def freeze(model: nn.Module, x: Tensor, y: Tensor) -> None:
    model.requires_grad_(False)


@pytest.mark.parametrize(
    ("act", "name", "said"),
    [
        (lambda model, x, y: None, "", ""),
        (lambda model, x, y: x.add_(0.1), "mutates-input", "tensor x"),
        (lambda model, x, y: y.zero_(), "mutates-input", "labels y"),
        (backward, "parameter-gradients-left", ".grad"),
        (lambda model, x, y: model.train(), "mode-left-changed", "another mode"),
        (lambda model, x, y: torch.rand(1), "global-rng", "torch"),
        (lambda model, x, y: np.random.rand(), "global-rng", "numpy"),
        (lambda model, x, y: random.random(), "global-rng", "random"),
        (double_weight, "changes-model", "parameters network.body.0.weight have changed"),
        (delete_parameter, "changes-model", "network.body.0.weight added or removed"),
        (leave_hook, "changes-model", "+1 hooks"),
        (freeze, "changes-model", "requires_grad"),
        (forward_in_train_mode, "statistics-drift", "running_mean"),
    ],
)
def test_what_is_left_behind_is_named(scene: AttackCall, act: Any, name: str, said: str) -> None:
    found = effects(scene, acting(act))
    assert list(found) == ([name] if name else [])
    assert said in "".join(found.values())


def test_an_attached_result_is_seen(scene: AttackCall) -> None:
    assert list(effects(scene, lambda model, x, y, epsilon: model(x))) == ["graph-attached"]


def test_what_is_global_is_as_it_was(scene: AttackCall) -> None:
    def careless(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        warnings.simplefilter("ignore")
        raise ValueError("and then this")

    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate(), warnings.filters[:]
    seen = observe_call(candidate_from_callable(careless), scene, scene.model, scene.x.clone(), 10)
    assert (seen.returned, seen.failure) == (None, "raises ValueError: and then this")
    assert "in careless" in seen.traceback
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate(), warnings.filters) == before[1:]
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_a_warning_is_seen_and_not_shown(scene: AttackCall) -> None:
    def warning(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        warnings.warn("no gradient", RuntimeWarning, stacklevel=1)
        return x.clone()

    assert observe_call(candidate_from_callable(warning), scene, scene.model, scene.x.clone(), 10).warned


def stubborn(*_: object) -> None:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def test_one_that_hangs_is_stopped(scene: AttackCall) -> None:
    began = time.monotonic()
    seen = observe_call(candidate_from_callable(acting(stubborn)), scene, scene.model, scene.x.clone(), 0.2)
    assert seen.failure == "takes longer than 0.2 s"
    assert time.monotonic() - began < 10


def test_an_outer_limit_still_holds() -> None:
    def inner_first() -> None:
        with enforce_time_limit(10):
            pass
        time.sleep(10)

    with enforce_time_limit(0.3), pytest.raises(TimeLimitError):
        inner_first()


def test_elsewhere_than_in_the_main_thread_there_is_no_limit() -> None:
    done = []

    def work() -> None:
        with enforce_time_limit(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_passes_are_recorded_also_of_copies(scene: AttackCall) -> None:
    import copy

    def copying(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        copy.deepcopy(model).double().train()(x.double() + 0.25)
        return x.clone()

    (one,) = observe_call(candidate_from_callable(copying), scene, copy.deepcopy(scene.model), scene.x.clone(), 10).forward_passes
    assert (one.training, one.dtype) == (True, torch.float64)
    assert one.input_distance == pytest.approx(0.25 / 0.224, rel=1e-3)
