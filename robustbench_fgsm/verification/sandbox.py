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
from dataclasses import dataclass, field
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import describe_error
from robustbench_fgsm.global_settings import preserve_generators, seed_generators
from robustbench_fgsm.models.module_attributes import simple_attributes
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.call_recorder import CallRecorder, ForwardPass

GRADIENT_MARK = 1e6
"""Value of a parameter's gradient before a call that must not add to it."""


@dataclass(frozen=True)
class ObservedCall:
    """Result of one observed call: what it returned, or how it failed in one line, and its side effects.

    side_effects: ids of the mistakes in the candidate's conduct, each with its evidence. warned: whether it gave a Python
    warning. error: the exception that it raised, if any. generator_states: states of the
    global random generators afterwards.
    """

    returned: object
    failure: str
    traceback: str
    side_effects: dict[str, str]
    forward_passes: tuple[ForwardPass, ...]
    warned: bool
    error: BaseException | None = None
    generator_states: Mapping[str, object] = field(default_factory=dict)

    __repr__ = short_repr


class TimeLimitError(BaseException):
    """Raised in a candidate that reaches the time limit; not an Exception, so that `except Exception` does not catch it."""


def observe_call(candidate: Candidate, call: AttackCall, model: nn.Module, x: Tensor, time_limit: float) -> ObservedCall:
    """Call the candidate with this model and images x, both of which it may change, and restore all global state."""
    model.eval()
    recorder = next((module for module in model.modules() if isinstance(module, CallRecorder)), None)
    if recorder is not None:
        recorder.record.reset()
    given, labels = x.detach().clone(), call.y.clone()
    before, global_state = ModelSnapshot.take(model), _global_settings()
    returned: object = None
    error_found: BaseException | None = None
    failure = trace = ""
    with warnings.catch_warnings(record=True) as caught, restored_global_state(call.seed):
        warnings.simplefilter("always")
        try:
            with enforce_time_limit(time_limit), torch.inference_mode(False), torch.enable_grad():
                returned = candidate.call_attack(model, x, labels, call.epsilon, targeted=call.targeted)
                changed_settings = _changed_settings(global_state)
        except TimeLimitError:
            failure = f"takes longer than {time_limit:g} s"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (whatever the candidate raises is reported)
            failure, trace, error_found = f"raises {describe_error(error)}", traceback.format_exc(), error
        states = _generator_states()
        changed = changed_generators(call.seed)
    effects = before.side_effects(model)
    if not torch.equal(given, x.detach()):
        effects["mutates-input"] = "the tensor x is not what it was before the call"
    elif not torch.equal(labels, call.y):
        effects["mutates-input"] = "the labels y are not what they were before the call"
    if changed:
        effects["global-rng"] = f"the global generator of {', '.join(sorted(changed))} has changed state"
    if not failure and changed_settings:
        effects["changes-global-state"] = f"{', '.join(changed_settings)} of the process changed"
    if isinstance(returned, Tensor) and returned.requires_grad:
        effects["graph-attached"] = "the returned tensor requires a gradient"
    passes = tuple(recorder.record.forward_passes) if recorder is not None else ()
    return ObservedCall(returned, failure, trace, effects, passes, bool(caught), error_found, states)


def _global_settings() -> dict[str, object]:
    return {
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "the deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "the anomaly mode": torch.is_anomaly_enabled(),
    }


def _changed_settings(before: Mapping[str, object]) -> list[str]:
    """Return the names of the global settings that differ from before, and the grad mode if it is off."""
    now = _global_settings()
    return [name for name, value in before.items() if now[name] != value] + ([] if torch.is_grad_enabled() else ["the grad mode"])


@dataclass(frozen=True)
class ModelSnapshot:
    """State of a network at one moment, by the names of its parameters, buffers and modules."""

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    grads: dict[str, Tensor | None]
    requires_grad: dict[str, bool]
    training_flags: dict[str, bool]
    settings: dict[str, object]
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
            simple_attributes(model),
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
        elif now.settings != self.settings:
            changed = [name for name, value in now.settings.items() if self.settings.get(name) != value]
            found["changes-model"] = f"the settings {', '.join(changed[:3])} have changed"
        if _changed_tensors(self.grads, now.grads):
            added = " that adds up with the .grad they held" if _add_up(self.grads, now.grads) else ""
            found["parameter-gradients-left"] = f"parameters hold a new .grad{added}"
        if now.training_flags != self.training_flags:
            changed = [name or "the model" for name, flag in now.training_flags.items() if flag != self.training_flags[name]]
            found["mode-left-changed"] = f"{len(changed)} modules are in another mode, for example {changed[0]}"
        return found


def _changed_tensors(before: Mapping[str, Tensor | None], after: Mapping[str, Tensor | None]) -> list[str]:
    return [name for name, value in before.items() if not _equal_tensors(value, after[name])]


def _add_up(before: Mapping[str, Tensor | None], after: Mapping[str, Tensor | None]) -> bool:
    """Return True if the new gradients still contain the large ones that the bench put there."""
    held = {name: value for name, value in before.items() if value is not None and float(value.abs().max()) >= GRADIENT_MARK}
    new = [after.get(name) for name in held]
    return bool(held) and all(value is not None and float(value.abs().max()) > GRADIENT_MARK / 2 for value in new)


def mark_gradients(model: nn.Module) -> None:
    """Give each parameter a gradient that is recognised if a later backward pass adds to it."""
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, GRADIENT_MARK)


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
    grad_enabled, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    deterministic, anomaly = torch.are_deterministic_algorithms_enabled(), torch.is_anomaly_enabled()
    torch.set_default_dtype(torch.float32)
    try:
        with preserve_generators():
            seed_generators(seed)
            yield
    finally:
        torch.set_grad_enabled(grad_enabled)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.is_anomaly_enabled() != anomaly:
            torch.autograd.set_detect_anomaly(anomaly)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)


def changed_generators(seed: int) -> set[str]:
    """Return the names of the global generators that are not in the state that the seed gives."""
    found = _generator_states()
    seed_generators(seed)
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
