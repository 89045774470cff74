"""Training as a whole: same seed, same weights; nothing of the caller's changes; and it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.models.classifier import hash_weights
from tests.training.conftest import untrained

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 32, "held_out": 0, "epsilon": 0.1}


def trained(data: rf.ArrayDataset, seed: int = 0, **settings: Any) -> rf.Training:
    return rf.train(untrained(0, dropout=0.3), data.head(256), seed=seed, **{**QUICK, **settings})


METHODS = ["standard", "fgsm", "fgsm-rs", "n-fgsm"]


@pytest.mark.parametrize("method", METHODS)
def test_seed_decides_the_weights(patterns: rf.ArrayDataset, method: str) -> None:
    one, two, other = (trained(patterns, seed, method=method, augment="crop:1,flip") for seed in (0, 0, 1))
    assert one.model.sha256 == two.model.sha256 != other.model.sha256
    assert one.checks == two.checks


def test_each_setting_changes_the_weights(patterns: rf.ArrayDataset) -> None:
    settings: list[dict[str, Any]] = [{"method": method} for method in METHODS]
    settings += [{"method": "n-fgsm", "noise": 1.0}, {"method": "n-fgsm", "clamp": False}, {"method": "fgsm", "mix": 0.0}]
    settings += [{"method": "fgsm", "craft_mode": "eval"}, {"schedule": "cosine"}, {"schedule": "constant"}]
    settings += [{"optimizer": "sgd"}, {"weight_decay": 0.01}, {"augment": "flip"}, {"precision": "bfloat16"}]
    hashes = [trained(patterns, **one).model.sha256 for one in settings]
    assert len(set(hashes)) == len(hashes)


def test_leaves_no_trace(patterns: rf.ArrayDataset) -> None:
    classifier = untrained(0, dropout=0.3)
    before = hash_weights(classifier.network)
    torch.manual_seed(5)
    np.random.seed(5)
    drawn = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    found = rf.train(classifier, patterns.head(128), method="n-fgsm", **{**QUICK, "held_out": 16})
    assert (torch.rand(1), np.random.rand()) == drawn
    assert hash_weights(classifier.network) == before != hash_weights(found.classifier.network)
    assert not found.classifier.network.training
    assert not any(parameter.requires_grad for parameter in found.classifier.network.parameters())


def test_it_learns(patterns: rf.ArrayDataset) -> None:
    found = rf.train(untrained(0), patterns, epochs=2, batch_size=32, held_out=100, learning_rate=0.004, epsilon=0.05)
    first, last = found.checks[0], found.checks[-1]
    assert first.clean is not None
    assert last.clean is not None
    assert last.clean.count > 95 > first.clean.count
    assert last.loss < first.loss
    assert [(check.epoch, check.quarter) for check in found.checks] == [(e, q) for e in (1, 2) for q in (1, 2, 3, 4)]
    assert found.n == 1024 - 100
    assert rf.evaluate(found.classifier, patterns, 0.0).clean_accuracy.count > 1000


def test_trains_a_network_by_name(patterns: rf.ArrayDataset) -> None:
    for name in ("mlp300", "smallcnn"):
        found = rf.train(name, patterns.head(64), **QUICK)
        assert found.classifier.num_classes == 6
        assert found.classifier.classes == patterns.classes
        assert found.classifier.predict(torch.rand(2, 1, 12, 12)).shape == (2, 6)
    assert rf.train("mlp300", patterns.head(64), **QUICK).model.sha256 == found_again(patterns)


def found_again(data: rf.ArrayDataset) -> str:
    torch.rand(3)  # the caller's own draws change nothing
    return rf.train("mlp300", data.head(64), **QUICK).model.sha256


def test_static_adds_adversarial_images(patterns: rf.ArrayDataset) -> None:
    before = trained(patterns, epochs=2).classifier
    whole = next(patterns.batches(0, 256, 256))
    fooling = rf.fgsm(before.network, whole.images, whole.labels, 0.1)
    joined = rf.ArrayDataset("joined", torch.cat([whole.images, fooling]), torch.cat([whole.labels] * 2), patterns.classes)
    by_hand = rf.train(before, joined, **QUICK)
    found = rf.train(before, patterns.head(256), method="static", **QUICK)
    assert found.model.sha256 == by_hand.model.sha256


def test_early_stop(patterns: rf.ArrayDataset) -> None:
    settings: dict[str, Any] = {**QUICK, "epochs": 9, "held_out": 64, "learning_rate": 1e-9, "early_stop": 2}
    found = rf.train(untrained(0), patterns.head(128), **settings)
    assert found.stopped
    assert found.checks[-1].epoch == 3


def test_rejects_a_nonfinite_loss(patterns: rf.ArrayDataset) -> None:
    settings: dict[str, Any] = {**QUICK, "optimizer": "sgd", "learning_rate": 1e30}
    with pytest.raises(rf.InvalidRunError, match="lower the learning rate"):
        rf.train(untrained(0), patterns.head(128), **settings)


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        ("mlp300", {"method": "static"}, rf.SettingError, "static joins images that fool a trained network"),
        ("mlp300", {"epsilon": 8}, rf.SettingError, "did you mean 8/255"),
        ("mlp300", {"augment": "rotate"}, rf.SettingError, "augment must be none, flip, crop:PIXELS"),
        ("mlp300", {"augment": "crop:12"}, rf.SettingError, "fewer pixels than images of 12 x 12 have, got 'crop:12'"),
        ("mlp300", {"augment": f"crop:{10**20}"}, rf.SettingError, "augment must be none, flip, crop:PIXELS"),
        ("resnet19", {}, rf.ModelError, "did you mean resnet18"),
        ("mlp300", {"held_out": 64}, rf.SettingError, "training needs images beside the 64 held out"),
    ],
)
def test_rejects(patterns: rf.ArrayDataset, model: str, settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rf.train(model, patterns.head(64), **{**QUICK, **settings})


def test_rejects_other_shapes(patterns: rf.ArrayDataset) -> None:
    network = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(9, 6)), 6)
    with pytest.raises(rf.ModelError, match=r"model must accept images of shape \(1, 12, 12\)"):
        rf.train(network, patterns.head(64), **QUICK)
