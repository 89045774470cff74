"""Models and data that a manifest names are loaded again, and its code only if it is trusted."""

from __future__ import annotations

from typing import Any

import pytest

import robustbench_fgsm as rf
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
