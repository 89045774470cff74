"""The classifier and the data set that a command is about."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup
from robustbench_fgsm.cli.output import write_note
from robustbench_fgsm.engine.torchrun import is_under_torchrun
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import Classifier, ModelInfo


def load_model_and_data(
    model: str,
    weights: str,
    data: str | None,
    limit: int | None,
    device: str,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    *,
    seed: int = 0,
    quiet: bool,
) -> tuple[Classifier, Dataset]:
    """Both, as the options name them; says on standard error which weights and how many images they are."""
    from robustbench_fgsm.data.match_model import match_to_classifier
    from robustbench_fgsm.models.architectures import ARCHITECTURES
    from robustbench_fgsm.models.cards import BUNDLED_DATA
    from robustbench_fgsm.models.load import check_model, load_classifier

    if data is None and model not in ARCHITECTURES:
        check_model(model)
        raise SettingError(f"--data must be named for {model}, got none: see rfgsm list data")
    images = load_dataset(data or BUNDLED_DATA, limit, data_options, seed)
    classifier = load_classifier(model, weights=weights, data=images.name, device=device, **model_options.load_arguments())
    found = f"{_model_text(model, classifier.info)}, {len(images):,} images of {images.name}, {classifier.device}"
    write_note(found, quiet=quiet)
    return classifier, match_to_classifier(images, classifier)


def _model_text(model: str, info: ModelInfo) -> str:
    """Which weights they are, and the normalisation that the classifier does."""
    numbers = [", ".join(f"{value:g}" for value in statistic or ()) for statistic in (info.mean, info.std)]
    inside = f", mean {numbers[0]}, std {numbers[1]}" if info.mean is not None else ""
    return f"{model}: {info.weights} weights{inside}"


def load_dataset(data: str, limit: int | None, data_options: DataOptionGroup, seed: int) -> Dataset:
    """The data set as the options name it; of several processes one on each machine fetches it, while the others wait."""
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.data.load import load_data

    load = partial(
        load_data,
        data,
        limit=limit,
        sample=data_options.sample,
        stratified=data_options.stratified,
        seed=seed,
        split=data_options.split,
        root=data_options.data_root,
        layout=data_options.layout,
        class_map=data_options.class_map,
        image_size=data_options.image_size,
        workers=data_options.workers,
    )
    if not (is_under_torchrun() and data_options.download):
        return load(download=data_options.download)
    world = join_processes()
    world.run_in_rank_order(lambda: load(download=True), wanted=world.local_rank == 0)
    return load(download=False)
