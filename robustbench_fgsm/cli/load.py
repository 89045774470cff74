"""The classifier and the data set that a command is about."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from robustbench_fgsm.cli.options import DataChoice, ModelChoice
from robustbench_fgsm.cli.output import note
from robustbench_fgsm.engine.torchrun import is_started
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import Classifier, ModelInfo


def load_subject(
    model: str,
    weights: str,
    data: str | None,
    limit: int | None,
    device: str,
    choice: DataChoice = DataChoice(),
    described: ModelChoice = ModelChoice(),
    *,
    seed: int = 0,
    quiet: bool,
) -> tuple[Classifier, Dataset]:
    """Both, as the options name them; says on standard error which weights and how many images they are."""
    from robustbench_fgsm.data.match_model import fit_to
    from robustbench_fgsm.models.architectures import ARCHITECTURES
    from robustbench_fgsm.models.cards import DATA
    from robustbench_fgsm.models.load import check_model, load_classifier

    if data is None and model not in ARCHITECTURES:
        check_model(model)
        raise SettingError(f"--data must be named for {model}, got none: see rfgsm list data")
    images = load_images(data or DATA, limit, choice, seed)
    classifier = load_classifier(model, weights=weights, data=images.name, device=device, **described.settings())
    found = f"{_described(model, classifier.info)}, {len(images):,} images of {images.name}, {classifier.device}"
    note(found, quiet=quiet)
    return classifier, fit_to(images, classifier)


def _described(model: str, info: ModelInfo) -> str:
    """Which weights they are, and the normalisation that the classifier does."""
    numbers = [", ".join(f"{value:g}" for value in statistic or ()) for statistic in (info.mean, info.std)]
    inside = f", mean {numbers[0]}, std {numbers[1]}" if info.mean is not None else ""
    return f"{model}: {info.weights} weights{inside}"


def load_images(data: str, limit: int | None, choice: DataChoice, seed: int) -> Dataset:
    """The data set as the options name it; of several processes one on each machine fetches it, while the others wait."""
    from robustbench_fgsm.cli.processes import joined
    from robustbench_fgsm.data.load import load_data

    load = partial(
        load_data,
        data,
        limit=limit,
        sample=choice.sample,
        stratified=choice.stratified,
        seed=seed,
        split=choice.split,
        root=choice.data_root,
        layout=choice.layout,
        class_map=choice.class_map,
        image_size=choice.image_size,
        workers=choice.workers,
    )
    if not (is_started() and choice.download):
        return load(download=choice.download)
    world = joined()
    world.one_by_one(lambda: load(download=True), wanted=world.local_rank == 0)
    return load(download=False)
