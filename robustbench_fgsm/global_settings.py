"""Settings and random generators of the process, which must not change a call's numbers, also if several threads call at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
import torch

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Setting = TypeVar("Setting")
Thing = TypeVar("Thing")

AUTOCAST_DEVICES = ("cpu", "cuda")

NUMPY_ERROR_STATE: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""NumPy's own default."""


class SharedState(Generic[Thing]):
    """State of things that several threads use at once: the first one saves it, and the last one restores it.

    Args:
        save: returns the state of a thing.
        restore: gives a thing its state back.
    """

    def __init__(self, save: Callable[[Thing], Any], restore: Callable[[Thing, Any], None]) -> None:
        self._save, self._restore = save, restore
        self._lock = threading.RLock()
        self._users: dict[int, tuple[int, Any]] = {}

    @contextmanager
    def preserve(self, things: Iterable[Thing]) -> Iterator[None]:
        """Restore the state of these things when no thread uses them any more."""
        things = list(things)
        with self._lock:
            for thing in things:
                users, state = self._users.get(id(thing)) or (0, self._save(thing))
                self._users[id(thing)] = users + 1, state
        try:
            yield
        finally:
            with self._lock:
                for thing in things:
                    users, state = self._users.pop(id(thing))
                    if users > 1:
                        self._users[id(thing)] = users - 1, state
                    else:
                        self._restore(thing, state)


class SharedSetting(Generic[Setting]):
    """Setting of the whole process that several threads may hold at a value; the last one restores what was there.

    Blocks may be nested. If threads hold different values, the value of the last one to enter holds.
    """

    def __init__(self, read: Callable[[], Setting], write: Callable[[Setting], object]) -> None:
        self._read, self._write = read, write
        self._lock = threading.RLock()
        self._held: dict[object, Setting] = {}
        self._before: Setting | None = None

    def differs(self, value: Setting) -> bool:
        """Return True if the setting has another value, or if another thread may restore another value."""
        return bool(self._held) or self._read() != value

    @contextmanager
    def hold(self, value: Setting) -> Iterator[None]:
        """Give the setting this value in the block."""
        ticket = object()
        with self._lock:
            if not self._held:
                self._before = self._read()
            self._held[ticket] = value
            self._write(value)
        try:
            yield
        finally:
            with self._lock:
                del self._held[ticket]
                self._write([*self._held.values()][-1] if self._held else self._before)  # type: ignore[arg-type]


def _set_anomaly_detection(enabled: bool) -> None:
    torch.autograd.set_detect_anomaly(enabled, check_nan=torch.is_anomaly_check_nan_enabled())


DEFAULT_DTYPE = SharedSetting(torch.get_default_dtype, torch.set_default_dtype)
ANOMALY_DETECTION = SharedSetting(torch.is_anomaly_enabled, _set_anomaly_detection)
MATRIX_PRODUCTS = SharedSetting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
CUDNN = SharedSetting(lambda: torch.backends.cudnn.enabled, lambda on: setattr(torch.backends.cudnn, "enabled", on))
CUDNN_TF32 = SharedSetting(lambda: torch.backends.cudnn.allow_tf32, lambda on: setattr(torch.backends.cudnn, "allow_tf32", on))


@contextmanager
def preserve_generators(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Restore the generators at the end of the block: PyTorch's on the CPU and on these GPUs, NumPy's and Python's."""
    python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device for device in devices if device.type == "cuda"]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)


def seed_generators(seed: int) -> None:
    """Seed the generators of PyTorch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _restore_generator(generator: torch.Generator, state: Any) -> None:
    generator.set_state(state)


GENERATORS = SharedState[torch.Generator](lambda generator: generator.get_state(), _restore_generator)
"""PyTorch's global generators, from which a network may draw."""


def torch_generators(device: torch.device) -> list[torch.Generator]:
    """Return the global generators from which a network on this device draws."""
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]


class _CallerSettings(threading.local):
    """Default dtype and device of the caller, which a network's own forward pass may need; None inside no call."""

    dtype: torch.dtype | None = None
    device: torch.device | None = None


_CALLER = _CallerSettings()


class neutral_settings:  # noqa: N801  (a context manager)
    """Compute as in a fresh process: default dtype float32, default device CPU, no autocast, inference, no-grad or anomaly mode.

    It is used as a block or as a decorator, and costs little where everything is neutral already.

    Args:
        generators: also restore the global random generators of PyTorch, NumPy and Python.
    """

    __slots__ = ("_generators", "_stack")

    def __init__(self, *, generators: bool = False) -> None:
        self._generators = generators
        self._stack: ExitStack | None = None

    def __enter__(self) -> None:
        if self._generators:
            initialised = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
            devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] if initialised else []
            self._enter(preserve_generators(devices))
        if not _is_neutral():
            for context in _neutral_contexts():
                self._enter(context)

    def _enter(self, context: AbstractContextManager[object]) -> None:
        self._stack = self._stack or ExitStack()
        self._stack.enter_context(context)

    def __exit__(self, *error: Any) -> None:
        if self._stack is not None:
            self._stack.__exit__(*error)

    def __call__(self, function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        """Return the function that computes in neutral settings."""

        @wraps(function)
        def inner(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            if not self._generators and _is_neutral():
                return function(*args, **kwargs)
            with neutral_settings(generators=self._generators):
                return function(*args, **kwargs)

        return inner


def _is_neutral() -> bool:
    """Return True if `_neutral_contexts` would yield nothing: the common case, in 2 us."""
    return (
        torch.is_grad_enabled()
        and not (torch.is_inference_mode_enabled() or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"))
        and not (ANOMALY_DETECTION.differs(value=False) or DEFAULT_DTYPE.differs(torch.float32))
        and np.geterr() == NUMPY_ERROR_STATE
        and torch.empty(0).device.type == "cpu"  # faster than torch.get_default_device
    )


def _neutral_contexts() -> Iterator[AbstractContextManager[object]]:
    """Yield a context for each setting that is not neutral; the next one is looked at inside of those before."""
    if torch.is_inference_mode_enabled():
        yield torch.inference_mode(mode=False)
    if not torch.is_grad_enabled():
        yield torch.enable_grad()
    yield from (torch.autocast(kind, enabled=False) for kind in AUTOCAST_DEVICES if torch.is_autocast_enabled(kind))
    if ANOMALY_DETECTION.differs(value=False):
        yield ANOMALY_DETECTION.hold(value=False)
    if np.geterr() != NUMPY_ERROR_STATE:
        yield np.errstate(**NUMPY_ERROR_STATE)
    if DEFAULT_DTYPE.differs(torch.float32):
        yield _float32_by_default()
    if torch.empty(0).device.type != "cpu":
        yield _cpu_by_default()


@contextmanager
def _float32_by_default() -> Iterator[None]:
    before, dtype = _CALLER.dtype, torch.get_default_dtype()
    with DEFAULT_DTYPE.hold(torch.float32):
        if dtype != torch.float32:
            _CALLER.dtype = dtype
        try:
            yield
        finally:
            _CALLER.dtype = before


@contextmanager
def _cpu_by_default() -> Iterator[None]:
    before, device = _CALLER.device, torch.get_default_device()
    with torch.device("cpu"):
        _CALLER.device = None if device.type == "meta" else device
        try:
            yield
        finally:
            _CALLER.device = before


@contextmanager
def caller_defaults(dtypes: Callable[[], Iterable[torch.dtype]]) -> Iterator[None]:
    """Give a network's forward pass the caller's default device, and the caller's default dtype if the network has this dtype.

    dtypes: returns the floating-point types of the network; called only if the caller's default dtype is not float32.
    """
    dtype, device = _CALLER.dtype, _CALLER.device
    if dtype is None and device is None:
        yield
        return
    with ExitStack() as stack:
        if dtype is not None and dtype in dtypes():
            stack.enter_context(DEFAULT_DTYPE.hold(dtype))
        if device is not None:
            stack.enter_context(device)
        yield


@contextmanager
def float32_precision(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """Compute convolutions and matrix products in full float32, or on a GPU in TF32; afterwards restore the settings."""
    products = "high" if tf32 else "highest"
    if device.type != "cuda":
        if not MATRIX_PRODUCTS.differs(products):
            yield
            return
        with MATRIX_PRODUCTS.hold(products):
            yield
        return
    with CUDNN_TF32.hold(tf32), MATRIX_PRODUCTS.hold(products):
        yield
