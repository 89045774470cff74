"""Test tallies by hand, against scikit-learn, and in sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, confusion_matrix

from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array, Tally, worst_class

K = 4


def outcomes(labels: list[int], before: list[int], after: list[int], targets: list[int] | None = None) -> BatchOutcomes:
    none = np.zeros(len(labels), np.bool_)
    aim = None if targets is None else np.array(targets, np.int64)
    ids, after_each = np.arange(len(labels)), np.array(after, np.int64)[:, np.newaxis]
    return BatchOutcomes(ids, np.array(labels, np.int64), np.array(before, np.int64), after_each, aim, none, none, none)


def test_untargeted_by_hand() -> None:
    # right and stays, right and fooled, right and fooled, wrong and stays, wrong and leaked, wrong and changed
    tally = Tally.of(outcomes([0, 0, 1, 1, 2, 3], [0, 0, 1, 2, 1, 0], [0, 1, 3, 2, 2, 1]), K)
    assert (tally.n, tally.leaked) == (6, 1)
    assert (tally.clean_accuracy.count, tally.clean_accuracy.n) == (3, 6)
    assert (tally.robust_accuracy.count, tally.robust_accuracy.n) == (2, 6)
    assert (tally.attack_success_rate.count, tally.attack_success_rate.n) == (2, 3)
    assert (tally.flip_rate.count, tally.flip_rate.n) == (4, 6)
    assert (tally.accuracy_drop.count, tally.accuracy_drop.n) == (1, 3)
    assert tally.target_hit_rate is None


def test_targeted_by_hand() -> None:
    # hit; missed; target is the label; target predicted before; hit from a wrong prediction
    tally = Tally.of(outcomes([0, 0, 1, 1, 2], [0, 0, 1, 3, 0], [1, 2, 1, 3, 3], [1, 1, 1, 3, 3]), K)
    assert (tally.attack_success_rate.count, tally.attack_success_rate.n) == (2, 3)
    assert tally.target_hit_rate is not None
    assert (tally.target_hit_rate.count, tally.target_hit_rate.n) == (4, 5)
    assert tally.leaked == 0


def test_risen_accuracy_has_no_interval() -> None:
    drop = Tally.of(outcomes([0, 1], [0, 0], [0, 1]), K).accuracy_drop
    assert (drop.value, drop.interval) == (-1.0, None)


columns = st.integers(1, 30).flatmap(lambda n: arrays(np.int64, (4, n), elements=st.integers(0, K - 1)))


@given(columns=columns, targeted=st.booleans(), cut=st.integers(0, 30))
def test_tallies_add_up(columns: Int64Array, targeted: bool, cut: int) -> None:
    def of(rows: slice) -> Tally:
        labels, before, after, targets = (column[rows].tolist() for column in columns)
        return Tally.of(outcomes(labels, before, after, targets if targeted else None), K)

    whole, left, right = of(slice(None)), of(slice(cut)), of(slice(cut, None))
    for added in (left + right, right + left, Tally.empty(K, targeted=targeted) + left + right):
        np.testing.assert_equal(vars(added), vars(whole))
    labels, before, after, _ = columns
    np.testing.assert_array_equal(whole.clean, confusion_matrix(labels, before, labels=range(K)))
    np.testing.assert_array_equal(whole.adversarial, confusion_matrix(labels, after, labels=range(K)))
    np.testing.assert_array_equal(whole.transition, confusion_matrix(before, after, labels=range(K)))
    assert whole.robust_accuracy.value == pytest.approx(accuracy_score(labels, after))
    classes = whole.per_class(list("abcd"))
    assert sum(result.n for result in classes) == whole.n
    assert sum(result.robust_accuracy.count for result in classes) == whole.robust_accuracy.count
    assert sum(result.attack_success_rate.count for result in classes) == whole.attack_success_rate.count
    assert sum(result.attack_success_rate.n for result in classes) == whole.attack_success_rate.n


def test_rejects_a_mixed_sum() -> None:
    with pytest.raises(ValueError, match="do not add"):
        Tally.empty(K, targeted=True) + Tally.empty(K, targeted=False)


@given(flags=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=9))
def test_gradients_are_counted_by_kind(flags: list[tuple[bool, bool, bool]]) -> None:
    zero, nonfinite, saturated = np.array(flags).T
    some = outcomes([0] * len(flags), [0] * len(flags), [0] * len(flags))
    tally = Tally.of(replace(some, zero_gradient=zero, nonfinite_gradient=nonfinite, saturated=saturated), K)
    assert [tally.zero_gradient, tally.nonfinite_gradient, tally.saturated] == np.array(flags).sum(0).tolist()


def test_clean_correct_by_class() -> None:
    tally = Tally.of(outcomes([0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 0]), K)
    assert [result.clean_correct for result in tally.per_class("abcd")] == [2, 1, 0, 0]


def test_per_class_by_hand() -> None:
    tally = Tally.of(outcomes([0, 0, 0, 1], [0, 0, 0, 1], [0, 2, 2, 1]), K)
    first, second, empty, _ = tally.per_class(["a", "b", "c", "d"])
    assert (first.robust_accuracy.count, first.n, first.most_common_wrong) == (1, 3, 2)
    assert (second.robust_accuracy.value, second.most_common_wrong) == (1.0, None)
    assert empty.robust_accuracy.value is None  # n/a, not 0 %
    worst = worst_class(tally.per_class(["a", "b", "c", "d"]))
    assert worst is not None
    assert worst.name == "a"
    assert worst_class([]) is None


def drawn(classes: int, n: int, targeted: bool = False) -> BatchOutcomes:
    random = np.random.default_rng(0)
    labels, before, after, targets = random.integers(classes, size=(4, n))
    zero, nonfinite, saturated = random.random((3, n)) < 0.3
    aim = targets if targeted else None
    return BatchOutcomes(np.arange(n), labels, before, after[:, np.newaxis], aim, zero, nonfinite, saturated)


@pytest.mark.parametrize("targeted", [False, True])
def test_sparse_and_dense_tallies_agree(monkeypatch: pytest.MonkeyPatch, targeted: bool) -> None:
    outcomes, names = drawn(7, 500, targeted), [str(label) for label in range(7)]

    def summary() -> list[Any]:
        tally = Tally.of(outcomes, 7) + Tally.of(outcomes, 7) + Tally.empty(7, targeted=targeted)
        rates = [tally.n, tally.clean_accuracy, tally.robust_accuracy, tally.attack_success_rate, tally.flip_rate]
        squares = [tally.clean, tally.adversarial, tally.transition]
        return [
            rates,
            [found.to_dict() for found in tally.per_class(names)],
            [confusion.matrix_to_json(square, max_dense_classes=0) for square in squares],
        ]

    dense = summary()
    monkeypatch.setattr(confusion, "MAX_DENSE_CLASSES", 6)
    assert confusion.is_sparse(Tally.of(outcomes, 7).clean)
    assert summary() == dense


@given(columns=columns)
def test_outcomes_are_put_together_again(columns: Int64Array) -> None:
    whole = outcomes(*(column.tolist() for column in columns))
    stable = replace(whole, after_stable=whole.after + 1)
    parts = [whole.at(slice(3)), stable.at(slice(3, None))]
    again = BatchOutcomes.concatenate(parts)
    np.testing.assert_array_equal(again.labels, whole.labels)
    np.testing.assert_array_equal(again.with_exact_gradients().after[3:], whole.after[3:] + 1)
    np.testing.assert_array_equal(again.with_exact_gradients().after[:3], whole.after[:3])


def test_outcomes_are_sorted_by_id() -> None:
    some = replace(outcomes([0, 1, 2], [0, 1, 2], [1, 2, 3]), ids=np.array([5, 3, 4]))
    assert some.sorted_by_id().labels.tolist() == [1, 2, 0]


def multi_label_outcomes(seed: int, n: int = 40, labels: int = 5) -> BatchOutcomes:
    """Return outcomes of single labels at one budget, some of which have no prediction."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, (n, labels))
    before = np.where(generator.random(y.shape) < 0.95, y, 1 - y)
    after = np.where(generator.random(y.shape) < 0.9, before, 1 - before)
    before[0, 1] = after[2, 3] = after[3, 0] = -1
    none = np.zeros(n, np.bool_)
    return BatchOutcomes(np.arange(n), y, before, after[:, np.newaxis], None, none, none, none)


def test_multi_label_counts_of_a_loop() -> None:
    found = multi_label_outcomes(0)
    tally, y, before, after = Tally.of(found, 5), found.labels, found.before, found.after[:, 0]
    right = [image for image in range(40) if list(before[image]) == list(y[image])]
    known = [image for image in right if min(after[image]) >= 0]
    assert (tally.n, tally.clean_accuracy.count) == (40, len(right))
    assert tally.robust_accuracy.count == sum(list(after[image]) == list(y[image]) for image in range(40))
    assert (tally.fooled.sum(), tally.attacked.sum()) == (sum(any(after[i] != y[i]) for i in known), len(right))
    both = [image for image in range(40) if min(before[image]) >= 0 and min(after[image]) >= 0]
    assert tally.flip_rate.count == sum(any(before[image] != after[image]) for image in both)
    assert (tally.nonfinite_before, tally.nonfinite_after) == (1, 2)
    for k, result in enumerate(tally.per_class("abcde")):
        pairs = [(y[image, k], before[image, k], after[image, k]) for image in range(40)]
        assert result.clean_correct == sum(label == first for label, first, _ in pairs)
        assert result.robust_accuracy.count == sum(label == last for label, _, last in pairs)
        assert result.attack_success_rate.count == sum(label == first and last == 1 - label for label, first, last in pairs)
        assert result.label_confusion is not None
        clean, adversarial = result.label_confusion
        for there, predicted in np.ndindex(2, 2):
            assert clean[there][predicted] == sum((label, first) == (there, predicted) for label, first, _ in pairs)
            assert adversarial[there][predicted] == sum((label, last) == (there, predicted) for label, _, last in pairs)


@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_multi_label_tallies_add_up(cut: int) -> None:
    found = multi_label_outcomes(1)
    whole, empty = Tally.of(found, 5), Tally.empty(5, targeted=False, multi_label=True)
    parts = empty + Tally.of(found.at(slice(cut)), 5) + Tally.of(found.at(slice(cut, None)), 5)
    for name, expected in vars(whole).items():
        assert np.array_equal(getattr(parts, name), expected), name
    assert parts.label_rates == whole.label_rates
    assert Tally.of(outcomes([0], [0], [1]), K).label_rates is None


def test_sets_of_labels_as_classes() -> None:
    y = np.array([[1, 0], [1, 0], [1, 0], [1, 0]])
    before = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])
    after = np.array([[1, 1], [0, 0], [1, 1], [1, 0]])
    none = np.zeros(4, np.bool_)
    found = BatchOutcomes(np.arange(4), y, before, after[:, np.newaxis], None, none, none, none).whole_images()
    assert (found.before.tolist(), found.after[:, 0].tolist()) == ([0, 1, 1, 1], [2, 1, 2, 0])
    assert (found.fooled().tolist(), found.leaked().tolist()) == ([True, False, False, False], [False, False, False, True])
