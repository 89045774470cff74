"""Mark predictions that rounding could change on another machine, by bounds measured on the network.

A whole attack is measured, because rounding also changes the sign of a gradient near zero, and so the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import Batch, Dataset, first_readable_batch
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch
from robustbench_fgsm.engine.rounding_guard import RoundingGuard
from robustbench_fgsm.global_generators import preserve_generators
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, move_to_classifier
from robustbench_fgsm.spec import AttackSpec, is_multi_label
from robustbench_fgsm.stats.tally import MAX_BUDGETS as MAX_BUDGETS

TRIAL_IMAGES = 24
PART_SIZE = 7
"""Images of the other batch size."""


def measure_rounding(classifier: Classifier, data: Dataset, spec: AttackSpec) -> RoundingGuard | None:
    """Return bounds on how far rounding moves the margin between two outputs.

    None for a multi-label network, for one that cannot be run in another way, and where memory holds no trial.

    The first images are attacked as they are, in batches of another size, and, if the network allows it, in the other memory
    layout; and their outputs are compared with those of float64. Saturated images are left out, whose gradients are spoilt by more
    than rounding.

    Args:
        classifier: the plain classifier, without a plan.
        data: the images of the run.
        spec: the attack, whose smallest and largest budgets are tried.
    """
    if isinstance(classifier, TorchClassifier) and is_multi_label(classifier):  # each label has a prediction of its own
        return None
    batch = first_readable_batch(data, TRIAL_IMAGES)
    try:
        with preserve_generators([classifier.device]):
            pairs = [_finite_rows(*pair) for pair in _outputs_in_pairs(classifier, batch, spec, data.classes)]
    except Exception:  # noqa: BLE001  (a network may raise any error; memory may hold fewer images than a trial has)
        return None
    return RoundingGuard.measure(pairs, len(data)) if any(len(ours) for ours, _ in pairs) else None


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


def mark_close(guard: RoundingGuard, outputs: Sequence[Tensor]) -> Tensor:
    """Return (N,) int64 whose bits mark predictions that rounding could change.

    guard: bounds of the network. outputs: (N, K) before the attack, for bit 0, and at each budget, for the next bits.
    """
    found = torch.zeros(len(outputs[0]), dtype=torch.int64, device=outputs[0].device)
    for bit, logits in enumerate(outputs[: MAX_BUDGETS + 1]):
        found |= guard.at_risk(logits).long() << bit
    return found
