"""Side side_effects of a candidate are found, and global state is restored."""

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
from robustbench_fgsm.verification.sandbox import TimeLimitError, enforce_time_limit, mark_gradients, observe_call

Attack = Callable[..., object]


def side_effects(batch_norm_call: AttackCall, call: Attack) -> dict[str, str]:
    import copy

    model, x = copy.deepcopy(batch_norm_call.model), batch_norm_call.x.clone()
    return observe_call(candidate_from_callable(call), batch_norm_call, model, x, 10).side_effects


def candidate_that(action: Callable[[nn.Module, Tensor, Tensor], object]) -> Attack:
    """A candidate that does something, and returns the images."""

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        clean = x.clone()
        action(model, x, y)
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
    ("action", "name", "evidence"),
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
        (delete_parameter, "changes-model", "network.body.0.weight were added or removed"),
        (leave_hook, "changes-model", "+1 hooks"),
        (freeze, "changes-model", "requires_grad"),
        (forward_in_train_mode, "statistics-drift", "running_mean"),
    ],
)
def test_names_side_effects(batch_norm_call: AttackCall, action: Any, name: str, evidence: str) -> None:
    found = side_effects(batch_norm_call, candidate_that(action))
    drawn = {"global-rng"} if action is forward_in_train_mode else set()  # by dropout
    assert found.keys() - drawn == ({name} if name else set())
    assert evidence in "".join(found.values())


def test_names_an_attached_result(batch_norm_call: AttackCall) -> None:
    assert list(side_effects(batch_norm_call, lambda model, x, y, epsilon: model(x))) == ["graph-attached"]


def test_restores_global_state(batch_norm_call: AttackCall) -> None:
    def careless(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        warnings.simplefilter("ignore")
        raise ValueError("and then this")

    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate(), warnings.filters[:]
    observed = observe_call(
        candidate_from_callable(careless), batch_norm_call, batch_norm_call.model, batch_norm_call.x.clone(), 10
    )
    assert (observed.returned, observed.failure) == (None, "raises ValueError: and then this")
    assert "in careless" in observed.traceback
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate(), warnings.filters) == before[1:]
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("setting", "evidence"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "default dtype"),
        (lambda: torch.set_grad_enabled(False), "grad mode"),
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "number of threads"),
    ],
)
def test_names_changed_global_settings(batch_norm_call: AttackCall, setting: Callable[[], object], evidence: str) -> None:
    found = side_effects(batch_norm_call, candidate_that(lambda model, x, y: setting()))
    assert list(found) == ["changes-global-state"]
    assert evidence in found["changes-global-state"]


def test_recognises_gradients_that_add_up(batch_norm_call: AttackCall) -> None:
    import copy

    model = copy.deepcopy(batch_norm_call.model)
    mark_gradients(model)
    adding = candidate_from_callable(candidate_that(backward))
    observed = observe_call(adding, batch_norm_call, model, batch_norm_call.x.clone(), 10)
    assert "adds up" in observed.side_effects["parameter-gradients-left"]


def test_records_warnings(batch_norm_call: AttackCall) -> None:
    def warning(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        warnings.warn("no gradient", RuntimeWarning, stacklevel=1)
        return x.clone()

    assert observe_call(
        candidate_from_callable(warning), batch_norm_call, batch_norm_call.model, batch_norm_call.x.clone(), 10
    ).warned


def stubborn(*_: object) -> None:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def test_stops_at_the_time_limit(batch_norm_call: AttackCall) -> None:
    observed = observe_call(
        candidate_from_callable(candidate_that(stubborn)), batch_norm_call, batch_norm_call.model, batch_norm_call.x.clone(), 0.2
    )
    assert observed.failure == "takes longer than 0.2 s"  # the candidate never ends by itself


def test_outer_time_limit_holds() -> None:
    def inner_first() -> None:
        with enforce_time_limit(10):
            pass
        while True:
            time.sleep(0.01)

    with pytest.raises(TimeLimitError), enforce_time_limit(0.3):
        inner_first()


def test_no_time_limit_in_threads() -> None:
    done = []

    def work() -> None:
        with enforce_time_limit(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
