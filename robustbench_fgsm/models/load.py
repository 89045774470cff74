"""A model spec to a classifier."""

from __future__ import annotations

import torch

from robustbench_fgsm.errors import ModelError, SettingError, did_you_mean
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.bundled import DATA, load_bundled
from robustbench_fgsm.models.classifier import TorchClassifier


def load_classifier(
    model: str, *, weights: str = "auto", data: str | None = None, device: str = "auto"
) -> TorchClassifier:
    """The classifier that a spec names, ready on its device.

    model: a name of `rfgsm list models`. weights: `auto` (bundled where model and data have them), `standard`, `none`, or
    a safetensors file. data: the data set it is to classify; the bundled one where it is None. device: `auto`, `cpu`,
    `cuda`, ...

    Raises ModelError where model or weights are unknown, damaged or do not fit, SettingError for an unusable device.
    """
    if model not in ARCHITECTURES:
        raise ModelError(
            f"model must be a name of `rfgsm list models`, got {model!r}: {did_you_mean(model, ARCHITECTURES)}"
        )
    if weights == "auto":
        if data not in (None, DATA):
            raise ModelError(
                f"weights auto for {model} must meet data {DATA}, got {data!r}: pass --weights FILE.safetensors or none"
            )
        weights = "standard"
    place = pick_device(device)
    classifier = load_bundled(model, weights)
    classifier.network.to(place)
    return classifier


def pick_device(device: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one, else the CPU.

    Raises SettingError where there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place).cpu()  # there, and able to give its numbers back, unlike `meta`
    except (RuntimeError, AssertionError) as error:
        raise SettingError(
            f"device must be auto, cpu or one that PyTorch has here, got {device!r} ({_first_sentence(error)})"
        ) from None
    return place


def _first_sentence(error: Exception) -> str:
    return str(error).splitlines()[0].partition(". ")[0]
