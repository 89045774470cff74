"""Several processes train one network: every image of a batch in one of them, and the same weights in all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.models.classifier import hash_weights
from robustbench_fgsm.runs.train import CHECKPOINT_FILE, TrainingRun, create_untrained_classifier, train_in_directory
from robustbench_fgsm.training.distributed import process_loss_weight
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.samples import split_held_out
from tests.runs.test_processes import answers, in_world
from tests.training.conftest import CLASSES, untrained

pytestmark = [pytest.mark.distributed, pytest.mark.usefixtures("one_thread")]

SGD = TrainingRecipe(epochs=1, batch_size=31, optimizer="sgd", learning_rate=0.1, schedule="constant", held_out=0)
"""Batches of 31, so that two processes have 15 and 16 images of each."""

UNEVEN = TrainingRecipe("n-fgsm", 0.1, epochs=2, batch_size=31, held_out=16, augment="crop:1,flip")


def smooth() -> rf.TorchClassifier:
    """No batch norm, and no kink at which rounding could take another branch."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.Tanh(), nn.Linear(32, CLASSES))
    return rf.wrap(network, CLASSES)


def normalised() -> rf.TorchClassifier:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3))
        network = nn.Sequential(*layers, nn.Linear(144, CLASSES))
    return rf.wrap(network, CLASSES, mean=0.3, std=0.7)


class Idle(nn.Module):
    """A layer that never takes part in the loss, and one that does for so many calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left, self.idle = calls, nn.Linear(3, 3)
        self.always, self.first = nn.Linear(144, CLASSES), nn.Linear(144, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        flat = x.flatten(1)
        logits: torch.Tensor = self.always(flat).tanh()
        return logits + self.first(flat).tanh() if self.left >= 0 else logits


def idle(calls: int, *, used: bool = False) -> rf.TorchClassifier:
    """used: without the layer that never takes part."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Idle(calls)
    if used:
        del network.idle
    return rf.wrap(network, CLASSES)


def fitted(
    data: rf.Dataset, classifier: rf.TorchClassifier, recipe: TrainingRecipe, world: World = SINGLE_PROCESS, out: Path | None = None
) -> rf.Training:
    return train_in_directory(TrainingRun(classifier, data, recipe), out, world=world)


def weights(training: rf.Training) -> dict[str, Any]:
    return {name: value.tolist() for name, value in training.classifier.network.state_dict().items()}


@pytest.mark.parametrize(("batch_size", "twice"), [(31, False), (8, True), (300, False)])
def test_parts_make_the_batch(images: rf.ArrayDataset, batch_size: int, twice: bool) -> None:
    samples = split_held_out(images, TrainingRecipe("static" if twice else "standard", batch_size=batch_size, held_out=0))
    bad: set[BadSample] = set()

    def seen(world: World) -> list[list[tuple[int, bool]]]:
        epoch = samples.epoch_batches(1, 0, bad, world)
        return [list(zip(batch.ids.tolist(), second.tolist(), strict=True)) for batch, second in epoch]

    shares = [seen(World(rank, 3)) for rank in range(3)]
    assert [[row for part in parts for row in part] for parts in zip(*shares, strict=True)] == seen(SINGLE_PROCESS)
    assert max(len(parts[0]) for parts in shares) - min(len(parts[0]) for parts in shares) <= 1


@pytest.mark.parametrize("counts", [(15, 16), (1, 7, 3)])
def test_loss_weights(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    losses = [rng.random(count) for count in counts]
    worlds = [World(rank, len(counts)) for rank in range(len(counts))]
    weighed = [process_loss_weight(np.array(counts), world) * part.mean() for world, part in zip(worlds, losses, strict=True)]
    assert np.mean(weighed) == pytest.approx(np.concatenate(losses).mean(), rel=1e-12)
    with pytest.raises(rf.DataError, match="each of 2 processes needs an image in every step"):
        process_loss_weight(np.array([0, 3]), World(1, 2))


@pytest.mark.parametrize("method", ["standard", "fgsm"])
def test_two_processes_equal_one(patterns: rf.ArrayDataset, tmp_path: Path, method: str) -> None:
    """To rounding: a gradient is a mean of 31 terms of at most about 1, whose sum in another order moves it by at most
    31 units of 2^-24; 8 steps of 0.1 then move a weight by 1.5e-6 at most, and the later gradients with it a little. The
    sign of FGSM's own gradient might flip, for one of 144 pixels and by 0.1: none does here. Without the weights of
    the shares, 15/31 and 16/31, the difference is a hundred times the bound.
    """
    data, recipe = patterns.head(8 * 31), TrainingRecipe(**SGD.to_dict() | {"method": method, "epsilon": 0.05})
    assert in_world(2, lambda world: weights(fitted(data, smooth(), recipe, world)), tmp_path) == [0, 0]
    one, other = answers(tmp_path, 2)
    assert one == other
    alone = fitted(data, smooth(), recipe).classifier.network.state_dict()
    moved = 0.0
    for name, value in alone.items():
        torch.testing.assert_close(torch.tensor(one[name]), value, atol=3e-6, rtol=0)
        moved = max(moved, float((value - smooth().network.state_dict()[name]).abs().max()))
    assert moved > 0.01


def test_resumes_after_a_kill(patterns: rf.ArrayDataset, tmp_path: Path) -> None:
    """With batch norm, dropout, noise and augmentation, so that statistics and each process's generators count."""
    data = patterns.head(256)

    def whole(world: World) -> Any:
        found = fitted(data, normalised(), UNEVEN, world, tmp_path / "whole")
        return [hash_weights(found.classifier.network), [check.to_dict() for check in found.checks]]

    def killed(world: World) -> None:
        run = TrainingRun(normalised(), data, UNEVEN)
        train_in_directory(run, tmp_path / "killed", report=lambda check: stop(check.quarter), world=world)

    def stop(quarter: int) -> None:
        if quarter == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    def resumed(world: World) -> Any:
        found = fitted(data, normalised(), UNEVEN, world, tmp_path / "killed")
        return [hash_weights(found.classifier.network), [check.to_dict() for check in found.checks]]

    assert in_world(2, killed, tmp_path / "first") == [-signal.SIGKILL, 1]
    assert "IncompleteError: all processes must stay" in (tmp_path / "first/1.txt").read_text()
    assert (tmp_path / "killed" / CHECKPOINT_FILE).exists()
    assert in_world(2, whole, tmp_path / "second") == [0, 0]
    assert in_world(2, resumed, tmp_path / "third") == [0, 0]
    (expected, same), (one, other) = (answers(tmp_path / name, 2) for name in ("second", "third"))
    assert expected == same == one == other
    with pytest.raises(rf.RunError, match="processes 2 there, 1 now"):
        fitted(data, normalised(), UNEVEN, SINGLE_PROCESS, tmp_path / "killed")


def test_unused_layer(patterns: rf.ArrayDataset, tmp_path: Path) -> None:
    data = patterns
    assert in_world(2, lambda world: weights(fitted(data, idle(10**9), SGD, world)), tmp_path) == [0, 0]
    alone, (first, second) = weights(fitted(data, idle(10**9), SGD)), answers(tmp_path, 2)
    assert first == second
    assert first.keys() == alone.keys()
    before = {name: value.tolist() for name, value in idle(0).network.state_dict().items()}
    for name, value in alone.items():
        assert first[name] == pytest.approx(np.array(value), abs=1e-6)
        assert (first[name] == before[name]) == (".idle." in name)


def test_rejects_changing_parameters(patterns: rf.ArrayDataset, tmp_path: Path) -> None:
    def refused(world: World) -> str:  # two calls more than steps: the outputs on noise
        with pytest.raises(rf.ModelError) as error:
            fitted(patterns, idle(6, used=True), SGD, world)
        return str(error.value)

    assert in_world(2, refused, tmp_path) == [0, 0]
    (said, _) = answers(tmp_path, 2)
    assert said.startswith("a network that several processes train must use the same parameters in every step, got one")
    assert said.endswith("train it in one process")


def test_rejects_a_small_batch(patterns: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="batch size must give each of 16 processes 2 images, got 31"):
        fitted(patterns, untrained(0), SGD, World(0, 16))


PROGRAM = """
import os, signal
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.training import loop

step = loop.train_step

def fail(setup, state, *rest):
    if state.steps_done == 10:
        {trouble}
    step(setup, state, *rest)

if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    loop.train_step = fail
main()
"""
WORDS = ["train", "--model", "mlp300", "--limit", "256", "--batch-size", "32", "--held-out", "0", "--device", "cpu"]


def torchrun(place: Path, trouble: str, restarts: int) -> subprocess.CompletedProcess[str]:
    (place / "program.py").write_text(PROGRAM.format(trouble=trouble))
    agent = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    words = [*WORDS, "--epochs", "2", "--out", str(place / "run"), "--json", "--quiet"]
    return subprocess.run(
        [sys.executable, "-m", *agent, str(place / "program.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(rf.__file__).parents[1])},
    )


def test_torchrun_restarts_after_a_kill(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", restarts=1)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "run/result.json").read_text())

    data = rf.load_data("fashion-mnist", limit=256)

    def whole(world: World) -> str:
        torch.set_num_threads(1)
        classifier = create_untrained_classifier("mlp300", data, device="cpu")
        return fitted(data, classifier, TrainingRecipe(epochs=2, batch_size=32, held_out=0), world).model.sha256

    assert in_world(2, whole, tmp_path / "whole") == [0, 0]
    assert answers(tmp_path / "whole", 2) == [document["model"]["sha256"]] * 2


def test_an_error_ends_all_processes(tmp_path: Path) -> None:
    done = torchrun(tmp_path, 'raise ZeroDivisionError("unforeseen")', restarts=0)
    assert done.returncode != 0
    assert done.stderr.count("ZeroDivisionError: unforeseen") == 1
    assert done.stdout == ""
