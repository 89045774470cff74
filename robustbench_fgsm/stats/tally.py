"""Outcomes of attacked images, and the tally of their counts, which add over batches, processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.clustered import CLUSTER_SUMS, ClusteredRate, cluster_sums
from robustbench_fgsm.stats.confusion import Matrix
from robustbench_fgsm.stats.rate import Rate

Int64Array = NDArray[np.int64]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

MAX_BUDGETS = 62
"""Most budgets whose predictions are marked: one bit each of a 64-bit integer, and one for the prediction before the attack."""


@dataclass(frozen=True)
class BatchOutcomes:
    """Outcomes of one attack on N images at E budgets, as arrays in main memory. Every count follows from them.

    Of a multi-label network, labels and predictions are multi-hot rows of 0 and 1: labels and before (N, K), after (N, E, K). All
    comparisons are then of single labels, and `whole_images` compares sets of labels.

    Attributes:
        ids: (N,) image ids.
        labels: (N,) classes.
        before: (N,) predicted classes before the attack; negative for an image whose outputs are not finite, which has none.
        after: (N, E) predicted classes after the attack, one column for each budget; negative likewise.
        targets: (N,) target classes; None if the attack is untargeted.
        zero_gradient: (N,) bool, the gradient is exactly zero.
        nonfinite_gradient: (N,) bool, the gradient has a value that is not finite.
        saturated: (N,) bool, float32 cancellation gives wrong signs of the gradient.
        after_stable: (N, E) like `after`, but saturated images follow their exact gradient; None if it equals `after`.
        distances: (N,) distances as positions in `distance_levels`; None if they are not measured.
        distances_stable: (N,) like `distances`, but saturated images follow their exact gradient; None if it equals `distances`.
        close: (N,) bits of predictions that rounding could change, the lowest before the attack, the next ones at each budget;
            None if they are not marked.
        margins: (N, B, 2) distances of the two largest outputs before the attack and at each budget, for at most 1 + MAX_BUDGETS
            predictions: in units of the outputs, and as a share of the largest output; None if they are not kept.
    """

    ids: Int64Array
    labels: Int64Array
    before: Int64Array
    after: Int64Array
    targets: Int64Array | None
    zero_gradient: BoolArray
    nonfinite_gradient: BoolArray
    saturated: BoolArray
    after_stable: Int64Array | None = None
    distances: Int64Array | None = None
    distances_stable: Int64Array | None = None
    close: Int64Array | None = None
    margins: NDArray[np.float64] | None = None

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def concatenate(cls, parts: Sequence[BatchOutcomes]) -> BatchOutcomes:
        """Return the outcomes of all images, of at least one part."""
        if len(parts) == 1:
            return parts[0]
        columns: dict[str, list[Any]] = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
        for name in ("after", "distances"):
            if any(stable is not None for stable in columns[f"{name}_stable"]):
                columns[f"{name}_stable"] = [getattr(part.with_exact_gradients(), name) for part in parts]
        whole: dict[str, Any] = {
            name: None if any(value is None for value in values) else np.concatenate(values) for name, values in columns.items()
        }
        return cls(**whole)

    def at(self, rows: IntArray | BoolArray | slice) -> BatchOutcomes:
        """Return the outcomes of some images; rows: (N,) bool, indices, or a slice."""
        some: dict[str, Any] = {name: None if column is None else column[rows] for name, column in vars(self).items()}
        return BatchOutcomes(**some)

    def sorted_by_id(self) -> BatchOutcomes:
        """Return the outcomes in ascending order of image ids."""
        return self.at(np.argsort(self.ids, kind="stable"))

    def with_exact_gradients(self) -> BatchOutcomes:
        """Return outcomes whose `after` and `distances` are those along exact gradients, if there are any."""
        distances = self.distances if self.distances_stable is None else self.distances_stable
        return self if self.after_stable is None else replace(self, after=self.after_stable, distances=distances)

    @property
    def is_multi_label(self) -> bool:
        """Whether labels and predictions are multi-hot rows."""
        return self.labels.ndim == 2

    def whole_images(self) -> BatchOutcomes:
        """Return outcomes whose unit is the image: these, or those of the sets of labels of a multi-label network.

        A set is class 0 if it is the image's labels, class 1 if it is the wrong set that was predicted before the attack, and class
        2 if it is another wrong set. A set with a label that has no prediction is no class.
        """
        if not self.is_multi_label:
            return self
        before, after, labels = self.before[:, np.newaxis], self.after, self.labels[:, np.newaxis]
        right, unchanged = np.equal(after, labels).all(-1), np.equal(after, before).all(-1)
        classes = np.where(right, 0, np.where(unchanged, 1, 2)).astype(np.int64)
        classes[(after < 0).any(-1)] = -1
        was_right = np.equal(self.before, self.labels).all(-1)
        first = np.where((self.before < 0).any(-1), -1, np.where(was_right, 0, 1)).astype(np.int64)
        return replace(self, labels=np.zeros(len(self), np.int64), before=first, after=classes)

    @property
    def attacked(self) -> BoolArray:
        """Images (N,) in the denominator of the success rate.

        Untargeted: correct before the attack. Targeted: neither label nor prediction before is the target, and there is a
        prediction before.
        """
        if self.targets is None:
            return np.equal(self.before, self.labels)
        return np.not_equal(self.targets, self.labels) & np.not_equal(self.targets, self.before) & (self.before >= 0)

    def hits(self, budget: int = 0) -> BoolArray:
        """Return the images (N,) predicted as their target; none if the attack is untargeted."""
        return np.zeros(len(self), np.bool_) if self.targets is None else np.equal(self.after[:, budget], self.targets)

    def fooled(self, budget: int = 0) -> BoolArray:
        """Return the attacked images (N,) whose prediction is now wrong; targeted: is now the target.

        An image without a prediction is not fooled.
        """
        return self.attacked & self.misses(budget) if self.targets is None else self.attacked & self.hits(budget)

    def misses(self, budget: int = 0) -> BoolArray:
        """Return the images (N,) predicted as another class than their label."""
        after = self.after[:, budget]
        return np.not_equal(after, self.labels) & np.greater_equal(after, 0)

    def leaked(self, budget: int = 0) -> BoolArray:
        """Return the images (N,) wrong before and right after an untargeted attack (Kurakin et al. 2017, arXiv:1611.01236)."""
        if self.targets is not None:
            return np.zeros(len(self), np.bool_)
        return np.not_equal(self.before, self.labels) & np.equal(self.after[:, budget], self.labels)


SET_CLASSES = 3
"""Classes of `BatchOutcomes.whole_images` of a multi-label network."""

LABEL_SHAPE = (2, 3, 3)
"""Outcomes of one label: is it there (0, 1), is it predicted before and after (0, 1, or 2 for no prediction)."""


@dataclass(frozen=True)
class Tally:
    """Counts of one attack at one budget over K classes.

    Matrices are sparse above 100 classes. An image without a prediction, because its outputs are not finite, is in `images` and
    in `nonfinite_before` or `nonfinite_after`, and in no matrix that would need the prediction.

    Attributes:
        clean: (K, K) images by label and prediction before the attack.
        adversarial: (K, K) images by label and prediction after the attack.
        transition: (K, K) images by prediction before and after the attack.
        images: (K,) all images by label.
        attacked: (K,) denominator of the attack success rate by label.
        fooled: (K,) numerator of the attack success rate by label.
    """

    clean: Matrix
    adversarial: Matrix
    transition: Matrix
    images: Int64Array
    attacked: Int64Array
    fooled: Int64Array
    target_hits: int
    leaked: int
    zero_gradient: int
    nonfinite_gradient: int
    nonfinite_before: int
    nonfinite_after: int
    saturated: int
    targeted: bool
    label_outcomes: Int64Array
    clusters: Int64Array

    def __repr__(self) -> str:
        return short_repr(self, n=self.n, clean_accuracy=self.clean_accuracy, robust_accuracy=self.robust_accuracy)

    @classmethod
    def of(cls, outcomes: BatchOutcomes, num_classes: int, budget: int = 0) -> Tally:
        """Count the outcomes at one budget, given by its column."""
        label_outcomes, clusters = count_labels(outcomes, num_classes, budget)
        if outcomes.is_multi_label:
            outcomes, num_classes = outcomes.whole_images(), SET_CLASSES
        labels, before, after = outcomes.labels, outcomes.before, outcomes.after[:, budget]
        return cls(
            clean=_count_pairs(labels, before, num_classes),
            adversarial=_count_pairs(labels, after, num_classes),
            transition=_count_pairs(before, after, num_classes),
            images=np.bincount(labels, minlength=num_classes),
            attacked=np.bincount(labels[outcomes.attacked], minlength=num_classes),
            fooled=np.bincount(labels[outcomes.fooled(budget)], minlength=num_classes),
            target_hits=int(outcomes.hits(budget).sum()),
            leaked=int(outcomes.leaked(budget).sum()),
            zero_gradient=int(outcomes.zero_gradient.sum()),
            nonfinite_gradient=int(outcomes.nonfinite_gradient.sum()),
            nonfinite_before=int((before < 0).sum()),
            nonfinite_after=int((after < 0).sum()),
            saturated=int(outcomes.saturated.sum()),
            targeted=outcomes.targets is not None,
            label_outcomes=label_outcomes,
            clusters=clusters,
        )

    @classmethod
    def empty(cls, num_classes: int, *, targeted: bool, multi_label: bool = False) -> Tally:
        """Return a tally without any image."""
        size, num_labels = (SET_CLASSES, num_classes) if multi_label else (num_classes, 0)
        square, line = confusion.zero_matrix(size), np.zeros(size, np.int64)
        counts = np.zeros((num_labels, *LABEL_SHAPE), np.int64), np.zeros((3, CLUSTER_SUMS), np.int64)
        return cls(square, square, square, line, line, line, 0, 0, 0, 0, 0, 0, 0, targeted, *counts)

    def __add__(self, other: Tally) -> Tally:
        """Add the counts of both; raise ValueError if only one is targeted."""
        if self.targeted != other.targeted:
            raise ValueError("a targeted and an untargeted tally do not add")
        sums: dict[str, Any] = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return Tally(**(sums | {"targeted": self.targeted}))

    @property
    def n(self) -> int:
        """Number of images in the tally."""
        return int(self.images.sum())

    @property
    def clean_accuracy(self) -> Rate:
        """Share of all images that are right before the attack."""
        return Rate(confusion.trace(self.clean), self.n)

    @property
    def robust_accuracy(self) -> Rate:
        """Share of all images that are right after the attack."""
        return Rate(confusion.trace(self.adversarial), self.n)

    @property
    def attack_success_rate(self) -> Rate:
        """Share of the attacked images that are fooled, see `BatchOutcomes.attacked`."""
        return Rate(int(self.fooled.sum()), int(self.attacked.sum()))

    @property
    def flip_rate(self) -> Rate:
        """Share of all images whose prediction changed, which ART reports as success."""
        return Rate(int(self.transition.sum()) - confusion.trace(self.transition), self.n)

    @property
    def target_hit_rate(self) -> Rate | None:
        """Share of all images predicted as their target; None if the attack is untargeted."""
        return Rate(self.target_hits, self.n) if self.targeted else None

    @property
    def is_multi_label(self) -> bool:
        """Whether the counts are of a multi-label network."""
        return len(self.label_outcomes) > 0

    def class_matrix(self, name: Literal["clean", "adversarial", "transition"]) -> Any:
        """Return a matrix as JSON; None of a multi-label network, whose matrices are those of its labels."""
        return None if self.is_multi_label else confusion.matrix_to_json(getattr(self, name))

    @property
    def label_rates(self) -> LabelRates | None:
        """Rates over the labels of all images; None unless the network is multi-label."""
        return LabelRates(*map(ClusteredRate.of_sums, self.clusters.tolist())) if self.is_multi_label else None

    @property
    def accuracy_drop(self) -> Rate:
        """1 - accuracy after / accuracy before: net loss over the images right before; negative if the accuracy rose."""
        before = confusion.trace(self.clean)
        return Rate(before - confusion.trace(self.adversarial), before)

    def per_class(self, classes: Sequence[str]) -> list[ClassResult]:
        """Return the rates of each class, in the order of the labels; of a multi-label network, of each label."""
        if self.is_multi_label:
            return [_label_result(label, *pair) for label, pair in enumerate(zip(classes, self.label_outcomes, strict=True))]
        images, correct = self.images, confusion.diagonal(self.clean)
        robust, wrong = confusion.diagonal(self.adversarial), confusion.argmax_off_diagonal(self.adversarial)
        return [
            ClassResult(
                label=label,
                name=name,
                n=int(images[label]),
                clean_correct=int(correct[label]),
                robust_accuracy=Rate(int(robust[label]), int(images[label])),
                attack_success_rate=Rate(int(self.fooled[label]), int(self.attacked[label])),
                most_common_wrong=None if wrong[label] < 0 else int(wrong[label]),
            )
            for label, name in enumerate(classes)
        ]


def count_labels(outcomes: BatchOutcomes, num_labels: int, budget: int) -> tuple[Int64Array, Int64Array]:
    """Return the counts of single labels at one budget, as `Tally` has them; empty unless the outcomes are multi-label."""
    if not outcomes.is_multi_label:
        return np.zeros((0, *LABEL_SHAPE), np.int64), np.zeros((3, CLUSTER_SUMS), np.int64)
    labels, before, after = outcomes.labels, outcomes.before, outcomes.after[:, budget]
    place = np.arange(num_labels)
    for column, size in zip((labels, before, after), LABEL_SHAPE, strict=True):
        place = place * size + np.where(column < 0, size - 1, column)
    counts = np.bincount(place.ravel(), minlength=num_labels * int(np.prod(LABEL_SHAPE))).reshape(-1, *LABEL_SHAPE)
    right, whole = outcomes.attacked.sum(1), np.full(len(outcomes), num_labels)
    pairs = (right, whole), (np.equal(after, labels).sum(1), whole), (outcomes.fooled(budget).sum(1), right)
    return counts, np.stack([cluster_sums(*pair) for pair in pairs])


@dataclass(frozen=True)
class LabelRates:
    """Rates over all labels of all images of a multi-label network, with intervals clustered by image.

    clean_accuracy, robust_accuracy: labels that are right before and after the attack; the Hamming loss is 1 less the accuracy.
    attack_success_rate: labels that are wrong after the attack, of those that were right before.
    """

    clean_accuracy: ClusteredRate
    robust_accuracy: ClusteredRate
    attack_success_rate: ClusteredRate

    def accuracies(self) -> tuple[Rate, Rate]:
        """Return both accuracies as rates of labels, whose intervals ignore that labels come in images."""
        return Rate(self.clean_accuracy.count, self.clean_accuracy.n), Rate(self.robust_accuracy.count, self.robust_accuracy.n)

    def before(self) -> dict[str, Any]:
        """Return the rates before the attack as a JSON object."""
        return {"accuracy": self.clean_accuracy.to_dict(), "hamming_loss": self.clean_accuracy.complement().to_dict()}

    def after(self) -> dict[str, Any]:
        """Return the rates after the attack as a JSON object."""
        return {
            "accuracy": self.robust_accuracy.to_dict(),
            "hamming_loss": self.robust_accuracy.complement().to_dict(),
            "attack_success_rate": self.attack_success_rate.to_dict(),
        }


def _label_result(label: int, name: str, counts: Int64Array) -> ClassResult:
    """Return the rates of one label from its counts (2, 3, 3)."""
    clean, adversarial = counts.sum(2)[:, :2], counts.sum(1)[:, :2]
    right = counts[0, 0] + counts[1, 1]
    fooled, n = int(counts[0, 0, 1] + counts[1, 1, 0]), int(counts.sum())
    return ClassResult(
        label,
        name,
        n,
        clean_correct=int(clean.trace()),
        robust_accuracy=Rate(int(adversarial.trace()), n),
        attack_success_rate=Rate(fooled, int(right.sum())),
        most_common_wrong=None,
        label_confusion=(clean.tolist(), adversarial.tolist()),
    )


def _count_pairs(rows: Int64Array, columns: Int64Array, num_classes: int) -> Matrix:
    """Count the pairs of classes, without images that lack one of the two."""
    known = (rows >= 0) & (columns >= 0)
    return confusion.confusion_matrix(rows[known], columns[known], num_classes)


@dataclass(frozen=True)
class ClassResult:
    """Rates of one class, with its images, its images right before, and its most common wrong prediction after.

    Of one label of a multi-label network, n are all images, and label_confusion holds its matrices before and after the attack:
    rows say whether the label is there (no, yes), columns whether it is predicted.
    """

    label: int
    name: str
    n: int
    clean_correct: int
    robust_accuracy: Rate
    attack_success_rate: Rate
    most_common_wrong: int | None
    label_confusion: tuple[list[list[int]], list[list[int]]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the rates as a JSON object."""
        rates = {"robust_accuracy": self.robust_accuracy.to_dict(), "attack_success_rate": self.attack_success_rate.to_dict()}
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "label_confusion"} | rates
        if self.label_confusion is not None:
            found |= zip(("clean_confusion", "confusion"), self.label_confusion, strict=True)
        return found


def worst_class(results: Sequence[ClassResult]) -> ClassResult | None:
    """Return the class with the lowest robust accuracy, the first of ties; None if no class has an image."""
    present = [result for result in results if result.n]
    return min(present, key=lambda result: result.robust_accuracy.value or 0.0) if present else None
