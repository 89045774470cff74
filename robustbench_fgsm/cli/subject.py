"""The classifier and the data set that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustbench_fgsm.cli.output import note

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import ArrayDataset
    from robustbench_fgsm.models.classifier import TorchClassifier


def load_subject(
    model: str, weights: str, data: str | None, limit: int | None, device: str, *, quiet: bool
) -> tuple[TorchClassifier, ArrayDataset]:
    """Both, as the options name them; says on standard error which weights and how many images they are."""
    from robustbench_fgsm.data.load import load_data
    from robustbench_fgsm.models.bundled import DATA
    from robustbench_fgsm.models.load import load_classifier

    images = load_data(data or DATA, limit=limit)
    classifier = load_classifier(model, weights=weights, data=images.name, device=device)
    found = f"{model}: {classifier.info.weights} weights, {len(images):,} images of {images.name}, {classifier.device}"
    note(found, quiet=quiet)
    return classifier, images
