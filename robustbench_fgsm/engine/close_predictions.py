"""Mark predictions that rounding could change on another machine, by bounds measured on the network.

A whole attack is measured, because rounding also changes the sign of a gradient near zero, and so the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.engine.outputs_on_noise import OutputsOnNoise
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.engine.rounding_guard import RoundingGuard
from robustbench_fgsm.global_settings import neutral_settings, preserve_generators
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, move_to_classifier
from robustbench_fgsm.spec import AttackSpec, is_multi_label
from robustbench_fgsm.stats.tally import BatchOutcomes

TRIAL_IMAGES = 24
PART_SIZE = 7
"""Images of the other batch size."""


def measure_rounding(
    classifier: Classifier, batch: Batch, num_images: int, spec: AttackSpec, classes: tuple[str, ...]
) -> RoundingGuard | None:
    """Return bounds on how far rounding moves the margin between two outputs.

    None for a multi-label network, for one that cannot be run in another way, and where memory holds no trial.

    The images are attacked as they are, in batches of another size, and, if the network allows it, in the other memory
    layout; and their outputs are compared with those of float64. Saturated images are left out, whose gradients are spoilt by more
    than rounding.

    Args:
        classifier: the plain classifier, without a plan.
        batch: the first TRIAL_IMAGES images of the run.
        num_images: images of the run.
        spec: the attack, whose smallest and largest budgets are tried.
        classes: names of the classes.
    """
    if isinstance(classifier, TorchClassifier) and is_multi_label(classifier):  # each label has a prediction of its own
        return None
    try:
        with neutral_settings(), preserve_generators([classifier.device]):
            pairs = [_finite_rows(*pair) for pair in _outputs_in_pairs(classifier, batch, spec, classes)]
    except Exception:  # noqa: BLE001  (a network may raise any error; memory may hold fewer images than a trial has)
        return None
    return RoundingGuard.measure(pairs, num_images) if any(len(ours) for ours, _ in pairs) else None


def _finite_rows(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    rows = (ours.isfinite() & theirs.isfinite()).all(1)
    return ours[rows], theirs[rows]


def _outputs_in_pairs(
    classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield outputs (N, K) of the same images, computed in two ways."""
    epsilons = sorted({min(spec.epsilons), max(spec.epsilons)})
    plain = attack_batch(classifier, batch, spec, classes)
    kept = (~plain.saturated).cpu()
    if not bool(kept.any()):
        return
    chains = [
        [attack_batch(classifier, batch.at(slice(at, at + PART_SIZE)), spec, classes) for at in range(0, len(batch), PART_SIZE)]
    ]
    owners: list[Classifier] = [classifier]
    if isinstance(classifier, TorchClassifier) and classifier.has_variants:
        other = torch.contiguous_format if classifier.memory_format == torch.channels_last else torch.channels_last
        owners.append(classifier.variant(memory_format=other))
        chains.append([attack_batch(owners[1], batch, spec, classes)])
        exact = classifier.variant(torch.float64)
        for x in (plain.gradient_step.x, *map(plain.gradient_step.perturb, epsilons)):
            yield classifier.predict(x)[kept], exact.predict(x.double())[kept]
    for owner, parts in zip(owners, chains, strict=True):
        yield plain.gradient_step.outputs[kept], torch.cat([part.gradient_step.outputs for part in parts])[kept]
        for epsilon in epsilons:
            yield _outputs_at(classifier, [plain], epsilon)[kept], _outputs_at(owner, parts, epsilon)[kept]


def _outputs_at(classifier: Classifier, parts: Sequence[AttackedBatch], epsilon: float) -> Tensor:
    """Return the outputs (N, K) after the attack at one budget."""
    perturbed = [part.gradient_step.perturb(epsilon) for part in parts]
    return torch.cat([classifier.predict(move_to_classifier(x_adv, classifier)) for x_adv in perturbed])


def mark_close(outcomes: BatchOutcomes, guard: RoundingGuard | None) -> BatchOutcomes:
    """Return the outcomes, without their margins, with marks of the predictions that rounding could change.

    guard: bounds of the network; None marks nothing.
    """
    if guard is None or outcomes.margins is None:
        return replace(outcomes, margins=None)
    close = guard.are_close(outcomes.margins).astype(np.int64)
    return replace(outcomes, close=(close << np.arange(close.shape[1])).sum(1), margins=None)


@dataclass(repr=False)
class RecordList:
    """Store of the pieces of a run in main memory, in which close predictions are marked when the records are read.

    So a run whose records nobody reads measures no rounding, and does not run the network on noise.
    """

    kept: list[PieceRecord] = field(default_factory=list)
    measure: Callable[[], tuple[RoundingGuard | None, OutputsOnNoise | None]] | None = None
    """Returns the bounds and the outputs on noise; None once the kept records are marked. It holds the classifier until then."""
    outputs_on_noise: OutputsOnNoise | None = None
    """Outputs of the network on noise, once the records are read; see `outputs_on_noise`."""

    def records(self) -> Iterator[PieceRecord]:
        """Yield the pieces that are finished."""
        if self.kept and self.measure is not None:
            (guard, self.outputs_on_noise), self.measure = self.measure(), None
            self.kept = [replace(one, outcomes=tuple(mark_close(found, guard) for found in one.outcomes)) for one in self.kept]
        yield from list(self.kept)

    def keep(self, record: PieceRecord) -> None:
        """Add one piece that is finished."""
        self.kept.append(record)

    def restart(self, _: Plan) -> RecordList:
        """Forget all pieces, because they are attacked again under another plan."""
        self.kept.clear()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"kept": list(self.records())}
