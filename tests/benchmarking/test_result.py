"""The document has a row for each contender, and says which failed, are absent, or count wrong."""

from __future__ import annotations

from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking import benchmark as module
from robustbench_fgsm.benchmarking.bare_loop import BareResult
from robustbench_fgsm.benchmarking.contenders import OurImplementation, ReferenceImplementation
from robustbench_fgsm.registry import Registry, RegistryEntry

EPSILONS = (4 / 255, 8 / 255)


def run(classifier: rf.Classifier, data: rf.Dataset, **settings: Any) -> rf.Benchmark:
    quick: dict[str, Any] = {"references": [], "levels": ["none"], "rounds": 1, "memory": False}
    return rf.benchmark(classifier, data, EPSILONS, **(quick | settings))


def test_one_row_per_contender(convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult) -> None:
    found = run(convolutional, few, rounds=2)
    document = found.to_dict()
    assert [one["name"] for one in document["contenders"]] == ["bare channels-last", "bare default", "ours none"]
    assert (document["unit"], document["n"], document["rounds"]) == ("bare channels-last", 100, 2)
    assert (document["status"], document["exit_code"], document["warnings"]) == ("complete", 0, [])
    for contender in document["contenders"]:
        assert contender["clean_accuracy"]["count"] == expected.clean_correct
        assert [at["robust_accuracy"]["count"] for at in contender["epsilons"]] == list(expected.robust_correct)
        assert contender["max_count_difference"] == 0
        tasks = [(timing["task"], timing["epsilons"]) for timing in contender["timings"]]
        assert tasks == [(kind, some) for some in ([8 / 255], list(EPSILONS)) for kind in ("attack", "job")]
    unit = document["contenders"][0]["timings"]
    assert all(timing["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0} for timing in unit)
    assert {"processor", "cores", "threads"} <= set(document["environment"])
    roofline = document["roofline"]
    for timing in (timing for contender in document["contenders"] for timing in contender["timings"]):
        predictions = len(timing["epsilons"]) if timing["task"] == "job" else 0
        operations = 100 * (roofline["gradient_flops"] + predictions * roofline["forward_flops"])
        expected_share = operations / roofline["flops_per_second"] / timing["seconds"]["median"]
        assert timing["limit_share"] == pytest.approx(expected_share)


def test_lists_absent_references(classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RegistryEntry("foolbox", "", "foolbox", "no-such-package")
    monkeypatch.setattr(module, "REFERENCES", Registry("references", "prepare", rf.SettingError, absent))
    document = run(classifier, images, references=None).to_dict()
    assert document["absent"] == [{"name": "foolbox", "package": "no-such-package", "install": "pip install no-such-package"}]
    assert [one["kind"] for one in document["contenders"]] == ["bare", "bare", "ours"]


@pytest.mark.reference
def test_reports_a_failed_reference(convolutional: rf.TorchClassifier, few: rf.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ReferenceImplementation, data: rf.Dataset, epsilons: tuple[float, ...]) -> BareResult:
        raise RuntimeError("no luck\ntoday")

    monkeypatch.setattr(ReferenceImplementation, "job", broken)
    found = run(convolutional, few, references=["art"])
    document = found.to_dict()
    assert (document["exit_code"], document["status"]) == (0, "complete")
    failed = document["contenders"][-1]
    assert (failed["name"], failed["error"]) == ("art", "RuntimeError: no luck today")
    assert (failed["clean_accuracy"], failed["epsilons"], failed["max_count_difference"]) == (None, [], None)
    assert all(timing["seconds"] is None and timing["ratio"] is None for timing in failed["timings"])
    assert all(timing["ratio"] for timing in document["contenders"][2]["timings"])


@pytest.mark.reference
def test_reports_an_unusable_reference(convolutional: rf.TorchClassifier, few: rf.Dataset) -> None:
    pytest.importorskip("torchattacks")
    found = rf.benchmark(convolutional, few, [1.0], norm=2, references=["torchattacks"], rounds=1, memory=False).to_dict()
    assert "torchattacks is comparable under norm inf, got 2" in found["contenders"][-1]["error"]
    assert found["contenders"][-1]["version"] == ""


def test_our_failure_is_invalid(classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: OurImplementation, data: rf.Dataset, epsilons: tuple[float, ...]) -> BareResult:
        raise RuntimeError("no luck")

    monkeypatch.setattr(OurImplementation, "job", broken)
    document = run(classifier, images).to_dict()
    assert (document["exit_code"], document["status"]) == (1, "invalid")
    assert document["invalid_reasons"] == ["ours none failed: RuntimeError: no luck"]


def test_warns_of_wrong_counts(classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def unmoved(self: OurImplementation, data: rf.Dataset, epsilons: tuple[float, ...]) -> BareResult:
        return BareResult(256, 0, (0,) * len(epsilons))

    monkeypatch.setattr(OurImplementation, "job", unmoved)
    found = run(classifier, images)
    assert found.exit_code == 0
    (warning,) = found.warnings
    assert warning.startswith("ours none does not compute the same: its counts are up to ")
