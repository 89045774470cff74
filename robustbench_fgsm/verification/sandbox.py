"""One observed call of a candidate: what it returns, and its side effects."""

from __future__ import annotations

import pickle
import random
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import describe_error
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.call_recorder import CallRecorder, ForwardPass


@dataclass(frozen=True)
class ObservedCall:
    """Result of one observed call: what it returned, or how it failed in one line, and its side effects.

    side_effects: ids of the mistakes in the candidate's conduct, each with its evidence. warned: whether it gave a Python
    warning.
    """

    returned: object
    failure: str
    traceback: str
    side_effects: dict[str, str]
    forward_passes: tuple[ForwardPass, ...]
    warned: bool


class TimeLimitError(BaseException):
    """Raised in a candidate that reaches the time limit; not an Exception, so that `except Exception` does not catch it."""


def observe_call(candidate: Candidate, call: AttackCall, model: nn.Module, x: Tensor, time_limit: float) -> ObservedCall:
    """Call the candidate with this model and images x, both of which it may change, and restore all global state."""
    model.eval()
    recorder = next((module for module in model.modules() if isinstance(module, CallRecorder)), None)
    if recorder is not None:
        recorder.record.reset((x - call.mean) / call.std)
    given, labels = x.clone(), call.y.clone()
    before = ModelSnapshot.take(model)
    returned: object = None
    failure = trace = ""
    with warnings.catch_warnings(record=True) as caught, restored_global_state(call.seed):
        warnings.simplefilter("always")
        try:
            with enforce_time_limit(time_limit), torch.inference_mode(False), torch.enable_grad():
                returned = candidate.call_attack(model, x, labels, call.epsilon, targeted=call.targeted)
        except TimeLimitError:
            failure = f"takes longer than {time_limit:g} s"
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever the candidate raises is reported)
            failure, trace = f"raises {describe_error(error)}", traceback.format_exc()
        changed = changed_generators(call.seed)
    effects = before.side_effects(model)
    if not torch.equal(given, x):
        effects["mutates-input"] = "the tensor x is not what it was before the call"
    elif not torch.equal(labels, call.y):
        effects["mutates-input"] = "the labels y are not what they were before the call"
    if changed:
        effects["global-rng"] = f"the global generator of {', '.join(sorted(changed))} has changed state"
    if isinstance(returned, Tensor) and returned.requires_grad:
        effects["graph-attached"] = "the returned tensor requires a gradient"
    passes = tuple(recorder.record.forward_passes) if recorder is not None else ()
    return ObservedCall(returned, failure, trace, effects, passes, bool(caught))


@dataclass(frozen=True)
class ModelSnapshot:
    """State of a network at one moment, by the names of its parameters, buffers and modules."""

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    grads: dict[str, Tensor | None]
    requires_grad: dict[str, bool]
    training_flags: dict[str, bool]
    hook_count: int

    @classmethod
    def take(cls, model: nn.Module) -> ModelSnapshot:
        """Return the present state of a network."""
        parameters = dict(model.named_parameters())
        return cls(
            {name: value.detach().clone() for name, value in parameters.items()},
            {name: value.detach().clone() for name, value in model.named_buffers()},
            {name: None if value.grad is None else value.grad.clone() for name, value in parameters.items()},
            {name: value.requires_grad for name, value in parameters.items()},
            {name: module.training for name, module in model.named_modules()},
            _count_hooks(model),
        )

    @property
    def names(self) -> set[str]:
        """Return the names of all parameters, buffers and modules."""
        return {*self.parameters, *self.buffers, *self.training_flags}

    def side_effects(self, model: nn.Module) -> dict[str, str]:
        """Return what has changed since the snapshot, by the id of the mistake."""
        now, found = ModelSnapshot.take(model), {}
        if names := now.names ^ self.names:
            return {"changes-model": f"{', '.join(sorted(names)[:3])} were added or removed"}
        if changed := _changed_tensors(self.buffers, now.buffers):
            found["statistics-drift"] = f"the buffers {', '.join(changed[:3])} have changed"
        if changed := _changed_tensors(self.parameters, now.parameters):
            found["changes-model"] = f"the parameters {', '.join(changed[:3])} have changed"
        elif now.hook_count != self.hook_count:
            found["changes-model"] = f"{now.hook_count - self.hook_count:+d} hooks are registered"
        elif now.requires_grad != self.requires_grad:
            found["changes-model"] = "requires_grad of the parameters has changed"
        if _changed_tensors(self.grads, now.grads):
            found["parameter-gradients-left"] = "parameters hold a new .grad"
        if now.training_flags != self.training_flags:
            changed = [name or "the model" for name, flag in now.training_flags.items() if flag != self.training_flags[name]]
            found["mode-left-changed"] = f"{len(changed)} modules are in another mode, for example {changed[0]}"
        return found


def _changed_tensors(before: Mapping[str, Tensor | None], after: Mapping[str, Tensor | None]) -> list[str]:
    return [name for name, value in before.items() if not _equal_tensors(value, after[name])]


def _equal_tensors(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one, other))


def _count_hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


@contextmanager
def restored_global_state(seed: int) -> Iterator[None]:
    """Seed the global generators inside the block, and restore all global state that a candidate may change."""
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    grad_enabled, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    _seed_generators(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_grad_enabled(grad_enabled)
        torch.set_default_dtype(dtype)


def _seed_generators(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def changed_generators(seed: int) -> set[str]:
    """Return the names of the global generators that are not in the state that the seed gives."""
    found = _generator_states()
    _seed_generators(seed)
    seeded = _generator_states()
    return {name for name, state in found.items() if state != seeded[name]}


def _generator_states() -> dict[str, object]:
    """Return the states of the global generators in a form that `==` compares."""
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),
        "random": random.getstate(),
    }


@contextmanager
def enforce_time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimitError in the block after this time, and again every second, because the block may catch it.

    There is no limit outside the main thread of a POSIX process, because only this thread receives signals.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeLimitError

    began, handler = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - began), 0.001))
