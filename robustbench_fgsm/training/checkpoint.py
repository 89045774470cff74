"""State of a training as bytes, from which the training continues as if it had not been interrupted."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.errors import ModelError, RunError, describe_error
from robustbench_fgsm.models.checkpoint import read_pickled
from robustbench_fgsm.training.watch import ValidationCheck

StateDict = dict[str, Tensor]


class TrainingStateStore(Protocol):
    """Storage of the state and the log of a training."""

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

    def to_bytes(self, world: World = SINGLE_PROCESS) -> bytes:
        """Return the state with the random generators of all processes. A collective call: each process must make it."""
        device = next(self.network.parameters()).device
        own = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
        generators, stream = world.gather(own), io.BytesIO()
        torch.save(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
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
        """Restore what `to_bytes` wrote with the same number of processes.

        Raises:
            UnsafeError: if the bytes contain more than tensors.
            RunError: if `to_bytes` did not write the bytes.
        """
        try:
            self._restore_from(read_pickled(io.BytesIO(content), "the kept state of a training"), world)
        except (ModelError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise RunError(
                f"the kept state of a training must be as it was written, got one that cannot be read "
                f"({describe_error(error)}): remove it to begin again, or choose another directory"
            ) from error

    def _restore_from(self, checkpoint: Mapping[str, Any], world: World) -> None:
        self.network.load_state_dict(checkpoint["network"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        own, *on_gpu = checkpoint["random"][world.rank]
        torch.set_rng_state(own)
        if on_gpu:
            torch.cuda.set_rng_state(on_gpu[0], next(self.network.parameters()).device)
        progress = json.loads(checkpoint["progress"])
        self.steps_done, self.stopped = progress["done"], progress["stopped"]
        self.best_weights, self.best_check = checkpoint["best"], progress["best_check"]
        self.checks, self.losses = [ValidationCheck.from_dict(check) for check in progress["checks"]], []
        self.bad |= {BadSample(**sample) for sample in progress.get("bad", [])}

    def keep_best_weights(self, check_index: int) -> None:
        """Copy the current weights as the best weights."""
        self.best_weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.best_check = check_index
