"""A user's own FGSM beside ours: it agrees, it disagrees, it fails, or somebody ran it before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.comparison.compare import PIECE_SIZE
from robustbench_fgsm.report.schemas import load_schema


def right(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    x = x.requires_grad_()
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return (x + epsilon * x.grad.sign() * (-1 if targeted else 1)).clamp(0, 1)


def downhill(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return right(model, x, y, epsilon, targeted=True)


def checked(found: rf.Comparison) -> dict[str, Any]:
    """The document, once the schema takes it."""
    document: dict[str, Any] = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    Draft202012Validator(load_schema("comparison")).validate(document)
    return document


@pytest.mark.parametrize("targeted", ["none", "next", "random", "least-likely"])
def test_a_right_one_agrees(classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str) -> None:
    found = rf.compare(classifier, images, targeted=targeted, references=[], candidate=right, batch_size=100)
    document = checked(found)
    assert (found.verdict, found.exit_code, document["references"]) == ("agree", 0, [])
    candidate = document["candidate"]
    assert (candidate["name"], candidate["verdict"], candidate["diagnosis"]) == ("right", "agree", [])
    assert (candidate["pixels"], candidate["pixels_differing"]) == (256 * 784, 0)
    assert candidate["confusion"] == document["ours"]["confusion"]
    assert candidate["speedup"] > 0


@pytest.mark.reference
def test_it_stands_beside_the_references_and_alone_decides(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.compare(classifier, images, candidate=downhill)
    assert [reference.verdict for reference in found.references] == ["agree"]
    assert found.candidate is not None
    assert (found.candidate.verdict, found.verdict, found.exit_code) == ("disagree", "disagree", 1)
    document = checked(found)
    assert "pixels differ by up to 0.0627" in document["candidate"]["reasons"][0]
    accuracy = document["candidate"]["robust_accuracy"]["count"]
    assert accuracy > document["ours"]["robust_accuracy"]["count"]


def test_a_targeted_attack_needs_a_candidate_that_offers_one(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="must take a parameter named targeted"):
        rf.compare(classifier, images, targeted="next", references=[], candidate=downhill)


FAILURES: dict[str, tuple[Any, str]] = {
    "raises": (ValueError("no such\nthing"), "it raised ValueError: no such thing"),
    "exits": (SystemExit(3), "it raised SystemExit: 3"),
    "returns nothing": (None, "a tensor or an array, got NoneType"),
    "returns another shape": (torch.zeros(1), r"images (100, 1, 28, 28) as it was given, got (1,)"),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_one_that_fails_disagrees_and_is_asked_no_more(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, answer: Any, reason: str
) -> None:
    asked = []

    def failing(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> object:
        asked.append(len(x))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    found = rf.compare(classifier, images, references=[], candidate=failing, batch_size=100)
    candidate = checked(found)["candidate"]
    assert (found.verdict, found.exit_code, found.ours.tally.n) == ("disagree", 1, 256)
    assert len(candidate["reasons"]) == 1
    assert reason in candidate["reasons"][0]
    assert (candidate["pixels"], candidate["robust_accuracy"]["value"], candidate["speedup"]) == (0, None, None)
    assert asked == [100]


def test_nothing_counts_of_one_that_fails_late(classifier: rf.TorchClassifier) -> None:
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


def test_an_interrupt_is_no_answer(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def interrupted(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rf.compare(classifier, images, references=[], candidate=interrupted)


def test_a_candidate_however_it_is_given(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from robustbench_fgsm.attack.fgsm import fgsm\n"
        "def plain(model, x, y, epsilon):\n    return fgsm(model, x, y, epsilon)\n"
        "def tutorial(image, epsilon, data_grad):\n    return (image + epsilon * data_grad.sign()).clamp(0, 1)\n"
    )
    data = images.head(32)
    for candidate, style in (
        (f"{file}:plain", "plain"),
        (f"{file}:tutorial", "tutorial"),
        (rf.load_candidate(f"{file}:tutorial", "tutorial"), "plain"),
        (lambda image, epsilon, data_grad: (image + epsilon * data_grad.sign()).clamp(0, 1), "tutorial"),
    ):
        assert rf.compare(classifier, data, references=[], candidate=candidate, style=style).verdict == "agree"
    with pytest.raises(rf.SettingError, match="did you mean --style tutorial"):
        rf.compare(classifier, data, references=[], candidate=f"{file}:tutorial")


def test_there_must_be_something_to_compare_with(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="at least one if there is no candidate"):
        rf.compare(classifier, images, references=[])


@pytest.fixture
def adversarial(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> np.ndarray[Any, Any]:
    batch = next(images.batches(0, 256, 256))
    return rf.fgsm(classifier, batch.images, batch.labels).numpy()


def test_saved_images_agree_and_take_no_time(
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
def test_saved_images_of_some_are_compared_on_these_alone(
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


def test_saved_images_of_more_than_one_piece(classifier: rf.TorchClassifier, tmp_path: Path) -> None:
    data = rf.load_data("fashion-mnist", limit=PIECE_SIZE + 100)
    rf.save_adversarial(classifier, data, tmp_path / "run", targeted="random", seed=3)
    found = rf.compare(classifier, data, targeted="random", seed=3, references=[], candidate=tmp_path / "run")
    assert found.candidate is not None
    assert (found.verdict, found.candidate.agreement.max_abs_difference) == ("agree", 0)


def test_one_that_disagrees_is_diagnosed(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    data = images.head(32)
    batch = next(data.batches(0, 32, 32))
    file = tmp_path / "adv.npz"
    np.savez(file, images=downhill(classifier.copy_network(), batch.images, batch.labels, 8 / 255).detach().numpy())
    for candidate, causes in ((right, []), (downhill, ["wrong-sign"]), (file, ["wrong-sign"])):
        document = checked(rf.compare(classifier, data, references=[], candidate=candidate))
        assert [finding["cause"] for finding in document["candidate"]["diagnosis"]] == causes


def test_a_targeted_one_is_diagnosed_as_such(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def up(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
        return right(model, x, y, epsilon)

    found = rf.compare(classifier, images.head(32), targeted="next", references=[], candidate=up)
    assert [finding.cause for finding in found.diagnosis] == ["wrong-sign"]
    assert found.diagnosis[0].also == ("targeted-as-untargeted",)


def test_another_norm_is_not_diagnosed(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.compare(classifier, images.head(8), 0.5, norm=2, references=[], candidate=right)
    assert (found.verdict, found.diagnosis) == ("disagree", ())
