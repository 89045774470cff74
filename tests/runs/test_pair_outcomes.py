"""Two locks, paired: what was lost and gained, ties, and which differences are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.runs.pair_outcomes import pair_outcomes
from robustbench_fgsm.runs.robustness_lock import RobustnessLock
from robustbench_fgsm.spec import AttackSpec
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
