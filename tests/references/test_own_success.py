"""What a library calls success is what the library itself computes, on its own images and predictions."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import robustbench_fgsm as rf
from robustbench_fgsm.stats.rate import Rate

pytestmark = pytest.mark.reference

EPSILON = 8 / 255


def compared(name: str, classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str = "none") -> rf.Comparison:
    return rf.compare(classifier, images, EPSILON, references=[name], targeted=targeted)


def own_rate(found: rf.Comparison) -> Rate:
    own = found.references[0].own_success
    assert own is not None
    return own.rate(found.references[0].timed_tally.tally)


@pytest.mark.parametrize("targeted", ["none", "next"])
def test_art(classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str) -> None:
    from robustbench_fgsm.models.art import import_art

    import_art()
    from art.attacks.evasion import FastGradientMethod
    from art.estimators.classification import PyTorchClassifier
    from art.utils import compute_success, to_categorical

    batch = next(images.batches(0, 256, 256))
    x, aim = batch.images.numpy(), batch.labels if targeted == "none" else (batch.labels + 1) % 10
    estimator = PyTorchClassifier(
        classifier.copy_network(), torch.nn.CrossEntropyLoss(reduction="sum"), (1, 28, 28), 10, clip_values=(0, 1)
    )
    wanted = to_categorical(aim.numpy(), 10)
    x_adv = FastGradientMethod(estimator, eps=EPSILON, targeted=targeted != "none").generate(x, wanted)
    theirs = compute_success(estimator, x, wanted, x_adv, targeted=targeted != "none", batch_size=256)
    found = compared("art", classifier, images, targeted)
    assert own_rate(found).value == pytest.approx(theirs, abs=1e-12)
    assert own_rate(found) != found.references[0].timed_tally.tally.attack_success_rate


def test_foolbox(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        foolbox = pytest.importorskip("foolbox")
    batch = next(images.batches(0, 256, 256))
    model = foolbox.PyTorchModel(classifier.copy_network().eval(), bounds=(0, 1), device="cpu")
    *_, success = foolbox.attacks.LinfFastGradientAttack()(model, batch.images, batch.labels, epsilons=EPSILON)
    found = compared("foolbox", classifier, images)
    assert own_rate(found) == Rate(int(success.sum()), 256)
    assert own_rate(found) != found.references[0].timed_tally.tally.flip_rate


@pytest.mark.parametrize("targeted", ["none", "next"])
def test_torchattacks_has_none_and_its_robust_accuracy_of_targets_is_the_hit_rate(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str
) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    batch = next(images.batches(0, 256, 256))
    attack = torchattacks.FGSM(classifier.copy_network(), eps=EPSILON)
    labels = batch.labels
    if targeted != "none":
        attack.set_mode_targeted_by_label(quiet=True)
        labels = (labels + 1) % 10
    loader = DataLoader(TensorDataset(batch.images, labels), batch_size=256)
    per_cent, _, _ = attack.save(loader, verbose=False, return_verbose=True)
    (reference,) = compared("torchattacks", classifier, images, targeted).references
    tally = reference.timed_tally.tally
    assert reference.own_success is None
    same = tally.robust_accuracy if targeted == "none" else tally.target_hit_rate
    assert same is not None
    assert same.value is not None
    assert math.isclose(same.value, per_cent / 100)


def test_cleverhans_has_none(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    pytest.importorskip("cleverhans")
    assert compared("cleverhans", classifier, images).references[0].own_success is None
