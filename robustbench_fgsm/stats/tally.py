"""Outcomes of attacked images, and the tally of their counts, which add over batches, processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.confusion import Matrix
from robustbench_fgsm.stats.rate import Rate

Int64Array = NDArray[np.int64]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class BatchOutcomes:
    """Outcomes of one attack on N images at E budgets, as arrays in main memory. Every count follows from them.

    Attributes:
        ids: (N,) image ids.
        labels: (N,) classes.
        before: (N,) predicted classes before the attack; negative for an image whose outputs are not finite, which has none.
        after: (N, E) predicted classes after the attack, one column for each budget; negative likewise.
        targets: (N,) target classes; None if the attack is untargeted.
        zero_gradient: (N,) bool, the gradient is exactly zero.
        nonfinite_gradient: (N,) bool, the gradient has a value that is not finite.
        saturated: (N,) bool, float32 cancellation spoils the gradient.
        after_stable: (N, E) like `after`, but saturated images follow their exact gradient; None if it equals `after`.
        distances: (N,) distances as positions in `distance_levels`; None if they are not measured.
        distances_stable: (N,) like `distances`, but saturated images follow their exact gradient; None if it equals `distances`.
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
        whole: dict[str, Any] = {name: None if values[0] is None else np.concatenate(values) for name, values in columns.items()}
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


@dataclass(frozen=True)
class Tally:
    """Counts of one attack at one budget over K classes.

    clean, adversarial, transition: (K, K) confusion of label and prediction before, label and prediction after, prediction
    before and after; sparse above 1,000 classes. images, attacked, fooled: (K,) by label, all images, and the denominator and the
    numerator of the attack success rate. All other integers are numbers of images.

    An image without a prediction, because its outputs are not finite, is in `images` and in `nonfinite_before` or
    `nonfinite_after`, and in no matrix that would need the prediction.
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

    @classmethod
    def of(cls, outcomes: BatchOutcomes, num_classes: int, budget: int = 0) -> Tally:
        """Count the outcomes at one budget, given by its column."""
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
        )

    @classmethod
    def empty(cls, num_classes: int, *, targeted: bool) -> Tally:
        """Return a tally without any image."""
        square, line = confusion.zero_matrix(num_classes), np.zeros(num_classes, np.int64)
        return cls(square, square, square, line, line, line, 0, 0, 0, 0, 0, 0, 0, targeted)

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
    def accuracy_drop(self) -> Rate:
        """1 - accuracy after / accuracy before: net loss over the images right before; negative if the accuracy rose."""
        before = confusion.trace(self.clean)
        return Rate(before - confusion.trace(self.adversarial), before)

    def per_class(self, classes: Sequence[str]) -> list[ClassResult]:
        """Return the rates of each class, in the order of the labels."""
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


def _count_pairs(rows: Int64Array, columns: Int64Array, num_classes: int) -> Matrix:
    """Count the pairs of classes, without images that lack one of the two."""
    known = (rows >= 0) & (columns >= 0)
    return confusion.confusion_matrix(rows[known], columns[known], num_classes)


@dataclass(frozen=True)
class ClassResult:
    """Rates of one class, with its images, its images right before, and its most common wrong prediction after."""

    label: int
    name: str
    n: int
    clean_correct: int
    robust_accuracy: Rate
    attack_success_rate: Rate
    most_common_wrong: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the rates as a JSON object."""
        rates = {"robust_accuracy": self.robust_accuracy.to_dict(), "attack_success_rate": self.attack_success_rate.to_dict()}
        return {field.name: getattr(self, field.name) for field in fields(self)} | rates


def worst_class(results: Sequence[ClassResult]) -> ClassResult | None:
    """Return the class with the lowest robust accuracy, the first of ties; None if no class has an image."""
    present = [result for result in results if result.n]
    return min(present, key=lambda result: result.robust_accuracy.value or 0.0) if present else None
