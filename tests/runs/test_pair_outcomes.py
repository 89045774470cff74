"""Two locks, paired: what was lost and gained, ties, and which differences are refused."""

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
from robustbench_fgsm.runs.pair_outcomes import PairedRunCounts, pair_outcome_distances, pair_outcomes
from robustbench_fgsm.runs.read import SavedRun, read_saved_run
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, outcomes_of_run
from robustbench_fgsm.spec import AttackSpec, TargetRule
from tests.runs.locks import locked, measured, outcomes, shuffled

RIGHT = [0, 0, 1, 1, 2, 2]
THEN = locked(outcomes(RIGHT, [[0], [0], [1], [1], [0], [0]]))
NOW = locked(outcomes(RIGHT, [[1], [1], [1], [1], [2], [0]]))


def counts(now: RobustnessLock, then: RobustnessLock) -> list[tuple[int | None, int, int, int, int, int]]:
    pairs, _ = pair_outcomes(now, then)
    return [(at.label, at.n, at.baseline_correct, at.lost, at.gained, at.ties) for at in pairs if at.epsilon]


def test_counts_what_was_lost_and_gained() -> None:
    assert counts(NOW, THEN) == [(None, 6, 4, 2, 1, 0), (0, 2, 2, 2, 0, 0), (1, 2, 2, 0, 0, 0), (2, 2, 0, 0, 1, 0)]
    clean = [at for at in pair_outcomes(NOW, THEN)[0] if at.epsilon is None]
    assert [(at.n, at.lost, at.gained, at.baseline_correct) for at in clean] == [(6, 0, 0, 6), *[(2, 0, 0, 2)] * 3]


@pytest.mark.parametrize("known", ["both", "run", "baseline"])
def test_copies_count_once(known: str) -> None:
    def four(lock: RobustnessLock, after: list[list[int]], *, says: bool) -> RobustnessLock:
        labels = np.repeat(np.arange(6) // 2, 4).tolist()
        found = locked(
            outcomes(np.repeat(RIGHT, 4).tolist(), np.repeat(after, 4, 0).tolist(), labels), hashes=np.repeat(range(6), 4).tolist()
        )
        return replace(found, path=lock.path, repeats=found.repeats if says else None)

    now = four(NOW, [[1], [1], [1], [1], [2], [0]], says=known != "baseline")
    then = four(THEN, [[0], [0], [1], [1], [0], [0]], says=known != "run")
    assert counts(now, then) == counts(NOW, THEN)
    assert [at.repeats for at in pair_outcomes(now, then)[0] if at.epsilon] == [18, 6, 6, 6]


@pytest.mark.parametrize("side", ["run", "baseline"])
def test_predictions_that_rest_on_rounding_are_ties(side: str) -> None:
    many = [label for label in range(3) for _ in range(100)]
    then = locked(outcomes(many, [[label] for label in many], many))
    now = locked(outcomes(many, [[2 - label] for label in many], many))
    close = np.zeros_like(now.attacks[0].right)
    close[1, 0] = close[0, 1] = close[1, 150] = True  # only the first one changed and is close after the attack
    marked = replace(now if side == "run" else then, attacks=(replace((now if side == "run" else then).attacks[0], close=close),))
    found = counts(marked, then) if side == "run" else counts(now, marked)
    assert found[:2] == [(None, 300, 300, 199, 0, 1), (0, 100, 100, 99, 0, 1)]


def test_more_ties_than_1_per_cent_do_not_count() -> None:
    """A network of equal logits, all of whose predictions rest on rounding, must not pass."""
    close = np.ones_like(NOW.attacks[0].right)
    assert counts(replace(NOW, attacks=(replace(NOW.attacks[0], close=close),)), THEN) == counts(NOW, THEN)


def test_saturated_images_count_with_exact_gradients() -> None:
    saturated = np.array([True] + [False] * 5)
    masked = outcomes(
        RIGHT, [[label] for label in RIGHT], saturated=saturated, after_stable=np.array([[1], [0], [1], [1], [2], [2]])
    )
    pairs, stable = pair_outcomes(locked(masked), locked(outcomes(RIGHT, [[label] for label in RIGHT])))
    assert stable
    assert [at.lost for at in pairs if at.epsilon] == [1, 1, 0, 0]


def test_order_batch_size_and_layout_change_nothing(
    make_classifier: Callable[..., rf.TorchClassifier], make_data: Callable[..., rf.ArrayDataset]
) -> None:
    data, model = make_data(3, 60), make_classifier(3)
    lock = measured(model, data, batch_size=60)
    for other in (
        measured(model, data, batch_size=7),
        measured(model, shuffled(data), batch_size=11),
        measured(model.channels_last(16), shuffled(data), batch_size=16),
    ):
        pairs, _ = pair_outcomes(other, lock)
        assert all((at.lost, at.gained) == (0, 0) for at in pairs)
        assert [at.correct for at in pairs] == [at.baseline_correct for at in pairs]


def images(lock: RobustnessLock, **changes: object) -> RobustnessLock:
    return replace(lock, data=lock.data | changes)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (images(NOW, classes=["class 1", "class 0", "class 2"]), r"same order, got 'class 1' and 'class 0' for label 0: measure"),
        (images(NOW, classes=["class 0", "class 1"]), "got 2 and 3 classes"),
        (
            locked(outcomes(RIGHT, [[0]] * 6), hashes=[0, 1, 2, 3, 4, 99]),
            r"which differ in 1 of 3 classes \(class 2 with 2 and 2 images\)",
        ),
        (
            locked(outcomes(RIGHT[:5], [[0]] * 5), hashes=[0, 1, 2, 3, 4]),
            r"got 5 of tiny and 6 of tiny, which differ in 1 of 3 classes \(class 2 with 1 and 2 images\)",
        ),
        (locked(outcomes(RIGHT, [[0]] * 6), AttackSpec((4 / 255,))), "same epsilons, got 4/255 and 8/255: measure"),
        (locked(outcomes(RIGHT, [[0]] * 6), AttackSpec((8 / 255,), norm=2.0)), "same norm, got 2 and inf"),
        (locked(outcomes(RIGHT, [[0]] * 6), AttackSpec((1.0,), norm=2.0)), "same epsilons, got 1.0 and 8/255"),
    ],
)
def test_differences_are_named(now: RobustnessLock, message: str) -> None:
    with pytest.raises(rf.RunError, match=message):
        pair_outcomes(now, THEN)


def test_random_starts_need_the_same_order() -> None:
    drawn = AttackSpec((8 / 255,), restarts=2)
    then, same = (locked(outcomes(RIGHT, [[0]] * 6), drawn) for _ in range(2))
    assert pair_outcomes(same, then)
    moved = locked(outcomes(RIGHT, [[0]] * 6), drawn, hashes=[1, 0, 2, 3, 4, 5])
    with pytest.raises(rf.RunError, match="same order for random targets or random starts"):
        pair_outcomes(moved, then)


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
