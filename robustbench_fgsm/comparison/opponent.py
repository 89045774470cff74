"""Run another implementation on the images that our attack ran on, one piece of the data at a time."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_fgsm.comparison.agreement import Agreement, compare_batch
from robustbench_fgsm.comparison.result import ReferenceResult, Seconds, TimedTally
from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.attack_batch import AttackedBatch, empty_tally
from robustbench_fgsm.errors import CandidateError, ModelError
from robustbench_fgsm.models.classifier import Classifier, decide
from robustbench_fgsm.references.batched_reference import BatchedReference
from robustbench_fgsm.references.candidate_reference import SavedImagesReference
from robustbench_fgsm.references.registry import Reference
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Tally

Opponent = Reference | BatchedReference | SavedImagesReference


@dataclass(frozen=True)
class AttackedPiece:
    """A block of the data after our attack: adversarial images (N, C, H, W) and their predicted classes (N,).

    There are no batches if no sample could be read.
    """

    batches: list[AttackedBatch]
    adversarial: Tensor
    predictions: Tensor
    timed_tally: TimedTally
    bad: tuple[BadSample, ...] = ()


@dataclass(frozen=True)
class OpponentRun:
    """Another implementation and its counts so far; after a failure it is not called again, and its counts are empty."""

    opponent: Opponent
    rounding_analysis: RoundingAnalysis
    timed_tally: TimedTally
    agreement: Agreement
    failure: str = ""

    @classmethod
    def start(cls, opponent: Opponent, classifier: Classifier, spec: AttackSpec, *, different_plan: bool) -> OpponentRun:
        """Return the state before the first piece; different_plan: whether our side runs under a plan that is not plain."""
        analysis = RoundingAnalysis(
            classifier=classifier,
            spec=spec,
            different_execution=opponent.different_execution or different_plan,
            norm_floor=opponent.norm_floor,
        )
        timed_tally = TimedTally(empty_tally(classifier, spec))
        return cls(opponent, analysis, timed_tally, Agreement())

    def with_piece(self, piece: AttackedPiece) -> OpponentRun:
        """Return the state after one more piece; a candidate that fails is a result and not an error."""
        if self.failure or not piece.batches:
            return self
        try:
            timed_tally, agreement = self._attack(piece)
        except CandidateError as error:
            analysis = self.rounding_analysis
            empty = empty_tally(analysis.classifier, analysis.spec)
            return replace(self, timed_tally=TimedTally(empty), agreement=Agreement(), failure=str(error))
        return replace(self, timed_tally=self.timed_tally + timed_tally, agreement=self.agreement + agreement)

    def result(self, ignore: Collection[str] = ()) -> ReferenceResult:
        """Return the result of the opponent; ignore: as in `Agreement.disagreement_reasons`."""
        found = self.agreement.disagreement_reasons(self.rounding_analysis.norm, ignore)
        reasons = [self.failure] if self.failure else found
        opponent = self.opponent
        return ReferenceResult(
            opponent.name, opponent.version, self.timed_tally, self.agreement, tuple(reasons), opponent.own_success
        )

    def _attack(self, piece: AttackedPiece) -> tuple[TimedTally, Agreement]:
        """Predict, attack and predict again as the opponent does, and compare with our images."""
        classifier = self.rounding_analysis.classifier
        x = torch.cat([attacked.batch.images for attacked in piece.batches])
        began = time.perf_counter()
        before = decide(classifier, self.opponent.predict(x))
        ready = time.perf_counter()
        adversarial = self._adversarial_images(piece, x)
        crafted = time.perf_counter()
        if adversarial.shape != x.shape:
            raise ModelError(
                f"reference {self.opponent.name} must return images of shape {tuple(x.shape)}, "
                f"got {tuple(adversarial.shape)}: fix its fgsm"
            )
        after = decide(classifier, self.opponent.predict(adversarial)).cpu()
        saved = isinstance(self.opponent, SavedImagesReference)  # saved images take no time
        seconds = Seconds() if saved else Seconds(crafted - ready, time.perf_counter() - began)
        tally, agreement, start = empty_tally(classifier, self.rounding_analysis.spec), Agreement(), 0
        for attacked in piece.batches:
            rows = slice(start, start + len(attacked.batch))
            start = rows.stop
            tally += Tally.of(attacked.outcomes(after[rows], before[rows]), classifier.num_classes)
            agreement += compare_batch(
                self.rounding_analysis, attacked, piece.adversarial[rows], adversarial[rows], piece.predictions[rows], after[rows]
            )
        return TimedTally(tally, seconds), agreement

    def _adversarial_images(self, piece: AttackedPiece, x: Tensor) -> Tensor:
        if isinstance(self.opponent, SavedImagesReference):
            return self.opponent.saved_images.by_ids(torch.cat([attacked.batch.ids for attacked in piece.batches]))
        y = torch.cat([attacked.labels_or_targets.cpu() for attacked in piece.batches])
        return self.opponent.fgsm(x, y, self.rounding_analysis.budget(x)).cpu()
