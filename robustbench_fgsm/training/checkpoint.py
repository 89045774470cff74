"""State of a training as bytes, from which the training continues as if it had not been interrupted."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.errors import ModelError, RunError, describe_error
from robustbench_fgsm.files.json_files import parse_json
from robustbench_fgsm.files.validation import FileSchema, validate
from robustbench_fgsm.models.checkpoint import check_state, load_weights, read_pickled
from robustbench_fgsm.training.recipe import CHECKS_PER_EPOCH
from robustbench_fgsm.training.watch import ValidationCheck

StateDict = dict[str, Tensor]

STATE_NAME = "the kept state of a training"
REMEDY = "remove it to begin again, or choose another directory"


class _Rate(FileSchema):
    count: NonNegativeInt
    n: NonNegativeInt


class _Check(FileSchema):
    epoch: PositiveInt
    quarter: int = Field(ge=1, le=CHECKS_PER_EPOCH)
    step: PositiveInt
    loss: float
    learning_rate: float
    clean: _Rate | None
    fgsm: _Rate | None
    pgd: _Rate | None
    nonfinite_outputs: NonNegativeInt


class _BadSample(FileSchema):
    path: str
    reason: str
    hash: int | None = None


class _Progress(FileSchema):
    done: PositiveInt
    stopped: bool
    best_check: NonNegativeInt | None
    checks: list[_Check] = Field(min_length=1)
    bad: list[_BadSample]


class TrainingStateStore(Protocol):
    """Storage of the state and the log of a training.

    run: identity of the training, which a state must have to be restored.
    """

    @property
    def run(self) -> str:
        """Return the identity of the training."""

    def load(self) -> bytes | None:
        """Return the last state, or None."""

    def save(self, state: bytes, log: list[dict[str, Any]]) -> None:
        """Replace the state and the log atomically."""


@dataclass
class TrainingState:
    """Mutable state of a training.

    Args:
        steps_done: optimizer steps since the start.
        losses: losses of the steps since the last check. They are not saved, since a state is saved only after a check.
        best_weights: weights at the check with index `best_check`.
        bad: unreadable samples so far.
        run: identity of the training.
    """

    network: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    steps_done: int = 0
    stopped: bool = False
    checks: list[ValidationCheck] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    best_weights: StateDict | None = None
    best_check: int | None = None
    bad: set[BadSample] = field(default_factory=set)
    run: str = ""

    def to_bytes(self, world: World = SINGLE_PROCESS) -> bytes:
        """Return the state with the random generators of all processes. A collective call: each process must make it."""
        device = next(self.network.parameters()).device
        own = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
        generators, stream = world.gather(own), io.BytesIO()
        torch.save(
            {
                "run": self.run,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict()["state"],
                "random": generators,
                "best": self.best_weights,
                "progress": json.dumps(
                    {
                        "done": self.steps_done,
                        "stopped": self.stopped,
                        "best_check": self.best_check,
                        "checks": [check.to_dict() for check in self.checks],
                        "bad": sorted(map(asdict, self.bad), key=lambda sample: str(sample["path"])),
                    }
                ),
            },
            stream,
        )
        return stream.getvalue()

    def restore(self, content: bytes, world: World = SINGLE_PROCESS) -> None:
        """Restore what `to_bytes` wrote with the same number of processes, before the first step of a training.

        Learning rates are those of the recipe after so many steps. Raises UnsafeError if the bytes contain more than tensors, and
        RunError if `to_bytes` did not write them for this training.
        """
        try:
            self._restore_from(read_pickled(io.BytesIO(content), STATE_NAME), world)
        except (ModelError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise RunError(
                f"{STATE_NAME} must be as it was written, got one that cannot be read ({describe_error(error)}): {REMEDY}"
            ) from error

    def _restore_from(self, checkpoint: Mapping[str, Any], world: World) -> None:
        if checkpoint["run"] != self.run:
            raise RunError(f"{STATE_NAME} must be of this training, got that of another one: {REMEDY}")
        progress = validate(_Progress, parse_json(checkpoint["progress"], STATE_NAME), STATE_NAME, RunError, REMEDY)
        if progress.done != progress.checks[-1].step or (progress.best_check or 0) >= len(progress.checks):
            raise ValueError(f"{progress.done} steps after {len(progress.checks)} checks")
        load_weights(self.network, checkpoint["network"], STATE_NAME)
        if checkpoint["best"] is not None:
            check_state(self.network, checkpoint["best"], STATE_NAME)
        self._restore_optimizer(checkpoint["optimizer"], progress.done)
        own, *on_gpu = checkpoint["random"][world.rank]
        torch.set_rng_state(own)
        if on_gpu:
            torch.cuda.set_rng_state(on_gpu[0], next(self.network.parameters()).device)
        self.steps_done, self.stopped = progress.done, progress.stopped
        self.best_weights, self.best_check = checkpoint["best"], progress.best_check
        self.checks, self.losses = [ValidationCheck.from_dict(check.model_dump()) for check in progress.checks], []
        self.bad |= {BadSample(**sample.model_dump()) for sample in progress.bad}

    def _restore_optimizer(self, moments: Mapping[int, Mapping[str, Tensor]], steps: int) -> None:
        """Restore the running moments of each parameter, and repeat the steps of the schedule."""
        names = {"momentum_buffer"} if isinstance(self.optimizer, SGD) else {"step", "exp_avg", "exp_avg_sq"}
        parameters = list(self.network.parameters())
        for place, found in moments.items():
            shapes = {name: (torch.Size() if name == "step" else parameters[place].shape) for name in names}
            if {name: value.shape for name, value in found.items()} != shapes or not all(map(_is_plain, found.values())):
                raise ValueError(f"moments of parameter {place} that do not fit it")
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimizer took no step before
            for _ in range(steps):
                self.schedule.step()

    def keep_best_weights(self, check_index: int) -> None:
        """Copy the current weights as the best weights."""
        self.best_weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.best_check = check_index


def _is_plain(value: Tensor) -> bool:
    return value.is_floating_point() and value.layout == torch.strided and bool(value.isfinite().all())
