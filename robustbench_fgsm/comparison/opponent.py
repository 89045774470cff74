"""Another implementation beside ours, piece of the data by piece."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.comparison.agreement import Agreement, compare_batch
from robustbench_fgsm.comparison.result import ReferenceResult, Seconds, TimedTally
from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.errors import CandidateError, ModelError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.references.batched import BatchedReference
from robustbench_fgsm.references.candidate_reference import SavedImagesReference
from robustbench_fgsm.references.registry import Reference
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Tally

Opponent = Reference | BatchedReference | SavedImagesReference


@dataclass(frozen=True)
class AttackedPiece:
    """A block of the data under our attack: batches, adversarial images (N, C, H, W) and the classes predicted for them (N,).

    bad: samples of the block that could not be had; where all are such, there are no batches. decided_again: images that
    our plan's guard gave the plain layout.
    """

    batches: list[AttackedBatch]
    adversarial: Tensor
    predictions: Tensor
    timed_tally: TimedTally
    bad: tuple[BadSample, ...] = ()
    decided_again: int = 0


@dataclass(frozen=True)
class OpponentRun:
    """A rival, and what has been found of it so far. failure: why it is asked no more; then nothing found of it counts."""

    opponent: Opponent
    rounding_analysis: RoundingAnalysis
    empty_timed_tally: TimedTally
    timed_tally: TimedTally
    agreement: Agreement
    failure: str = ""

    @classmethod
    def start(cls, opponent: Opponent, classifier: Classifier, spec: AttackSpec, *, different_plan: bool = False) -> OpponentRun:
        """Before the first piece; planned: our side runs otherwise than the classifier does."""
        explanation = RoundingAnalysis(
            classifier,
            spec,
            different_execution=opponent.different_execution or different_plan,
            norm_floor=opponent.norm_floor,
        )
        nothing = TimedTally(Tally.empty(classifier.num_classes, targeted=spec.target.targeted), Seconds())
        return cls(opponent, explanation, nothing, nothing, Agreement())

    def with_piece(self, piece: AttackedPiece) -> OpponentRun:
        """The same with one more piece. That a candidate fails is its answer, and no error."""
        if self.failure or not piece.batches:
            return self
        try:
            side, agreement = run_opponent(self.opponent, self.rounding_analysis, piece)
        except CandidateError as error:
            return replace(self, timed_tally=self.empty_timed_tally, agreement=Agreement(), failure=str(error))
        return replace(self, timed_tally=self.timed_tally + side, agreement=self.agreement + agreement)

    def result(self) -> ReferenceResult:
        """What was found in the end."""
        reasons = [self.failure] if self.failure else self.agreement.disagreement_reasons(self.rounding_analysis.norm)
        rival = self.opponent
        return ReferenceResult(rival.name, rival.version, self.timed_tally, self.agreement, tuple(reasons), rival.own_success)


def run_opponent(opponent: Opponent, rounding_analysis: RoundingAnalysis, piece: AttackedPiece) -> tuple[TimedTally, Agreement]:
    """The rival's whole job on the same images (predict, attack, predict), and how it agrees with ours.

    Saved images take no time, since nobody attacks. Raises ModelError where it returns images of another shape.
    """
    x = torch.cat([attacked.batch.images for attacked in piece.batches])
    began = time.perf_counter()
    before = predicted_classes(opponent.predict(x))
    ready = time.perf_counter()
    adversarial = _opponent_images(opponent, rounding_analysis, piece, x)
    crafted = time.perf_counter()
    if adversarial.shape != x.shape:
        raise ModelError(
            f"reference {opponent.name} must return images of shape {tuple(x.shape)}, got {tuple(adversarial.shape)}: mend its fgsm"
        )
    after = predicted_classes(opponent.predict(adversarial)).cpu()
    seconds = Seconds(crafted - ready, time.perf_counter() - began)
    num_classes = piece.timed_tally.tally.clean.shape[0]
    tally, agreement, start = Tally.empty(num_classes, targeted=piece.timed_tally.tally.targeted), Agreement(), 0
    for attacked in piece.batches:
        rows = slice(start, start + len(attacked.batch))
        start = rows.stop
        tally += Tally.of(attacked.outcomes(after[rows], before[rows]), num_classes)
        agreement += compare_batch(
            rounding_analysis, attacked, piece.adversarial[rows], adversarial[rows], piece.predictions[rows], after[rows]
        )
    return TimedTally(tally, Seconds() if isinstance(opponent, SavedImagesReference) else seconds), agreement


def _opponent_images(opponent: Opponent, rounding_analysis: RoundingAnalysis, piece: AttackedPiece, x: Tensor) -> Tensor:
    if isinstance(opponent, SavedImagesReference):
        return opponent.saved_images.by_ids(torch.cat([attacked.batch.ids for attacked in piece.batches]))
    aim = torch.cat([attacked.labels_or_targets.cpu() for attacked in piece.batches])
    return opponent.fgsm(x, aim, rounding_analysis.epsilon).cpu()
