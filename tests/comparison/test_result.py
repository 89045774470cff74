"""The document of a comparison has the keys of the contract, and depends on the seed alone."""

from __future__ import annotations

import json

import pytest

import robustbench_fgsm as rf


@pytest.mark.reference
def test_document_keys(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    document = json.loads(json.dumps(rf.compare(classifier, data).to_dict(), allow_nan=False))
    envelope = "schema status exit_code invalid_reasons warnings environment seconds"
    assert set(f"{envelope} verdict model data attack n ours references candidate".split()) <= document.keys()
    side = "clean_accuracy robust_accuracy attack_success_rate clean_confusion confusion per_class seconds"
    assert set(side.split()) <= document["ours"].keys()
    reference = (
        "name version verdict max_abs_difference pixels pixels_differing pixels_explained images_differing pixels_tied "
        "pixels_equal max_ulps max_unexplained_difference discordant own_success images_subnormal "
        "predictions_agree robust_accuracy attack_success_rate confusion per_class seconds speedup reasons"
    )
    assert set(reference.split()) <= document["references"][0].keys()
    assert document["schema"] == "rfgsm.comparison/1"
    assert document["ours"]["robust_accuracy"].keys() == {"value", "count", "n", "low", "high"}
    assert {"package", "python", "torch", "device"} <= document["environment"].keys()
    assert document["model"].keys() >= {"spec", "weights", "parameters", "sha256"}


@pytest.mark.reference
def test_one_seed_gives_one_document(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    def timeless(seed: int) -> str:
        document = rf.compare(classifier, data, targeted="random", seed=seed).to_dict()
        for side in (document, document["ours"], *document["references"]):
            del side["seconds"]
        del document["references"][0]["speedup"]
        return json.dumps(document)

    assert timeless(1) == timeless(1)
    assert timeless(1) != timeless(2)
