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

from robustbench_fgsm.benchmarking.contenders import Contender
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.errors import describe_error
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.spec import AttackSpec

LoadClassifierAndData = Callable[[], tuple[Classifier, Dataset]]
"""Makes classifier and data again in another process; has to be picklable."""

PROC_STATUS = Path("/proc/self/status")
PROC_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class PeakMemory:
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
class PickledClassifierAndData:
    """Loads what is in memory here already, by carrying it over."""

    classifier: Classifier
    data: Dataset

    def __call__(self) -> tuple[Classifier, Dataset]:
        """Both."""
        return self.classifier, self.data


@dataclass(frozen=True)
class MemoryRequest:
    """What the process is to do: the job of one contender, at all budgets at once."""

    load: LoadClassifierAndData
    contender: Contender
    spec: AttackSpec
    batch_size: int
    threads: int


def measure_peak_memory(request: MemoryRequest) -> PeakMemory | str:
    """Memory of that contender in a fresh process; where it cannot be measured, why, in one line."""
    with tempfile.TemporaryDirectory(prefix="rfgsm-") as folder:
        file, answer = Path(folder, "request"), Path(folder, "answer")
        try:
            file.write_bytes(pickle.dumps(request))
        except Exception as error:  # noqa: BLE001  (whatever a class of the user's raises as it is pickled)
            return f"model or data cannot be handed to another process: {describe_error(error)}"
        command = [sys.executable, "-m", __name__, str(file), str(answer)]
        place = {"PYTHONPATH": os.pathsep.join(word for word in sys.path if word)}
        done = subprocess.run(command, env=os.environ | place, capture_output=True, text=True, check=False)  # noqa: S603
        if not answer.exists():
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            return f"its process ended early: {last[0][:200]}"
        found: Any = json.loads(answer.read_text(encoding="utf-8"))
    return found if isinstance(found, str) else PeakMemory(**found)


def measure_in_process(request: MemoryRequest) -> PeakMemory:
    """Do the job in this process and measure it: on a GPU by PyTorch's own count, else by that of the system."""
    torch.set_num_threads(request.threads)
    classifier, data = request.load()
    assert isinstance(classifier, TorchClassifier), "checked before anything is timed"  # noqa: S101
    if classifier.device.type == "cuda":
        torch.cuda.synchronize(classifier.device)
        torch.cuda.reset_peak_memory_stats(classifier.device)
        before = torch.cuda.memory_allocated(classifier.device)
        request.contender.make_implementation(classifier, data, request.spec, request.batch_size).job(data, request.spec.epsilons)
        return PeakMemory(before, torch.cuda.max_memory_allocated(classifier.device))
    before = reset_peak_resident_bytes()
    request.contender.make_implementation(classifier, data, request.spec, request.batch_size).job(data, request.spec.epsilons)
    return PeakMemory(before, peak_resident_bytes())


def reset_peak_resident_bytes() -> int:
    """Bytes resident now, from where the peak is counted anew; where the system cannot do that, the peak so far."""
    try:
        PROC_CLEAR_REFS.write_text("5")
    except OSError:
        return peak_resident_bytes()
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most bytes that were resident at once.

    Linux's getrusage is of no use: a process that was started by a large one is said to have been as large itself.
    """
    if PROC_STATUS.exists():
        (line,) = (line for line in PROC_STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(request_file: str, result_file: str) -> None:
    """Answer the request in that file; an error is an answer too."""
    request = pickle.loads(Path(request_file).read_bytes())  # noqa: S301  (written by the process that started this one)
    try:
        found: Any = vars(measure_in_process(request))
    except Exception as error:  # noqa: BLE001  (whatever a contender raises is its result)
        found = describe_error(error)
    Path(result_file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
