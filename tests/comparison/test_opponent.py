"""A candidate as opponent: it agrees, it disagrees, it fails, or its images were saved before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.comparison.compare import PIECE_SIZE
from tests.comparison.conftest import checked, downhill, right


@pytest.mark.parametrize("targeted", ["none", "next", "random", "least-likely"])
def test_right_candidate_agrees(classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str) -> None:
    found = rf.compare(classifier, images, targeted=targeted, references=[], candidate=right, batch_size=100)
    document = checked(found)
    assert (found.verdict, found.exit_code, document["references"]) == ("agree", 0, [])
    candidate = document["candidate"]
    assert (candidate["name"], candidate["verdict"], candidate["diagnosis"]) == ("right", "agree", [])
    assert (candidate["pixels"], candidate["pixels_differing"]) == (256 * 784, 0)
    assert candidate["confusion"] == document["ours"]["confusion"]
    assert candidate["speedup"] > 0


@pytest.mark.reference
def test_candidate_decides_the_verdict(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.compare(classifier, images, candidate=downhill)
    assert [reference.verdict for reference in found.references] == ["agree"]
    assert found.candidate is not None
    assert (found.candidate.verdict, found.verdict, found.exit_code) == ("disagree", "disagree", 1)
    document = checked(found)
    assert "pixels differ by up to 0.0627" in document["candidate"]["reasons"][0]
    accuracy = document["candidate"]["robust_accuracy"]["count"]
    assert accuracy > document["ours"]["robust_accuracy"]["count"]


def test_rejects_an_untargeted_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="must take a parameter named targeted"):
        rf.compare(classifier, images, targeted="next", references=[], candidate=downhill)


FAILURES: dict[str, tuple[Any, str]] = {
    "raises": (ValueError("no such\nthing"), "it raised ValueError: no such thing"),
    "exits": (SystemExit(3), "it raised SystemExit: 3"),
    "returns nothing": (None, "a tensor or an array, got NoneType"),
    "returns another shape": (torch.zeros(1), r"images (100, 1, 28, 28) as it was given, got (1,)"),
}


@pytest.mark.parametrize(("returned", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_failure_disagrees_and_ends_the_run(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, returned: Any, reason: str
) -> None:
    calls = []

    def failing(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> object:
        calls.append(len(x))
        if isinstance(returned, BaseException):
            raise returned
        return returned

    found = rf.compare(classifier, images, references=[], candidate=failing, batch_size=100)
    candidate = checked(found)["candidate"]
    assert (found.verdict, found.exit_code, found.ours.tally.n) == ("disagree", 1, 256)
    assert len(candidate["reasons"]) == 1
    assert reason in candidate["reasons"][0]
    assert (candidate["pixels"], candidate["robust_accuracy"]["value"], candidate["speedup"]) == (0, None, None)
    assert calls == [100]


def test_late_failure_leaves_no_counts(classifier: rf.TorchClassifier) -> None:
    calls = []

    def late(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        calls.append(len(x))
        if sum(calls) > PIECE_SIZE:
            raise RuntimeError("enough")
        return right(model, x, y, epsilon)

    found = rf.compare(classifier, rf.load_data("fashion-mnist", limit=PIECE_SIZE + 600), references=[], candidate=late)
    assert found.candidate is not None
    assert found.candidate.timed_tally.tally.n == found.candidate.agreement.images == 0
    assert sum(calls) == PIECE_SIZE + 256


def test_interrupt_is_not_a_failure(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def interrupted(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rf.compare(classifier, images, references=[], candidate=interrupted)


@pytest.fixture
def adversarial(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> np.ndarray[Any, Any]:
    batch = next(images.batches(0, 256, 256))
    return rf.fgsm(classifier, batch.images, batch.labels).numpy()


def test_saved_images_take_no_time(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path, adversarial: np.ndarray[Any, Any]
) -> None:
    file = tmp_path / "adv.npz"
    np.savez(file, x_adv=adversarial)
    found = rf.compare(classifier, images, references=[], candidate=file)
    candidate = checked(found)["candidate"]
    assert (found.verdict, candidate["name"], candidate["version"]) == ("agree", "adv.npz", "")
    assert (candidate["speedup"], candidate["seconds"]) == (None, {"attack": 0, "job": 0})
    assert candidate["confusion"] == found.to_dict()["ours"]["confusion"]
    adversarial[7, 0, 14, 14] = 1 - adversarial[7, 0, 14, 14]
    np.savez(file, x_adv=adversarial)
    wrong = rf.compare(classifier, images, references=[], candidate=str(file))
    assert wrong.candidate is not None
    assert (wrong.verdict, wrong.candidate.agreement.pixels_differing) == ("disagree", 1)


@pytest.mark.reference
def test_saved_images_of_a_subset(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path, adversarial: np.ndarray[Any, Any]
) -> None:
    ids = np.array([250, 3, 99, 12])
    np.savez(tmp_path / "adv.npz", images=adversarial[ids], ids=ids)
    found = rf.compare(classifier, images, candidate=tmp_path / "adv.npz")
    document = checked(found)
    assert (document["verdict"], document["n"], document["data"]["n"]) == ("agree", 4, 4)
    assert document["data"]["fingerprint"] != images.fingerprint
    assert [side["pixels"] for side in (*document["references"], document["candidate"])] == [4 * 784] * 2
    assert "adv.npz has 4 of 256 images: only these are compared" in document["warnings"]


def test_saved_images_of_several_pieces(classifier: rf.TorchClassifier, tmp_path: Path) -> None:
    data = rf.load_data("fashion-mnist", limit=PIECE_SIZE + 100)
    rf.save_adversarial(classifier, data, tmp_path / "run", targeted="random", seed=3)
    found = rf.compare(classifier, data, targeted="random", seed=3, references=[], candidate=tmp_path / "run")
    assert found.candidate is not None
    assert (found.verdict, found.candidate.agreement.max_abs_difference) == ("agree", 0)
