"""The most memory that one contender takes, measured in a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustbench_fgsm.benchmarking.contenders import Entry
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.errors import brief
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.spec import AttackSpec

Load = Callable[[], tuple[Classifier, Dataset]]
"""Makes classifier and data again in another process; has to be picklable."""

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """Bytes: once model and data were there, and at the peak of what follows: a contender's preparations and its job."""

    before: int
    peak: int

    @property
    def above(self) -> int:
        """What the contender took at its peak, with its own copy of the network, its imports and its plan."""
        return self.peak - self.before

    def to_dict(self) -> dict[str, int]:
        """All three, as JSON knows them."""
        return {"before": self.before, "peak": self.peak, "above": self.above}


@dataclass(frozen=True)
class Given:
    """Loads what is in memory here already, by carrying it over."""

    classifier: Classifier
    data: Dataset

    def __call__(self) -> tuple[Classifier, Dataset]:
        """Both."""
        return self.classifier, self.data


@dataclass(frozen=True)
class Request:
    """What the process is to do: the job of one contender, at all budgets at once."""

    load: Load
    entry: Entry
    spec: AttackSpec
    batch_size: int
    threads: int


def measure_memory(request: Request) -> Memory | str:
    """Memory of that contender in a fresh process; where it cannot be measured, why, in one line."""
    with tempfile.TemporaryDirectory(prefix="rfgsm-") as folder:
        file, answer = Path(folder, "request"), Path(folder, "answer")
        try:
            file.write_bytes(pickle.dumps(request))
        except Exception as error:  # noqa: BLE001  (whatever a class of the user's raises as it is pickled)
            return f"model or data cannot be handed to another process: {brief(error)}"
        command = [sys.executable, "-m", __name__, str(file), str(answer)]
        place = {"PYTHONPATH": os.pathsep.join(word for word in sys.path if word)}
        done = subprocess.run(command, env=os.environ | place, capture_output=True, text=True, check=False)  # noqa: S603
        if not answer.exists():
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            return f"its process ended early: {last[0][:200]}"
        found: Any = json.loads(answer.read_text(encoding="utf-8"))
    return found if isinstance(found, str) else Memory(**found)


def run(request: Request) -> Memory:
    """Do the job in this process and measure it: on a GPU by PyTorch's own count, else by that of the system."""
    torch.set_num_threads(request.threads)
    classifier, data = request.load()
    assert isinstance(classifier, TorchClassifier), "checked before anything is timed"  # noqa: S101
    if classifier.device.type == "cuda":
        torch.cuda.synchronize(classifier.device)
        torch.cuda.reset_peak_memory_stats(classifier.device)
        before = torch.cuda.memory_allocated(classifier.device)
        request.entry.prepare(classifier, data, request.spec, request.batch_size).job(data, request.spec.epsilons)
        return Memory(before, torch.cuda.max_memory_allocated(classifier.device))
    before = reset_peak()
    request.entry.prepare(classifier, data, request.spec, request.batch_size).job(data, request.spec.epsilons)
    return Memory(before, peak())


def reset_peak() -> int:
    """Bytes resident now, from where the peak is counted anew; where the system cannot do that, the peak so far."""
    try:
        RESET.write_text("5")
    except OSError:
        return peak()
    return peak()


def peak() -> int:
    """The most bytes that were resident at once.

    Linux's getrusage is of no use: a process that was started by a large one is said to have been as large itself.
    """
    if STATUS.exists():
        (line,) = (line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(file: str, answer: str) -> None:
    """Answer the request in that file; an error is an answer too."""
    request = pickle.loads(Path(file).read_bytes())  # noqa: S301  (written by the process that started this one)
    try:
        found: Any = vars(run(request))
    except Exception as error:  # noqa: BLE001  (whatever a contender raises is its result)
        found = brief(error)
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
