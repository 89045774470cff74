"""Out of memory: halves of the batch, the same counts, and an end at one image."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.out_of_memory import BatchSplitter, run_on_fitting_prefix
from robustbench_fgsm.errors import ResourceError, is_out_of_memory


class Narrow(nn.Module):
    """A network whose memory holds so many images; sizes: of all batches that it was given."""

    def __init__(self, network: nn.Module, room: int, error: type[Exception] = torch.cuda.OutOfMemoryError) -> None:
        super().__init__()
        self.network, self.room, self.error = network, room, error
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate too much")
        found: Tensor = self.network(x)
        return found


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage of a whole test session takes a second to collect each time."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture(scope="module")
def data() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=200)


def narrow(classifier: rf.TorchClassifier, room: int, error: type[Exception] = torch.cuda.OutOfMemoryError) -> Any:
    return rf.wrap(Narrow(classifier.copy_network(), room, error), 10)


def counted(evaluation: rf.Evaluation) -> dict[str, Any]:
    document = json.loads(json.dumps(evaluation.to_dict()))
    return {key: document[key] for key in ("n", "clean", "epsilons", "minimal_epsilon", "gradient")}


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, MemoryError, RuntimeError])
@pytest.mark.parametrize("room", [100, 30, 1])
def test_halved_batches_change_no_count(
    classifier: rf.TorchClassifier, data: rf.Dataset, room: int, error: type[Exception]
) -> None:
    tight = narrow(classifier, room, error)
    found = rf.evaluate(tight, data, batch_size=128)
    assert counted(found) == counted(rf.evaluate(classifier, data, batch_size=128))
    assert any(warning.startswith("memory: batches were too large") for warning in found.warnings)
    (network,) = (module for module in tight.network.modules() if isinstance(module, Narrow))
    assert sum(size > room for size in network.sizes) < 20  # what did not fit once is not tried for every batch


def test_saved_images_are_the_same(classifier: rf.TorchClassifier, data: rf.Dataset, tmp_path: Path) -> None:
    one = rf.save_adversarial(classifier, data, tmp_path / "one", batch_size=64)
    two = rf.save_adversarial(narrow(classifier, 20), data, tmp_path / "two", batch_size=64)
    keys = ("n", "clean", "adversarial", "gradient")
    assert [one.to_dict()[key] for key in keys] == [two.to_dict()[key] for key in keys]


def test_one_image_must_fit(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    with pytest.raises(ResourceError, match="memory must hold one image at a time, got too little") as raised:
        rf.evaluate(narrow(classifier, 0), data)
    assert raised.value.exit_code == 5


def test_other_errors_are_raised() -> None:
    calls: list[slice] = []

    def fail(rows: slice) -> None:
        calls.append(rows)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        BatchSplitter().map_parts(8, fail)
    assert calls == [slice(0, 8)]


def test_rows_keep_their_order() -> None:
    for room in range(1, 12):

        def take(rows: slice, room: int = room) -> list[int]:
            if rows.stop - rows.start > room:
                raise MemoryError
            return list(range(rows.start, rows.stop))

        portions = BatchSplitter()
        assert [row for part in portions.map_parts(11, take) for row in part] == list(range(11))
        assert [row for part in portions.map_parts(7, take) for row in part] == list(range(7))
        assert bool(portions.warnings) == (room < 11)


def test_a_trial_takes_a_fitting_part(data: rf.Dataset) -> None:
    batch = next(data.batches(0, 32, 32))
    sizes: list[int] = []

    def work(some: rf.Batch) -> int:
        sizes.append(len(some))
        if len(some) > 10:
            raise MemoryError
        return len(some)

    assert run_on_fitting_prefix(batch, work) == 8
    assert sizes == [32, 16, 8]


def test_recognises_errors_of_the_cpu() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


WIDE = """
import json
import torch
from torch import nn
import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking.peak_memory import peak_resident_bytes
torch.set_num_threads(1)
images = torch.rand(512, 1, 2, 2)
data = rf.ArrayDataset("wide", images, torch.arange(512) * 40, tuple(map(str, range(22_000))))
found = rf.sweep(rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 22_000)), 22_000), data, [0.01, 0.1], batch_size=64)
document = found[0].to_dict()
text = json.dumps(document)
matrix = document["epsilons"][1]["confusion"]
print(json.dumps([matrix["shape"], sum(matrix["counts"]), len(matrix["counts"]), peak_resident_bytes()]))
"""


def test_22000_classes_take_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shape, images, cells, peak = json.loads(done.stdout)
    assert (shape, images) == ([22_000, 22_000], 512)
    assert cells <= 512
    assert peak < 2**30
