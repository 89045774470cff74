"""Predictions that rounding could change are marked, and those alone change on another machine."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.close_predictions import TRIAL_IMAGES, RecordList, mark_close, measure_rounding
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.engine.outputs_on_noise import OutputsOnNoise
from robustbench_fgsm.engine.plan import PLAIN_PLAN
from robustbench_fgsm.engine.rounding_guard import RoundingGuard, measure_margins
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.options import AttackOptions, RunOptions
from robustbench_fgsm.runs.measure_lock import measure_lock
from robustbench_fgsm.runs.pair_outcomes import pair_outcomes
from robustbench_fgsm.runs.robustness_lock import RobustnessLock
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import MAX_BUDGETS, BatchOutcomes

SPEC = AttackSpec((2 / 255, 8 / 255))


def near_ties(channels: int = 8) -> rf.TorchClassifier:
    """A network whose two last classes differ by rounding alone, because their weights are sums in another order."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, head = nn.Conv2d(1, channels, 3), nn.Linear(channels * 26 * 26, 3)
    with torch.no_grad():
        head.weight[2], head.bias[2] = head.weight[1] * (1 + 1e-7), head.bias[1]
    return rf.wrap(nn.Sequential(first, nn.ReLU(), nn.Flatten(), head), 3)


def measured(classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> RoundingGuard | None:
    return measure_rounding(classifier, next(data.batches(0, TRIAL_IMAGES, TRIAL_IMAGES)), len(data), SPEC, data.classes)


def outcomes(margins: Tensor) -> BatchOutcomes:
    numbers, flags = np.zeros(len(margins), np.int64), np.zeros(len(margins), np.bool_)
    return BatchOutcomes(numbers, numbers, numbers, numbers[:, None], None, flags, flags, flags, margins=margins.numpy())


def test_marks_follow_the_margins() -> None:
    guard = RoundingGuard(0.1, 0.0, 10, 0.0, 0.0)
    clear, close = measure_margins(torch.tensor([[1.0, 0.0], [0.05, 0.0]]))
    found = mark_close(outcomes(torch.stack([torch.stack([clear, close]), torch.stack([close, close])])), guard)
    assert found.margins is None
    assert found.close is not None
    assert found.close.tolist() == [2, 3]
    every = mark_close(outcomes(close.expand(1, MAX_BUDGETS + 1, 2)), guard).close
    assert every is not None
    assert every.tolist() == [2 ** (MAX_BUDGETS + 1) - 1]
    assert mark_close(outcomes(close.expand(1, 2, 2)), None).close is None


def test_another_plan_starts_again() -> None:
    store = RecordList()
    store.keep(PieceRecord(0))
    assert list(store.restart(PLAIN_PLAN).records()) == []


@pytest.mark.parametrize("read", [RecordList.records, pickle.dumps, copy.deepcopy], ids=["records", "pickle", "deepcopy"])
def test_records_are_marked_when_they_are_read(read: Callable[[RecordList], object]) -> None:
    """Rounding is measured once, after which the records hold no classifier."""
    calls: list[int] = []

    def measure() -> tuple[RoundingGuard, OutputsOnNoise]:
        calls.append(1)
        return RoundingGuard(0.1, 0.0, 10, 0.0, 0.0), ([1.0], [1.0])

    close = measure_margins(torch.tensor([[0.05, 0.0]]))
    store = RecordList(measure=measure)
    assert list(store.records()) == []
    store.keep(PieceRecord(0, (outcomes(close.expand(1, 2, 2)),)))
    assert calls == []
    for found in (read(store), read(store)):
        assert list(found) if isinstance(found, Iterator) else found
    again = pickle.loads(pickle.dumps(store))
    (record,) = again.records()
    assert again.outputs_on_noise == store.outputs_on_noise == ([1.0], [1.0])
    assert record.outcomes[0].close.tolist() == [3]
    assert len(calls) == 1
    assert store.measure is None


def test_an_ordinary_network_has_small_bounds(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    guard = measured(classifier, images)
    assert guard is not None
    assert 1e-7 < guard.relative < 1e-3


def test_leaves_no_trace(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    state = torch.random.get_rng_state()
    before = [parameter.clone() for parameter in classifier.network.parameters()]
    measured(classifier, images)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(map(torch.equal, before, classifier.network.parameters()))


class Single(nn.Module):
    """It takes one batch size alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 3)."""
        if len(x) not in (2, 24, 256):
            raise RuntimeError("another size")
        return x.flatten(1)[:, :3]


def test_a_network_that_runs_in_one_way_alone_has_no_bounds(images: rf.ArrayDataset) -> None:
    assert measured(rf.wrap(Single(), 3), images) is None


def relabelled(images: rf.ArrayDataset) -> rf.ArrayDataset:
    (whole,) = images.batches(0, len(images), len(images))
    return rf.ArrayDataset("three", whole.images, whole.labels % 2 + 1, ("a", "b", "c"))


def lock(classifier: rf.TorchClassifier, images: rf.ArrayDataset, batch_size: int) -> RobustnessLock:
    return measure_lock(classifier, images, AttackOptions("2,8/255"), RunOptions(batch_size, "none"))[0]


@pytest.fixture(scope="module")
def machines(images: rf.ArrayDataset) -> list[RobustnessLock]:
    """Locks of one network of near ties, measured in several ways."""
    model, data = near_ties(), relabelled(images)
    exact = model.variant(torch.float64)
    ways: list[tuple[rf.TorchClassifier, int]] = [(model, 256), (model, 9), (model.channels_last(64), 64)]
    assert not torch.equal(exact.predict(torch.ones(1, 1, 28, 28).double()), model.predict(torch.ones(1, 1, 28, 28)))
    return [lock(one, data, size) for one, size in ways]


def test_all_that_changes_between_machines_is_marked(machines: list[RobustnessLock]) -> None:
    first, *others = machines
    assert first.close > 0
    changed = 0
    for other in others:
        differs = first.attacks[0].right != other.attacks[0].right
        changed += int(differs.sum())
        assert not bool((differs & ~first.attacks[0].close).any())
        assert not bool((differs & ~other.attacks[0].close).any())
    assert changed, "the network must have predictions that rounding changes"


def test_marked_images_are_ties_up_to_1_per_cent(machines: list[RobustnessLock]) -> None:
    first, *others = machines
    for other in others:
        few = [replace(side, labels=np.resize(side.labels, side.n)) for side in (first, other)]
        assert all(side.has_ties == (side.close <= 0.01 * side.n) for side in few)
        pairs, _ = pair_outcomes(other, first)
        if first.has_ties and other.has_ties:
            assert all((at.lost, at.gained) == (0, 0) for at in pairs)


def test_runs_that_are_not_saved_measure_nothing(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody reads the marks there, so the trial would only cost time."""

    def fail(*_: object) -> Callable[..., object]:
        raise AssertionError

    monkeypatch.setattr("robustbench_fgsm.evaluation.evaluate.measure_rounding", fail)
    (found,) = run_attacks(classifier, images.head(8), [AttackSpec()])
    evaluation = rf.evaluate(classifier, images.head(8))
    assert found.n == evaluation.n == len(rf.distances(classifier, images.head(8), stable=True).values)
    evaluation.to_dict()
    with pytest.raises(AssertionError):
        evaluation.save(tmp_path / "run")
