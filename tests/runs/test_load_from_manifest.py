"""Models and data that a manifest names are loaded again, and its code only if it is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import describe_data
from robustbench_fgsm.options import ReloadOptions
from robustbench_fgsm.runs.load_from_manifest import reload_classifiers, reload_data

MANIFEST: dict[str, Any] = {"model": {"spec": "mlp300", "weights": "standard"}, "data": {"spec": "fashion-mnist", "n": 12}}
ON_CPU = ReloadOptions(device="cpu")


def model(spec: str, weights: str = "standard") -> dict[str, Any]:
    return MANIFEST | {"model": {"spec": spec, "weights": weights}}


def test_loads_the_recorded_model_and_data(classifier: rf.TorchClassifier) -> None:
    (found,) = reload_classifiers(model("mlp300"), "resume", ON_CPU)
    assert found.num_classes == 10
    assert len(reload_data(MANIFEST, "resume", ON_CPU)) == 12


def test_loads_several_models_in_order() -> None:
    models = [{"spec": spec, "weights": "standard"} for spec in ("mlp600", "mlp300")]
    found = reload_classifiers({"models": models, "data": MANIFEST["data"]}, "resume", ON_CPU)
    assert [one.info.spec for one in found] == ["mlp600", "mlp300"]


def test_rejects_weights_for_several_models() -> None:
    manifest = {"models": [MANIFEST["model"]] * 2, "data": MANIFEST["data"]}
    with pytest.raises(rf.SettingError, match="got them for 2"):
        reload_classifiers(manifest, "resume", ReloadOptions(weights="weights.pt"))


def test_model_code_needs_trust() -> None:
    with pytest.raises(rf.UnsafeError, match=r"check must not run code .*: pass --trust-model-code"):
        reload_classifiers(model("factory:code:make"), "check", ON_CPU)


def test_data_code_needs_trust() -> None:
    with pytest.raises(rf.UnsafeError, match=r"resume would run factory:code:make.*: pass --trust-data-code"):
        reload_data({"data": {"spec": "factory:code:make", "n": 1}}, "resume", ON_CPU)


def test_a_wrapped_model_must_be_passed() -> None:
    with pytest.raises(rf.ModelError, match="resume needs the classifier, got none for Net"):
        reload_classifiers(model("Net", "given"), "resume", ON_CPU)


def test_names_the_purpose_of_missing_data() -> None:
    with pytest.raises(rf.DataError, match="gate needs the data, got 'npz:missing'"):
        reload_data({"data": {"spec": "npz:missing", "n": 1}}, "gate", ON_CPU)


@pytest.mark.parametrize("sample", ["auto", "first", "stratified", "random", 20])
def test_data_are_chosen_as_recorded(tmp_path: Path, sample: str | int) -> None:
    labels = np.arange(10).repeat(20)
    np.savez(tmp_path / "sorted.npz", images=np.random.default_rng(0).random((200, 1, 2, 2), np.float32), labels=labels)
    limit = None if isinstance(sample, int) else 20
    then = rf.load_data(f"npz:{tmp_path / 'sorted.npz'}", limit=limit, sample=sample, seed=3)
    again = reload_data({"data": json.loads(json.dumps(describe_data(then)))}, "resume", ON_CPU)
    assert describe_data(again) == describe_data(then)


def test_manifests_without_a_rule_mean_the_first_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "sorted.npz", images=np.zeros((200, 1, 2, 2), np.float32), labels=np.arange(10).repeat(20))
    recorded = {"spec": f"npz:{tmp_path / 'sorted.npz'}", "n": 20, "classes": list("0123456789")}
    found = reload_data({"data": recorded}, "resume", ON_CPU)
    assert describe_data(found) == recorded | {"fingerprint": found.fingerprint}
    assert next(iter(found)).ids.tolist() == list(range(20))
