"""Measure the peak memory of one contender in a separate process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustbench_fgsm.benchmarking.contenders import Contender
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.errors import describe_error
from robustbench_fgsm.files.atomic_files import temporary_directory, write_bytes
from robustbench_fgsm.files.json_files import parse_json_value
from robustbench_fgsm.files.regular_files import is_present, read_bytes, read_text
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.spec import AttackSpec

LoadClassifierAndData = Callable[[], tuple[Classifier, Dataset]]
"""Makes classifier and data in the other process; must be picklable."""

PROC_STATUS = Path("/proc/self/status")
PROC_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class PeakMemory:
    """Bytes after model and data are loaded, and at the peak of the contender's preparation and job."""

    before: int
    peak: int

    @property
    def above(self) -> int:
        """Return the bytes of the contender at its peak, with its copy of the network, its imports and its plan."""
        return self.peak - self.before


@dataclass(frozen=True)
class PickledClassifierAndData:
    """Classifier and data in the memory of this process, which pickle copies to the other process."""

    classifier: Classifier
    data: Dataset

    def __call__(self) -> tuple[Classifier, Dataset]:
        """Return the classifier and the data."""
        return self.classifier, self.data


@dataclass(frozen=True)
class MemoryRequest:
    """Request for the job of one contender at all epsilons."""

    load: LoadClassifierAndData
    contender: Contender
    spec: AttackSpec
    batch_size: int
    threads: int


def measure_peak_memory(request: MemoryRequest) -> PeakMemory | str:
    """Return the memory of the contender in a new process, or one line that says why it cannot be measured."""
    with temporary_directory(Path(tempfile.gettempdir(), "rfgsm-memory")) as folder:
        request_file, result_file = folder / "request", folder / "result"
        try:
            write_bytes(request_file, pickle.dumps(request))
        except Exception as error:  # noqa: BLE001  (a class of the user may raise anything when it is pickled)
            return f"model or data cannot be pickled for another process: {describe_error(error)}"
        command = [sys.executable, "-m", __name__, str(request_file), str(result_file)]
        search_path = {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
        done = subprocess.run(command, env=os.environ | search_path, capture_output=True, text=True, check=False)  # noqa: S603
        if not is_present(result_file):
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            return f"its process ended early: {last[0][:200]}"
        found: Any = parse_json_value(read_text(result_file), result_file)
    return found if isinstance(found, str) else PeakMemory(**found)


def measure_in_process(request: MemoryRequest) -> PeakMemory:
    """Run the job in this process and measure its memory, on a GPU as PyTorch counts it, else as the system counts it."""
    torch.set_num_threads(request.threads)
    classifier, data = request.load()
    assert isinstance(classifier, TorchClassifier), "checked before anything is timed"  # noqa: S101
    on_gpu = classifier.device.type == "cuda"
    before = _reset_peak_gpu_bytes(classifier.device) if on_gpu else reset_peak_resident_bytes()
    request.contender.make_implementation(classifier, data, request.spec, request.batch_size).job(data, request.spec.epsilons)
    return PeakMemory(before, torch.cuda.max_memory_allocated(classifier.device) if on_gpu else peak_resident_bytes())


def _reset_peak_gpu_bytes(device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def reset_peak_resident_bytes() -> int:
    """Reset the peak and return the resident bytes; return the peak so far if the system cannot reset it."""
    with suppress(OSError):
        PROC_CLEAR_REFS.write_text("5")
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the largest number of bytes that were resident at one time.

    On Linux getrusage does not serve: it gives a process the peak of the process that started it.
    """
    if is_present(PROC_STATUS):
        (line,) = (line for line in read_text(PROC_STATUS).splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(request_file: str, result_file: str) -> None:
    """Run the request of one file, and write the measured memory or the error to the other file."""
    request = pickle.loads(read_bytes(Path(request_file)))  # noqa: S301  (the process that started this process wrote the file)
    try:
        found: Any = vars(measure_in_process(request))
    except Exception as error:  # noqa: BLE001  (an error of a contender is its result)
        found = describe_error(error)
    write_bytes(Path(result_file), json.dumps(found).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
