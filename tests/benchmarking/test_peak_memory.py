"""Peak memory is measured in a separate process, and failures to measure it are reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking import peak_memory
from robustbench_fgsm.benchmarking.contenders import Contender
from robustbench_fgsm.benchmarking.peak_memory import MemoryRequest, PeakMemory, PickledClassifierAndData, measure_peak_memory
from robustbench_fgsm.spec import AttackSpec

GREEDY = """
import torch
from torch import nn

class Greedy(nn.Module):
    def __init__(self, mebibytes):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.mebibytes = mebibytes

    def forward(self, x):
        taken = torch.ones(self.mebibytes, 2**18)  # float32: a mebibyte a row
        return self.layer(x.flatten(1)) + 0 * taken[0, 0]
"""
OURS = Contender("ours", "none")
DATA = rf.ArrayDataset("four", torch.rand(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64), ("a", "b", "c"))


@pytest.fixture
def greedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that another process can import too."""
    (tmp_path / "greedy.py").write_text(GREEDY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "greedy", raising=False)
    import greedy  # type: ignore[import-not-found]

    assert isinstance(greedy, ModuleType)
    return greedy


def request(network: nn.Module, contender: Contender = OURS) -> MemoryRequest:
    return MemoryRequest(PickledClassifierAndData(rf.wrap(network, 3), DATA), contender, AttackSpec(), 2, 1)


def test_peak_grows_with_the_job(greedy: ModuleType) -> None:
    small, large = (measure_peak_memory(request(greedy.Greedy(size))) for size in (1, 96))
    assert isinstance(small, PeakMemory)
    assert isinstance(large, PeakMemory)
    assert small.above > 0
    assert large.above - small.above > 64 * 2**20


def test_peak_ignores_the_parent_process(greedy: ModuleType) -> None:
    ballast = bytearray(2 * 2**30)
    found = measure_peak_memory(request(greedy.Greedy(1)))
    assert isinstance(found, PeakMemory)
    assert 0 < found.peak < len(ballast)


RESET_SCRIPT = """
from robustbench_fgsm.benchmarking.peak_memory import peak_resident_bytes, reset_peak_resident_bytes
before = reset_peak_resident_bytes()
ballast = bytearray(64 * 2**20)
print(peak_resident_bytes() - before)
"""


def test_resets_the_peak() -> None:
    """In a process of its own: from a large one the system may take as much back meanwhile as is added."""
    done = subprocess.run([sys.executable, "-c", RESET_SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60 * 2**20


def test_reports_unpicklable_models() -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3]

    found = measure_peak_memory(request(Inner()))
    assert isinstance(found, str)
    assert found.startswith("model or data cannot be pickled for another process: ")


def test_reports_errors(greedy: ModuleType) -> None:
    found = measure_peak_memory(request(greedy.Greedy(1), Contender("reference", "nosuch")))
    assert isinstance(found, str)
    assert found.startswith("SettingError: reference must be a name of `rfgsm list references`, got 'nosuch': ")


def test_reports_a_process_that_ends(greedy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory, "__name__", "nosuch_module")
    found = measure_peak_memory(request(greedy.Greedy(1)))
    assert isinstance(found, str)
    assert found.startswith("its process ended early: ")
    assert "nosuch_module" in found
