"""The classifier and the data set that a command is about."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from robustbench_fgsm.cli.model_options import ModelOptions
from robustbench_fgsm.cli.output import note
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import ArrayDataset
    from robustbench_fgsm.models.classifier import Classifier, ModelInfo


def load_subject(
    model: str,
    weights: str,
    data: str | None,
    limit: int | None,
    device: str,
    model_options: ModelOptions,
    *,
    quiet: bool,
) -> tuple[Classifier, ArrayDataset]:
    """Both, as the options name them; says on standard error which weights and how many images they are."""
    from robustbench_fgsm.data.load import load_data
    from robustbench_fgsm.models.architectures import ARCHITECTURES
    from robustbench_fgsm.models.cards import DATA
    from robustbench_fgsm.models.load import check_model, load_classifier

    if data is None and model not in ARCHITECTURES:
        check_model(model)
        raise SettingError(f"--data must be named for {model}, got none: see rfgsm list data")
    images = load_data(data or DATA, limit=limit)
    classifier = load_classifier(model, weights=weights, data=images.name, device=device, **asdict(model_options))
    found = f"{_described(model, classifier.info)}, {len(images):,} images of {images.name}, {classifier.device}"
    note(found, quiet=quiet)
    return classifier, images


def _described(model: str, info: ModelInfo) -> str:
    """Which weights they are, and the normalisation that the classifier does."""
    numbers = [", ".join(f"{value:g}" for value in statistic or ()) for statistic in (info.mean, info.std)]
    inside = f", mean {numbers[0]}, std {numbers[1]}" if info.mean is not None else ""
    return f"{model}: {info.weights} weights{inside}"
