"""A candidate that disagrees on the user's own network is diagnosed there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
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


def test_diagnoses_candidates_and_saved_images(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    data = images.head(32)
    batch = next(data.batches(0, 32, 32))
    file = tmp_path / "adv.npz"
    np.savez(file, images=downhill(classifier.copy_network(), batch.images, batch.labels, 8 / 255).detach().numpy())
    for candidate, causes in ((right, []), (downhill, ["wrong-sign"]), (file, ["wrong-sign"])):
        document = checked(rf.compare(classifier, data, references=[], candidate=candidate))
        assert [finding["cause"] for finding in document["candidate"]["diagnosis"]] == causes


def test_diagnoses_a_targeted_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def up(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
        return right(model, x, y, epsilon)

    found = rf.compare(classifier, images.head(32), targeted="next", references=[], candidate=up)
    assert [finding.cause for finding in found.diagnosis] == ["wrong-sign"]
    assert found.diagnosis[0].also == ("targeted-as-untargeted",)


def test_no_diagnosis_of_other_norms(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = rf.compare(classifier, images.head(8), 0.5, norm=2, references=[], candidate=right)
    assert (found.verdict, found.diagnosis) == ("disagree", ())
