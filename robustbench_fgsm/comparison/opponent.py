"""Another implementation beside ours, piece of the data by piece."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.comparison.agreement import Agreement, compare_batch
from robustbench_fgsm.comparison.result import ReferenceResult, Seconds, Side
from robustbench_fgsm.comparison.rounding import Explanation
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.errors import CandidateError, ModelError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.references.batched import BatchedReference
from robustbench_fgsm.references.candidate_reference import SavedReference
from robustbench_fgsm.references.registry import Reference
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Tally

Rival = Reference | BatchedReference | SavedReference


@dataclass(frozen=True)
class Piece:
    """A block of the data under our attack: batches, adversarial images (N, C, H, W) and the classes predicted for them (N,).

    bad: samples of the block that could not be had; where all are such, there are no batches. decided_again: images that
    our plan's guard gave the plain layout.
    """

    batches: list[AttackedBatch]
    adversarial: Tensor
    after: Tensor
    side: Side
    bad: tuple[BadSample, ...] = ()
    decided_again: int = 0


@dataclass(frozen=True)
class Meeting:
    """A rival, and what has been found of it so far. failure: why it is asked no more; then nothing found of it counts."""

    rival: Rival
    explanation: Explanation
    nothing: Side
    side: Side
    agreement: Agreement
    failure: str = ""

    @classmethod
    def of(cls, rival: Rival, classifier: Classifier, spec: AttackSpec, *, planned: bool = False) -> Meeting:
        """Before the first piece; planned: our side runs otherwise than the classifier does."""
        explanation = Explanation(
            classifier,
            spec,
            different_execution=rival.different_execution or planned,
            norm_floor=rival.norm_floor,
        )
        nothing = Side(Tally.empty(classifier.num_classes, targeted=spec.target.targeted), Seconds())
        return cls(rival, explanation, nothing, nothing, Agreement())

    def after(self, piece: Piece) -> Meeting:
        """The same with one more piece. That a candidate fails is its answer, and no error."""
        if self.failure or not piece.batches:
            return self
        try:
            side, agreement = oppose(self.rival, self.explanation, piece)
        except CandidateError as error:
            return replace(self, side=self.nothing, agreement=Agreement(), failure=str(error))
        return replace(self, side=self.side + side, agreement=self.agreement + agreement)

    def result(self) -> ReferenceResult:
        """What was found in the end."""
        reasons = [self.failure] if self.failure else self.agreement.disagreements(self.explanation.norm)
        rival = self.rival
        return ReferenceResult(rival.name, rival.version, self.side, self.agreement, tuple(reasons), rival.own_success)


def oppose(rival: Rival, explanation: Explanation, piece: Piece) -> tuple[Side, Agreement]:
    """The rival's whole job on the same images (predict, attack, predict), and how it agrees with ours.

    Saved images take no time, since nobody attacks. Raises ModelError where it returns images of another shape.
    """
    x = torch.cat([attacked.batch.images for attacked in piece.batches])
    began = time.perf_counter()
    before = predicted(rival.predict(x))
    ready = time.perf_counter()
    adversarial = _adversarial(rival, explanation, piece, x)
    crafted = time.perf_counter()
    if adversarial.shape != x.shape:
        raise ModelError(
            f"reference {rival.name} must return images of shape {tuple(x.shape)}, got {tuple(adversarial.shape)}: mend its fgsm"
        )
    after = predicted(rival.predict(adversarial)).cpu()
    seconds = Seconds(crafted - ready, time.perf_counter() - began)
    num_classes = piece.side.tally.clean.shape[0]
    tally, agreement, start = Tally.empty(num_classes, targeted=piece.side.tally.targeted), Agreement(), 0
    for attacked in piece.batches:
        rows = slice(start, start + len(attacked.batch))
        start = rows.stop
        tally += Tally.of(attacked.outcomes(before[rows], after[rows]), num_classes)
        agreement += compare_batch(
            explanation, attacked, piece.adversarial[rows], adversarial[rows], piece.after[rows], after[rows]
        )
    return Side(tally, Seconds() if isinstance(rival, SavedReference) else seconds), agreement


def _adversarial(rival: Rival, explanation: Explanation, piece: Piece, x: Tensor) -> Tensor:
    if isinstance(rival, SavedReference):
        return rival.saved.of(torch.cat([attacked.batch.ids for attacked in piece.batches]))
    aim = torch.cat([attacked.aim.cpu() for attacked in piece.batches])
    return rival.fgsm(x, aim, explanation.epsilon).cpu()
