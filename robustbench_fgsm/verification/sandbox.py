"""One call of a candidate under observation: what it gives back, and what it leaves behind."""

from __future__ import annotations

import pickle
import random
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
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
    """What was seen of one call.

    returned: what came back, or None where the candidate raised or hung. failure: how it failed, in a line; traceback:
    where it raised. side_effects: ids of mistakes that were seen, and the evidence. passes: forward passes, where the
    network records them. warned: whether it gave a Python warning.
    """

    returned: object
    failure: str
    traceback: str
    side_effects: dict[str, str]
    forward_passes: tuple[ForwardPass, ...]
    warned: bool


class TimeLimitError(BaseException):
    """Raised inside a candidate that takes too long; no Exception, so that it does not catch it by habit."""


def observe_call(candidate: Candidate, attack_call: AttackCall, model: nn.Module, x: Tensor, time_limit: float) -> ObservedCall:
    """Call the candidate with that model, which is its own to spoil, and images x, and restore all that is global."""
    model.eval()
    probe = next((module for module in model.modules() if isinstance(module, CallRecorder)), None)
    if probe is not None:
        probe.record.reset((x - attack_call.mean) / attack_call.std)
    given, labels = x.clone(), attack_call.y.clone()
    before = ModelSnapshot.take(model)
    returned: object = None
    failure = trace = ""
    with warnings.catch_warnings(record=True) as caught, restored_global_state(attack_call.seed) as moved:
        warnings.simplefilter("always")
        try:
            with enforce_time_limit(time_limit), torch.inference_mode(False), torch.enable_grad():
                returned = candidate.call_attack(model, x, labels, attack_call.epsilon, targeted=attack_call.targeted)
        except TimeLimitError:
            failure = f"takes longer than {time_limit:g} s"
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever it raises is what is to be reported)
            failure, trace = f"raises {describe_error(error)}", traceback.format_exc()
        moved.update(changed_generators(attack_call.seed))
    effects = before.side_effects(model)
    if not torch.equal(given, x):
        effects["mutates-input"] = "the tensor x is not what it was before the call"
    elif not torch.equal(labels, attack_call.y):
        effects["mutates-input"] = "the labels y are not what they were before the call"
    if moved:
        effects["global-rng"] = f"the global generator of {', '.join(sorted(moved))} has moved"
    if isinstance(returned, Tensor) and returned.requires_grad:
        effects["graph-attached"] = "the returned tensor requires a gradient"
    passes = tuple(probe.record.forward_passes) if probe is not None else ()
    return ObservedCall(returned, failure, trace, effects, passes, bool(caught))


@dataclass(frozen=True)
class ModelSnapshot:
    """What a network was before a call."""

    tensors: dict[str, Tensor]
    buffer_names: frozenset[str]
    parameter_grads: dict[str, tuple[bool, Tensor | None]]
    training_flags: dict[str, bool]
    hook_count: int

    @classmethod
    def take(cls, model: nn.Module) -> ModelSnapshot:
        """The network as it is now."""
        return cls(
            {name: value.detach().clone() for name, value in _parameters_and_buffers(model).items()},
            frozenset(name for name, _ in model.named_buffers()),
            {
                name: (value.requires_grad, None if value.grad is None else value.grad.clone())
                for name, value in model.named_parameters()
            },
            {name: module.training for name, module in model.named_modules()},
            _count_hooks(model),
        )

    def side_effects(self, model: nn.Module) -> dict[str, str]:
        """What has changed since, by the id of the mistake."""
        now, found = ModelSnapshot.take(model), {}
        if now.tensors.keys() != self.tensors.keys() or now.training_flags.keys() != self.training_flags.keys():
            names = sorted(now.tensors.keys() ^ self.tensors.keys() | now.training_flags.keys() ^ self.training_flags.keys())
            return {"changes-model": f"{', '.join(names[:3])} came or went"}
        changed = [name for name, value in self.tensors.items() if not _equal_tensors(value, now.tensors[name])]
        drifted = [name for name in changed if name in self.buffer_names]
        if drifted:
            found["statistics-drift"] = f"the buffers {', '.join(drifted[:3])} have changed"
        if len(drifted) < len(changed):
            names = [name for name in changed if name not in self.buffer_names]
            found["changes-model"] = f"the parameters {', '.join(names[:3])} have changed"
        elif now.hook_count != self.hook_count:
            found["changes-model"] = f"{now.hook_count - self.hook_count:+d} hooks are registered"
        elif any(now.parameter_grads[name][0] != flag for name, (flag, _) in self.parameter_grads.items()):
            found["changes-model"] = "requires_grad of the parameters has changed"
        if any(not _equal_tensors(grad, now.parameter_grads[name][1]) for name, (_, grad) in self.parameter_grads.items()):
            found["parameter-gradients-left"] = "parameters hold a .grad that they did not hold before"
        if now.training_flags != self.training_flags:
            names = [name or "the model" for name, flag in now.training_flags.items() if flag != self.training_flags[name]]
            found["mode-left-changed"] = f"{len(names)} modules are in another mode, {names[0]} for one"
        return found


def _parameters_and_buffers(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _equal_tensors(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one, other))


def _count_hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


@contextmanager
def restored_global_state(seed: int) -> Iterator[set[str]]:
    """Seeded generators inside, and everything global that a candidate may change as it was afterwards."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    _seed_generators(seed)
    try:
        yield set()
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)


def _seed_generators(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def changed_generators(seed: int) -> set[str]:
    """Which global generators are no longer where the seed put them."""
    now = _generator_states()
    _seed_generators(seed)
    then = _generator_states()
    return {name for name, state in now.items() if state != then[name]}


def _generator_states() -> dict[str, object]:
    """The states of the global generators, each as something that compares."""
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),
        "random": random.getstate(),
    }


@contextmanager
def enforce_time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimitError in the body after that time, and every second from then on, in case it is caught.

    Only the main thread of a POSIX process can be interrupted so; elsewhere there is no limit.
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
