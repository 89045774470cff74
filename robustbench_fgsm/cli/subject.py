"""The classifier and the data set that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustbench_fgsm.cli.bundles import DataChoice
from robustbench_fgsm.cli.output import note

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import TorchClassifier


def load_subject(
    model: str,
    weights: str,
    data: str | None,
    limit: int | None,
    device: str,
    choice: DataChoice = DataChoice(),
    *,
    seed: int = 0,
    quiet: bool,
) -> tuple[TorchClassifier, Dataset]:
    """Both, as the options name them; says on standard error which weights and how many images they are."""
    from robustbench_fgsm.data.fit import fit_to
    from robustbench_fgsm.models.bundled import DATA
    from robustbench_fgsm.models.load import load_classifier

    images = load_images(data or DATA, limit, choice, seed)
    classifier = load_classifier(model, weights=weights, data=images.name, device=device)
    found = f"{model}: {classifier.info.weights} weights, {len(images):,} images of {images.name}, {classifier.device}"
    note(found, quiet=quiet)
    return classifier, fit_to(images, classifier)


def load_images(data: str, limit: int | None, choice: DataChoice, seed: int) -> Dataset:
    """The data set as the options name it."""
    from robustbench_fgsm.data.load import load_data

    return load_data(
        data,
        limit=limit,
        sample=choice.sample,
        stratified=choice.stratified,
        seed=seed,
        split=choice.split,
        root=choice.data_root,
        download=choice.download,
        layout=choice.layout,
        class_map=choice.class_map,
        image_size=choice.image_size,
        workers=choice.workers,
    )
