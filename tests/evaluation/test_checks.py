"""FGSM beside ART's PGD on a sample, and the signs of a masked gradient: none on honest networks, some on others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.attacked_sample import PGD_AT_HALF_RANGE, SampleOutcomes, half_range_epsilon
from robustbench_fgsm.evaluation.checks import CheckOptions, run_checks, validate_checks
from robustbench_fgsm.evaluation.gradient_masking import SIGNIFICANCE_LEVEL, MaskingCheck, run_masking_tests
from robustbench_fgsm.models.art import from_art
from robustbench_fgsm.spec import AttackSpec, TargetRule

EPSILON = 8 / 255
SPEC = AttackSpec((EPSILON,))

pytestmark = pytest.mark.usefixtures("one_thread")


class Around(nn.Module):
    """A network between two functions, which hide its gradient or not."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.after(self.network(self.before(x)))
        return outputs


@pytest.fixture(scope="module")
def linear() -> tuple[rf.TorchClassifier, rf.ArrayDataset]:
    """Two classes that a plane parts, and images near it."""
    generator = torch.Generator().manual_seed(0)
    plane = nn.Linear(36, 2)
    with torch.no_grad():
        plane.weight.copy_(torch.randn(2, 36, generator=generator))
        plane.bias.copy_(-plane.weight.sum(1) / 2)
    network = nn.Sequential(nn.Flatten(), plane)
    images = (0.5 + 0.1 * torch.randn(120, 1, 6, 6, generator=generator)).clamp(0, 1)
    classifier = rf.wrap(network, 2)
    labels = classifier.predict(images).argmax(1)
    return classifier, rf.ArrayDataset("plane", images, labels, ("0", "1"))


@pytest.mark.reference
@pytest.mark.parametrize(("norm", "epsilon"), [(math.inf, 0.02), (2.0, 0.2)])
def test_on_a_linear_network_nothing_beats_fgsm(
    linear: tuple[rf.TorchClassifier, rf.ArrayDataset], norm: float, epsilon: float
) -> None:
    found = rf.evaluate(*linear, epsilon, norm=norm, pgd_check=120).pgd_check
    assert found is not None
    assert found.fooled.second_only == 0
    assert found.fooled.first_rate.count > 20
    assert not found.weak_attack


@pytest.mark.reference
def test_all_images_give_the_rate_of_the_evaluation(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.evaluate(classifier, images, EPSILON, pgd_check=1000)
    assert found.pgd_check is not None
    document = found.pgd_check.to_dict()
    assert document["fgsm"] == found.tallies[0].robust_accuracy.to_dict()
    assert (document["n"], document["asked"]) == (256, 1000)
    assert document["pgd"]["count"] < document["fgsm"]["count"]
    assert document["overstated"]["value"] == pytest.approx(document["fgsm"]["value"] - document["pgd"]["value"])
    assert document["fgsm_only"] - document["pgd_only"] == document["pgd"]["count"] - document["fgsm"]["count"]


@pytest.mark.reference
def test_a_targeted_check_speaks_of_images_off_target(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    data = images.head(64)
    found = rf.evaluate(classifier, data, 0.1, targeted="next", pgd_check=64)
    assert found.pgd_check is not None
    document = found.pgd_check.to_dict()
    assert document["measure"] == "attack_success_rate"
    assert document["fgsm"] == found.tallies[0].attack_success_rate.to_dict()
    assert document["pgd"]["count"] > document["fgsm"]["count"]


@pytest.mark.reference
def test_a_sweep_is_checked_at_its_largest_budget_and_masking_untargeted_only(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset
) -> None:
    rules = ("none", "next")
    plain, targeted = rf.sweep(classifier, images.head(32), "1,8,4/255", targeted=rules, check_masking=True)
    assert plain.pgd_check is not None
    assert plain.pgd_check.spec.epsilons == (8 / 255,)
    assert plain.masking_check is not None
    assert (targeted.pgd_check, targeted.masking_check) == (None, None)


@pytest.mark.reference
def test_a_check_changes_no_count_and_leaves_the_generators_alone(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    data = images.head(40)
    before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state()
    found = rf.evaluate(classifier, data, EPSILON, pgd_check=16, check_masking=True)
    assert random.getstate() == before[0]
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert found.to_dict()["epsilons"] == rf.evaluate(classifier, data, EPSILON).to_dict()["epsilons"]
    assert found.pgd_check == rf.evaluate(classifier, data, EPSILON, pgd_check=16).pgd_check


@pytest.mark.reference
def test_an_honest_network_shows_no_sign(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = masking_of(classifier, images)
    assert found.positive_tests == ()
    assert {found.verdict(sign) for sign in found.tests} == {"sound"}
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
def test_a_masked_network_is_found(classifier: rf.TorchClassifier, images: rf.ArrayDataset, mask: str) -> None:
    found = masking_of(rf.wrap(Around(classifier.network, *MASKS[mask]), 10), images)
    assert "pgd-fails-at-half" in {sign.name for sign in found.positive_tests}
    assert found.warning is not None
    assert found.warning.startswith("gradient masking: ")


@pytest.mark.reference
def test_a_check_leaves_the_network_of_arts_estimator_alone(images: rf.ArrayDataset) -> None:
    from art.defences.postprocessor import Rounded
    from art.estimators.classification import PyTorchClassifier

    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Dropout(0.5)).train()
    estimator = PyTorchClassifier(
        network,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0, 1),
        postprocessing_defences=[Rounded(decimals=6)],
    )
    checks = CheckOptions(8, masking=True)
    found, masking = run_checks(from_art(estimator), images.head(8), SPEC, checks, 8)
    assert found is not None
    assert masking is not None
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.reference
def test_a_classifier_of_arts_own_is_checked_without_square(images: rf.ArrayDataset) -> None:
    from sklearn.linear_model import LogisticRegression

    from robustbench_fgsm.models.art import ArtClassifier, sklearn_estimator

    batch = next(images.batches(0, 128, 128))
    fitted = LogisticRegression(tol=0.1).fit(batch.images.flatten(1).numpy(), batch.labels.numpy())
    estimator = ArtClassifier(sklearn_estimator(fitted, (0.0, 1.0)))
    found = rf.evaluate(estimator, images.head(32), 0.02, pgd_check=32, check_masking=True).masking_check
    assert found is not None
    verdicts = {sign.name: found.verdict(sign) for sign in found.tests}
    assert verdicts["square-beats-pgd"] == "not judged"
    assert verdicts["fgsm-beats-pgd"] == "sound"


def masking_of(classifier: rf.Classifier, images: rf.ArrayDataset) -> MaskingCheck:
    _, masking = run_checks(classifier, images, SPEC, CheckOptions(masking=True), 128)
    assert masking is not None
    return masking


def fates(**fooled: int) -> SampleOutcomes:
    """200 images, right before, of ten classes; each attack fools the first so many, unless it is negative: the last."""
    healthy = {
        "fgsm": 80,
        "pgd": 120,
        "pgd_with_restarts": 130,
        "noise": 4,
        "pgd_at_less": 60,
        "square": 50,
        "half": 200,
    }
    labels = np.arange(200) % 10
    after = {}
    for name, count in (healthy | fooled).items():
        wrong = np.arange(200) < count if count >= 0 else np.arange(200) >= 200 + count
        after[PGD_AT_HALF_RANGE if name == "half" else name.replace("_", " ")] = np.where(wrong, (labels + 1) % 10, labels)
    budgets = dict.fromkeys(after, EPSILON) | {PGD_AT_HALF_RANGE: 0.5, "pgd at less": EPSILON / 2}
    never, predictions = np.zeros(200, np.bool_), np.stack(list(after.values()), 1)
    outcomes = BatchOutcomes(np.arange(200), labels, labels, predictions, None, never, never, never)
    return SampleOutcomes(outcomes, budgets, np.full(200, 0.5))


def signs_of(found: SampleOutcomes) -> set[str]:
    return {sign.name for sign in run_masking_tests(found, SPEC).positive_tests}


def test_healthy_counts_show_no_sign() -> None:
    found = run_masking_tests(fates(), SPEC)
    assert found.positive_tests == ()
    assert found.threshold == SIGNIFICANCE_LEVEL / len(found.tests) == SIGNIFICANCE_LEVEL / 6


@pytest.mark.parametrize(
    ("fooled", "sign"),
    [
        ({"fgsm": 140}, "fgsm-beats-pgd"),
        ({"square": 150}, "square-beats-pgd"),
        ({"half": 140}, "pgd-fails-at-half"),
        ({"pgd_at_less": 140}, "pgd-falls-to-epsilon"),
        ({"pgd": 199, "pgd_with_restarts": 199, "half": -178}, "pgd-falls-to-half"),
        ({"fgsm": 5}, "noise-matches-fgsm"),
    ],
)
def test_each_sign_is_found_alone(fooled: dict[str, int], sign: str) -> None:
    assert signs_of(fates(**fooled)) == {sign}


def test_a_weak_fgsm_or_a_network_that_resists_is_no_masking() -> None:
    assert signs_of(fates(fgsm=30)) == set()
    robust = {"fgsm": 8, "pgd": 9, "pgd_with_restarts": 9, "noise": 1, "pgd_at_less": 4, "square": 5}
    assert signs_of(fates(**robust)) == set()


def test_noise_is_not_judged_where_it_spoils_the_images() -> None:
    found = run_masking_tests(fates(noise=75), SPEC)
    assert found.verdict(found.tests[-1]) == "not judged"
    assert "spoils" in found.tests[-1].evidence


def test_what_cannot_be_tried_is_not_judged() -> None:
    whole = fates()
    some = replace(whole, after={name: after for name, after in whole.after.items() if name not in ("square", PGD_AT_HALF_RANGE)})
    found = run_masking_tests(some, SPEC)
    verdicts = {sign.name: found.verdict(sign) for sign in found.tests}
    assert verdicts["square-beats-pgd"] == verdicts["pgd-fails-at-half"] == "not judged"
    assert "pgd-falls-to-half" not in verdicts
    assert found.threshold == SIGNIFICANCE_LEVEL / 3


def test_half_of_the_range_holds_the_grey_image() -> None:
    corner = torch.zeros(1, 5, 5)
    for norm in (math.inf, 2.0):
        distance = torch.linalg.vector_norm((corner - 0.5).flatten(), ord=norm)
        assert half_range_epsilon(replace(SPEC, norm=norm), (0, 1), 25) == pytest.approx(float(distance))


@pytest.mark.parametrize(
    ("checks", "spec", "message"),
    [
        (CheckOptions(10), AttackSpec((1.0,), 1.0), "norm inf or 2"),
        (CheckOptions(10), AttackSpec(loss="probabilities"), "logits"),
        (CheckOptions(masking=True), AttackSpec(target=TargetRule.parse("next")), "untargeted"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_measured(
    classifier: rf.TorchClassifier, checks: CheckOptions, spec: AttackSpec, message: str
) -> None:
    with pytest.raises(rf.SettingError, match=message):
        validate_checks(checks, [spec], classifier)
    validate_checks(CheckOptions(), [spec], classifier)


def test_a_negative_number_of_images_is_refused() -> None:
    with pytest.raises(rf.SettingError, match="pgd check"):
        CheckOptions(-1)


@pytest.mark.reference
def test_every_attack_of_a_check_is_told(linear: tuple[rf.TorchClassifier, rf.ArrayDataset]) -> None:
    told: list[tuple[str, int, int]] = []
    run_checks(*linear, SPEC, CheckOptions(40, masking=True), 25, lambda *said: told.append(said))
    attacks = [attack for attack, done, _ in told if not done]
    assert {"FGSM", "PGD-20", "PGD-20 with restarts", "PGD-20 at half of epsilon", "Square"} <= set(attacks)
    assert told == [(attack, done, 40) for done in (0, 25) for attack in attacks]
