"""Two runs paired image by image, in pieces of different sizes, and what keeps them from being paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.export import sample_tables
from robustbench_fgsm.runs.pair_outcomes import pair_outcome_distances, pair_outcomes
from robustbench_fgsm.runs.paired import PairedRunCounts
from robustbench_fgsm.runs.read import SavedRun, read_saved_run
from robustbench_fgsm.runs.robustness_lock import outcomes_of_run
from robustbench_fgsm.spec import AttackSpec, TargetRule

MakeClassifier = Callable[..., rf.TorchClassifier]
Keep = Callable[..., Path]
RULES = (TargetRule(), TargetRule("shift", 1))


def pair_runs(run: SavedRun, baseline: SavedRun) -> tuple[list[PairedRunCounts], bool]:
    return pair_outcomes(outcomes_of_run(run), outcomes_of_run(baseline), with_ties=False)


@pytest.fixture
def keep(tmp_path: Path, make_classifier: MakeClassifier, make_data: Callable[..., rf.ArrayDataset]) -> Keep:
    """A sweep of a network of that seed, kept; its images are saturated where it is sharp."""

    def kept(network: int, size: int, *, n: int = 50, sharp: float = 1, data: Any = None, **options: Any) -> Path:
        classifier = make_classifier(seed=network)
        with torch.no_grad():
            for parameter in classifier.network.parameters():
                parameter.mul_(sharp)
        specs = tuple(AttackSpec((0.01, 0.1), target=rule, **options) for rule in RULES)
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        evaluate_in_directory(
            EvaluationRun("sweep", classifier, data or make_data(n=n), specs, Plan(batch_size=size, threads=1)), place
        )
        return place

    return kept


def test_counts_match_the_images(keep: Keep) -> None:
    run, baseline = read_saved_run(keep(1, 8)), read_saved_run(keep(0, 12))
    found, stable = pair_runs(run, baseline)
    assert not stable
    assert len(found) == (1 + 2 * len(RULES)) * (1 + 3)
    for at in found:
        now, then = (_right(side, at.targeted, at.epsilon) for side in (run, baseline))
        assert now.keys() == then.keys()
        chosen = [key for key in now if at.label in (None, key[1])]
        assert at.n == len(chosen)
        assert at.baseline_correct == sum(then[key] for key in chosen)
        assert at.lost == sum(then[key] > now[key] for key in chosen)
        assert at.gained == sum(now[key] > then[key] for key in chosen)
        assert at.drop == pytest.approx((at.baseline_correct - at.correct) / at.n)


def test_copies_count_once_in_pieces_of_any_size(keep: Keep, make_data: Callable[..., rf.ArrayDataset]) -> None:
    data = make_data(n=20)
    (batch,) = data.batches(0, 20, 20)
    four = rf.ArrayDataset("four", batch.images.repeat(4, 1, 1, 1), batch.labels.repeat(4), data.classes)
    other = {"max_epsilon": 0.5}
    once, copies = (
        [read_saved_run(keep(seed, size, data=one, **other)) for seed, size in ((1, 8), (0, 12))] for one in (data, four)
    )
    found, expected = (pair_runs(*sides)[0] for sides in (copies, once))
    assert [replace(at, repeats=0) for at in found] == expected
    assert [at.repeats for at in found] == [3 * at.n for at in found]
    assert {at.repeats for at in expected} == {0}
    distances = (pair_outcome_distances(*map(outcomes_of_run, sides), stable=False) for sides in (copies, once))
    for (rule, ours), (same, theirs) in zip(*distances, strict=True):
        assert rule == same
        assert all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("labels", "run", "baseline"))


def _right(run: Any, rule: str, epsilon: float | None) -> dict[tuple[int, int], bool]:
    column = "before" if epsilon is None else f"after_{epsilon!r}"
    return {
        (int(id_), int(label)): bool(label == prediction)
        for table in sample_tables(run)
        for id_, label, prediction, targeted in zip(table["id"], table["label"], table[column], table["targeted"], strict=True)
        if targeted == rule
    }


def test_saturated_images_use_stable_gradients(keep: Keep) -> None:
    sharp = read_saved_run(keep(0, 8, sharp=40))
    found, stable = pair_runs(read_saved_run(keep(1, 8)), sharp)
    assert stable
    assert sharp.result is not None
    for evaluation in sharp.result["evaluations"]:
        for at in evaluation["epsilons"]:
            (whole,) = (
                row
                for row in found
                if (row.targeted, row.epsilon, row.label) == (evaluation["attack"]["targeted"], at["epsilon"], None)
            )
            assert whole.baseline_correct == at["stable"]["robust_accuracy"]["count"]


def test_names_the_difference(keep: Keep, make_data: Callable[..., rf.ArrayDataset]) -> None:
    run = keep(0, 8)
    whole = next(make_data(n=50).batches(0, 50, 50))
    shifted = rf.ArrayDataset("small", whole.images, (whole.labels + 1) % 3, ("a", "b", "c"))
    others = {"loss, got ce and margin": keep(0, 8, loss="margin"), "restarts, got 0 and 1": keep(0, 8, restarts=1)}
    sizes = {"50 of small and 40 of small": keep(0, 8, n=40), "50 of small and 50 of small": keep(0, 8, data=shifted)}
    for counts, other in sizes.items():
        with pytest.raises(rf.RunError, match=f"must be on the same images, got {counts}, which differ in 3 of 3 classes"):
            pair_runs(read_saved_run(run), read_saved_run(other))
    for says, other in others.items():
        with pytest.raises(rf.RunError, match=f"run and baseline must have the same {says}: measure"):
            pair_runs(read_saved_run(run), read_saved_run(other))


def test_rejects_unfinished_runs(keep: Keep) -> None:
    run, other = read_saved_run(keep(0, 8)), read_saved_run(keep(1, 8))
    (other.manifest.directory / "ledger-00000.bin").write_bytes(b"")
    with pytest.raises(rf.RunError, match=r"run must be finished, got .* with 7 of 7 pieces to do: rfgsm runs resume"):
        pair_runs(run, other)


def test_only_random_attacks_need_equal_seeds(keep: Keep) -> None:
    first, second = (read_saved_run(keep(0, 8, seed=seed)) for seed in (0, 1))
    assert all(not at.lost and not at.gained for at in pair_runs(first, second)[0])
    first, second = (read_saved_run(keep(0, 8, seed=seed, restarts=1)) for seed in (0, 1))
    with pytest.raises(rf.RunError, match="the same seed, got 0 and 1"):
        pair_runs(first, second)


def test_ids_are_those_of_the_ledger(keep: Keep) -> None:
    ids = np.concatenate([record.ids for record in read_saved_run(keep(0, 8)).records()])
    assert len(np.unique(ids)) == 50
