"""Test for gradient masking on honest and masked networks, and on counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.attacked_sample import PGD_AT_HALF_RANGE, SampleOutcomes
from robustbench_fgsm.evaluation.checks import run_checks
from robustbench_fgsm.evaluation.gradient_masking import SIGNIFICANCE_LEVEL, MaskingCheck, run_masking_tests
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.spec import PIXEL_BOUNDS, AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes

EPSILON = 8 / 255
SPEC = AttackSpec((EPSILON,))

pytestmark = pytest.mark.usefixtures("one_thread")


class Around(nn.Module):
    """A network between two functions, which may mask its gradient."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.after(self.network(self.before(x)))
        return outputs


@pytest.mark.reference
def test_no_masking_of_an_honest_network(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = masking_of(classifier, images)
    assert found.positive_tests == ()
    assert {found.verdict(test) for test in found.tests} == {"sound"}
    alignment = found.to_dict()["alignment"]
    assert alignment["mean"] > 0.9
    assert alignment["undefined"] == 0


MASKS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "steep outputs": (lambda x: x, lambda outputs: 1000 * outputs),
    "quantised outputs": (lambda x: x, lambda outputs: (4 * outputs).round() / 4),
    "rounded images": (lambda x: (8 * x).round() / 8 + 0 * x, lambda outputs: outputs),
    "shattered gradient": (lambda x: x + 0.02 * torch.sin(2000 * x), lambda outputs: outputs),
}


@pytest.mark.reference
@pytest.mark.parametrize("mask", MASKS)
def test_finds_a_masked_network(classifier: rf.TorchClassifier, images: rf.ArrayDataset, mask: str) -> None:
    found = masking_of(rf.wrap(Around(classifier.network, *MASKS[mask]), 10), images)
    assert "pgd-fails-at-half" in {test.name for test in found.positive_tests}
    assert found.warning is not None
    assert found.warning.startswith("gradient masking: ")


@pytest.mark.reference
def test_skips_square_on_arts_own_classifier(images: rf.ArrayDataset) -> None:
    from sklearn.linear_model import LogisticRegression

    from robustbench_fgsm.models.art import ArtClassifier, sklearn_estimator

    batch = next(images.batches(0, 128, 128))
    fitted = LogisticRegression(tol=0.1).fit(batch.images.flatten(1).numpy(), batch.labels.numpy())
    estimator = ArtClassifier(sklearn_estimator(fitted, PIXEL_BOUNDS))
    found = rf.evaluate(estimator, images.head(32), 0.02, pgd_check=32, check_masking=True).masking_check
    assert found is not None
    verdicts = {test.name: found.verdict(test) for test in found.tests}
    assert verdicts["square-beats-pgd"] == "not judged"
    assert verdicts["fgsm-beats-pgd"] == "sound"


def masking_of(classifier: rf.Classifier, images: rf.ArrayDataset) -> MaskingCheck:
    _, masking = run_checks(classifier, images, SPEC, CheckOptions(masking=True), 128)
    assert masking is not None
    return masking


def sample_outcomes(**fooled: int) -> SampleOutcomes:
    """Return 200 images of ten classes, right before; each attack fools the first `count` images, or the last if it is negative."""
    healthy = {"fgsm": 80, "pgd": 120, "pgd_with_restarts": 130, "noise": 4, "pgd_at_less": 60, "square": 50, "half": 200}
    labels = np.arange(200) % 10
    after = {}
    for name, count in (healthy | fooled).items():
        wrong = np.arange(200) < count if count >= 0 else np.arange(200) >= 200 + count
        after[PGD_AT_HALF_RANGE if name == "half" else name.replace("_", " ")] = np.where(wrong, (labels + 1) % 10, labels)
    budgets = dict.fromkeys(after, EPSILON) | {PGD_AT_HALF_RANGE: 0.5, "pgd at less": EPSILON / 2}
    never, predictions = np.zeros(200, np.bool_), np.stack(list(after.values()), 1)
    outcomes = BatchOutcomes(np.arange(200), labels, labels, predictions, None, never, never, never)
    return SampleOutcomes(outcomes, budgets, np.full(200, 0.5))


def positive_tests(outcomes: SampleOutcomes) -> set[str]:
    return {test.name for test in run_masking_tests(outcomes, SPEC).positive_tests}


def test_no_masking_in_healthy_counts() -> None:
    found = run_masking_tests(sample_outcomes(), SPEC)
    assert found.positive_tests == ()
    assert found.threshold == SIGNIFICANCE_LEVEL / len(found.tests) == SIGNIFICANCE_LEVEL / 6


@pytest.mark.parametrize(
    ("fooled", "name"),
    [
        ({"fgsm": 140}, "fgsm-beats-pgd"),
        ({"square": 150}, "square-beats-pgd"),
        ({"half": 140}, "pgd-fails-at-half"),
        ({"pgd_at_less": 140}, "pgd-falls-to-epsilon"),
        ({"pgd": 199, "pgd_with_restarts": 199, "half": -178}, "pgd-falls-to-half"),
        ({"fgsm": 5}, "noise-matches-fgsm"),
    ],
)
def test_each_test_finds_its_masking(fooled: dict[str, int], name: str) -> None:
    assert positive_tests(sample_outcomes(**fooled)) == {name}


def test_robust_network_is_no_masking() -> None:
    assert positive_tests(sample_outcomes(fgsm=30)) == set()
    robust = {"fgsm": 8, "pgd": 9, "pgd_with_restarts": 9, "noise": 1, "pgd_at_less": 4, "square": 5}
    assert positive_tests(sample_outcomes(**robust)) == set()


def test_skips_noise_that_destroys_images() -> None:
    found = run_masking_tests(sample_outcomes(noise=75), SPEC)
    assert found.verdict(found.tests[-1]) == "not judged"
    assert "spoils" in found.tests[-1].evidence


def test_skips_attacks_that_did_not_run() -> None:
    whole = sample_outcomes()
    kept = [name for name in whole.budgets if name not in ("square", PGD_AT_HALF_RANGE)]
    columns = [list(whole.budgets).index(name) for name in kept]
    outcomes = replace(whole.outcomes, after=whole.outcomes.after[:, columns])
    some = replace(whole, outcomes=outcomes, budgets={name: whole.budgets[name] for name in kept})
    found = run_masking_tests(some, SPEC)
    verdicts = {test.name: found.verdict(test) for test in found.tests}
    assert verdicts["square-beats-pgd"] == verdicts["pgd-fails-at-half"] == "not judged"
    assert "pgd-falls-to-half" not in verdicts
    assert found.threshold == SIGNIFICANCE_LEVEL / 3
