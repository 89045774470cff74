"""Test the check by PGD on a sample of the images."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.checks import run_checks, validate_checks
from robustbench_fgsm.models.art import from_art
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.spec import AttackSpec, TargetRule

EPSILON = 8 / 255
SPEC = AttackSpec((EPSILON,))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.reference
@pytest.mark.parametrize(("norm", "epsilon"), [(math.inf, 0.02), (2.0, 0.2)])
def test_fgsm_is_optimal_for_linear_networks(
    linear: tuple[rf.TorchClassifier, rf.ArrayDataset], norm: float, epsilon: float
) -> None:
    found = rf.evaluate(*linear, epsilon, norm=norm, pgd_check=120).pgd_check
    assert found is not None
    assert found.fooled.second_only == 0
    assert found.fooled.first_rate.count > 20
    assert not found.weak_attack


@pytest.mark.reference
def test_all_images_give_the_evaluations_rate(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.evaluate(classifier, images, EPSILON, pgd_check=1000)
    assert found.pgd_check is not None
    document = found.pgd_check.to_dict()
    assert document["fgsm"] == found.tallies[0].robust_accuracy.to_dict()
    assert (document["n"], document["asked"]) == (256, 1000)
    assert document["pgd"]["count"] < document["fgsm"]["count"]
    assert document["overstated"]["value"] == pytest.approx(document["fgsm"]["value"] - document["pgd"]["value"])
    assert document["fgsm_only"] - document["pgd_only"] == document["pgd"]["count"] - document["fgsm"]["count"]


def test_a_network_of_probabilities_is_checked_by_its_own_loss(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    softmax = rf.wrap(nn.Sequential(classifier.network, nn.Softmax(1)), 10)
    (found, plain) = (
        rf.evaluate(one, images.head(64), 0.1, loss=loss, pgd_check=64).pgd_check
        for one, loss in ((softmax, "probabilities"), (classifier, "ce"))
    )
    assert found is not None
    assert plain is not None
    assert abs(found.fooled.second_rate.count - plain.fooled.second_rate.count) <= 1  # one rounds where the other does not
    assert found.fooled.second_rate.count > found.fooled.first_rate.count


def test_counts_do_not_depend_on_the_batch(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    one, other = (rf.evaluate(classifier, images.head(40), EPSILON, pgd_check=40, batch_size=size) for size in (40, 7))
    assert one.pgd_check == other.pgd_check


@pytest.mark.reference
def test_targeted_check_counts_images_off_target(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    data = images.head(64)
    found = rf.evaluate(classifier, data, 0.1, targeted="next", pgd_check=64)
    assert found.pgd_check is not None
    document = found.pgd_check.to_dict()
    assert document["measure"] == "attack_success_rate"
    assert document["fgsm"] == found.tallies[0].attack_success_rate.to_dict()
    assert document["pgd"]["count"] > document["fgsm"]["count"]


@pytest.mark.reference
def test_checks_a_sweep_at_its_maximum(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    rules = ("none", "next")
    plain, targeted = rf.sweep(classifier, images.head(32), "1,8,4/255", targeted=rules, check_masking=True)
    assert plain.pgd_check is not None
    assert plain.pgd_check.spec.epsilons == (8 / 255,)
    assert plain.masking_check is not None
    assert (targeted.pgd_check, targeted.masking_check) == (None, None)


@pytest.mark.reference
def test_check_changes_no_count_or_generator(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    data = images.head(40)
    before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state()
    found = rf.evaluate(classifier, data, EPSILON, pgd_check=16, check_masking=True)
    assert random.getstate() == before[0]
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert found.to_dict()["epsilons"] == rf.evaluate(classifier, data, EPSILON).to_dict()["epsilons"]
    assert found.pgd_check == rf.evaluate(classifier, data, EPSILON, pgd_check=16).pgd_check


@pytest.mark.reference
def test_check_leaves_arts_network_unchanged(images: rf.ArrayDataset) -> None:
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


@pytest.mark.parametrize(
    ("checks", "spec", "message"),
    [
        (CheckOptions(10), AttackSpec((1.0,), 1.0), "norm inf or 2"),
        (CheckOptions(masking=True), AttackSpec(loss="probabilities"), "logits"),
        (CheckOptions(masking=True), AttackSpec(target=TargetRule.parse("next")), "untargeted"),
    ],
)
def test_rejects_unsupported_attacks(classifier: rf.TorchClassifier, checks: CheckOptions, spec: AttackSpec, message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        validate_checks(checks, [spec], classifier)
    validate_checks(CheckOptions(), [spec], classifier)
