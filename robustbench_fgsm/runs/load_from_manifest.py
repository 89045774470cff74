"""Load again the models and the data that a manifest names. Code that only a manifest names runs only if it is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.load import load_data
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.errors import DataError, ModelError, SettingError, UnsafeError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.models.load import load_classifier
from robustbench_fgsm.models.registry import runs_code
from robustbench_fgsm.models.request import MODEL_SETTING_NAMES
from robustbench_fgsm.options import ReloadOptions


def reload_classifiers(manifest: Mapping[str, Any], purpose: str, options: ReloadOptions) -> tuple[Classifier, ...]:
    """Return the classifiers that a manifest names, in its order; error messages name the purpose.

    Raises:
        UnsafeError: a model would run code that is not trusted.
        SettingError: one place of weights is given for several models.
        ModelError: a model cannot be loaded.
    """
    models = manifest["models"] if "models" in manifest else [manifest["model"]]
    if options.weights is not None and len(models) > 1:
        raise SettingError(f"--weights are those of one model, got them for {len(models)}: leave them out, and put the files back")
    return tuple(_reload_classifier(model, manifest["data"]["spec"], purpose, options) for model in models)


def _reload_classifier(model: Mapping[str, Any], data: str, purpose: str, options: ReloadOptions) -> Classifier:
    code = runs_code(model["spec"])
    if code and not options.trust_model_code:
        raise UnsafeError(
            f"{purpose} must not run code that only the manifest names, got model {model['spec']}: "
            "pass --trust-model-code if you trust both"
        )
    if model["weights"] == "given" and not code:
        raise ModelError(f"{purpose} needs the classifier, got none for {model['spec']}, which was wrapped in Python: pass it")
    return load_classifier(
        model["spec"],
        weights=options.weights or ("auto" if model["weights"] == "given" else model["weights"]),
        data=data,
        device=options.device,
        trust_model_code=options.trust_model_code,
        **{name: value for name, value in model.get("settings", {}).items() if name in MODEL_SETTING_NAMES},
    )


def reload_data(manifest: Mapping[str, Any], purpose: str, options: ReloadOptions) -> Dataset:
    """Return the data that a manifest names; error messages name the purpose.

    Raises:
        UnsafeError: the data come from a function that is not trusted.
        DataError: the data cannot be loaded.
    """
    described = manifest["data"]
    settings = described.get("settings", {})
    if described["spec"].startswith("factory:") and not options.trust_data_code:
        raise UnsafeError(
            f"{purpose} would run {described['spec']}, a function that only the manifest names: "
            "pass --trust-data-code if you trust both, or in Python the data"
        )
    try:
        limited = {} if isinstance(settings.get("sample"), int) else {"limit": described["n"]}
        found = load_data(described["spec"], **limited | {"sample": "first"} | settings)
    except DataError as error:
        raise DataError(f"{purpose} needs the data, got {described['spec']!r}, which cannot be loaded ({error})") from error
    if isinstance(found, (ArrayDataset, ImageDataset, Subset)):  # so that the settings of the run stay equal
        found.settings, found.sample = settings, described.get("sample")
    return found
