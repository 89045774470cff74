"""Test that the rates of an evaluation follow from the predictions."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict
from robustbench_fgsm.evaluation.result import area_under_robust_accuracy, first_epsilon_reaching, sweep_document
from robustbench_fgsm.spec import AttackSpec, TargetRule
from tests.report.conftest import subject


@pytest.mark.parametrize("rule", ["none", "next"])
def test_totals_agree_with_sklearn(classifier: rf.TorchClassifier, images: rf.ArrayDataset, rule: str) -> None:
    found = rf.evaluate(classifier, images, 16 / 255, targeted=rule)
    batch = next(images.batches(0, 256, 256))
    attacked = attack_batch(classifier, batch, AttackSpec((16 / 255,), target=TargetRule.parse(rule)), images.classes)
    _, after = craft_and_predict(classifier, attacked, AttackSpec(), 16 / 255)
    labels, before = batch.labels, classifier.predict(batch.images).argmax(1)
    at = found.to_dict()["epsilons"][0]
    assert at["confusion"] == confusion_matrix(labels, after, labels=range(10)).tolist()
    assert at["transition"] == confusion_matrix(before, after, labels=range(10)).tolist()
    assert at["robust_accuracy"]["value"] == pytest.approx(accuracy_score(labels, after))
    assert at["flip_rate"]["value"] == pytest.approx(1 - accuracy_score(before, after))
    recalls = [result["robust_accuracy"]["value"] for result in at["per_class"]]
    np.testing.assert_allclose(recalls, recall_score(labels, after, average=None, labels=range(10)))
    for rate in ("robust_accuracy", "attack_success_rate"):
        for part in ("count", "n"):
            assert sum(result[rate][part] for result in at["per_class"]) == at[rate][part]
    assert sum(result["n"] for result in at["per_class"]) == found.n == 256
    assert sum(result["clean_correct"] for result in at["per_class"]) == found.clean_accuracy.count


def test_restarts_fool_no_fewer_images(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 64, 64))
    spec = AttackSpec((4 / 255,), restarts=3)
    attacked = attack_batch(classifier, batch, spec, images.classes)
    _, clean = craft_and_predict(classifier, attacked, AttackSpec((4 / 255,)), 4 / 255)
    _, best = craft_and_predict(classifier, attacked, spec, 4 / 255)
    assert not bool(((clean != batch.labels) & (best == batch.labels)).any())


def test_area_by_hand() -> None:
    tallies = rf.sweep(*constant(), [0.2, 0.1])[0].tallies
    assert area_under_robust_accuracy([0.2, 0.1], tallies) == pytest.approx(0.5)  # right on half of the images, whatever the budget
    assert area_under_robust_accuracy([0.0], tallies[:1]) is None


def constant() -> tuple[rf.TorchClassifier, rf.ArrayDataset]:
    """A network that always says 0, and as many images of 0 as of 1."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.flatten(1).sum(1) * 0 + 2, x.flatten(1).sum(1) * 0], 1)

    data = rf.ArrayDataset("four", torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    return rf.wrap(Constant(), 2), data


def test_first_epsilon_of_a_rate() -> None:
    epsilons, rates = [0.3, 0.1, 0.2], [0.5, 0.6, None]
    assert first_epsilon_reaching(0.5, epsilons, rates) == 0.1
    assert first_epsilon_reaching(0.6, epsilons, rates) == 0.1
    assert first_epsilon_reaching(0.0, [0.2], [None]) is None
    assert first_epsilon_reaching(0.7, epsilons, rates) is None


@pytest.mark.parametrize(("options", "warned"), [({}, True), ({"stable": True}, False), ({"loss": "margin"}, False)], ids=str)
def test_saturation_gives_a_warning(options: dict[str, object], warned: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        network[1].weight.mul_(1000)  # type: ignore[operator]
    classifier, x = rf.wrap(network, 3), torch.rand(40, 1, 4, 4)
    data = rf.ArrayDataset("sure", x, classifier.predict(x).argmax(1), ("a", "b", "c"))
    found = rf.evaluate(classifier, data, **options)  # type: ignore[arg-type]
    assert found.to_dict()["gradient"]["saturated_share"]["value"] > 0.5
    assert any("saturation" in warning for warning in found.warnings) == warned
    assert found.shows_stable == warned
    assert ("stable" in found.to_dict()["epsilons"][0]) == warned
    assert (found.to_dict()["stable_area_under_curve"] is not None) == warned


def test_sweep_document_gathers_warnings(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    evaluations = rf.sweep(classifier, images, [4 / 255], targeted=["none", "next"])
    document = sweep_document(evaluations)
    assert [found["attack"]["targeted"] for found in document["evaluations"]] == ["none", "next"]
    assert document["warnings"] == list(dict.fromkeys(text for found in evaluations for text in found.warnings))


class Ending(nn.Module):
    """A linear network with another end than logits, which counts how often it is asked."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.end = nn.Linear(4, 3), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.linear(x.flatten(1)))


def three() -> rf.ArrayDataset:
    return rf.ArrayDataset("three", torch.rand(6, 1, 2, 2), torch.arange(6) % 3, ("a", "b", "c"))


def test_rejects_probabilities_under_ce() -> None:
    classifier = rf.wrap(Ending(lambda logits: logits.softmax(1)), 3)
    asked: list[bool] = []
    classifier.network.register_forward_hook(lambda *_: asked.append(True))
    with pytest.raises(rf.ModelError, match="must return logits for loss ce, got probabilities"):
        rf.evaluate(classifier, three())
    assert len(asked) == 1
    assert rf.evaluate(classifier, three(), loss="probabilities").exit_code == 0


def test_log_probabilities_give_a_warning() -> None:
    found = rf.evaluate(rf.wrap(Ending(lambda logits: logits.log_softmax(1)), 3), three())
    assert any("log-probabilities" in warning for warning in found.warnings)
    same = rf.evaluate(rf.wrap(Ending(lambda logits: logits.log_softmax(1)), 3), three(), loss="log-probabilities")
    assert not any("log-probabilities" in warning for warning in same.warnings)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_data_frame_has_every_rate(scale: float) -> None:
    found = rf.sweep(*subject(scale), "4,64/255", targeted=["none", "next"])
    frame = rf.to_pandas(found)
    rows = iter(frame.to_dict("records"))
    for evaluation in found:
        document = evaluation.to_dict()
        for at in document["epsilons"]:
            for gradient, side in (("ordinary", at), *([("stable where saturated", at["stable"])] if "stable" in at else [])):
                for result in (side | {"label": None, "n": document["n"]}, *side["per_class"]):
                    row = next(rows)
                    assert (row["targeted"], row["epsilon"]) == (document["attack"]["targeted"], at["epsilon"])
                    assert (row["gradient"], row["n"]) == (gradient, result["n"])
                    assert row["label"] is pd.NA if result["label"] is pd.NA else row["label"] == result["label"]
                    for rate in ("robust_accuracy", "attack_success_rate"):
                        for part, number in result[rate].items():
                            cell = row[rate if part == "value" else f"{rate}_{part}"]
                            assert pd.isna(cell) if number is None else cell == number
                    correct = result.get("clean_correct", document["clean"]["accuracy"]["count"])
                    assert row["clean_accuracy_count"] == correct
    assert next(rows, None) is None
    assert ("stable where saturated" in set(frame.gradient)) == (scale > 1)
    assert frame.dtypes["label"] == "Int64"
    assert frame.dtypes["robust_accuracy_low"] == "float64"
    pd.testing.assert_frame_equal(found[0].to_pandas(), frame[frame.targeted == "none"].reset_index(drop=True))


def test_data_frame_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(rf.SettingError, match=r"got none installed: pip install 'robustbench-fgsm\[pandas\]'"):
        rf.evaluate(*subject(1.0)).to_pandas()
