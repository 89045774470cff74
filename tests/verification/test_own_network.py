"""A candidate that disagrees on the user's own network is diagnosed there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.verification.own_network import own_network_call
from tests.comparison.conftest import checked, downhill, right


def test_diagnoses_candidates_and_saved_images(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    data = images.head(32)
    batch = next(data.batches(0, 32, 32))
    file = tmp_path / "adv.npz"
    np.savez(file, images=downhill(classifier.copy_network(), batch.images, batch.labels, 8 / 255).detach().numpy())
    for candidate, causes in ((right, []), (downhill, ["wrong-sign"]), (file, ["wrong-sign"])):
        document = checked(rf.compare(classifier, data, references=[], candidate=candidate))
        assert [finding["cause"] for finding in document["candidate"]["diagnosis"]][:1] == causes


def test_diagnoses_a_targeted_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def up(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
        return right(model, x, y, epsilon)

    found = rf.compare(classifier, images.head(32), targeted="next", references=[], candidate=up)
    assert found.diagnosis[0].cause == "targeted-as-untargeted"


def test_no_diagnosis_of_other_norms(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.compare(classifier, images.head(8), 0.5, norm=2, references=[], candidate=right)
    assert (found.verdict, found.diagnosis) == ("disagree", ())


def test_a_network_of_ones_own_is_one_more_call(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    own = own_network_call(classifier, images.head(20))
    assert (own.name, len(own.call.x)) == ("own", 16)
    found = rf.verify(right, cases=["own"], extra=[own])
    assert [(one.name, one.is_right) for one in found.responses] == [("own", True)]
    assert found.verdict == "incomplete"
    assert "own" in {one.name for one in rf.verify(right, extra=[own]).responses}


class CastsInside(nn.Module):
    """A network that computes in float32, whatever the type of its images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.float())
        return logits


def test_a_right_candidate_is_right_on_a_network_of_any_precision(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, one_thread: None
) -> None:
    for dtype in ("bfloat16", "float16", "float64", None):
        network = classifier.copy_network() if dtype else CastsInside(classifier.copy_network())
        own = own_network_call(rf.wrap(network, classifier.num_classes, dtype=dtype), images.head(16))
        assert rf.verify(rf.fgsm, extra=[own]).verdict == "right", dtype
        assert rf.verify(downhill, extra=[own]).verdict == "wrong", dtype


def test_other_bounds_are_for_compare(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    """A clip to [-1, 1] is right on such a network and wrong on the images of the test bench, so nothing is said of it."""
    network = nn.Sequential(Half(), classifier.copy_network())
    model, batch = rf.wrap(network, classifier.num_classes, bounds=(-1, 1)), next(images.head(32).batches(0, 32, 32))
    data = rf.load_data((batch.images * 2 - 1, batch.labels))
    with pytest.raises(rf.SettingError, match=r"verify needs a model of images in \[0, 1\], got bounds \[-1, 1\]: use compare"):
        own_network_call(model, data)

    def doubled(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return rf.fgsm(model, x, y, 2 * epsilon, bounds=(-1, 1))

    found = rf.compare(model, data, references=[], candidate=doubled)
    assert [one.evidence.partition(":")[0] for one in found.diagnosis] == ["size"]


class Half(nn.Module):
    """Map [-1, 1] to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2
