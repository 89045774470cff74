"""The classifier and the data that a manifest names, loaded again; nothing that only a file named is run unasked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.load import load_data
from robustbench_fgsm.errors import DataError, ModelError, SettingError, UnsafeError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.models.load import load_classifier
from robustbench_fgsm.models.registry import runs_code
from robustbench_fgsm.models.request import MODEL_SETTING_NAMES


def reload_classifier(
    manifest: Mapping[str, Any], purpose: str, weights: str | None, device: str, *, trust_model_code: bool
) -> Classifier:
    """The manifest's classifier, with weights from elsewhere where they are given; purpose: who wants it, for errors.

    Raises UnsafeError where that would run code which only the manifest names, and ModelError where it cannot be had.
    """
    return _reload_model(manifest["model"], manifest, purpose, weights, device, trust_model_code=trust_model_code)


def reload_classifiers(
    manifest: Mapping[str, Any], purpose: str, weights: str | None, device: str, *, trust_model_code: bool
) -> tuple[Classifier, ...]:
    """All of a manifest of several models, in order; the same for each, and SettingError for weights of one among several."""
    models = manifest["models"]
    if weights is not None and len(models) > 1:
        raise SettingError(f"--weights are those of one model, got them for {len(models)}: leave them out, and put the files back")
    return tuple(_reload_model(model, manifest, purpose, weights, device, trust_model_code=trust_model_code) for model in models)


def _reload_model(
    model: Mapping[str, Any],
    manifest: Mapping[str, Any],
    purpose: str,
    weights: str | None,
    device: str,
    *,
    trust_model_code: bool,
) -> Classifier:
    if runs_code(model["spec"]) and not trust_model_code:
        raise UnsafeError(
            f"{purpose} must not run code that only the manifest names, got model {model['spec']}: "
            "pass --trust-model-code if you trust both"
        )
    if model["weights"] == "given" and not runs_code(model["spec"]):
        raise ModelError(f"{purpose} needs the classifier, got none for {model['spec']}, which was wrapped in Python: pass it")
    said = "auto" if model["weights"] == "given" else model["weights"]
    return load_classifier(
        model["spec"],
        weights=weights or said,
        data=manifest["data"]["spec"],
        device=device,
        trust_model_code=trust_model_code,
        **{name: value for name, value in model.get("settings", {}).items() if name in MODEL_SETTING_NAMES},
    )


def reload_data(manifest: Mapping[str, Any], purpose: str, *, trust_code: bool = False) -> Dataset:
    """The manifest's data; raises UnsafeError for a function that is not trusted, and DataError where they cannot be had."""
    described = manifest["data"]
    settings = described.get("settings", {})
    if described["spec"].startswith("factory:") and not trust_code:
        raise UnsafeError(
            f"{purpose} would run {described['spec']}, which a file named and nobody typed: "
            "pass --trust-data-code if you trust both, or in Python the data"
        )
    try:
        return load_data(described["spec"], **({} if "sample" in settings else {"limit": described["n"]}) | settings)
    except DataError as error:
        raise DataError(f"{purpose} needs the data, got {described['spec']!r}, which cannot be loaded ({error})") from error
